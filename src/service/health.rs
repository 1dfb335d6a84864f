//! Health: whether this server wants calls, as grpc.health.v1 tells it.

use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::{proto::registrar_service_server::RegistrarServiceServer, telemetry::metrics};

/// What is told under: the whole server, and the API.
const NAMES: [&str; 2] = [
    "",
    <RegistrarServiceServer<super::Service> as NamedService>::NAME,
];

/// Tells whether the server is ready. Clones share what is told.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    stopping: CancellationToken,
}

impl Health {
    /// Tells SERVING from the start.
    pub async fn new() -> Self {
        let health = Self {
            reporter: HealthReporter::new(),
            stopping: CancellationToken::new(),
        };
        health.set_ready(true).await;
        health
    }

    /// Tells SERVING or NOT_SERVING from now on. A server that is stopping stays NOT_SERVING.
    pub async fn set_ready(&self, ready: bool) {
        if !self.stopping.is_cancelled() {
            metrics().ready.set(f64::from(u8::from(ready)), []);
            self.tell(if ready {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            })
            .await;
        }
    }

    /// Tells NOT_SERVING for good, and ends the streams of those who watch this: they would keep
    /// their connections open until the grace is over.
    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        self.tell(ServingStatus::NotServing).await;
        let mut reporter = self.reporter.clone();
        for name in NAMES {
            reporter.clear_service_status(name).await;
        }
    }

    pub(super) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    async fn tell(&self, status: ServingStatus) {
        for name in NAMES {
            self.reporter.set_service_status(name, status).await;
        }
    }
}
