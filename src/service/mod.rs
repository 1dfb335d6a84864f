//! The API: all of gRPC on the server's side.
//!
//! A handler is a sentence: `convert` turns the message into values of the domain or refuses it,
//! the store acts, `answer` turns the result into a message, and `status` turns what failed
//! into a code. `transport` stands before all calls and puts the library's own refusals into our
//! words. Nothing here knows about workers: they meet in rows.
//!
//! Start at [`serve`]; the promises to callers are the comments of the proto file.

mod answer;
mod asked;
mod complaints;
mod convert;
mod explain;
mod find;
mod health;
mod list;
mod methods;
mod observed;
mod packed;
mod page_token;
mod quota;
mod read;
mod requests;
mod serve;
mod status;
mod submissions;
mod submit;
mod transport;
mod waits;
mod watch;
mod watched;

use std::{sync::Arc, time::Duration};

use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    domain::Lane,
    hub::Hub,
    proto::{self as pb, registrar_service_server::RegistrarService},
    store::Store,
};

pub use health::Health;
pub use serve::serve;

/// The largest message that is taken, and the most that a compressed one may unpack to: 100,000
/// devices have 13.5 MB when every name and nickname is as long as allowed, and some 3 MB as a
/// rule.
pub const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The largest message of every other call. The longest that makes sense, ListApplies with 16 long
/// labels, has some 6 kB.
pub const MAX_SMALL_MESSAGE: usize = 64 * 1024;

/// Watches that look up their apply at one time. When a server stops, the watchers of it come to
/// the others all at once; they leave most of the connections to other calls.
const OPENINGS: usize = 4;

/// What a server takes on at one time.
#[derive(Debug, Clone, clap::Args)]
#[group(skip)]
pub struct Options {
    /// Calls, watches included, that one connection may have open at a time
    #[arg(
        long,
        env = "REGISTRAR_STREAMS_PER_CONNECTION",
        default_value_t = 1_000
    )]
    pub streams_per_connection: u32,

    /// Submissions that are read and stored at a time; more wait. Each may take some 60 MB for a
    /// moment
    #[arg(long, env = "REGISTRAR_SUBMISSIONS_AT_ONCE", default_value_t = 64)]
    pub submissions_at_once: u32,

    /// How long a watch is silent before it gives a sign of life
    #[arg(
        long,
        env = "REGISTRAR_HEARTBEAT",
        default_value = "15s",
        value_parser = humantime::parse_duration
    )]
    pub heartbeat: Duration,

    /// How long a call may take from its first byte to its answer. Watches last as long as they like
    #[arg(
        long,
        env = "REGISTRAR_CALL_TIMEOUT",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    pub call_timeout: Duration,

    /// After how long a connection, give or take a tenth, takes no more calls, and a watch, some
    /// tenths later, ends with UNAVAILABLE to be taken up again. So watches move to servers that
    /// came later
    #[arg(
        long,
        env = "REGISTRAR_MAX_CONNECTION_AGE",
        default_value = "30m",
        value_parser = humantime::parse_duration
    )]
    pub max_connection_age: Duration,
}

impl Options {
    /// The age of the connections of one server, so that those of others end at other times.
    fn connection_age(&self) -> Duration {
        self.max_connection_age
            .mul_f64(rand::random_range(0.9..1.1))
    }

    /// The age of one watch. Its connection is older by then, so it is taken up again on another
    /// one; and a thousand that began together do not end together.
    fn watch_age(&self) -> Duration {
        self.max_connection_age
            .mul_f64(rand::random_range(1.1..1.3))
    }
}

/// Answers the calls of the API.
#[derive(Clone, Debug)]
pub struct Service {
    store: Store,
    hub: Hub,
    /// The calls a second that each lane makes at most.
    rates: Arc<[(Lane, f64)]>,
    options: Options,
    stop: CancellationToken,
    /// Watches that may look up their apply at one time.
    openings: Arc<Semaphore>,
    waits: Arc<waits::Waits>,
}

impl Service {
    /// A service over `store` whose watches are fed by `hub` and end when `stop` is asked for. The
    /// lanes are worked at these `rates`, in calls a second.
    pub fn new(
        store: Store,
        hub: Hub,
        rates: Vec<(Lane, f64)>,
        options: &Options,
        stop: CancellationToken,
    ) -> Self {
        let openings = Arc::new(Semaphore::new(OPENINGS));
        Self {
            store,
            hub,
            rates: rates.into(),
            options: options.clone(),
            stop,
            openings,
            waits: Arc::default(),
        }
    }
}

#[tonic::async_trait]
impl RegistrarService for Service {
    type WatchApplyStream = BoxStream<'static, Result<pb::WatchApplyResponse, Status>>;

    async fn check_devices(
        &self,
        request: Request<pb::CheckDevicesRequest>,
    ) -> Result<Response<pb::CheckDevicesResponse>, Status> {
        self.submit(request.into_inner()).await.map(Response::new)
    }

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        self.accept(request.into_inner()).await.map(Response::new)
    }

    async fn watch_apply(
        &self,
        request: Request<pb::WatchApplyRequest>,
    ) -> Result<Response<Self::WatchApplyStream>, Status> {
        self.watch(request.into_inner()).await.map(Response::new)
    }

    async fn get_apply(
        &self,
        request: Request<pb::GetApplyRequest>,
    ) -> Result<Response<pb::GetApplyResponse>, Status> {
        self.apply(request.into_inner()).await.map(Response::new)
    }

    async fn list_applies(
        &self,
        request: Request<pb::ListAppliesRequest>,
    ) -> Result<Response<pb::ListAppliesResponse>, Status> {
        self.applies(request.into_inner()).await.map(Response::new)
    }

    async fn list_devices(
        &self,
        request: Request<pb::ListDevicesRequest>,
    ) -> Result<Response<pb::ListDevicesResponse>, Status> {
        self.devices(request.into_inner()).await.map(Response::new)
    }

    async fn cancel_apply(
        &self,
        request: Request<pb::CancelApplyRequest>,
    ) -> Result<Response<pb::CancelApplyResponse>, Status> {
        self.cancel(request.into_inner()).await.map(Response::new)
    }

    async fn find_device(
        &self,
        request: Request<pb::FindDeviceRequest>,
    ) -> Result<Response<pb::FindDeviceResponse>, Status> {
        self.found(request.into_inner()).await.map(Response::new)
    }

    async fn explain_apply(
        &self,
        request: Request<pb::ExplainApplyRequest>,
    ) -> Result<Response<pb::ExplainApplyResponse>, Status> {
        self.explained(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn get_quota(
        &self,
        _: Request<pb::GetQuotaRequest>,
    ) -> Result<Response<pb::GetQuotaResponse>, Status> {
        self.quotas().await.map(Response::new)
    }
}
