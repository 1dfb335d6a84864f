//! What is exported, and to whom.

use std::{sync::mpsc, time::Duration};

use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{LogExporter, MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::SdkTracerProvider,
};
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{EnvFilter, Layer, filter::FilterFn, registry::LookupSpan};
use uuid::Uuid;

use super::{collector::Collector, metrics, trace};

/// How long the last of the telemetry may take to leave. Nobody waits for a collector that is away.
const FLUSH: Duration = Duration::from_secs(1);

/// What is told of the service besides its logs.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Export {
    /// Where traces, metrics and logs are exported to, by OTLP over gRPC, such as
    /// `http://localhost:4317`. Nothing is, unless this or OTEL_EXPORTER_OTLP_ENDPOINT is set
    #[arg(long, env = "REGISTRAR_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Whether OTEL_EXPORTER_OTLP_ENDPOINT is set. What the standard's variables say is read where
    /// they are used.
    #[arg(skip)]
    pub by_environment: bool,

    /// How often the state of the database is read for metrics
    #[arg(long, env = "REGISTRAR_METRICS_EVERY", default_value = "5s",
          value_parser = humantime::parse_duration)]
    pub metrics_every: Duration,
}

/// What is being exported. To be stopped before the runtime is.
#[derive(Debug, Default)]
pub struct Exporting {
    meters: Option<SdkMeterProvider>,
    tracers: Option<SdkTracerProvider>,
    loggers: Option<SdkLoggerProvider>,
}

impl Exporting {
    /// Keeps metrics if anybody `serves` them, and connects to the collector once there is something
    /// to send. Queues hold what the standard says (2,048 spans and lines), and drop what is more.
    pub(super) fn start(serves: Option<&Export>) -> anyhow::Result<Self> {
        let Some(export) = serves else {
            return Ok(Self::default());
        };
        let resource = resource();
        let meters = SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(metrics::reader()?);
        if export.otlp_endpoint.is_none() && !export.by_environment {
            let meters = meters.build();
            global::set_meter_provider(meters.clone());
            return Ok(Self {
                meters: Some(meters),
                ..Self::default()
            });
        }
        let collector = Collector::default();
        let mut spans = SpanExporter::builder().with_tonic();
        let mut points = MetricExporter::builder().with_tonic();
        let mut lines = LogExporter::builder().with_tonic();
        if let Some(endpoint) = &export.otlp_endpoint {
            spans = spans.with_endpoint(endpoint);
            points = points.with_endpoint(endpoint);
            lines = lines.with_endpoint(endpoint);
        }
        let points = PeriodicReader::builder(collector.heeding(points.build()?)).build();
        let meters = meters.with_reader(points).build();
        global::set_meter_provider(meters.clone());
        let tracers = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(collector.heeding(spans.build()?))
            .build();
        let loggers = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(collector.heeding(lines.build()?))
            .build();
        Ok(Self {
            meters: Some(meters),
            tracers: Some(tracers),
            loggers: Some(loggers),
        })
    }

    /// Exports the spans that [`trace`] begins, with what is logged within them.
    pub(super) fn spans<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.tracers.as_ref()?.tracer("registrar");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        let ours = FilterFn::new(|it| match it.is_span() {
            true => it.target() == trace::TARGET,
            false => it.target().starts_with("registrar") && *it.level() <= Level::INFO,
        });
        Some(layer.with_filter(ours.with_max_level_hint(LevelFilter::INFO)))
    }

    /// Exports what is logged, but what exporting itself logs.
    pub(super) fn logs<S>(&self, filter: EnvFilter) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let bridge = OpenTelemetryTracingBridge::new(self.loggers.as_ref()?);
        let ours = FilterFn::new(|it| it.target().starts_with("registrar"));
        Some(bridge.with_filter(ours).with_filter(filter))
    }

    /// Sends what is left, for a moment.
    pub fn stop(self) {
        let Self {
            meters,
            tracers,
            loggers,
        } = self;
        let (done, flushed) = mpsc::channel();
        let flush = move || {
            tracers.map(|it| it.shutdown_with_timeout(FLUSH));
            loggers.map(|it| it.shutdown_with_timeout(FLUSH));
            meters.map(|it| it.shutdown_with_timeout(FLUSH));
            done.send(()).ok();
        };
        // On a thread of its own: not every exporter keeps to the time it is given.
        std::thread::spawn(flush);
        flushed.recv_timeout(FLUSH).ok();
    }
}

/// Who tells: named by OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, where those are set.
fn resource() -> Resource {
    let named = Resource::builder().build();
    let name = named.get(&"service.name".into());
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let mut resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", "registrar"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
    ]);
    // The later of two says.
    for (key, value) in named.iter() {
        if is_named || key.as_str() != "service.name" {
            resource = resource.with_attribute(KeyValue::new(key.clone(), value.clone()));
        }
    }
    resource.build()
}
