//! What one endpoint's results so far say about it, as its policy weighs them; shared by all workers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::policy::Policy;

const SLICES: usize = 10;
/// Fewer results than this in a window prove nothing (reference/linker.md §2.9).
const LEAST_RESULTS: u64 = 5;

/// What results say of an endpoint, as it is shown: only what its policy looks at is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Told {
    pub failures_in_a_row: Option<u32>,
    /// From 0 to 1.
    pub success_rate: Option<f64>,
}

/// The memory of a policy about one endpoint.
#[derive(Debug)]
pub enum Evidence {
    /// The endpoint is never judged.
    None,
    /// `failures` in a row so far, of `limit`.
    Row { limit: u32, failures: AtomicU32 },
    /// A moving average; see `Average`.
    Average {
        required: f32,
        requests: u32,
        average: AtomicU64,
    },
    /// Counts in slices of the window; see `Slice`.
    Window {
        required: f64,
        slice_ms: u64,
        slices: Box<[AtomicU64; SLICES]>,
    },
}

impl Evidence {
    pub fn new(policy: &Policy) -> Self {
        match *policy {
            Policy::ConsecutiveFailures { failures, .. } => Self::Row {
                limit: failures,
                failures: AtomicU32::new(0),
            },
            Policy::SuccessRate {
                success_rate, requests, ..
            } => Self::Average {
                required: success_rate as f32,
                requests,
                average: AtomicU64::new(Average::default().packed()),
            },
            Policy::SuccessRateWindowed {
                success_rate, window, ..
            } => Self::Window {
                required: success_rate,
                slice_ms: (u64::from(window) * 1000 / SLICES as u64).max(1),
                slices: Box::new([const { AtomicU64::new(0) }; SLICES]),
            },
            Policy::Never {} => Self::None,
        }
    }

    /// Takes note of a success.
    pub fn success(&self, now_ms: u64) {
        match self {
            Self::None => {}
            // Read first: a healthy endpoint's cache line then stays shared between the workers.
            Self::Row { failures, .. } => {
                if failures.load(Relaxed) != 0 {
                    failures.store(0, Relaxed);
                }
            }
            Self::Average { requests, average, .. } => {
                update(average, |packed| Average::read(packed).with(1.0, *requests).packed());
            }
            Self::Window { slice_ms, slices, .. } => {
                let epoch = now_ms / slice_ms;
                update(&slices[epoch as usize % SLICES], |packed| {
                    Slice::at(packed, epoch).with(false).packed()
                });
            }
        }
    }

    /// Takes note of a failure; true when the endpoint is to be called dead.
    pub fn failure(&self, now_ms: u64) -> bool {
        match self {
            Self::None => false,
            Self::Row { limit, failures } => failures.fetch_add(1, Relaxed).saturating_add(1) >= *limit,
            Self::Average {
                required,
                requests,
                average,
            } => {
                let after = update(average, |packed| Average::read(packed).with(0.0, *requests).packed());
                let after = Average::read(after);
                after.results >= *requests && after.rate < *required
            }
            Self::Window {
                required,
                slice_ms,
                slices,
            } => {
                let epoch = now_ms / slice_ms;
                update(&slices[epoch as usize % SLICES], |packed| {
                    Slice::at(packed, epoch).with(true).packed()
                });
                let (results, failures) = window(slices, epoch);
                results >= LEAST_RESULTS && ((results - failures) as f64) < required * results as f64
            }
        }
    }

    /// What it says now.
    pub fn told(&self, now_ms: u64) -> Told {
        match self {
            Self::None => Told::default(),
            Self::Row { failures, .. } => Told {
                failures_in_a_row: Some(failures.load(Relaxed)),
                success_rate: None,
            },
            Self::Average { average, .. } => {
                let average = Average::read(average.load(Relaxed));
                Told {
                    failures_in_a_row: None,
                    success_rate: (average.results > 0).then_some(f64::from(average.rate)),
                }
            }
            Self::Window { slice_ms, slices, .. } => {
                let (results, failures) = window(slices, now_ms / slice_ms);
                Told {
                    failures_in_a_row: None,
                    success_rate: (results > 0).then(|| (results - failures) as f64 / results as f64),
                }
            }
        }
    }

    /// Forgets everything, when the endpoint is alive again.
    pub fn forget(&self) {
        match self {
            Self::None => {}
            Self::Row { failures, .. } => failures.store(0, Relaxed),
            Self::Average { average, .. } => average.store(Average::default().packed(), Relaxed),
            Self::Window { slices, .. } => slices.iter().for_each(|slice| slice.store(0, Relaxed)),
        }
    }
}

/// Replaces the value by a function of it, and gives the new one.
fn update(cell: &AtomicU64, change: impl Fn(u64) -> u64) -> u64 {
    let mut now = cell.load(Relaxed);
    loop {
        let next = change(now);
        match cell.compare_exchange_weak(now, next, Relaxed, Relaxed) {
            Ok(_) => return next,
            Err(other) => now = other,
        }
    }
}

