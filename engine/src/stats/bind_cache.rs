//! The metrics of a router's binding caches.

use super::counter::Counter;
use crate::tally::Scope;

/// `rt/<router>/bindcache/<cache>` (reference/linker.md §8.6). Counted by one thread at a time, so there is one block for all.
#[derive(Debug, Default)]
pub struct BindCacheStats {
    pub misses: Counter,
    pub evicts: Counter,
    pub expires: Counter,
    pub oneshots: Counter,
}

impl BindCacheStats {
    /// Gives the metrics of one cache.
    pub fn collect(&self, scope: &[&str]) -> Scope {
        let mut scope = Scope::new(scope);
        scope.count("misses", self.misses.get());
        scope.count("evicts", self.evicts.get());
        scope.count("expires", self.expires.get());
        scope.count("oneshots", self.oneshots.get());
        scope
    }
}
