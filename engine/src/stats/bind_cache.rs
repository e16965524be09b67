//! The metrics of a router's binding caches.

use super::counter::Counter;
use crate::tally::Scope;

/// `rt/<router>/bindcache` (reference/linker.md §8.6). Counted under the table's lock, so there is one block for all.
#[derive(Debug, Default)]
pub struct BindCacheStats {
    pub misses: Counter,
    pub evicts: Counter,
    pub expires: Counter,
    pub oneshots: Counter,
}

impl BindCacheStats {
    /// One table holds what the reference keeps in four caches; `scope` says which of them it is shown as.
    pub fn collect(&self, scope: &[&str]) -> Scope {
        let mut scope = Scope::new(scope);
        scope.count("misses", self.misses.get());
        scope.count("evicts", self.evicts.get());
        scope.count("expires", self.expires.get());
        scope.count("oneshots", self.oneshots.get());
        scope
    }
}
