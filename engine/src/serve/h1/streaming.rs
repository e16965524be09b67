//! A body under way whose length its head did not tell, for the counters.

use crate::stats::Streams;
use crate::wire::h1::Body;
use crate::worker::Worker;

/// Dropped when the body has ended before its time; `end` when it is whole.
pub(super) struct Streaming<'a> {
    streams: &'a Streams,
    began_us: u64,
}

impl<'a> Streaming<'a> {
    /// Counts a body, if it is one of these.
    pub(super) fn begin(body: Body, streams: &'a Streams, worker: &Worker) -> Option<Self> {
        matches!(body, Body::Chunked | Body::UntilClose).then(|| {
            streams.opened.add(1);
            let began_us = worker.now_us();
            Self { streams, began_us }
        })
    }

    /// Notes how long it took.
    pub(super) fn end(self, worker: &Worker) {
        let took_us = worker.now_us().saturating_sub(self.began_us);
        self.streams.duration_us.record(took_us);
    }
}

impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        self.streams.closed.add(1);
    }
}
