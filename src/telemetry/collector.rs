//! A collector that comes and goes: what it does not take is lost, and one line says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{LogBatch, LogExporter},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter},
};

/// Whether the collector takes what it is sent. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Collector {
    is_away: Arc<AtomicBool>,
}

impl Collector {
    /// Sends through `inner`, and heeds what becomes of it.
    pub(super) fn heeding<E>(&self, inner: E) -> Heeded<E> {
        Heeded {
            inner,
            collector: self.clone(),
        }
    }

    fn heed(&self, sent: OTelSdkResult) -> OTelSdkResult {
        match &sent {
            Err(error) => {
                if !self.is_away.swap(true, Ordering::Relaxed) {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "the collector does not take telemetry, which is lost until it does; \
                         nothing else is affected"
                    );
                }
            }
            Ok(()) => {
                if self.is_away.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes telemetry again");
                }
            }
        }
        sent
    }
}

/// An exporter that tells how it fares.
#[derive(Debug)]
pub(super) struct Heeded<E> {
    inner: E,
    collector: Collector,
}

impl<E: SpanExporter> SpanExporter for Heeded<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.collector.heed(self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Heeded<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.collector.heed(self.inner.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Heeded<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.collector.heed(self.inner.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
