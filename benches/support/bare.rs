//! A bare tonic server: what the transport alone costs, to hold ours against. It answers four calls
//! of our API, in its messages, with as little behind them as there can be, and is a child process
//! of the benchmarks, from the same program.

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    task::{Context, Poll},
};

use futures_util::{StreamExt as _, future::BoxFuture};
use http::{Request, Response};
use registrar::proto::{
    Apply, ApplyStatus, CheckDevicesRequest, CheckDevicesResponse, DeviceCounts, GetApplyRequest,
    GetApplyResponse, RegisterRequest, RegisterResponse, WatchApplyRequest, WatchApplyResponse,
};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::process::die_with_us;

/// The first argument of a process that is this server.
pub(crate) const ARGUMENT: &str = "bare-server";

/// Events that wait for the slowest watcher: more than a burst has.
const WAITING: usize = 1_024;

/// Connections to the database, as many as ours has.
const CONNECTIONS: u32 = 16;

/// The table of single rows, which `pgbench` writes too.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS bench_single (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_key text NOT NULL, name text NOT NULL, at timestamptz NOT NULL DEFAULT now())";

/// What `pgbench` does again and again.
pub(crate) const INSERT_OF_PGBENCH: &str = "\\set n random(1, 1000000000)\n\
    INSERT INTO bench_single (product_key, name) VALUES ('a1BenchCalls', 'bench-' || :n);\n";

/// A running server; killed when this value ends.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    pub(crate) address: String,
}

impl Bare {
    /// Starts one; without a database it takes no submissions.
    pub(crate) fn start(database: Option<&str>) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(ARGUMENT)
            .args(database)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        die_with_us(&mut command);
        let mut child = command.spawn()?;
        let mut address = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut address)?;
        Ok(Self {
            child,
            address: address.trim().to_owned(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a process does whose first argument is [`ARGUMENT`].
pub(crate) async fn serve(database: Option<String>) -> anyhow::Result<()> {
    let pool = match database {
        Some(url) => {
            let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
            let pool = pool.connect(&url).await?;
            sqlx::query(TABLE).execute(&pool).await?;
            Some(pool)
        }
        None => None,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", listener.local_addr()?)?;
    stdout.flush()?;
    let calls = Calls {
        events: broadcast::Sender::new(WAITING),
        pool,
    };
    let server = tonic::transport::Server::builder().add_service(calls);
    server
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

/// An event of an apply as ours looks, to be as long.
pub(crate) fn event(number: i64) -> WatchApplyResponse {
    let time = prost_types::Timestamp {
        seconds: 1_750_000_000,
        nanos: 123_456_000,
    };
    let apply = Apply {
        apply_id: 1_000,
        product_key: "a1BenchWatch".into(),
        status: ApplyStatus::Check.into(),
        counts: Some(DeviceCounts {
            total: number,
            pending: number,
            ..Default::default()
        }),
        revision: number,
        after_check: 1,
        create_time: Some(time),
        update_time: Some(time),
        ..Default::default()
    };
    WatchApplyResponse {
        apply: Some(apply),
        ..Default::default()
    }
}

#[derive(Clone, Debug)]
struct Calls {
    events: broadcast::Sender<i64>,
    pool: Option<PgPool>,
}

impl Calls {
    /// The hello: what was sent comes back.
    async fn hello(self, asked: GetApplyRequest) -> Result<GetApplyResponse, Status> {
        let apply = Apply {
            apply_id: asked.apply_id,
            ..Default::default()
        };
        Ok(GetApplyResponse {
            apply: Some(apply),
            ..Default::default()
        })
    }

    /// One INSERT a call.
    async fn insert(self, asked: CheckDevicesRequest) -> Result<CheckDevicesResponse, Status> {
        let pool = self.pool.ok_or_else(|| Status::internal("no database"))?;
        let device = asked.devices.first();
        let sql = "INSERT INTO bench_single (product_key, name) VALUES ($1, $2) RETURNING id";
        let id: i64 = sqlx::query_scalar(sql)
            .bind(&asked.product_key)
            .bind(device.map(|device| device.device_name.as_str()))
            .fetch_one(&pool)
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let apply = Apply {
            apply_id: id,
            ..Default::default()
        };
        Ok(CheckDevicesResponse {
            apply: Some(apply),
            ..Default::default()
        })
    }

    /// Publishes the event of this number.
    async fn publish(self, asked: RegisterRequest) -> Result<RegisterResponse, Status> {
        self.events.send(asked.apply_id).ok();
        Ok(RegisterResponse::default())
    }

    fn watch(
        &self,
    ) -> impl futures_util::Stream<Item = Result<WatchApplyResponse, Status>> + use<> {
        BroadcastStream::new(self.events.subscribe()).map(|number| match number {
            Ok(number) => Ok(event(number)),
            Err(lagged) => Err(Status::data_loss(lagged.to_string())),
        })
    }
}

impl NamedService for Calls {
    const NAME: &'static str = "registrar.v1.RegistrarService";
}

/// Answers a call with this method.
macro_rules! unary {
    ($calls:expr, $method:ident, $request:expr) => {{
        let calls = $calls;
        let method = service_fn(move |asked: tonic::Request<_>| {
            let answer = calls.clone().$method(asked.into_inner());
            async move { answer.await.map(tonic::Response::new) }
        });
        Grpc::new(ProstCodec::default())
            .unary(method, $request)
            .await
    }};
}

impl tower::Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let calls = self.clone();
        Box::pin(async move {
            let path = request.uri().path();
            let method = path.rsplit('/').next().unwrap_or_default();
            Ok(match method {
                "GetApply" => unary!(calls, hello, request),
                "CheckDevices" => unary!(calls, insert, request),
                "Register" => unary!(calls, publish, request),
                "WatchApply" => {
                    let watch = service_fn(move |_: tonic::Request<WatchApplyRequest>| {
                        std::future::ready(Ok(tonic::Response::new(calls.watch())))
                    });
                    Grpc::new(ProstCodec::default())
                        .server_streaming(watch, request)
                        .await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}
