//! How many requests may be sent again: a share of those of the last seconds, and a reserve (reference/linker.md §2.7).
//!
//! Each worker counts its deposits in a ring of its own, so that a request costs a load and a store; withdrawals, which are
//! rare, share one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

/// Deposits and withdrawals are forgotten slice by slice.
const SLICES: usize = 10;
/// Places for slices: a power of two, so that finding one takes no division.
const PLACES: usize = 16;
/// What a request deposits; a withdrawal takes so many times more as the share is smaller.
const DEPOSIT: i64 = 1000;

/// A budget as the operator wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct BudgetPlan {
    pub min_retries_per_sec: u32,
    /// A fraction: 0.2 is a fifth of all requests.
    pub percent_can_retry: f64,
    /// How long a deposit counts.
    pub ttl_ms: u32,
}

impl Default for BudgetPlan {
    fn default() -> Self {
        Self {
            min_retries_per_sec: 10,
            percent_can_retry: 0.2,
            ttl_ms: 10_000,
        }
    }
}

/// A budget, shared by all workers.
#[derive(Debug)]
pub struct Budget {
    plan: BudgetPlan,
    /// 2^64 slices a millisecond: multiplying is many times cheaper than dividing.
    slices_per_ms: u64,
    deposit: i64,
    withdrawal: i64,
    reserve: i64,
    /// One ring a worker; none if requests deposit nothing.
    deposits: Box<[Arc<Ring>]>,
    /// Made with the first withdrawal: most budgets are never drawn on.
    withdrawals: OnceLock<Box<Ring>>,
}

impl Budget {
    /// Makes a budget in which nothing was deposited yet.
    pub fn new(plan: BudgetPlan, workers: usize) -> Self {
        let (deposit, withdrawal) = if plan.percent_can_retry > 0.0 {
            let withdrawal = DEPOSIT as f64 / plan.percent_can_retry;
            (DEPOSIT, (withdrawal as i64).clamp(1, i64::from(i32::MAX)))
        } else {
            (0, 1)
        };
        let ttl_secs = i64::from(plan.ttl_ms / 1000);
        let retries = i64::from(plan.min_retries_per_sec).saturating_mul(ttl_secs);
        Self {
            slices_per_ms: u64::MAX / (u64::from(plan.ttl_ms) / SLICES as u64).max(2) + 1,
            deposit,
            withdrawal,
            reserve: retries.saturating_mul(withdrawal),
            deposits: (0..if deposit > 0 { workers } else { 0 })
                .map(|_| Arc::default())
                .collect(),
            withdrawals: OnceLock::new(),
            plan,
        }
    }

    /// What the operator wrote.
    pub fn plan(&self) -> &BudgetPlan {
        &self.plan
    }

    /// Counts a request. Only the thread of this worker may call it.
    #[inline]
    pub fn deposit(&self, worker: usize, now_ms: u64) {
        if let Some(ring) = self.deposits.get(worker) {
            ring.count_alone(slice(now_ms, self.slices_per_ms));
        }
    }

    /// What a worker keeps to count requests with; none if they deposit nothing.
    pub fn deposits(&self, worker: usize) -> Option<Deposits> {
        self.deposits.get(worker).map(|ring| Deposits {
            ring: ring.clone(),
            slices_per_ms: self.slices_per_ms,
        })
    }

    /// Takes what sending a request again costs; false, and nothing is taken, when there is not enough.
    pub fn withdraw(&self, now_ms: u64) -> bool {
        let slice = self.slice(now_ms);
        let withdrawals = self.withdrawals.get_or_init(Box::default);
        withdrawals.add(slice);
        // Looked at after taking: two workers cannot both take the last one.
        let enough = self.tokens(slice) >= 0;
        if !enough {
            withdrawals.remove(slice);
        }
        enough
    }

    /// How many requests may be sent again now.
    pub fn balance(&self, now_ms: u64) -> u64 {
        let whole = self.tokens(self.slice(now_ms)) / self.withdrawal;
        u64::try_from(whole).unwrap_or(0)
    }

    /// Whether anything was ever taken.
    pub fn was_drawn_on(&self) -> bool {
        let drawn = |ring: &Ring| ring.0.iter().any(|word| word.load(Relaxed) as u32 > 0);
        self.withdrawals.get().is_some_and(|ring| drawn(ring))
    }

    /// Whether anything was taken that still counts.
    pub fn is_drawn_on(&self, now_ms: u64) -> bool {
        self.taken(self.slice(now_ms)) > 0
    }

    fn slice(&self, now_ms: u64) -> u32 {
        slice(now_ms, self.slices_per_ms)
    }

    fn taken(&self, slice: u32) -> i64 {
        self.withdrawals.get().map_or(0, |ring| ring.sum(slice))
    }

    fn tokens(&self, slice: u32) -> i64 {
        let deposits: i64 = self.deposits.iter().map(|ring| ring.sum(slice)).sum();
        let taken = self.taken(slice).saturating_mul(self.withdrawal);
        let given = deposits.saturating_mul(self.deposit).saturating_add(self.reserve);
        given.saturating_sub(taken)
    }
}

fn slice(now_ms: u64, slices_per_ms: u64) -> u32 {
    ((u128::from(now_ms) * u128::from(slices_per_ms)) >> 64) as u32
}

/// One worker's part of a budget, which is found without looking at the budget.
#[derive(Debug)]
pub struct Deposits {
    ring: Arc<Ring>,
    slices_per_ms: u64,
}

impl Deposits {
    /// Counts a request. Only the thread of the worker that it was made for may call it.
    #[inline]
    pub fn add(&self, now_ms: u64) {
        self.ring.count_alone(slice(now_ms, self.slices_per_ms));
    }
}

