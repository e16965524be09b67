//! What Python has answered for a name, made ready for use on the hot path.

use std::hint::black_box;
use std::sync::Arc;

use super::service::PathBlocks;
use crate::budget::Budget;
use crate::limit::Limit;
use crate::plan::ServicePolicy;
use crate::resolve::Client;

/// An answer.
///
/// In this order, what each request looks at is together: a linker with thousands of names waits for memory.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub enum Bound {
    Tree(Tree),
    Negative,
    Failed(String),
    Invalid(String),
}

/// Weighted leaves, of which there is one at least.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Tree {
    first: Leaf,
    others: Box<[Leaf]>,
    /// Running totals of the weights, of `first` too.
    totals: Box<[f64]>,
}

/// A client name, and what was left of the path.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Leaf {
    /// `None` for a share of a union that has no endpoint.
    pub client: Option<Arc<Client>>,
    /// The metrics of this path through this client, one block a worker.
    pub stats: PathBlocks,
    pub residual: Residual,
}

/// What was left of a service's path, in shown form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Residual {
    /// The end of the path, so many bytes, as it mostly is: who has the path need not look elsewhere. 0 for none.
    End(u32),
    Other(Box<str>),
}

impl Residual {
    /// What `residual` is to a service's path; `/` is none.
    pub fn of(residual: &str, path: &str) -> Self {
        match residual {
            "/" => Self::End(0),
            _ if path.ends_with(residual) => Self::End(residual.len() as u32),
            _ => Self::Other(residual.into()),
        }
    }

    /// The text, given the service's path; empty for none.
    pub fn text<'r>(&'r self, path: &'r [u8]) -> &'r [u8] {
        match self {
            Self::End(length) => path
                .split_at_checked(path.len().wrapping_sub(*length as usize))
                .map_or(b"", |(_, end)| end),
            Self::Other(residual) => residual.as_bytes(),
        }
    }
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

    /// Has the memory fetched that a request through the first leaf will count in, while others are fetched.
    pub fn look_ahead(&self, worker: usize) {
        black_box(self.first.stats.get(worker).map(|stats| stats.pending.get()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_residual_is_what_it_was_made_of() {
        let path = "/svc/web/users";
        for (residual, shown, held) in [
            ("/", "", Residual::End(0)),
            ("/users", "/users", Residual::End(6)),
            ("/svc/web/users", "/svc/web/users", Residual::End(14)),
            ("/web", "/web", Residual::Other("/web".into())),
            (
                "/x/svc/web/users",
                "/x/svc/web/users",
                Residual::Other("/x/svc/web/users".into()),
            ),
        ] {
            let made = Residual::of(residual, path);
            assert_eq!(made, held);
            assert_eq!(made.text(path.as_bytes()), shown.as_bytes());
        }
    }
}
