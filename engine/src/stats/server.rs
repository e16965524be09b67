//! The metrics of one listening address.

use std::sync::Arc;

use super::closings::Closings;
use super::counter::{Counter, Gauge};
use super::deadlines::Deadlines;
use super::failures::Counted;
use super::histogram::Histogram;
use super::responses::Responses;
use super::results::Results;
use super::streams::Streams;
use super::traffic::{Payloads, Traffic};
use crate::failure::Cause;
use crate::tally::Scope;
use crate::wire::h1::HeadErrorKind;

/// What one worker has counted for `rt/<router>/server/<ip>/<port>` (reference/linker.md §8.6).
#[derive(Debug, Default)]
pub struct ServerStats {
    pub results: Results,
    /// Requests under way.
    pub pending: Gauge,
    pub responses: Responses,
    /// Requests above the rate limit.
    pub rate_limited: Counter,
    /// Connections that were closed at once because there were too many.
    pub refused_connections: Counter,
    pub connects: Counter,
    pub closes: Counter,
    pub closings: Closings,
    /// Requests that were refused so that they may be sent elsewhere.
    pub nacks: Counter,
    /// Heads that were refused for the name, or the value, of a header.
    pub invalid_names: Counter,
    pub invalid_values: Counter,
    /// Responses that broke off.
    pub broken_streams: Counter,
    /// Connections whose TLS handshake was sound.
    pub tls_connections: Gauge,
    pub tls_handshake_us: Histogram,
    pub tls_failed_handshake_us: Histogram,
    pub deadlines: Deadlines,
    pub received_bytes: Counter,
    pub sent_bytes: Counter,
    pub payloads: Payloads,
    pub request_streams: Streams,
    pub response_streams: Streams,
}

impl ServerStats {
    /// Counts a request that is done. `status` is what the caller was told, 0 if nothing.
    #[inline]
    pub fn finish(&self, status: u16, latency_us: u64, counted: Counted) {
        self.results.add(counted);
        let cancelled = Counted::Failure(Some(Cause::Cancelled));
        let told = if counted == cancelled { 0 } else { status };
        self.responses.record(told, latency_us);
    }

    /// Counts a connection that was passed on as it is, and is over.
    pub fn finish_connection(&self, counted: Counted) {
        self.results.add(counted);
    }

    /// Counts a connection out that was open for so long.
    pub fn count_close(&self, open_ms: u64) {
        self.closes.add(1);
        self.closings.duration_ms.record(open_ms);
    }

    /// Counts a head that was refused for one of its headers.
    pub fn count_malformed(&self, what: HeadErrorKind) {
        match what {
            HeadErrorKind::InvalidName | HeadErrorKind::SpaceBeforeColon => self.invalid_names.add(1),
            HeadErrorKind::InvalidValue | HeadErrorKind::FoldedLine => self.invalid_values.add(1),
            _ => {}
        }
    }

    /// Adds up the workers' blocks.
    pub fn collect(scope: &[&str], blocks: &[Arc<Self>]) -> Scope {
        let mut scope = Scope::new(scope);
        scope.results(blocks, |block| &block.results, |block| &block.pending);
        let responses = blocks.iter().map(|block| &block.responses);
        Responses::collect(&responses, &mut scope);
        scope.stat("request_latency_ms", Responses::latency(responses));
        scope.closings(blocks, |block| &block.closings);
        scope.sum_if_any("nacks", blocks, |block| &block.nacks);
        scope.sum_if_any("rejected_invalid_header_names", blocks, |block| &block.invalid_names);
        scope.sum_if_any("rejected_invalid_header_values", blocks, |block| &block.invalid_values);
        scope.sum_if_any("dispatch/stream/failures", blocks, |block| &block.broken_streams);
        scope.sum_if_any("rate_limited", blocks, |block| &block.rate_limited);
        scope.sum_if_any("refused_connections", blocks, |block| &block.refused_connections);
        Deadlines::collect(blocks, |block| &block.deadlines, &mut scope);
        scope.traffic(blocks, |block| Traffic {
            connects: &block.connects,
            closes: &block.closes,
            received_bytes: &block.received_bytes,
            sent_bytes: &block.sent_bytes,
            payloads: &block.payloads,
        });
        Streams::collect("request", blocks, |block| &block.request_streams, &mut scope);
        Streams::collect("response", blocks, |block| &block.response_streams, &mut scope);
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
