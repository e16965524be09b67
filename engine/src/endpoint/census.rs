//! How many endpoints of a client failures have closed, and how many of those are really out of use.
//!
//! Failures may close any endpoint; what keeps a service from being emptied is decided here. Above `maxEjectedPercent` a closed
//! endpoint is spared: it stays in use. When fewer than `panicThresholdPercent` are healthy, all closed ones are used again.
//! When none is, the balancers use all of them anyway. Read only for endpoints that are closed.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::plan::OutlierPlan;

/// The endpoints of one client, counted over all workers.
#[derive(Debug, Default)]
pub struct Census {
    size: AtomicU32,
    /// So many may be out of use.
    most_ejected: AtomicU32,
    /// When more are closed, all are used.
    most_closed: AtomicU32,
    closed: AtomicU32,
    /// Those of the closed that are not spared.
    ejected: AtomicU32,
}

impl Census {
    /// Discovery has told how many endpoints there are.
    pub fn resize(&self, size: usize, plan: &OutlierPlan) {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let share = |percent: u32| u64::from(size) * u64::from(percent.min(100));
        let most_ejected = (share(plan.max_ejected_percent) / 100) as u32;
        let least_healthy = share(plan.panic_threshold_percent).div_ceil(100) as u32;
        self.size.store(size, Relaxed);
        self.most_ejected.store(most_ejected, Relaxed);
        self.most_closed.store(size - least_healthy, Relaxed);
    }

    /// Failures close an endpoint; true if it is spared.
    pub(super) fn close(&self) -> bool {
        self.closed.fetch_add(1, Relaxed);
        !self.eject()
    }

    /// Takes one of the places of those that are out of use; false if none is left.
    pub(super) fn eject(&self) -> bool {
        let allowed = self.ejected.fetch_add(1, Relaxed) < self.most_ejected.load(Relaxed);
        if !allowed {
            self.uneject();
        }
        allowed
    }

    /// Gives such a place back.
    pub(super) fn uneject(&self) {
        self.ejected.fetch_sub(1, Relaxed);
    }

    /// A closed endpoint is open again, or gone.
    pub(super) fn open(&self, spared: bool) {
        self.closed.fetch_sub(1, Relaxed);
        if !spared {
            self.uneject();
        }
    }

    /// Whether a closed endpoint is used like an open one. Not when all are closed: then the balancer has to know that it
    /// chooses among bad ones, and chooses one all the same.
    pub fn is_used(&self, spared: bool) -> bool {
        let closed = self.closed.load(Relaxed);
        closed < self.size.load(Relaxed) && (spared || closed > self.most_closed.load(Relaxed))
    }

    /// Whether so few are healthy that all are used.
    pub fn is_panicking(&self) -> bool {
        let (closed, size) = (self.closed.load(Relaxed), self.size.load(Relaxed));
        closed > 0 && (closed >= size || closed > self.most_closed.load(Relaxed))
    }

    /// How many of how many are closed, if one less would be no reason to use all. Of a single endpoint there is nothing to
    /// tell.
    pub fn last_straw(&self) -> Option<(u32, u32)> {
        let (closed, size) = (self.closed.load(Relaxed), self.size.load(Relaxed));
        let first = self.most_closed.load(Relaxed).saturating_add(1).min(size);
        (closed == first && size > 1).then_some((closed, size))
    }

    /// The share of endpoints that are not closed, from 0 to 1.
    pub fn healthy_share(&self) -> f32 {
        let size = self.size.load(Relaxed).max(1);
        size.saturating_sub(self.closed.load(Relaxed)) as f32 / size as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(size: usize, max_ejected_percent: u32, panic_threshold_percent: u32) -> Census {
        let census = Census::default();
        let plan = OutlierPlan {
            max_ejected_percent,
            panic_threshold_percent,
            ..OutlierPlan::default()
        };
        census.resize(size, &plan);
        census
    }

    #[test]
    fn what_is_closed_beyond_the_cap_is_spared() {
        let census = census(10, 30, 0);
        let spared: Vec<bool> = (0..5).map(|_| census.close()).collect();
        assert_eq!(spared, [false, false, false, true, true]);
        assert!(census.is_used(true) && !census.is_used(false));
        census.open(false);
        assert!(census.eject(), "a place has become free");
        assert!(!census.eject());
    }

    #[test]
    fn below_the_threshold_all_are_used() {
        let census = census(10, 100, 40);
        for _ in 0..6 {
            assert!(!census.close());
        }
        assert!(!census.is_used(false), "four of ten are not below 40 %");
        assert_eq!(census.last_straw(), None);
        census.close();
        assert!(census.is_used(false) && census.is_panicking());
        assert_eq!(census.last_straw(), Some((7, 10)));
        census.open(false);
        assert!(!census.is_used(false) && !census.is_panicking());
    }

    #[test]
    fn when_all_are_closed_the_balancer_is_told_so() {
        let census = census(2, 50, 50);
        census.close();
        assert!(!census.is_used(false), "one of two is not below 50 %");
        census.close();
        assert!(!census.is_used(true) && census.is_panicking());
    }

    #[test]
    fn a_cap_of_nothing_takes_nothing_out_of_use() {
        let census = census(10, 0, 0);
        assert!((0..9).all(|_| census.close() && census.is_used(true)));
    }

    #[test]
    fn a_threshold_of_everything_uses_all_as_soon_as_one_fails() {
        let census = census(10, 100, 100);
        assert!(!census.is_panicking());
        assert!(!census.close() && census.is_used(false));
    }

    #[test]
    fn the_defaults_leave_the_last_of_few_in_use() {
        let plan = OutlierPlan::default();
        for size in 1..=10 {
            let census = census(size, plan.max_ejected_percent, plan.panic_threshold_percent);
            let ejected = (0..size).filter(|_| !census.close()).count();
            assert_eq!(ejected, size - 1);
        }
    }
}
