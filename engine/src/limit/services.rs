//! The limits of a router's services.
//!
//! A limit outlives the name that it was made for: with a wildcard in the dtab a stranger can name thousands of hosts, which push
//! others out of the cache of names, and a name that comes back must not come back with a full bucket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use super::{Limit, RateLimit, Table};
use crate::mail::lock;

/// So many limits are known before those that no name needs, and from whose buckets the least was taken, are given up.
const LIMITS_MAX: usize = 4096;

/// Limits by the service's path.
#[derive(Debug, Default)]
pub struct ServiceLimits {
    limits: Mutex<HashMap<Box<str>, Arc<Limit>>>,
    /// The buckets of all limits that count the values of a header.
    table: OnceLock<Arc<Table>>,
}

impl ServiceLimits {
    /// Gives the limit that a service's policy asks for; the former one if that is the same.
    pub fn of(&self, path: &str, plan: Option<&RateLimit>) -> Option<Arc<Limit>> {
        let mut limits = lock(&self.limits);
        let former = limits.get(path);
        let Some(plan) = plan else {
            limits.remove(path);
            return None;
        };
        let table = || self.table.get_or_init(Arc::default).clone();
        let limit = Limit::kept_or_new(former, plan, path, table);
        if former.is_none() && limits.len() >= LIMITS_MAX {
            make_room(&mut limits);
        }
        limits.insert(path.into(), limit.clone());
        Some(limit)
    }

    /// Forgets limits that no name needs and whose buckets are full.
    pub fn forget_unused(&self, now_us: u64) {
        let now_ns = now_us.saturating_mul(1000);
        lock(&self.limits).retain(|_, limit| Arc::strong_count(limit) > 1 || limit.full_ns() > now_ns);
    }

    /// How many buckets of values were given up for others, if any limit counts them.
    pub fn forgotten(&self) -> Option<u64> {
        self.table.get().map(|table| table.forgotten())
    }
}

/// Gives up half of the limits that no name needs; those that names need are as many as the cache of names allows.
fn make_room(limits: &mut HashMap<Box<str>, Arc<Limit>>) {
    let unused = limits.values().filter(|limit| Arc::strong_count(limit) == 1);
    let mut full_ns: Vec<u64> = unused.map(|limit| limit.full_ns()).collect();
    let half = full_ns.len() / 2;
    if half == 0 {
        return;
    }
    let (_, &mut middle_ns, _) = full_ns.select_nth_unstable(half);
    limits.retain(|_, limit| Arc::strong_count(limit) > 1 || limit.full_ns() > middle_ns);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    fn plan(rate: f64) -> RateLimit {
        RateLimit {
            requests_per_second: rate,
            burst: 5,
            by_header: None,
        }
    }

    fn taken(limits: &ServiceLimits, path: &str, count: usize) -> usize {
        let limit = limits.of(path, Some(&plan(0.1))).expect("a limit");
        (0..count).filter(|_| limit.take(0, |_| None).is_ok()).count()
    }

    #[test]
    fn a_flood_of_names_does_not_fill_the_bucket_of_one_that_it_pushed_out() {
        let limits = ServiceLimits::default();
        assert_eq!(taken(&limits, "/svc/web", 9), 5);
        for number in 0..10 * LIMITS_MAX {
            taken(&limits, &format!("/svc/{number}"), 1);
        }
        assert_eq!(taken(&limits, "/svc/web", 9), 0);
        assert!(lock(&limits.limits).len() <= LIMITS_MAX);
    }

    #[test]
    fn limits_that_names_need_are_kept_however_many_they_are() {
        let limits = ServiceLimits::default();
        let paths: Vec<String> = (0..2 * LIMITS_MAX).map(|number| number.to_string()).collect();
        let used: Vec<_> = paths.iter().map(|path| limits.of(path, Some(&plan(1.0)))).collect();
        limits.forget_unused(SECOND_US);
        assert_eq!(lock(&limits.limits).len(), used.len());
    }

    #[test]
    fn what_has_filled_up_is_forgotten_when_no_name_needs_it() {
        let limits = ServiceLimits::default();
        taken(&limits, "/svc/web", 2);
        limits.forget_unused(19 * SECOND_US);
        assert_eq!(lock(&limits.limits).len(), 1, "a token comes in ten seconds");
        limits.forget_unused(20 * SECOND_US);
        assert_eq!(lock(&limits.limits).len(), 0);
    }

    #[test]
    fn a_policy_without_a_limit_ends_it() {
        let limits = ServiceLimits::default();
        assert_eq!(taken(&limits, "/svc/web", 9), 5);
        assert!(limits.of("/svc/web", None).is_none());
        assert_eq!(taken(&limits, "/svc/web", 9), 5);
    }
}
