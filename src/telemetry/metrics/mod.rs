//! Every metric: what it is called, what it counts, and the labels it may have. `docs/metrics.md`
//! tells operators the same.

mod instruments;
mod process;

use std::sync::{LazyLock, OnceLock};

use anyhow::Context as _;
use opentelemetry::{global, metrics::Meter};
use opentelemetry_prometheus::PrometheusExporter;
use prometheus::{Registry, TextEncoder};

pub use self::instruments::{Count, Gauge, Moving, Times, UpDown};

static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// The metrics of this process. Where none are kept, nothing is measured.
pub fn metrics() -> &'static Metrics {
    static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics::new(&global::meter("registrar")));
    &METRICS
}

/// What reads them for Prometheus. The names it makes are those that a collector makes of ours.
pub(super) fn reader() -> anyhow::Result<PrometheusExporter> {
    let registry = REGISTRY.get_or_init(Registry::new).clone();
    let reader = opentelemetry_prometheus::exporter()
        .with_registry(registry)
        .without_target_info()
        .scope_info_enabled(false);
    reader.build().context("metrics cannot be kept")
}

/// All of them in Prometheus' text format.
pub fn text() -> String {
    let families = REGISTRY.get().map(Registry::gather).unwrap_or_default();
    // Fails only at a family without points, which none is that was gathered.
    TextEncoder::new()
        .encode_to_string(&families)
        .unwrap_or_default()
}

