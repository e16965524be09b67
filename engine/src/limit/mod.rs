//! Local rate limits: so many requests a second, of all callers together or of each value of a header.
//!
//! What two workers take of one bucket is taken from the same bucket. All callers together have a bucket that is one atomic
//! number; the values of a header share a `Table`, whose size does not depend on how many there are.

mod bucket;
mod services;
mod table;

use std::sync::Arc;

use serde::Deserialize;

use crate::failure::Failure;
pub use bucket::{Bucket, Pace};
pub use services::ServiceLimits;
pub use table::Table;

const NANOSECONDS_PER_SECOND: u64 = 1_000_000_000;

/// A limit as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RateLimit {
    pub requests_per_second: f64,
    /// So many may come at once.
    pub burst: u32,
    /// The header each of whose values has a bucket of its own; `None` for one bucket in all.
    pub by_header: Option<String>,
}

/// A limit at work.
#[derive(Debug)]
pub struct Limit {
    plan: RateLimit,
    pace: Pace,
    buckets: Buckets,
    /// What a caller is told.
    message: Box<str>,
}

#[derive(Debug)]
enum Buckets {
    One(Bucket),
    /// In the table `limit` tells our buckets from those of other limits.
    OfEachValue {
        header: Box<str>,
        table: Arc<Table>,
        limit: u64,
    },
}

impl Limit {
    /// Makes a limit whose buckets are full. `whose` says what is limited; `table` gives where values of a header are kept.
    pub fn new(plan: RateLimit, whose: &str, table: impl FnOnce() -> Arc<Table>) -> Self {
        let rate = plan.requests_per_second;
        let (buckets, each) = match &plan.by_header {
            None => (Buckets::One(Bucket::default()), String::new()),
            Some(header) => {
                let table = table();
                let buckets = Buckets::OfEachValue {
                    header: header.as_str().into(),
                    // The same for the same limit of the same service, also if it is made anew.
                    limit: table.hash_of(&(whose, rate.to_bits(), plan.burst, header)),
                    table,
                };
                (buckets, format!(" for each value of {header}"))
            }
        };
        Self {
            pace: Pace::new(rate, plan.burst),
            buckets,
            message: format!("Too many requests: {whose} takes {rate} a second{each}").into(),
            plan,
        }
    }

    /// Gives `former` if it has these parameters, so that what was taken from its buckets stays taken.
    pub fn kept_or_new(
        former: Option<&Arc<Self>>,
        plan: &RateLimit,
        whose: &str,
        table: impl FnOnce() -> Arc<Table>,
    ) -> Arc<Self> {
        match former {
            Some(former) if former.plan == *plan => former.clone(),
            _ => Arc::new(Self::new(plan.clone(), whose, table)),
        }
    }

    /// Makes what a server's plan says, if it says anything; `former` is the limit of the server that it takes the place of.
    pub fn of_server(plan: Option<&RateLimit>, former: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        Some(Self::kept_or_new(former, plan?, "this server", Arc::default))
    }

    /// How many buckets of values that had lately asked were given up for others; `None` if there is one bucket in all.
    pub fn forgotten(&self) -> Option<u64> {
        match &self.buckets {
            Buckets::One(_) => None,
            Buckets::OfEachValue { table, .. } => Some(table.forgotten()),
        }
    }

    /// When the bucket is full, on the workers' clock in nanoseconds; 0 where the table keeps the buckets.
    fn full_ns(&self) -> u64 {
        match &self.buckets {
            Buckets::One(bucket) => bucket.full_ns(),
            Buckets::OfEachValue { .. } => 0,
        }
    }

    /// Takes one request at `now_us` on the workers' clock, or tells when there will be room for it. `value_of` gives a header's
    /// value if the request has that header once: those that lack it have one bucket together, as those that repeat it,
    /// since no two readers need agree on which line counts.
    #[inline]
    pub fn take<'a>(&self, now_us: u64, value_of: impl FnOnce(&str) -> Option<&'a [u8]>) -> Result<(), Failure> {
        let now_ns = now_us.saturating_mul(1000);
        let taken = match &self.buckets {
            Buckets::One(bucket) => bucket.take(self.pace, now_ns),
            Buckets::OfEachValue { header, table, limit } => table.take(*limit, value_of(header), self.pace, now_ns),
        };
        taken.map_err(|wait_ns| {
            let retry_after_s = wait_ns.div_ceil(NANOSECONDS_PER_SECOND).max(1);
            Failure::rate_limited(retry_after_s, &*self.message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(plan: RateLimit) -> Limit {
        Limit::new(plan, "this server", Arc::default)
    }

    fn plan(by_header: Option<&str>) -> RateLimit {
        RateLimit {
            requests_per_second: 0.4,
            burst: 2,
            by_header: by_header.map(str::to_owned),
        }
    }

    #[test]
    fn a_refusal_tells_the_whole_seconds_after_which_there_is_room() {
        let limit = limit(plan(None));
        assert_eq!(limit.take(0, |_| None), Ok(()));
        assert_eq!(limit.take(0, |_| None), Ok(()));
        let waits: Vec<_> = [0, 500_000, 1_500_001, 2_499_999]
            .map(|now_us| {
                limit
                    .take(now_us, |_| None)
                    .expect_err("the bucket is empty")
                    .retry_after_s
            })
            .into();
        assert_eq!(
            waits,
            [Some(3), Some(2), Some(1), Some(1)],
            "2.5 s, 2 s, just under 1 s, 1 us"
        );
        assert_eq!(limit.take(2_500_000, |_| None), Ok(()));
    }

    #[test]
    fn each_value_has_a_bucket_and_none_is_a_value() {
        let limit = limit(plan(Some("x-key")));
        for value in [None, Some(&b"a"[..]), Some(b"b"), Some(b"")] {
            let take = || {
                limit.take(0, |header| {
                    assert_eq!(header, "x-key");
                    value
                })
            };
            assert_eq!((take(), take()), (Ok(()), Ok(())), "{value:?}");
            let message = take().expect_err("the bucket is empty").message;
            assert_eq!(
                message,
                "Too many requests: this server takes 0.4 a second for each value of x-key"
            );
        }
    }

    #[test]
    fn two_limits_share_a_table_and_no_bucket() {
        let table: Arc<Table> = Arc::default();
        let [one, other] = ["/svc/a", "/svc/b"].map(|whose| Limit::new(plan(Some("x")), whose, || table.clone()));
        for limit in [&one, &other] {
            assert!(limit.take(0, |_| None).is_ok() && limit.take(0, |_| None).is_ok());
            assert!(limit.take(0, |_| None).is_err());
        }
    }

    #[test]
    fn the_same_parameters_keep_what_was_taken() {
        let former = Arc::new(limit(plan(None)));
        assert!(former.take(0, |_| None).is_ok() && former.take(0, |_| None).is_ok());
        let kept = Limit::kept_or_new(Some(&former), &plan(None), "this server", Arc::default);
        assert!(kept.take(0, |_| None).is_err());
        let larger = RateLimit { burst: 3, ..plan(None) };
        let new = Limit::kept_or_new(Some(&former), &larger, "this server", Arc::default);
        assert!(new.take(0, |_| None).is_ok());
    }
}