/// Counts of the last slices; each packed into one word: the slice's number, and its count.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Ring([AtomicU64; PLACES]);

/// The count that a word holds for this slice: none if it is of another.
fn count_of(word: u64, slice: u32) -> u64 {
    if (word >> 32) as u32 == slice {
        word & u64::from(u32::MAX)
    } else {
        0
    }
}

fn packed(slice: u32, count: u64) -> u64 {
    u64::from(slice) << 32 | count.min(u64::from(u32::MAX))
}

impl Ring {
    fn word(&self, slice: u32) -> &AtomicU64 {
        &self.0[slice as usize % PLACES]
    }

    /// Adds one where no other thread writes.
    #[inline]
    fn count_alone(&self, slice: u32) {
        let word = self.word(slice);
        let last = word.load(Relaxed);
        let same = (last >> 32) as u32 == slice;
        // No slice is so long that its count could fill its half of the word.
        word.store(if same { last + 1 } else { packed(slice, 1) }, Relaxed);
    }

    fn add(&self, slice: u32) {
        self.change(slice, |count| count + 1);
    }

    fn remove(&self, slice: u32) {
        self.change(slice, |count| count.saturating_sub(1));
    }

    fn change(&self, slice: u32, change: impl Fn(u64) -> u64) {
        let changed = |word| Some(packed(slice, change(count_of(word, slice))));
        // Never refused: `changed` always gives a value.
        let _former = self.word(slice).fetch_update(Relaxed, Relaxed, changed);
    }

    /// The counts of the slices up to this one.
    fn sum(&self, slice: u32) -> i64 {
        let mut sum = 0;
        for word in &self.0 {
            let word = word.load(Relaxed);
            // Another worker's clock may be a tick ahead.
            let age = slice.wrapping_add(1).wrapping_sub((word >> 32) as u32);
            if age <= SLICES as u32 {
                sum += i64::from(word as u32);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(min_retries_per_sec: u32, percent_can_retry: f64, ttl_ms: u32) -> Budget {
        let plan = BudgetPlan {
            min_retries_per_sec,
            percent_can_retry,
            ttl_ms,
        };
        Budget::new(plan, 2)
    }

    fn withdrawals(budget: &Budget, now_ms: u64) -> usize {
        (0..100_000).take_while(|_| budget.withdraw(now_ms)).count()
    }

    #[test]
    fn the_default_starts_with_a_hundred() {
        let budget = Budget::new(BudgetPlan::default(), 2);
        assert_eq!(budget.balance(0), 100);
        assert_eq!(withdrawals(&budget, 0), 100);
        assert_eq!(budget.balance(0), 0);
    }

    #[test]
    fn a_share_of_the_requests_of_all_workers_may_be_sent_again() {
        let budget = budget(0, 0.2, 10_000);
        for nth in 0..100 {
            budget.deposit(nth % 2, 50);
        }
        assert_eq!(budget.balance(50), 20);
        assert_eq!(withdrawals(&budget, 60), 20);
    }

    #[test]
    fn what_a_worker_counts_by_itself_counts() {
        let budget = budget(0, 0.5, 10_000);
        let deposits = budget.deposits(1).expect("requests deposit something");
        for _ in 0..10 {
            deposits.add(50);
        }
        assert_eq!(budget.balance(60), 5);
        assert!(
            super::Budget::new(
                BudgetPlan {
                    percent_can_retry: 0.0,
                    ..*budget.plan()
                },
                2
            )
            .deposits(0)
            .is_none()
        );
    }

    #[test]
    fn a_share_above_one_allows_several_for_each_request() {
        let budget = budget(0, 2.5, 1000);
        budget.deposit(0, 0);
        budget.deposit(1, 0);
        assert_eq!(withdrawals(&budget, 0), 5);
    }

    #[test]
    fn deposits_and_withdrawals_are_forgotten_after_their_time() {
        let budget = budget(1, 1.0, 10_000);
        assert_eq!(withdrawals(&budget, 0), 10);
        for _ in 0..5 {
            budget.deposit(0, 5_000);
        }
        assert_eq!(withdrawals(&budget, 5_000), 5);
        assert_eq!(withdrawals(&budget, 8_900), 0, "nothing is forgotten yet");
        assert_eq!(withdrawals(&budget, 11_000), 10, "what was taken at first is");
        assert_eq!(budget.balance(40_000), 10, "only the reserve is left");
    }

    #[test]
    fn slices_are_a_tenth_of_the_time_that_a_deposit_counts() {
        for ttl_ms in [1_000, 7_000, 10_000, 60_000] {
            let budget = budget(1, 1.0, ttl_ms);
            let slice_ms = u64::from(ttl_ms) / 10;
            for now_ms in [
                0,
                1,
                slice_ms - 1,
                slice_ms,
                7 * slice_ms,
                1_000_000_007,
                86_400_000 * 365,
            ] {
                assert_eq!(
                    u64::from(budget.slice(now_ms)),
                    now_ms / slice_ms,
                    "{now_ms} of {ttl_ms}"
                );
            }
        }
    }

    #[test]
    fn without_a_share_there_is_the_reserve_alone() {
        let budget = budget(3, 0.0, 2_000);
        budget.deposit(0, 0);
        assert_eq!(withdrawals(&budget, 0), 6);
    }

    #[test]
    fn with_neither_nothing_is_ever_sent_again() {
        let budget = budget(0, 0.0, 10_000);
        budget.deposit(0, 0);
        assert!(!budget.withdraw(0));
    }

    #[test]
    fn the_largest_numbers_overflow_nothing() {
        let budget = budget(i32::MAX as u32, 1e-12, 60_000);
        assert!(budget.withdraw(0));
        assert!(budget.balance(0) > 1_000_000);
    }
}
