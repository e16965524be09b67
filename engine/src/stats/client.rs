//! The metrics of one client name.

use std::sync::Arc;

use super::closings::Closings;
use super::counter::{Counter, Gauge};
use super::failures::Counted;
use super::histogram::Histogram;
use super::responses::Responses;
use super::results::Results;
use super::traffic::{Payloads, Traffic};
use crate::tally::Scope;

const MICROSECONDS_PER_MILLISECOND: f64 = 1000.0;

/// What one worker has counted for `rt/<router>/client/<bound id>` (reference/linker.md §8.6).
#[derive(Debug, Default)]
pub struct ClientStats {
    pub results: Results,
    /// Attempts under way.
    pub pending: Gauge,
    pub responses: Responses,
    pub connects: Counter,
    pub closes: Counter,
    pub closings: Closings,
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
    pub payloads: Payloads,
    pub connect_latency: Histogram,
    pub failed_connect_latency: Histogram,
    /// Connections that could not be made.
    pub connect_failures: Counter,
    /// Requests that were sent to another endpoint because the first cannot have acted on them.
    pub requeues: Counter,
    pub requeues_per_request: Histogram,
    pub requeue_budget_exhausted: Counter,
    /// Requests that had used up their share of the budget.
    pub requeue_limit: Counter,
    /// Requests that every endpoint has lost, and those that none took a connection for.
    pub cannot_retry: Counter,
    pub not_open: Counter,
    /// Connections of this worker, those of them that are idle, and requests that wait for one.
    pub pool_size: Gauge,
    pub pool_cached: Gauge,
    pub pool_waiters: Gauge,
    /// Requests that had to wait, and those that were refused because too many did.
    pub pool_num_waited: Counter,
    pub pool_num_too_many_waiters: Counter,
}

impl ClientStats {
    /// Counts an attempt that is done. `status` is that of the response, 0 if there was none.
    #[inline]
    pub fn finish(&self, status: u16, latency_us: u64, counted: Counted) {
        self.results.add(counted);
        self.responses.record(status, latency_us);
    }

    /// Counts a connection that was passed on as it is, and is over.
    pub fn finish_connection(&self, counted: Counted) {
        self.results.add(counted);
    }

    /// The bytes that it takes.
    pub fn footprint(&self) -> usize {
        let histograms = [
            &self.connect_latency,
            &self.failed_connect_latency,
            &self.requeues_per_request,
        ];
        let inside = histograms.len() * size_of::<Histogram>() + size_of::<Payloads>() + size_of::<Closings>();
        let histograms: usize = histograms.into_iter().map(Histogram::footprint).sum();
        let parts = size_of::<Closings>()
            + self.closings.footprint()
            + self.payloads.footprint()
            + self.results.footprint()
            + self.responses.footprint();
        size_of::<Self>() - inside + histograms + parts
    }

    /// Adds up the workers' blocks.
    pub fn collect(scope: &[&str], blocks: &[Arc<Self>]) -> Scope {
        let mut scope = Scope::new(scope);
        scope.results(blocks, |block| &block.results, |block| &block.pending);
        let responses = blocks.iter().map(|block| &block.responses);
        Responses::collect(&responses, &mut scope);
        scope.stat("request_latency_ms", Responses::latency(responses));
        scope.traffic(blocks, |block| Traffic {
            connects: &block.connects,
            closes: &block.closes,
            received_bytes: &block.received_bytes,
            sent_bytes: &block.sent_bytes,
            payloads: &block.payloads,
        });
        scope.closings(blocks, |block| &block.closings);
        let in_ms = MICROSECONDS_PER_MILLISECOND;
        scope.merge("connect_latency_ms", blocks, in_ms, |block| &block.connect_latency);
        scope.merge("failed_connect_latency_ms", blocks, in_ms, |block| {
            &block.failed_connect_latency
        });
        scope.sum_if_any("service_creation/failures", blocks, |block| &block.connect_failures);
        scope.sum("retries/requeues", blocks, |block| &block.requeues);
        scope.merge("retries/requeues_per_request", blocks, 1.0, |block| {
            &block.requeues_per_request
        });
        scope.sum("retries/budget_exhausted", blocks, |block| {
            &block.requeue_budget_exhausted
        });
        scope.sum("retries/request_limit", blocks, |block| &block.requeue_limit);
        scope.sum("retries/cannot_retry", blocks, |block| &block.cannot_retry);
        scope.sum("retries/not_open", blocks, |block| &block.not_open);
        scope.level("pool_size", blocks, |block| &block.pool_size);
        scope.level("pool_cached", blocks, |block| &block.pool_cached);
        scope.level("pool_waiters", blocks, |block| &block.pool_waiters);
        scope.sum("pool_num_waited", blocks, |block| &block.pool_num_waited);
        scope.sum("pool_num_too_many_waiters", blocks, |block| {
            &block.pool_num_too_many_waiters
        });
        scope
    }
}
