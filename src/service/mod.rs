//! The API: all of gRPC on the server's side.
//!
//! A handler is a sentence: `convert` turns the message into values of the domain or refuses it,
//! the store acts, `answer` turns the result into a message, and `status` turns what failed
//! into a code. `transport` stands before all calls and puts the library's own refusals into our
//! words; `access` stands before those of the API and says who is calling, and `tls` before both.
//! Nothing here knows about workers: they meet in rows. What an export hands out of the upstream
//! comes through `credentials`.
//!
//! Start at [`serve`]; the promises to callers are the comments of the proto file.

mod access;
mod answer;
mod asked;
mod complaints;
mod convert;
mod explain;
mod export;
mod find;
mod health;
mod imports;
mod list;
mod methods;
mod observed;
mod open;
mod packed;
mod page_token;
mod quota;
mod read;
mod reconcile;
mod reload;
mod requests;
mod serve;
mod status;
mod submissions;
mod submit;
mod tls;
mod transport;
mod upload;
mod waits;
mod watch;
mod watched;

use std::{ops::Deref, sync::Arc, time::Duration};

use futures_util::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    credentials::Credentials,
    domain::Lane,
    hub::Hub,
    proto::{self as pb, registrar_service_server::RegistrarService},
    store::Store,
    vault::Vault,
};

pub use access::{Access, Options as AccessOptions, Token, make as make_token};
pub use health::Health;
pub use reload::keep_fresh;
pub use serve::serve;
pub use tls::{Options as TlsOptions, Tls};

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
    /// Connections that may be open at a time. When there are more, one without a call makes room,
    /// first of all one that never had a call; if all have calls, the new one is hung up on. Each
    /// takes some 30 KB when it is idle
    #[arg(long, env = "REGISTRAR_MAX_CONNECTIONS", default_value_t = 4_096,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

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

    /// Uploads that are read and stored at a time; more are refused until there are fewer. Each takes
    /// some 20 MB, and 18 bytes for each device of its apply
    #[arg(long, env = "REGISTRAR_UPLOADS_AT_ONCE", default_value_t = 8,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub uploads_at_once: u32,

    /// Devices that one upload may have. At most 1000000000
    #[arg(long, env = "REGISTRAR_MAX_UPLOAD_DEVICES", default_value_t = 3_000_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000_000))]
    pub max_upload_devices: u32,

    /// How long an upload may take to send a message, or to take an answer, before its stream is
    /// ended. It may be resumed
    #[arg(
        long,
        env = "REGISTRAR_UPLOAD_IDLE",
        default_value = "60s",
        value_parser = humantime::parse_duration
    )]
    pub upload_idle: Duration,

    /// Exports that are made at a time; more are refused. Each takes up to some 30 MB
    #[arg(long, env = "REGISTRAR_EXPORTS_AT_ONCE", default_value_t = 8)]
    pub exports_at_once: u32,

    /// How long a watch or an export is silent before it gives a sign of life
    #[arg(
        long,
        env = "REGISTRAR_HEARTBEAT",
        default_value = "15s",
        value_parser = humantime::parse_duration
    )]
    pub heartbeat: Duration,

    /// How long a call may take from its first byte to its answer. Watches and exports last as
    /// long as they like, and uploads as long as they go on
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

/// What calls are answered with.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each room documents its own")]
pub struct Means {
    pub store: Store,
    /// Feeds watches.
    pub hub: Hub,
    pub vault: Vault,
    pub credentials: Credentials,
    /// Says who may call.
    pub access: Access,
}

/// Answers the calls of the API. Clones share everything: each call and each watch has one.
#[derive(Clone, Debug)]
pub struct Service(Arc<Shared>);

