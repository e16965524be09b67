//! The way to an endpoint: a place among its connections, and a connection.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::due;
use crate::endpoint::connect::{self, Link};
use crate::endpoint::gate::{Crowded, Gate};
use crate::fail_fast;
use crate::failure::{Cause, Failure};
use crate::route::{Hop, Unsent};
use crate::router::Router;
use crate::stream::Stream;
use crate::worker::Worker;

/// An attempt that has no connection yet.
#[derive(Clone, Copy)]
pub(super) struct Reach<'a> {
    pub(super) worker: &'a Worker,
    pub(super) router: &'a Router,
    pub(super) hop: &'a Hop<'a>,
    /// Nothing of the request is lost if the attempt is.
    pub(super) repeatable: bool,
}

impl Reach<'_> {
    /// Takes a place among the connections that an endpoint may have, where they are limited; `name` is the service name.
    pub(super) async fn enter(self, gate: &Gate, name: &str) -> Result<Option<OwnedSemaphorePermit>, Unsent> {
        let hop = self.hop;
        let timeout_ms = self.router.plan.binding_timeout_ms;
        let waiting = gate.enter(&hop.client.stats[self.worker.index]);
        let late = || Failure::binding_timeout(timeout_ms, name);
        let failure = match due::bounded(hop.due, Duration::from_millis(timeout_ms), waiting, late).await {
            Ok(Ok(place)) => return Ok(place),
            Ok(Err(Crowded)) => Failure::endpoint(
                Cause::NoBrokers,
                format!(
                    "too many requests wait for a connection to {} already",
                    hop.endpoint.text
                ),
            ),
            Err(late) => late,
        };
        Err(Unsent {
            failure,
            repeatable: self.repeatable,
        })
    }

    /// A new connection to the endpoint.
    pub(super) async fn connect(self) -> Result<Link, Unsent> {
        let hop = self.hop;
        let stats = &hop.client.stats[self.worker.index];
        let policy = &hop.client.policy;
        let started_us = self.worker.now_us();
        let connecting = async {
            let (address, timeout_ms) = (hop.endpoint.address, policy.connect_timeout_ms);
            let stream = connect::connect(address, timeout_ms, &policy.socket).await?;
            match &hop.client.tls {
                None => Ok(Stream::Plain(stream)),
                // Boxed, since a handshake is large and rare.
                Some(tls) => Box::pin(connect::encrypt(stream, tls, timeout_ms, &self.worker.outbox)).await,
            }
        };
        let connected = match hop.due {
            None => connecting.await,
            Some(due) => match tokio::time::timeout_at(due.by, connecting).await {
                Ok(connected) => connected,
                Err(_elapsed) => {
                    return Err(Unsent {
                        failure: due.failure(),
                        repeatable: false,
                    });
                }
            },
        };
        match connected {
            Ok(stream) => {
                stats.connect_latency.record(self.worker.now_us() - started_us);
                Ok(Link::new(stream, stats, hop.endpoint))
            }
            Err(error) => {
                stats.connect_failures.add(1);
                stats.failed_connect_latency.record(self.worker.now_us() - started_us);
                if let (true, Some(client)) = (policy.outliers.fail_fast, &hop.leaf.client) {
                    fail_fast::connect_failed(self.worker, client, hop.endpoint);
                }
                Err(Unsent {
                    failure: Failure::endpoint(Cause::ConnectFailed, error.to_string()),
                    repeatable: self.repeatable,
                })
            }
        }
    }
}
