//! Where the deliveries of events to watchers are counted.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Events at a time on the board.
const EVENTS: usize = 1_024;

/// What latencies are counted in.
const BUCKET: Duration = Duration::from_micros(10);
const BUCKETS: usize = 1_000_000;

/// When events were published, and how long the deliveries took.
#[derive(Debug)]
pub(super) struct Board {
    begun: Instant,
    /// The number of the first event, which is at 0 in `published`.
    first: AtomicU64,
    published: Vec<AtomicU64>,
    latencies: Vec<AtomicU32>,
    count: AtomicU64,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            first: AtomicU64::new(0),
            published: (0..EVENTS).map(|_| AtomicU64::new(0)).collect(),
            latencies: (0..BUCKETS).map(|_| AtomicU32::new(0)).collect(),
            count: AtomicU64::new(0),
        }
    }
}

impl Board {
    pub(super) fn clear(&self, first: i64) {
        self.first.store(first as u64, Ordering::SeqCst);
        self.count.store(0, Ordering::SeqCst);
        for bucket in &self.latencies {
            bucket.store(0, Ordering::Relaxed);
        }
    }

    fn at(&self, number: i64) -> Option<&AtomicU64> {
        let at = (number as u64).checked_sub(self.first.load(Ordering::SeqCst))?;
        self.published.get(at as usize)
    }

    pub(super) fn publishes(&self, number: i64) {
        let now = self.begun.elapsed().as_nanos() as u64;
        let at = self.at(number).expect("no more events at a time");
        at.store(now, Ordering::SeqCst);
    }

    pub(super) fn delivered(&self, number: i64) {
        let now = self.begun.elapsed().as_nanos() as u64;
        let Some(at) = self.at(number) else { return };
        let took = now - at.load(Ordering::SeqCst);
        let bucket = took as usize / BUCKET.as_nanos() as usize;
        self.latencies[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    pub(super) fn quantile(&self, part: f64) -> Duration {
        let wanted = (self.count() as f64 * part).ceil() as u64;
        let mut seen = 0;
        let at = self.latencies.iter().position(|bucket| {
            seen += u64::from(bucket.load(Ordering::Relaxed));
            seen >= wanted
        });
        BUCKET * at.unwrap_or(BUCKETS) as u32
    }
}
