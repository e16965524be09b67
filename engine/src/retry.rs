//! Whether a request that got no response may be sent again, and where not.

use crate::route::Unsent;

/// Attempts per request at the most (reference/linker.md §2.7: 25 after the first).
const ATTEMPTS: usize = 26;

/// The endpoints that one request has tried.
#[derive(Debug, Default)]
pub struct Tried {
    // A request that succeeds at once allocates nothing.
    ids: Vec<u64>,
}

impl Tried {
    /// The endpoints that were tried, for the balancer to avoid.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// Notes a failed attempt on `endpoint` and says whether another may follow.
    ///
    /// Only a request that no endpoint can have acted on, or that may be acted on twice, is repeated (RFC 9110 §9.2.2); each
    /// endpoint is tried once, but a set of one is tried twice, since what failed may have been an old connection.
    pub fn may_go_on(&mut self, unsent: &Unsent, endpoint: u64, endpoints: usize) -> bool {
        self.ids.push(endpoint);
        unsent.repeatable && self.ids.len() < ATTEMPTS.min(endpoints.max(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Cause, Failure};

    fn unsent(repeatable: bool) -> Unsent {
        Unsent {
            failure: Failure::endpoint(Cause::ChannelClosed, "closed"),
            repeatable,
        }
    }

    #[test]
    fn every_endpoint_is_tried_once() {
        let mut tried = Tried::default();
        assert!(tried.may_go_on(&unsent(true), 1, 3));
        assert!(tried.may_go_on(&unsent(true), 2, 3));
        assert!(!tried.may_go_on(&unsent(true), 3, 3));
        assert_eq!(tried.ids(), [1, 2, 3]);
    }

    #[test]
    fn what_may_have_been_acted_on_is_not_repeated() {
        assert!(!Tried::default().may_go_on(&unsent(false), 1, 3));
    }

    #[test]
    fn attempts_are_bounded() {
        let mut tried = Tried::default();
        let attempts = (0..1000)
            .take_while(|&id| tried.may_go_on(&unsent(true), id, 1000))
            .count();
        assert_eq!(attempts, ATTEMPTS - 1);
    }
}
