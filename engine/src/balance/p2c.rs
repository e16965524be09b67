//! The power of two choices: of two endpoints by chance, the healthier, then the less loaded.

use std::sync::Arc;

use super::{Rank, Wish, rank};
use crate::endpoint::Endpoint;

/// Two different members by chance; twice the same if there is but one.
pub fn two<'set>(
    members: &'set [Arc<Endpoint>],
    rng: &mut fastrand::Rng,
) -> (&'set Arc<Endpoint>, &'set Arc<Endpoint>) {
    let count = members.len() as u32;
    if count < 2 {
        return (&members[0], &members[0]);
    }
    let one = rng.u32(..count);
    let other = rng.u32(..count - 1);
    let other = other + u32::from(other >= one);
    (&members[one as usize], &members[other as usize])
}

/// One try; `members` must not be empty.
pub fn draw<'set>(
    members: &'set [Arc<Endpoint>],
    wish: &Wish<'_>,
    rng: &mut fastrand::Rng,
) -> (Rank, &'set Arc<Endpoint>) {
    let (one, other) = two(members, rng);
    let (first, second) = (rank(one, wish), rank(other, wish));
    let lighter = other.pending() < one.pending();
    let better = if first == second { lighter } else { second < first };
    // Which is lighter no branch predictor can guess, so there is no branch.
    [(first, one), (second, other)][usize::from(better)]
}
