//! Each endpoint of a weight class in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::{Rank, rank};
use crate::endpoint::Endpoint;

/// One try; `members` must not be empty.
pub fn draw<'set>(
    members: &'set [Arc<Endpoint>],
    cursor: &AtomicUsize,
    avoid: &[u64],
    now_us: u64,
) -> (Rank, &'set Arc<Endpoint>) {
    let endpoint = &members[cursor.fetch_add(1, Relaxed) % members.len()];
    (rank(endpoint, avoid, now_us), endpoint)
}
