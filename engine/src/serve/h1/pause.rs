//! The wait before a request is sent again, for as long as its caller is there to wait.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::Connection;
use crate::failure::Failure;
use crate::stream::Socket;

/// How often we look whether the caller is still there.
const LOOK_MS: u64 = 1000;

impl Connection<'_> {
    /// Waits; fails as soon as the caller is seen to be gone. One that has ended its half is waited for no longer than an idle
    /// one.
    pub(super) async fn pause(&mut self, wait_ms: u64) -> Result<(), Failure> {
        let patience_ms = self.server.plan.idle_timeout_ms;
        let (_, caller) = self.stream.split();
        let (mut left_ms, mut ended_ms) = (wait_ms, 0);
        while left_ms > 0 {
            let slice_ms = left_ms.min(LOOK_MS);
            tokio::time::sleep(Duration::from_millis(slice_ms)).await;
            left_ms -= slice_ms;
            if !matches!(caller.take_error(), Ok(None)) {
                return Err(Failure::cancelled());
            }
            if poll_fn(|context| Poll::Ready(caller.has_ended(context))).await {
                ended_ms += slice_ms;
            }
            if patience_ms.is_some_and(|patience_ms| ended_ms >= patience_ms) {
                return Err(Failure::cancelled());
            }
        }
        Ok(())
    }
}
