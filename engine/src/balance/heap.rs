//! The least loaded of all, by the bitmaps of `endpoint::levels`; of several that are equally loaded, one by chance.

use std::sync::Arc;

use super::{BEST, Rank, SCAN, Wish, rank};
use crate::endpoint::EndpointSet;
use crate::endpoint::levels::{Levels, Look};
use crate::endpoint::{Endpoint, set::WeightClass};

/// One try; the class must not be empty.
pub fn draw<'set>(
    set: &'set EndpointSet,
    class: &WeightClass,
    levels: &Levels,
    wish: &Wish<'_>,
    rng: &mut fastrand::Rng,
) -> (Rank, &'set Arc<Endpoint>) {
    let start = rng.usize(class.range.clone());
    let mut best = (rank(&set.endpoints[start], wish), &set.endpoints[start]);
    let mut left = SCAN;
    let mut first = true;
    levels.search(
        &class.range,
        start,
        |index| set.endpoints[index].pending(),
        |index| {
            let endpoint = &set.endpoints[index];
            let found = (rank(endpoint, wish), endpoint);
            // The one that chance chose counts only if none is better for its health or its load.
            if first || found.0 < best.0 {
                best = found;
                first = false;
            }
            left -= 1;
            if best.0 == BEST || left == 0 {
                Look::Done
            } else {
                Look::Next
            }
        },
    );
    best
}
