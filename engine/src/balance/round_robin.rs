//! Each endpoint of a weight class in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Rank, Wish, rank};
use crate::endpoint::Endpoint;

/// One try; `members` must not be empty.
pub fn draw<'set>(
    members: &'set [Arc<Endpoint>],
    cursor: &AtomicUsize,
    wish: &Wish<'_>,
) -> (Rank, &'set Arc<Endpoint>) {
    let endpoint = &members[cursor.fetch_add(1, Relaxed) % members.len()];
    (rank(endpoint, wish), endpoint)
}
