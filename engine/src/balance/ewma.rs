//! Peak EWMA: of two endpoints by chance, the healthier, then the one with less latency × (requests under way + 1).
//!
//! An endpoint of which nothing is known gets one request at once, and no second one before it has answered, unless the
//! other of the two is as unknown: so a new one is neither starved nor flooded.

use std::sync::Arc;

use super::p2c::two;
use super::{Rank, Wish, rank};
use crate::endpoint::Endpoint;

/// More than any latency: what an unknown endpoint with a request under way is taken to need, in µs.
const UNKNOWN_US: f32 = 1e15;

fn cost(endpoint: &Endpoint, now_us: u64) -> f32 {
    let pending = endpoint.pending();
    match endpoint.latency_us(now_us) {
        Some(latency) => latency * (pending as f32 + 1.0),
        None if pending == 0 => 0.0,
        None => UNKNOWN_US * pending as f32,
    }
}

/// One try; `members` must not be empty.
pub fn draw<'set>(
    members: &'set [Arc<Endpoint>],
    wish: &Wish<'_>,
    rng: &mut fastrand::Rng,
) -> (Rank, &'set Arc<Endpoint>) {
    let (one, other) = two(members, rng);
    let (first, second) = (rank(one, wish), rank(other, wish));
    let quicker = cost(other, wish.now_us) < cost(one, wish.now_us);
    let better = if first == second { quicker } else { second < first };
    // Which is quicker no branch predictor can guess, so there is no branch.
    [(first, one), (second, other)][usize::from(better)]
}
