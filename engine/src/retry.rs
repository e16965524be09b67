//! Whether a request may be sent again, and where not (reference/linker.md §2.7).
//!
//! Two ways: a *requeue* when no endpoint can have acted on the request, or when doing so twice does no harm; a *retry* when
//! its response, or what became of it, is classified as retryable.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::bind::Answered;
use crate::failure::Cause;
use crate::resolve::Client;
use crate::stats::{ClientStats, ServiceStats};
use crate::worker::Worker;

/// Attempts between two retries at the most (reference/linker.md §2.7: 25 after the first).
const ATTEMPTS: usize = 26;
/// Retries of one request at the most, so that one that always fails does not use up the budget of the others.
const RETRIES: u32 = 25;
/// The share of what the budget holds that one request may use for requeues.
const REQUEUE_SHARE: f64 = 0.2;

/// How a request whose response was withheld from its caller goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// The endpoint has not acted on it.
    Requeue,
    /// The response is classified as retryable.
    Retry,
}

/// The endpoints that one request has tried since its last retry.
#[derive(Debug, Default)]
pub struct Tried {
    // A request that succeeds at once allocates nothing.
    ids: Vec<u64>,
    requeues: usize,
    lost: bool,
}

impl Tried {
    /// After a retry, all endpoints may be tried anew; but the one that made it necessary comes last.
    pub fn after(endpoint: u64, lost: bool) -> Self {
        Self {
            ids: vec![endpoint],
            requeues: 0,
            lost,
        }
    }

    /// The endpoints that were tried, for the balancer to avoid.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// How often the request was sent again without a retry.
    pub fn requeues(&self) -> u64 {
        self.requeues as u64
    }

    /// Whether the last attempt lost its connection: another idle one may be as old.
    pub fn lost_connection(&self) -> bool {
        self.lost
    }

    /// Whether another attempt may follow: each endpoint is tried once, but a set of one is tried twice, since what failed
    /// may have been an old connection.
    pub fn leaves_room(&self, endpoints: usize) -> bool {
        self.requeues + 1 < ATTEMPTS.min(endpoints.max(2))
    }

    /// Notes that `endpoint` was tried in vain.
    pub fn note(&mut self, endpoint: u64, lost: bool) {
        self.ids.push(endpoint);
        self.requeues += 1;
        self.lost = lost;
    }
}

/// What was done for one request beyond sending it once.
#[derive(Debug, Default)]
pub struct Retries {
    count: Cell<u32>,
    wait_ms: Cell<u64>,
    /// Requeues that are left; unknown before the first.
    requeues_left: Cell<Option<u64>>,
}

impl Retries {
    /// How often the request was retried.
    pub fn count(&self) -> u64 {
        u64::from(self.count.get())
    }

    /// How long to wait before the retry that was last allowed.
    pub fn wait_ms(&self) -> u64 {
        self.wait_ms.get()
    }

    /// Takes a retry out of the service's budget; false if there is none, or no time left for one.
    pub fn take_retry(
        &self,
        worker: &Worker,
        answered: &Answered,
        deadline: Option<Instant>,
        stats: &ServiceStats,
    ) -> bool {
        let count = self.count.get();
        if count >= RETRIES {
            return false;
        }
        let wait_ms = {
            let mut random = worker.random.borrow_mut();
            let backoff = &answered.policy.retry_backoff;
            backoff.wait_ms(count, self.wait_ms.get(), &mut random)
        };
        if deadline.is_some_and(|by| Instant::now() + Duration::from_millis(wait_ms) >= by) {
            return false;
        }
        if !answered.budget.withdraw(worker.tick_ms()) {
            stats.retry_budget_exhausted.add(1);
            return false;
        }
        self.count.set(count + 1);
        self.wait_ms.set(wait_ms);
        stats.retries.add(1);
        true
    }

    /// Takes a requeue out of the client's budget, which only those need that got as far as a connection.
    pub fn take_requeue(&self, worker: &Worker, client: &Client) -> bool {
        let stats = &client.stats[worker.index];
        let now_ms = worker.tick_ms();
        let left = self.requeues_left.get().unwrap_or_else(|| {
            let balance = client.requeue_budget.balance(now_ms);
            (balance as f64 * REQUEUE_SHARE).ceil() as u64
        });
        self.requeues_left.set(Some(left.saturating_sub(1)));
        if left == 0 {
            stats.requeue_limit.add(1);
            return false;
        }
        let enough = client.requeue_budget.withdraw(now_ms);
        if !enough {
            stats.requeue_budget_exhausted.add(1);
        }
        enough
    }
}

/// Whether what went wrong came after a connection was made, so that sending the request again costs budget.
pub fn costs_budget(cause: Cause) -> bool {
    !matches!(cause, Cause::ConnectFailed | Cause::NoBrokers | Cause::Binding)
}

/// Counts a request that could have been sent again, but for want of an endpoint that was not tried.
pub fn count_stranded(cause: Cause, stats: &ClientStats) {
    if costs_budget(cause) {
        stats.cannot_retry.add(1);
    } else {
        stats.not_open.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_tried_once() {
        let mut tried = Tried::default();
        for endpoint in [1, 2] {
            assert!(tried.leaves_room(3));
            tried.note(endpoint, true);
        }
        assert!(!tried.leaves_room(3));
        assert_eq!((tried.ids(), tried.requeues()), ([1, 2].as_slice(), 2));
    }

    #[test]
    fn the_only_endpoint_is_tried_twice() {
        let mut tried = Tried::default();
        assert!(tried.leaves_room(1));
        tried.note(1, true);
        assert!(!tried.leaves_room(1));
    }

    #[test]
    fn attempts_are_bounded() {
        let mut tried = Tried::default();
        while tried.leaves_room(1000) {
            tried.note(tried.requeues(), true);
        }
        assert_eq!(tried.ids().len(), ATTEMPTS - 1);
    }

    #[test]
    fn a_retry_avoids_its_last_endpoint_and_has_all_attempts_anew() {
        let tried = Tried::after(7, false);
        assert_eq!(tried.ids(), [7]);
        assert!(tried.leaves_room(1));
        assert_eq!(tried.requeues(), 0);
    }
}