impl Deref for Service {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What all calls share.
#[derive(Debug)]
pub struct Shared {
    store: Store,
    hub: Hub,
    /// Seals the secrets that devices bring.
    vault: Vault,
    credentials: Credentials,
    /// The calls a second that each lane makes at most.
    rates: Vec<(Lane, f64)>,
    options: Options,
    access: Access,
    refusals: access::Refusals,
    stop: CancellationToken,
    /// Watches that may look up their apply at one time.
    openings: Semaphore,
    /// Exports that may be made at one time.
    exports: Arc<Semaphore>,
    waits: waits::Waits,
    uploads: upload::Uploads,
}

impl Service {
    /// A service whose streams end when `stop` is asked for, and which takes imports if the vault is
    /// open. The lanes are worked at these `rates`, in calls a second.
    pub fn new(
        means: Means,
        rates: Vec<(Lane, f64)>,
        options: &Options,
        stop: CancellationToken,
    ) -> Self {
        let Means {
            store,
            hub,
            vault,
            credentials,
            access,
        } = means;
        Self(Arc::new(Shared {
            store,
            hub,
            vault,
            credentials,
            rates,
            options: options.clone(),
            access,
            refusals: access::Refusals::default(),
            stop,
            openings: Semaphore::new(OPENINGS),
            exports: Arc::new(Semaphore::new(options.exports_at_once as usize)),
            waits: waits::Waits::default(),
            uploads: upload::Uploads::new(options),
        }))
    }
}

#[tonic::async_trait]
impl RegistrarService for Service {
    type UploadDevicesStream = upload::Answers;
    type WatchApplyStream = watch::Told;

    type ExportDevicesStream = BoxStream<'static, Result<pb::ExportDevicesResponse, Status>>;

    async fn check_devices(
        &self,
        request: Request<pb::CheckDevicesRequest>,
    ) -> Result<Response<pb::CheckDevicesResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.submit(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn upload_devices(
        &self,
        request: Request<Streaming<pb::UploadDevicesRequest>>,
    ) -> Result<Response<Self::UploadDevicesStream>, Status> {
        let pass = access::pass(&request)?;
        self.upload(pass, request.into_inner()).map(Response::new)
    }

    async fn register(
        &self,
        request: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.accept(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn watch_apply(
        &self,
        request: Request<pb::WatchApplyRequest>,
    ) -> Result<Response<Self::WatchApplyStream>, Status> {
        let pass = access::pass(&request)?;
        let answer = self.watch(pass, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn get_apply(
        &self,
        request: Request<pb::GetApplyRequest>,
    ) -> Result<Response<pb::GetApplyResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.apply(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn list_applies(
        &self,
        request: Request<pb::ListAppliesRequest>,
    ) -> Result<Response<pb::ListAppliesResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.applies(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn list_devices(
        &self,
        request: Request<pb::ListDevicesRequest>,
    ) -> Result<Response<pb::ListDevicesResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.devices(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn cancel_apply(
        &self,
        request: Request<pb::CancelApplyRequest>,
    ) -> Result<Response<pb::CancelApplyResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.cancel(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn reconcile(
        &self,
        request: Request<pb::ReconcileRequest>,
    ) -> Result<Response<pb::ReconcileResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.ask_after(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn export_devices(
        &self,
        request: Request<pb::ExportDevicesRequest>,
    ) -> Result<Response<Self::ExportDevicesStream>, Status> {
        let pass = access::pass(&request)?;
        let answer = self.export(pass, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn find_device(
        &self,
        request: Request<pb::FindDeviceRequest>,
    ) -> Result<Response<pb::FindDeviceResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.found(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn explain_apply(
        &self,
        request: Request<pb::ExplainApplyRequest>,
    ) -> Result<Response<pb::ExplainApplyResponse>, Status> {
        let caller = access::caller(&request)?;
        let answer = self.explained(&caller, request.into_inner()).await;
        answer.map(Response::new)
    }

    async fn get_quota(
        &self,
        _: Request<pb::GetQuotaRequest>,
    ) -> Result<Response<pb::GetQuotaResponse>, Status> {
        self.quotas().await.map(Response::new)
    }
}
