//! How requests went: counted alike of a server, a service, a client, and a path through one.

use std::ops::Deref;

use super::counter::{Counter, Gauge};
use super::failures::{Counted, Failures};
use crate::tally::Scope;

/// Requests, or attempts, that are done.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Results {
    failures: Failures,
    success: Counter,
}

impl Results {
    /// Counts one.
    #[inline]
    pub(super) fn add(&self, counted: Counted) {
        match counted {
            Counted::Success => self.success.add(1),
            Counted::Failure(cause) => self.failures.add(cause),
        }
    }

    pub(super) fn footprint(&self) -> usize {
        self.failures.footprint()
    }
}

impl Scope {
    /// `requests`, `success`, `failures…` and `pending`.
    pub(super) fn results<B: Deref>(
        &mut self,
        blocks: &[B],
        results: impl Fn(&B::Target) -> &Results,
        pending: impl Fn(&B::Target) -> &Gauge,
    ) {
        let parts = || blocks.iter().map(|block| results(block));
        let succeeded: u64 = parts().map(|part| part.success.get()).sum();
        let failed = Failures::collect(parts().map(|part| &part.failures), "", self);
        self.count("success", succeeded);
        self.count("requests", succeeded + failed);
        self.level("pending", blocks, pending);
    }
}
