//! How long to pause before an attempt is made again.

use std::time::Duration;

/// The first pause, and how far it grows.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// The pause before the attempt after `attempts` that came to nothing: doubling from 0.5 s to 60 s,
/// less up to a fifth by `jitter` (0 to 1), so that what failed together does not come back together.
pub fn pause_after(attempts: u32, jitter: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(16));
    doubled
        .min(LONGEST)
        .mul_f64(1.0 - 0.2 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end_at_a_minute() {
        assert_eq!(pause_after(1, 0.0), Duration::from_millis(500));
        assert_eq!(pause_after(3, 0.0), Duration::from_secs(2));
        assert_eq!(pause_after(u32::MAX, 0.0), LONGEST);
        assert_eq!(pause_after(3, 1.0), Duration::from_millis(1600));
    }
}
