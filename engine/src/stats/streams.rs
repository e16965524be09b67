//! Bodies whose length their head does not tell: how many, and how long each took.

use std::sync::Arc;

use super::counter::Counter;
use super::histogram::Histogram;
use crate::tally::Scope;

/// What one worker has counted of the bodies that went one way.
#[derive(Debug, Default)]
pub struct Streams {
    pub opened: Counter,
    pub closed: Counter,
    pub duration_us: Histogram,
}

impl Streams {
    /// Adds up the workers' blocks below `http/stream/<way>`; nothing if there was none.
    pub(super) fn collect<T>(way: &str, blocks: &[Arc<T>], pick: impl Fn(&T) -> &Self, scope: &mut Scope) {
        let sum = |count: fn(&Self) -> &Counter| blocks.iter().map(|block| count(pick(block)).get()).sum::<u64>();
        // Read in this order none is closed before it was opened.
        let closed = sum(|streams| &streams.closed);
        let opened = sum(|streams| &streams.opened);
        if opened == 0 {
            return;
        }
        scope.count(format!("http/stream/{way}/opened"), opened);
        scope.count(format!("http/stream/{way}/closed"), closed);
        scope.gauge(format!("http/stream/{way}/pending"), (opened - closed) as f64);
        let durations = blocks.iter().map(|block| &pick(block).duration_us);
        let durations = Histogram::merged(durations, 1000.0);
        scope.stat(format!("http/stream/{way}/duration_ms"), durations);
    }
}
