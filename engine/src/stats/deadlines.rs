//! What was counted of the deadlines that callers give (reference/linker.md §8.6).

use std::sync::Arc;
use std::time::Duration;

use super::counter::Counter;
use super::histogram::Histogram;
use crate::failure::Failure;
use crate::tally::Scope;

/// `admission_control/deadline/…` of one server, as one worker has counted.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// Requests that were late when they came, all of which are refused.
    rejected: Counter,
    expired_ms: Histogram,
    remaining_ms: Histogram,
}

impl Deadlines {
    /// Counts a request, of which `left` is how long it may still take or for how long it has been late; fails if it is late.
    pub fn admit(&self, left: Result<Duration, Duration>) -> Result<Duration, Failure> {
        match left {
            Ok(left) => {
                self.remaining_ms.record(left.as_millis() as u64);
                Ok(left)
            }
            Err(expired) => {
                let expired_ms = expired.as_millis() as u64;
                self.rejected.add(1);
                self.expired_ms.record(expired_ms);
                Err(Failure::past_deadline(expired_ms))
            }
        }
    }

    /// Adds up the workers' figures; there are none until a request has come with a deadline.
    pub(super) fn collect<T>(blocks: &[Arc<T>], pick: impl Fn(&T) -> &Self + Copy, scope: &mut Scope) {
        scope.sum_if_any("admission_control/deadline/exceeded", blocks, |block| {
            &pick(block).rejected
        });
        scope.sum_if_any("admission_control/deadline/rejected", blocks, |block| {
            &pick(block).rejected
        });
        let merged = |histogram: fn(&Self) -> &Histogram| {
            Histogram::merged(blocks.iter().map(|block| histogram(pick(block))), 1.0)
        };
        scope.stat("admission_control/deadline/expired_ms", merged(|all| &all.expired_ms));
        scope.stat(
            "admission_control/deadline/remaining_ms",
            merged(|all| &all.remaining_ms),
        );
    }
}
