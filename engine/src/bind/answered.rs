//! What Python has answered for a name, made ready for use on the hot path.

use std::sync::Arc;

use super::service::PathBlocks;
use crate::budget::Budget;
use crate::limit::Limit;
use crate::plan::ServicePolicy;
use crate::resolve::Client;

/// An answer.
///
/// In this order, what each request looks at is together: a linker with thousands of names waits for memory.
#[derive(Debug)]
#[repr(C)]
pub struct Answered {
    pub limit: Option<Arc<Limit>>,
    /// Shared by all names that have the same.
    pub policy: Arc<ServicePolicy>,
    /// The request's own dtab as passed on, empty for none.
    pub context: Box<str>,
    pub bound: Bound,
    /// What retries cost.
    pub budget: Arc<Budget>,
    pub override_dentries: Vec<String>,
}

/// What a name is bound to.
#[derive(Debug)]
pub enum Bound {
    Tree(Tree),
    Negative,
    Failed(String),
    Invalid(String),
}

/// Weighted leaves, of which there is one at least.
#[derive(Debug)]
#[repr(C)]
pub struct Tree {
    first: Leaf,
    others: Box<[Leaf]>,
    /// Running totals of the weights, of `first` too.
    totals: Box<[f64]>,
}

/// A client name, and what was left of the path.
#[derive(Debug)]
#[repr(C)]
pub struct Leaf {
    /// `None` for a share of a union that has no endpoint.
    pub client: Option<Arc<Client>>,
    /// The metrics of this path through this client, one block a worker.
    pub stats: PathBlocks,
    /// The residual path in shown form, empty for none.
    pub residual: Box<str>,
}

impl Tree {
    /// Puts leaves with their weights together; none if there are none. A weight that is no positive number counts as 0.
    pub fn of(branches: impl IntoIterator<Item = (f64, Leaf)>) -> Option<Self> {
        let mut total = 0.0;
        let mut totals = Vec::new();
        let mut leaves = branches.into_iter().map(|(weight, leaf)| {
            if weight.is_finite() && weight > 0.0 {
                total += weight;
            }
            totals.push(total);
            leaf
        });
        Some(Self {
            first: leaves.next()?,
            others: leaves.collect(),
            totals: totals.into(),
        })
    }

    /// Chooses a leaf by weight; a leaf of weight 0 is never chosen while another has weight.
    pub fn choose(&self, random: &mut fastrand::Rng) -> &Leaf {
        if self.others.is_empty() {
            return &self.first;
        }
        let total = self.totals.last().copied().unwrap_or_default();
        let index = if total > 0.0 {
            let point = random.f64() * total;
            self.totals
                .partition_point(|&upto| upto <= point)
                .min(self.others.len())
        } else {
            random.usize(..=self.others.len())
        };
        match index.checked_sub(1) {
            Some(index) => &self.others[index],
            None => &self.first,
        }
    }
}
