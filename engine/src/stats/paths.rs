//! The metrics of a logical path: by itself, and through one client.

use std::sync::Arc;

use super::counter::{Counter, Gauge};
use super::failures::Counted;
use super::histogram::Histogram;
use super::results::Results;
use crate::tally::{Scope, Stat};

const MICROSECONDS_PER_MILLISECOND: f64 = 1000.0;

/// What one worker has counted for `rt/<router>/service/<path>` (reference/linker.md §8.6).
///
/// In this order, what every request counts is in one line of the cache.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct ServiceStats {
    pub results: Results,
    /// Requests under way.
    pub pending: Gauge,
    pub latency: Histogram,
    /// Requests that were sent once more because of their response.
    pub retries: Counter,
    /// Of those requests that were retried.
    pub retries_per_request: Histogram,
    pub retry_budget_exhausted: Counter,
    /// Requests above the rate limit.
    pub rate_limited: Counter,
}

impl ServiceStats {
    /// Counts a request that is done, retries included.
    #[inline]
    pub fn finish(&self, latency_us: u64, counted: Counted) {
        self.results.add(counted);
        self.latency.record(latency_us);
    }

    /// The bytes that it takes.
    pub fn footprint(&self) -> usize {
        let inside = 2 * size_of::<Histogram>();
        let histograms = self.latency.footprint() + self.retries_per_request.footprint();
        size_of::<Self>() - inside + histograms + self.results.footprint()
    }

    /// Adds up the workers' blocks.
    pub fn collect(scope: &[&str], blocks: &[Arc<Self>]) -> Scope {
        let mut scope = Scope::new(scope);
        scope.results(blocks, |block| &block.results, |block| &block.pending);
        scope.merge("request_latency_ms", blocks, MICROSECONDS_PER_MILLISECOND, |block| {
            &block.latency
        });
        scope.sum("retries/total", blocks, |block| &block.retries);
        scope.stat(
            "retries/per_request",
            retries_per_request(blocks, scope.counters["requests"]),
        );
        scope.sum("retries/budget_exhausted", blocks, |block| {
            &block.retry_budget_exhausted
        });
        scope.sum_if_any("rate_limited", blocks, |block| &block.rate_limited);
        scope
    }
}

/// Those that were never retried are not recorded one by one.
fn retries_per_request(blocks: &[Arc<ServiceStats>], requests: u64) -> Option<Stat> {
    let recorded = Histogram::merged(blocks.iter().map(|block| &block.retries_per_request), 1.0);
    let mut stat = recorded.unwrap_or_default();
    let never = requests.saturating_sub(stat.count);
    if never > 0 {
        stat.count += never;
        stat.buckets.insert(0, (0.0, never));
    }
    (stat.count > 0).then_some(stat)
}

/// What one worker has counted for `rt/<router>/client/<id>/service/<path>`.
///
/// In lines of the cache that no other worker writes to.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct PathStats {
    pub results: Results,
    /// Requests under way.
    pub pending: Gauge,
    pub latency: Histogram,
}

impl PathStats {
    /// Counts one attempt that is done.
    #[inline]
    pub fn finish(&self, latency_us: u64, counted: Counted) {
        self.results.add(counted);
        self.latency.record(latency_us);
    }

    /// The bytes that it takes.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() - size_of::<Histogram>() + self.latency.footprint() + self.results.footprint()
    }

    /// Adds up the workers' blocks.
    pub fn collect(scope: &[&str], blocks: &[Self]) -> Scope {
        let blocks: Vec<&Self> = blocks.iter().collect();
        let mut scope = Scope::new(scope);
        scope.results(&blocks, |block| &block.results, |block| &block.pending);
        scope.merge("request_latency_ms", &blocks, MICROSECONDS_PER_MILLISECOND, |block| {
            &block.latency
        });
        scope
    }
}
