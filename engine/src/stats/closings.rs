//! How connections end, and after how long.

use std::sync::Arc;

use super::counter::Counter;
use super::histogram::Histogram;
use crate::tally::Scope;

/// The connections of one worker that are closed.
#[derive(Debug, Default)]
pub struct Closings {
    pub duration_ms: Histogram,
    /// Closed because nothing was under way on them for too long, or because of their age.
    pub idle: Counter,
    pub lifetime: Counter,
    /// Closed because nothing could be read from them for too long.
    pub read_timeout: Counter,
}

impl Closings {
    pub(super) fn footprint(&self) -> usize {
        self.duration_ms.footprint()
    }
}

impl Scope {
    /// `connection_duration` in milliseconds, `idle`, `lifetime` and `read_timeout`.
    pub(super) fn closings<T>(&mut self, blocks: &[Arc<T>], of: impl Fn(&T) -> &Closings + Copy) {
        self.merge("connection_duration", blocks, 1.0, |block| &of(block).duration_ms);
        self.sum_if_any("idle", blocks, |block| &of(block).idle);
        self.sum_if_any("lifetime", blocks, |block| &of(block).lifetime);
        self.sum_if_any("read_timeout", blocks, |block| &of(block).read_timeout);
    }
}
