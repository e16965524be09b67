//! How blocks of several workers become one scope.

use std::ops::Deref;

use super::counter::{Counter, Gauge};
use super::histogram::Histogram;
use crate::tally::{Name, Scope};

impl Scope {
    /// An empty scope, e.g. `["rt", "http", "server", "127.0.0.1/4140"]`.
    pub fn new(scope: &[&str]) -> Self {
        Self {
            scope: scope.iter().map(|&part| part.to_owned()).collect(),
            ..Self::default()
        }
    }

    pub(super) fn count(&mut self, name: impl Into<Name>, count: u64) {
        self.counters.insert(name.into(), count);
    }

    pub(super) fn gauge(&mut self, name: impl Into<Name>, value: f64) {
        self.gauges.insert(name.into(), value);
    }

    pub(super) fn stat(&mut self, name: impl Into<Name>, stat: Option<crate::tally::Stat>) {
        if let Some(stat) = stat {
            self.stats.insert(name.into(), stat);
        }
    }

    pub(super) fn sum<B: Deref>(&mut self, name: &'static str, blocks: &[B], pick: impl Fn(&B::Target) -> &Counter) {
        self.count(name, blocks.iter().map(|block| pick(block).get()).sum());
    }

    /// As `sum`, but without the metric while nothing was counted.
    pub(super) fn sum_if_any<B: Deref>(
        &mut self,
        name: &'static str,
        blocks: &[B],
        pick: impl Fn(&B::Target) -> &Counter,
    ) {
        let count: u64 = blocks.iter().map(|block| pick(block).get()).sum();
        if count > 0 {
            self.count(name, count);
        }
    }

    pub(super) fn level<B: Deref>(&mut self, name: &'static str, blocks: &[B], pick: impl Fn(&B::Target) -> &Gauge) {
        let level: i64 = blocks.iter().map(|block| pick(block).get()).sum();
        self.gauge(name, level as f64);
    }

    pub(super) fn merge<B: Deref>(
        &mut self,
        name: &'static str,
        blocks: &[B],
        unit: f64,
        pick: impl Fn(&B::Target) -> &Histogram + Clone,
    ) {
        let parts = blocks.iter().map(move |block| pick(block));
        self.stat(name, Histogram::merged(parts, unit));
    }
}
