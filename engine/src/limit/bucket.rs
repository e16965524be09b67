//! A token bucket in one number: the moment at which it would be full again.
//!
//! This is the generic cell rate algorithm (ITU-T I.371): a request moves that moment by the time in which one token comes, and
//! is refused if the moment lies further ahead than a whole bucket. Nothing has to refill it, a full one is the same as
//! none, and a refusal writes nothing.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::NANOSECONDS_PER_SECOND;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    token_ns: u64,
    /// How far ahead the moment may lie when a token is taken.
    slack_ns: u64,
}

impl Pace {
    /// The pace of `rate` tokens a second, `burst` at the most; both above 0.
    pub fn new(rate: f64, burst: u32) -> Self {
        let token_ns = ((NANOSECONDS_PER_SECOND as f64 / rate).round() as u64).max(1);
        Self {
            token_ns,
            slack_ns: token_ns.saturating_mul(u64::from(burst.saturating_sub(1))),
        }
    }

    /// When a bucket that was to be full at `full_ns` is full after a token was taken at `now_ns`, or how long from now there is none.
    #[inline]
    pub(super) fn take(self, full_ns: u64, now_ns: u64) -> Result<u64, u64> {
        let ahead_ns = full_ns.saturating_sub(now_ns);
        if ahead_ns > self.slack_ns {
            return Err(ahead_ns - self.slack_ns);
        }
        Ok(full_ns.max(now_ns).saturating_add(self.token_ns))
    }
}

/// One bucket, full at first, from which any thread takes.
#[derive(Debug, Default)]
pub struct Bucket {
    full_ns: AtomicU64,
}

impl Bucket {
    pub(super) fn full_ns(&self) -> u64 {
        self.full_ns.load(Relaxed)
    }

    /// Takes a token, or tells in how many nanoseconds there will be one.
    #[inline]
    pub fn take(&self, pace: Pace, now_ns: u64) -> Result<(), u64> {
        let mut full_ns = self.full_ns.load(Relaxed);
        loop {
            let next_ns = pace.take(full_ns, now_ns)?;
            match self.full_ns.compare_exchange_weak(full_ns, next_ns, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(found_ns) => full_ns = found_ns,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = NANOSECONDS_PER_SECOND;

    fn taken(bucket: &Bucket, pace: Pace, now_ns: u64, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(pace, now_ns).is_ok()).count()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_what_comes_in() {
        let (bucket, pace) = (Bucket::default(), Pace::new(10.0, 5));
        assert_eq!(taken(&bucket, pace, 7 * SECOND, 100), 5);
        assert_eq!(bucket.take(pace, 7 * SECOND), Err(SECOND / 10));
        assert_eq!(bucket.take(pace, 7 * SECOND + 1), Err(SECOND / 10 - 1));
        assert_eq!(taken(&bucket, pace, 7 * SECOND + 3 * SECOND / 10, 100), 3);
        assert_eq!(
            taken(&bucket, pace, 60 * SECOND, 100),
            5,
            "it holds no more than the burst"
        );
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        for (rate, burst) in [(0.5, 1), (3.0, 7), (1_000_000.0, 1), (999.9, 50)] {
            let (bucket, pace) = (Bucket::default(), Pace::new(rate, burst));
            let mut random = fastrand::Rng::with_seed(1);
            let (mut now_ns, mut count) = (0, 0);
            while count < 2000 {
                now_ns += random.u64(0..(SECOND as f64 / rate) as u64);
                count += taken(&bucket, pace, now_ns, 3);
            }
            let due = f64::from(burst) + now_ns as f64 / SECOND as f64 * rate;
            assert!(count as f64 <= due + 1.0, "{count} of {due} at {rate}");
            // A bucket of one token loses what would have come while nobody took it.
            assert!(
                burst == 1 || count as f64 >= due * 0.99 - 1.0,
                "{count} of {due} at {rate}"
            );
        }
    }

    #[test]
    fn threads_take_no_more_together_than_one() {
        let (bucket, pace) = (Bucket::default(), Pace::new(0.001, 10_000));
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| taken(&bucket, pace, 0, 8_000))).collect();
            threads.into_iter().map(|thread| thread.join().expect("a count")).sum()
        });
        assert_eq!(total, 10_000);
    }

    #[test]
    fn a_clock_that_lags_behind_another_workers_gives_nothing_away() {
        let (bucket, pace) = (Bucket::default(), Pace::new(1.0, 2));
        assert_eq!(taken(&bucket, pace, 10 * SECOND, 9), 2);
        assert_eq!(bucket.take(pace, 9 * SECOND), Err(2 * SECOND));
    }

    #[test]
    fn the_largest_numbers_do_not_wrap() {
        let pace = Pace::new(0.001, u32::MAX);
        assert!(pace.take(u64::MAX, u64::MAX).is_ok());
        assert!(Pace::new(f64::MIN_POSITIVE, u32::MAX).take(0, u64::MAX - 1).is_ok());
    }
}
