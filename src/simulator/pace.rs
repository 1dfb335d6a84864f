//! How long checks and creations take.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A check takes this long, in microseconds, and so much longer per name. Nothing is published but
/// that it may be minutes.
pub(super) const CHECK_TAKES: (u64, u64) = (100_000, 100);
/// A creation, of an import too, takes this long, in microseconds, and so much longer per device.
pub(super) const CREATE_TAKES: (u64, u64) = (100_000, 200);

#[derive(Debug)]
pub(super) struct Pace {
    speed: f64,
    jitter: StdRng,
}

impl Pace {
    /// So many times faster than usual; 0 means at once.
    pub(super) fn new(speed: f64, seed: u64) -> Pace {
        Pace {
            speed,
            jitter: StdRng::seed_from_u64(seed),
        }
    }

    /// How long this takes for so many devices, in microseconds.
    pub(super) fn span(&mut self, (base, each): (u64, u64), count: usize) -> u64 {
        if self.speed == 0.0 {
            return 0;
        }
        let usual = base + each * count as u64;
        (usual as f64 * (1.0 + 0.1 * self.jitter.random::<f64>()) / self.speed) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_the_documented_ones_with_up_to_a_tenth_on_top() {
        let mut pace = Pace::new(2.0, 7);

        for _ in 0..1000 {
            let span = pace.span(CHECK_TAKES, 10_000);
            assert!((550_000..=605_000).contains(&span), "{span} µs");
        }
        pace.speed = 0.0;
        assert_eq!(pace.span(CREATE_TAKES, 10_000), 0);
    }
}