macro_rules! metrics {
    ($($field:ident: $kind:ident<$labels:literal> = $name:literal $labelled:tt in $unit:literal, $help:literal;)+) => {
        /// The metrics.
        #[derive(Debug)]
        pub struct Metrics {
            $(#[doc = $help] pub $field: $kind<$labels>,)+
        }

        impl Metrics {
            fn new(meter: &Meter) -> Self {
                process::observe(meter);
                Self {
                    $($field: $kind::new(meter, $name, $labelled, $unit, $help),)+
                }
            }
        }
    };
}

metrics! {
    // The state: every replica tells the same.
    applies: Gauge<1> = "registrar.applies" ["status"] in "{apply}",
        "Applies under way or waiting for a caller. Every replica tells the same";
    devices: Gauge<1> = "registrar.devices" ["outcome"] in "{device}",
        "Devices of the applies under way, by outcome so far. Every replica tells the same";
    oldest_unsettled: Gauge<0> = "registrar.oldest.unsettled.apply.age" [] in "s",
        "Since the oldest apply under way was submitted. Every replica tells the same";
    quiet: Gauge<0> = "registrar.unsettled.apply.quiet" [] in "s",
        "Since the apply under way that is still the longest has changed. Every replica tells the same";
    rounds: Gauge<1> = "registrar.rounds" ["phase"] in "{round}",
        "Rounds on their way, by phase. Every replica tells the same";
    rounds_due: Gauge<1> = "registrar.rounds.due" ["lane"] in "{round}",
        "Rounds that wait for a call now. Every replica tells the same";
    rounds_overdue: Gauge<1> = "registrar.rounds.overdue" ["lane"] in "{round}",
        "Rounds that have waited for a call for more than 60 s. Every replica tells the same";
    oldest_due: Gauge<1> = "registrar.oldest.due.round.age" ["lane"] in "s",
        "For how long the round that waits longest has been due. Every replica tells the same";
    slowed: Gauge<1> = "registrar.lane.slowed" ["lane"] in "1",
        "Times the usual spacing of calls since the lane was throttled. Every replica tells the same";
    blocks: Gauge<1> = "registrar.blocks" ["scope"] in "{block}",
        "Blocks that stand. Every replica tells the same";

    // This process.
    apply_changes: Count<1> = "registrar.apply.changes" ["status"] in "{apply}",
        "Applies that entered a status";
    device_outcomes: Count<1> = "registrar.device.outcomes" ["outcome"] in "{device}",
        "Devices that entered an outcome";
    submission: Times<0> = "registrar.submission.duration" [] in "s",
        "From a submission that was read to its answer";
    rpc: Times<2> = "registrar.rpc.duration" ["method", "code"] in "s",
        "Calls of the API to their answer, or to the opening of a stream";
    watchers: UpDown<0> = "registrar.watchers" [] in "{watch}",
        "Watches that are open";
    watch_messages: Count<1> = "registrar.watch.messages" ["kind"] in "{message}",
        "Messages handed to watchers";
    watch_ends: Count<1> = "registrar.watch.ends" ["end"] in "{watch}",
        "Watches that ended";
    streams: UpDown<1> = "registrar.streams" ["method"] in "{stream}",
        "Uploads and exports that are open";
    stream_ends: Count<2> = "registrar.stream.ends" ["method", "code"] in "{stream}",
        "Uploads and exports that ended";
    watch_lag: Times<0> = "registrar.watch.lag" [] in "s",
        "From an event that was written to its hand-over to watchers";
    upstream_calls: Count<2> = "registrar.upstream.calls" ["action", "result"] in "{call}",
        "Calls of the upstream by class of result";
    upstream_call: Times<1> = "registrar.upstream.call.duration" ["action"] in "s",
        "Calls of the upstream, from the send to the end of the answer";
    lane_rate: Gauge<1> = "registrar.lane.rate" ["lane"] in "{call}/s",
        "Calls a second that a lane makes at most, all replicas together";
    lane_spacing: Gauge<1> = "registrar.lane.spacing" ["lane"] in "s",
        "From one call of a lane to the next, in the last block of permits";
    slots_missed: Count<1> = "registrar.lane.slots.missed" ["lane"] in "{slot}",
        "Permits that nobody came in time to use";
    steps: UpDown<1> = "registrar.steps.in.flight" ["lane"] in "{step}",
        "Steps that are being taken";
    step: Times<1> = "registrar.step.duration" ["lane"] in "s",
        "From a claimed round to its record";
    step_delay: Times<1> = "registrar.step.delay" ["lane"] in "s",
        "From the time a round was due to its claim";
    lease_losses: Count<1> = "registrar.lease.losses" ["lane"] in "{step}",
        "Steps that were overtaken since their lease had ended";
    clock_accepted: Gauge<0> = "registrar.clock.accepted" [] in "",
        "1 while the upstream accepts the clock of this process";
    pool: Gauge<1> = "registrar.pool.connections" ["state"] in "{connection}",
        "Connections to the database";
    pool_max: Gauge<0> = "registrar.pool.connections.max" [] in "{connection}",
        "Connections to the database that there may be";
    pool_wait: Times<0> = "registrar.pool.acquire.wait" [] in "s",
        "How long a connection to the database takes to get";
    state_age: Gauge<0> = "registrar.state.age" [] in "s",
        "Since the state was read from the database";
    ready: Gauge<0> = "registrar.ready" [] in "",
        "1 while the process is ready";
    build: Gauge<1> = "registrar.build.info" ["version"] in "",
        "1, of this version";
}

impl Metrics {
    /// Makes known what there may be, so that what has not happened yet is told as none, and an
    /// alert sees the first time that it does.
    pub fn known(&self, lanes: impl Iterator<Item = (&'static str, f64)>) {
        self.build.set(1.0, [env!("CARGO_PKG_VERSION")]);
        self.clock_accepted.set(1.0, []);
        self.watchers.add(0, []);
        for kind in ["event", "heartbeat"] {
            self.watch_messages.add(0, [kind]);
        }
        for end in ["settled", "left", "stopping", "moved", "barred", "failed"] {
            self.watch_ends.add(0, [end]);
        }
        for method in ["UploadDevices", "ExportDevices"] {
            self.streams.add(0, [method]);
            for code in ["OK", "INTERNAL"] {
                self.stream_ends.add(0, [method, code]);
            }
        }
        for (lane, rate) in lanes {
            self.lane_rate.set(rate, [lane]);
            self.slots_missed.add(0, [lane]);
            self.steps.add(0, [lane]);
            self.lease_losses.add(0, [lane]);
            for result in CALL_RESULTS {
                self.upstream_calls.add(0, [lane, result]);
            }
        }
    }
}

/// The classes of what comes of a call of the upstream.
const CALL_RESULTS: [&str; 7] = [
    "ok",
    "refused",
    "throttled",
    "blocked",
    "clock",
    "unsent",
    "unclear",
];

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::SdkMeterProvider;

    use super::*;

    #[test]
    fn prometheus_sees_base_units_and_totals() {
        let meters = SdkMeterProvider::builder()
            .with_reader(reader().unwrap())
            .build();
        let metrics = Metrics::new(&meters.meter("registrar"));

        metrics.upstream_calls.add(2, ["QueryProduct", "ok"]);
        metrics.slowed.set(1.5, ["QueryProduct"]);
        metrics
            .rpc
            .record(std::time::Duration::from_millis(3), ["GetApply", "OK"]);
        metrics.lane_rate.set(30.0, ["QueryProduct"]);

        let text = text();
        for line in [
            r#"registrar_upstream_calls_total{action="QueryProduct",result="ok"} 2"#,
            r#"registrar_lane_slowed_ratio{lane="QueryProduct"} 1.5"#,
            r#"registrar_rpc_duration_seconds_bucket{code="OK",method="GetApply",le="0.005"} 1"#,
            r#"registrar_lane_rate_per_second{lane="QueryProduct"} 30"#,
            "# TYPE registrar_process_cpu_seconds_total counter",
            "# TYPE registrar_process_resident_memory_bytes gauge",
        ] {
            assert!(
                text.lines().any(|it| it == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