/// A success rate that forgets exponentially, and how many results made it; packed into one word.
#[derive(Clone, Copy, Default)]
struct Average {
    rate: f32,
    results: u32,
}

impl Average {
    fn read(packed: u64) -> Self {
        Self {
            rate: f32::from_bits((packed >> 32) as u32),
            results: packed as u32,
        }
    }

    fn packed(self) -> u64 {
        u64::from(self.rate.to_bits()) << 32 | u64::from(self.results)
    }

    /// With one more result (1 or 0), where the last `requests` count for most of the rate.
    fn with(self, result: f32, requests: u32) -> Self {
        let kept = match (self.results, requests) {
            (0, _) | (_, 0) => 0.0,
            _ => (-1.0 / requests as f32).exp(),
        };
        Self {
            rate: self.rate * kept + result * (1.0 - kept),
            results: self.results.saturating_add(1),
        }
    }
}

const COUNT_BITS: u32 = 20;
const COUNT_MOST: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_MASK: u64 = (1 << (64 - 2 * COUNT_BITS)) - 1;

/// The results of one slice of the window; packed into one word: epoch, results, failures.
#[derive(Clone, Copy)]
struct Slice {
    epoch: u64,
    results: u64,
    failures: u64,
}

impl Slice {
    fn read(packed: u64) -> Self {
        Self {
            epoch: packed >> (2 * COUNT_BITS),
            results: packed >> COUNT_BITS & COUNT_MOST,
            failures: packed & COUNT_MOST,
        }
    }

    fn packed(self) -> u64 {
        self.epoch << (2 * COUNT_BITS) | self.results << COUNT_BITS | self.failures
    }

    /// What the word says about this epoch: nothing yet, if it is of an earlier one.
    fn at(packed: u64, epoch: u64) -> Self {
        let epoch = epoch & EPOCH_MASK;
        let slice = Self::read(packed);
        if slice.epoch == epoch {
            slice
        } else {
            Self {
                epoch,
                results: 0,
                failures: 0,
            }
        }
    }

    fn with(mut self, failed: bool) -> Self {
        // A full slice is halved, which keeps its rate.
        if self.results == COUNT_MOST {
            self.results /= 2;
            self.failures /= 2;
        }
        self.results += 1;
        self.failures += u64::from(failed);
        self
    }
}

/// Results and failures of the window that ends with this epoch.
fn window(slices: &[AtomicU64; SLICES], epoch: u64) -> (u64, u64) {
    let mut sum = (0, 0);
    for slice in slices {
        let slice = Slice::read(slice.load(Relaxed));
        if (epoch.wrapping_sub(slice.epoch) & EPOCH_MASK) < SLICES as u64 {
            sum = (sum.0 + slice.results, sum.1 + slice.failures);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn average(success_rate: f64, requests: u32) -> Evidence {
        Evidence::new(&Policy::SuccessRate {
            success_rate,
            requests,
            backoff: None,
        })
    }

    #[test]
    fn a_row_of_failures_is_broken_by_one_success() {
        let evidence = Evidence::new(&Policy::ConsecutiveFailures {
            failures: 3,
            backoff: None,
        });
        for _ in 0..2 {
            assert!(!evidence.failure(0));
            assert!(!evidence.failure(0));
            evidence.success(0);
        }
        assert!(!evidence.failure(0));
        assert!(!evidence.failure(0));
        assert!(evidence.failure(0));
    }

    #[test]
    fn the_average_says_nothing_before_enough_results() {
        let evidence = average(0.9, 10);
        for nth in 1..10 {
            assert!(!evidence.failure(0), "after {nth}");
        }
        assert!(evidence.failure(0));
    }

    #[test]
    fn the_average_tolerates_a_rate_above_the_required_and_not_one_below() {
        let evidence = average(0.5, 50);
        let verdicts: Vec<bool> = (0..500)
            .filter(|nth| {
                evidence.success(0);
                nth % 5 == 0
            })
            .map(|_| evidence.failure(0))
            .collect();
        assert!(!verdicts.contains(&true), "five of six succeeded");
        assert!((0..100).any(|_| evidence.failure(0)), "nothing but failures");
    }

    #[test]
    fn the_window_forgets_what_is_older() {
        let evidence = Evidence::new(&Policy::SuccessRateWindowed {
            success_rate: 0.5,
            window: 10,
            backoff: None,
        });
        for _ in 0..4 {
            assert!(!evidence.failure(100), "fewer than five results prove nothing");
        }
        assert!(evidence.failure(5_000));
        assert!(!evidence.failure(14_999), "the four of the first second are forgotten");
    }

    #[test]
    fn a_full_slice_keeps_its_rate() {
        let mut slice = Slice::at(0, 3);
        for nth in 0..3_000_000_u32 {
            slice = Slice::read(slice.with(nth % 4 == 0).packed());
        }
        assert_eq!(slice.epoch, 3);
        assert!(slice.results <= COUNT_MOST);
        assert!((slice.failures as f64 / slice.results as f64 - 0.25).abs() < 0.001);
    }
}
