//! By when a request must be answered, and who says so.

use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;

/// By when a request must be answered.
#[derive(Clone, Copy, Debug)]
pub struct Due {
    pub by: Instant,
    pub set_by: SetBy,
}

/// Who set the time, and how long it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetBy {
    /// The server, or the policy of the service: so many milliseconds.
    Timeout(u32),
    /// The caller, whose request came with so many milliseconds left.
    Caller(u32),
}

impl Due {
    /// So many milliseconds from now, as one of our own timeouts says.
    pub fn within(timeout_ms: u64) -> Self {
        Self {
            by: Instant::now() + Duration::from_millis(timeout_ms),
            set_by: SetBy::Timeout(timeout_ms.try_into().unwrap_or(u32::MAX)),
        }
    }

    /// The earlier of two.
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).min_by_key(|due| due.by)
    }

    /// What the caller is told when the time is over.
    pub fn failure(&self) -> Failure {
        match self.set_by {
            SetBy::Timeout(timeout_ms) => Failure::total_timeout(timeout_ms.into()),
            SetBy::Caller(left_ms) => Failure::deadline(left_ms.into()),
        }
    }
}

/// Awaits `work` for at most `limit`, and no longer than until the request is due; no longer is told as `late`.
pub async fn bounded<T>(
    due: Option<Due>,
    limit: Duration,
    work: impl Future<Output = T>,
    late: impl FnOnce() -> Failure,
) -> Result<T, Failure> {
    let limit = Instant::now() + limit;
    let (by, due) = match due {
        Some(due) if due.by < limit => (due.by, Some(due)),
        _ => (limit, None),
    };
    let done = tokio::time::timeout_at(by, work).await;
    done.map_err(|_elapsed| due.map_or_else(late, |due| due.failure()))
}
