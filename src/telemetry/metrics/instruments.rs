//! Instruments with a fixed number of labels, none of which can be made up while running.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use opentelemetry::{
    KeyValue,
    metrics::{self, Counter, Histogram, Meter, UpDownCounter},
};

/// Upper bounds in seconds: from a query to a step that waits out its lease.
const BOUNDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// The names of labels.
#[derive(Clone, Copy, Debug)]
struct Labels<const N: usize>([&'static str; N]);

impl<const N: usize> Labels<N> {
    fn with(self, values: [&'static str; N]) -> [KeyValue; N] {
        let mut values = values.into_iter();
        self.0
            .map(|name| KeyValue::new(name, values.next().unwrap_or_default()))
    }
}

/// Goes up.
#[derive(Debug)]
pub struct Count<const N: usize>(Counter<u64>, Labels<N>);

/// Is set.
#[derive(Debug)]
pub struct Gauge<const N: usize>(metrics::Gauge<f64>, Labels<N>);

/// Goes up and down.
#[derive(Debug)]
pub struct UpDown<const N: usize>(UpDownCounter<i64>, Labels<N>);

/// Durations.
#[derive(Debug)]
pub struct Times<const N: usize>(Histogram<f64>, Labels<N>);

/// One more, until this ends.
#[derive(Debug)]
pub struct Moving<const N: usize>(&'static UpDown<N>, [&'static str; N]);

impl<const N: usize> Count<N> {
    pub(super) fn new(
        meter: &Meter,
        name: &'static str,
        labels: [&'static str; N],
        unit: &'static str,
        help: &'static str,
    ) -> Self {
        let counter = meter
            .u64_counter(name)
            .with_unit(unit)
            .with_description(help);
        Self(counter.build(), Labels(labels))
    }

    /// So many more. None makes it known that there are none yet.
    pub fn add(&self, more: u64, labels: [&'static str; N]) {
        self.0.add(more, &self.1.with(labels));
    }
}

impl<const N: usize> Gauge<N> {
    pub(super) fn new(
        meter: &Meter,
        name: &'static str,
        labels: [&'static str; N],
        unit: &'static str,
        help: &'static str,
    ) -> Self {
        let gauge = meter.f64_gauge(name).with_unit(unit).with_description(help);
        Self(gauge.build(), Labels(labels))
    }

    /// From now on.
    pub fn set(&self, value: f64, labels: [&'static str; N]) {
        self.0.record(value, &self.1.with(labels));
    }
}

impl<const N: usize> UpDown<N> {
    pub(super) fn new(
        meter: &Meter,
        name: &'static str,
        labels: [&'static str; N],
        unit: &'static str,
        help: &'static str,
    ) -> Self {
        let counter = meter
            .i64_up_down_counter(name)
            .with_unit(unit)
            .with_description(help);
        Self(counter.build(), Labels(labels))
    }

    /// One more, until what is returned ends.
    pub fn one(&'static self, labels: [&'static str; N]) -> Moving<N> {
        self.add(1, labels);
        Moving(self, labels)
    }

    /// So many more, or less.
    pub fn add(&self, more: i64, labels: [&'static str; N]) {
        self.0.add(more, &self.1.with(labels));
    }
}

impl<const N: usize> Drop for Moving<N> {
    fn drop(&mut self) {
        self.0.add(-1, self.1);
    }
}

impl<const N: usize> Times<N> {
    pub(super) fn new(
        meter: &Meter,
        name: &'static str,
        labels: [&'static str; N],
        unit: &'static str,
        help: &'static str,
    ) -> Self {
        let histogram = meter
            .f64_histogram(name)
            .with_unit(unit)
            .with_description(help);
        Self(
            histogram.with_boundaries(BOUNDS.to_vec()).build(),
            Labels(labels),
        )
    }

    /// One that took so long.
    pub fn record(&self, took: Duration, labels: [&'static str; N]) {
        self.0.record(took.as_secs_f64(), &self.1.with(labels));
    }

    /// What comes of `task`, whose time is recorded.
    pub fn time<T>(
        &self,
        labels: [&'static str; N],
        task: impl Future<Output = T>,
    ) -> impl Future<Output = T> {
        let begun = Instant::now();
        // No async fn, which would have room for the task twice.
        task.inspect(move |_| self.record(begun.elapsed(), labels))
    }
}
