//! How requests went: counted alike of a server, a service, a client, and a path through one.

use std::sync::Arc;

use super::counter::{Counter, Gauge};
use super::failures::{Failures, failed};
use crate::failure::Cause;
use crate::tally::Scope;

/// Requests, or attempts, that are done.
#[derive(Debug, Default)]
pub struct Results {
    success: Counter,
    failures: Failures,
}

impl Results {
    /// Counts one. `status` is 0 if there was no response.
    #[inline]
    pub(super) fn add(&self, status: u16, cause: Option<Cause>) {
        if failed(status, cause) {
            self.failures.add(cause);
        } else {
            self.success.add(1);
        }
    }

    pub(super) fn footprint(&self) -> usize {
        self.failures.footprint()
    }
}

impl Scope {
    /// `requests`, `success`, `failures…` and `pending`.
    pub(super) fn results<T>(
        &mut self,
        blocks: &[Arc<T>],
        results: impl Fn(&T) -> &Results,
        pending: impl Fn(&T) -> &Gauge,
    ) {
        let parts = || blocks.iter().map(|block| results(block));
        let succeeded: u64 = parts().map(|part| part.success.get()).sum();
        let failed = Failures::collect(parts().map(|part| &part.failures), "", self);
        self.count("success", succeeded);
        self.count("requests", succeeded + failed);
        self.level("pending", blocks, pending);
    }
}
