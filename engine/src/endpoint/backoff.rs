//! How long a failing endpoint is left alone: the waits between one death and the next.

use serde::Deserialize;

/// A sequence of waits, as the operator wrote it (reference/linker.md §2.7).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Backoff {
    /// The same wait each time, in milliseconds.
    Constant {
        #[serde(default)]
        ms: u64,
    },
    /// Decorrelated jitter: first the least, then anything from the least to three times the last, up to the most.
    #[serde(rename_all = "camelCase")]
    Jittered { min_ms: u64, max_ms: u64 },
    /// Equal jitter, doubling: the wait when the operator wrote none. Not a kind that a file can name.
    #[serde(skip)]
    EqualJitter { start_ms: u64, max_ms: u64 },
}

impl Default for Backoff {
    fn default() -> Self {
        Self::EqualJitter {
            start_ms: 5_000,
            max_ms: 300_000,
        }
    }
}

impl Backoff {
    /// The wait number `step` (from 0) in milliseconds, where the one before was `last_ms`.
    pub fn wait_ms(&self, step: u32, last_ms: u64, rng: &mut fastrand::Rng) -> u64 {
        match *self {
            Self::Constant { ms } => ms,
            Self::Jittered { min_ms, max_ms } if step == 0 || max_ms <= min_ms => min_ms,
            Self::Jittered { min_ms, max_ms } => {
                let end = last_ms.saturating_mul(3).max(min_ms.saturating_add(1));
                rng.u64(min_ms..end).min(max_ms)
            }
            Self::EqualJitter { start_ms, .. } if step == 0 => start_ms,
            Self::EqualJitter { start_ms, max_ms } => {
                let half = start_ms.saturating_mul(1 << (step - 1).min(32)).min(max_ms);
                (half + rng.u64(0..half.max(1))).min(max_ms)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_doubles_from_five_seconds_and_stays_at_three_hundred() {
        let mut rng = fastrand::Rng::with_seed(7);
        let backoff = Backoff::default();
        assert_eq!(backoff.wait_ms(0, 0, &mut rng), 5_000);
        for step in 1..=5 {
            let half = 5_000 << (step - 1);
            for _ in 0..200 {
                let wait = backoff.wait_ms(step, 0, &mut rng);
                assert!((half..2 * half).contains(&wait), "step {step} waited {wait}");
            }
        }
        for step in [7, 8, 40, u32::MAX] {
            assert_eq!(backoff.wait_ms(step, 0, &mut rng), 300_000);
        }
    }

    #[test]
    fn jittered_starts_at_the_least_and_keeps_within_its_bounds() {
        let mut rng = fastrand::Rng::with_seed(7);
        let backoff = Backoff::Jittered {
            min_ms: 10,
            max_ms: 500,
        };
        let mut last = backoff.wait_ms(0, 0, &mut rng);
        assert_eq!(last, 10);
        let mut largest = 0;
        for step in 1..300 {
            let wait = backoff.wait_ms(step, last, &mut rng);
            assert!(
                (10..=500).contains(&wait) && wait < (3 * last).max(11),
                "{last} then {wait}"
            );
            largest = largest.max(wait);
            last = wait;
        }
        assert!(largest > 100, "it must grow, but reached only {largest}");
    }
}
