//! What went over the connections of a server, or to those of a client.

use std::sync::Arc;

use super::counter::Counter;
use super::histogram::Histogram;
use crate::tally::Scope;

/// The lengths of bodies that were known when their heads came; one that comes in chunks has none.
#[derive(Debug, Default)]
pub struct Payloads {
    request: Histogram,
    response: Histogram,
}

impl Payloads {
    /// Counts what went each way.
    #[inline]
    pub fn record(&self, request: Option<u64>, response: Option<u64>) {
        if let Some(bytes) = request {
            self.request.record(bytes);
        }
        if let Some(bytes) = response {
            self.response.record(bytes);
        }
    }

    pub(super) fn footprint(&self) -> usize {
        self.request.footprint() + self.response.footprint()
    }
}

/// The counts of one block.
pub(super) struct Traffic<'a> {
    pub connects: &'a Counter,
    pub closes: &'a Counter,
    pub received_bytes: &'a Counter,
    pub sent_bytes: &'a Counter,
    pub payloads: &'a Payloads,
}

impl Scope {
    /// `connects`, `closes`, `connections`, and bytes both ways.
    pub(super) fn traffic<T>(&mut self, blocks: &[Arc<T>], of: impl Fn(&T) -> Traffic<'_> + Copy) {
        self.sum("connects", blocks, |block| of(block).connects);
        self.sum("closes", blocks, |block| of(block).closes);
        let open = self.counters["connects"].saturating_sub(self.counters["closes"]);
        self.gauge("connections", open as f64);
        self.sum("received_bytes", blocks, |block| of(block).received_bytes);
        self.sum("sent_bytes", blocks, |block| of(block).sent_bytes);
        self.merge("request_payload_bytes", blocks, 1.0, |block| {
            &of(block).payloads.request
        });
        self.merge("response_payload_bytes", blocks, 1.0, |block| {
            &of(block).payloads.response
        });
    }
}
