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
    /// One table holds what the reference keeps in four caches: it counts as that of paths.
    pub fn collect(&self, scope: &[&str]) -> Scope {
        let mut scope = Scope::new(scope);
        scope.count("path/misses", self.misses.get());
        scope.count("path/evicts", self.evicts.get());
        scope.count("path/expires", self.expires.get());
        scope.count("path/oneshots", self.oneshots.get());
        scope
    }
}
