//! How an attempt at an endpoint went, told as soon as it is known.

use crate::endpoint::{InFlight, Outcome, Transition};
use crate::mail::Level;
use crate::resolve::Client;
use crate::worker::Worker;

/// Who is told how the endpoint did, as soon as it is known: a long body delays no probe.
pub(in crate::serve) struct Verdict<'a, 'e> {
    pub(in crate::serve) worker: &'a Worker,
    pub(in crate::serve) client: &'a Client,
    pub(in crate::serve) in_flight: &'a mut InFlight<'e>,
}

impl Verdict<'_, '_> {
    /// Notes how an attempt went, and tells the operator when that makes the endpoint dead or alive again.
    pub(in crate::serve) fn tell(&mut self, outcome: Outcome, at_us: u64) {
        let transition = {
            let mut random = self.worker.random.borrow_mut();
            self.in_flight.record(outcome, at_us, &mut random)
        };
        let endpoint = &self.in_flight.endpoint().text;
        let id = &self.client.id;
        let message = match transition {
            None | Some(Transition::Removed { again: true, .. }) => return,
            Some(Transition::Removed { .. }) => format!(
                "FailureAccrualFactory marking connection to \"{}\" as dead. Policy: {}. Remote Address: {endpoint}",
                id.trim_start_matches('/'),
                self.client.policy.failure_accrual,
            ),
            Some(Transition::Revived) => format!("endpoint {endpoint} of {id} is alive again"),
        };
        self.worker.outbox.note(Level::Info, "endpoint", message);
        if transition != Some(Transition::Revived)
            && let Some((closed, size)) = self.in_flight.endpoint().accrual().last_straw()
        {
            let message = format!("{closed} of {size} endpoints of {id} are failing: all are used");
            self.worker.outbox.note(Level::Warning, "endpoint", message);
        }
    }
}
