//! Telemetry: one subscriber for logs and spans, one registry of metrics, one exporter, one
//! propagator.
//!
//! Rooms speak `tracing`; those that have something to measure name [`metrics`], and those that
//! begin something that is worth a span of its own, [`trace`]. Only this room speaks OpenTelemetry.
//! Nothing is exported before an endpoint is set, and a collector that is away costs nothing but
//! telemetry: queues are bounded, nobody waits for them, and the flush at the end has a bound.
//!
//! Never in a span, a metric or a log line: a secret, a payload, the name of a device. The label of
//! a metric is a `&'static str`, so that none can be made of what callers send.

mod collector;
mod export;
mod logs;
pub mod metrics;
pub mod trace;

use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub use self::{
    export::{Export, Exporting},
    logs::{Format, Options},
    metrics::metrics,
};

/// Logs to standard error from now on, keeps metrics if the command `serves`, and exports all there
/// is if an endpoint is set. To be called within a runtime, whose threads the exporter uses.
pub fn start(
    options: &Options,
    default: &str,
    serves: Option<&Export>,
) -> anyhow::Result<Exporting> {
    let filter = || {
        let filter = options
            .log
            .clone()
            .unwrap_or_else(|| EnvFilter::new(default));
        filter.add_directive(trace::unlogged())
    };
    let exporting = Exporting::start(serves)?;
    let subscriber = tracing_subscriber::registry()
        .with(logs::lines(options.log_format).with_filter(filter()))
        .with(exporting.spans())
        .with(exporting.logs(filter()));
    // An error only says that a subscriber is there already.
    subscriber.try_init().ok();
    Ok(exporting)
}
