//! The metrics of one listening address.

use std::sync::Arc;

use super::counter::{Counter, Gauge};
use super::failures::{Failures, failed};
use super::histogram::Histogram;
use super::responses::Responses;
use crate::failure::Cause;
use crate::tally::Scope;

/// What one worker has counted for `rt/<router>/server/<ip>/<port>` (reference/linker.md §8.6).
#[derive(Debug, Default)]
pub struct ServerStats {
    pub success: Counter,
    pub failures: Failures,
    /// Requests under way.
    pub pending: Gauge,
    pub responses: Responses,
    /// Requests above the rate limit.
    pub rate_limited: Counter,
    pub connects: Counter,
    pub closes: Counter,
    /// Connections whose TLS handshake was sound.
    pub tls_connections: Gauge,
    pub tls_handshake_us: Histogram,
    pub tls_failed_handshake_us: Histogram,
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
    pub request_payload_bytes: Histogram,
    pub response_payload_bytes: Histogram,
}

impl ServerStats {
    /// Counts a request that is done. `status` is what the caller was told, 0 if nothing.
    #[inline]
    pub fn finish(&self, status: u16, latency_us: u64, cause: Option<Cause>) {
        if failed(status, cause) {
            self.failures.add(cause);
        } else {
            self.success.add(1);
        }
        let told = if cause == Some(Cause::Cancelled) { 0 } else { status };
        self.responses.record(told, latency_us);
    }

    /// Adds up the workers' blocks.
    pub fn collect(scope: &[&str], blocks: &[Arc<Self>]) -> Scope {
        let mut scope = Scope::new(scope);
        scope.results(blocks, |block| &block.success, |block| &block.failures);
        scope.level("pending", blocks, |block| &block.pending);
        let responses = blocks.iter().map(|block| &block.responses);
        Responses::collect(&responses, &mut scope);
        scope.stat("request_latency_ms", Responses::latency(responses));
        scope.sum_if_any("rate_limited", blocks, |block| &block.rate_limited);
        scope.sum("connects", blocks, |block| &block.connects);
        scope.sum("closes", blocks, |block| &block.closes);
        let open = scope.counters["connects"].saturating_sub(scope.counters["closes"]);
        scope.gauge("connections", open as f64);
        scope.sum("received_bytes", blocks, |block| &block.received_bytes);
        scope.sum("sent_bytes", blocks, |block| &block.sent_bytes);
        scope.merge("request_payload_bytes", blocks, 1.0, |block| {
            &block.request_payload_bytes
        });
        scope.merge("response_payload_bytes", blocks, 1.0, |block| {
            &block.response_payload_bytes
        });
        let handshakes = Histogram::merged(blocks.iter().map(|block| &block.tls_handshake_us), 1000.0);
        if handshakes.is_some() {
            scope.level("tls/connections", blocks, |block| &block.tls_connections);
        }
        scope.stat("tls/handshake_latency_ms", handshakes);
        scope.merge("tls/failed_handshake_latency_ms", blocks, 1000.0, |block| {
            &block.tls_failed_handshake_us
        });
        scope
    }
}
