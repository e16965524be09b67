//! One connection on its way: what it asks for, and the bytes both ways.

use tokio::time::{Duration, sleep};

use super::Connection;
use crate::classify::{Class, Classifier};
use crate::due::Due;
use crate::endpoint::Outcome;
use crate::failure::{Cause, Failure};
use crate::identify::Meant;
use crate::route::{Exchange, Hop, Sent, Served, Unsent};
use crate::serve::reach::Reach;
use crate::serve::tunnel::{End, Moved, Tunnel};
use crate::serve::verdict::Verdict;
use crate::stats::Counted;
use crate::stream::Stream;

pub(super) struct TcpExchange<'a, 'c> {
    connection: &'a Connection<'c>,
    stream: &'a mut Stream,
    meant: Meant,
    key: Vec<u8>,
    began_us: u64,
}

impl<'a, 'c> TcpExchange<'a, 'c> {
    pub(super) fn new(connection: &'a Connection<'c>, stream: &'a mut Stream, meant: Meant) -> Self {
        Self {
            connection,
            stream,
            meant,
            key: Vec::new(),
            began_us: connection.worker.recent_us(),
        }
    }
}

impl Exchange for TcpExchange<'_, '_> {
    fn identify(&mut self) -> Result<(), Failure> {
        let plan = &self.connection.router.plan;
        if plan.dst_prefix != "/" {
            self.key.extend_from_slice(plan.dst_prefix.as_bytes());
        }
        let identified = self.meant.identify(&plan.identifiers, &mut self.key);
        identified.map_err(|reason| Failure::unidentified_connection(self.connection.peer, &reason.to_string()))?;
        if self.key.is_empty() {
            self.key.push(b'/');
        }
        Ok(())
    }

    fn name_key(&self) -> &[u8] {
        &self.key
    }

    fn name_path(&self) -> &str {
        // The shown form of a path is ASCII; were it ever not, the name would be unknown rather than wrong.
        std::str::from_utf8(&self.key).unwrap_or("/")
    }

    fn dtab(&self) -> Vec<String> {
        Vec::new()
    }

    fn sole_value(&self, _header: &str) -> Option<&[u8]> {
        None
    }

    fn due(&self) -> Option<Due> {
        None
    }

    /// Connects, and passes bytes both ways until both sides are done. An endpoint is judged by whether it takes connections:
    /// what is said on them, and how they end, is nobody's failure.
    async fn send(&mut self, hop: &Hop<'_>) -> Result<Sent, Unsent> {
        let Connection {
            worker,
            server,
            router,
            pulse,
            ..
        } = *self.connection;
        let stats = &*hop.client.stats[worker.index];
        let path_stats = &hop.leaf.stats[worker.index];
        let began_us = worker.now_us();
        // A socket that is gone will be found out by what is written to it.
        if self
            .stream
            .socket()
            .local_addr()
            .is_ok_and(|here| here == hop.endpoint.address)
        {
            let failure = Failure::leads_back(hop.endpoint.address);
            path_stats.finish(0, Counted::Failure(Some(failure.cause)));
            return Err(Unsent {
                failure,
                repeatable: true,
            });
        }
        let mut in_flight = hop.endpoint.begin(began_us);
        let reach = Reach {
            worker,
            router,
            hop,
            repeatable: true,
        };
        let entered = match &hop.endpoint.gate {
            Some(gate) => reach.enter(gate, self.name_path()).await,
            None => Ok(None),
        };
        let crowded = entered.is_err();
        let connected = match entered {
            Ok(place) => reach.connect().await.map(|link| (link, place)),
            Err(unsent) => Err(unsent),
        };
        let connected_us = worker.now_us();
        let outcome = if connected.is_ok() {
            Outcome::Success
        } else {
            Outcome::Failure
        };
        if !crowded {
            let (client, in_flight) = (hop.client, &mut in_flight);
            Verdict {
                worker,
                client,
                in_flight,
            }
            .tell(outcome, connected_us);
        }
        let (mut link, _place) = connected.inspect_err(|unsent| {
            let counted = Counted::Failure(Some(unsent.failure.cause));
            stats.finish_connection(counted);
            path_stats.finish(connected_us - began_us, counted);
        })?;
        stats.pending.add(1);
        path_stats.pending.add(1);
        let server_stats = &server.stats[worker.index];
        let count = |moved: Moved| {
            server_stats.received_bytes.add(moved.to_endpoint);
            stats.sent_bytes.add(moved.to_endpoint);
            server_stats.sent_bytes.add(moved.to_caller);
            stats.received_bytes.add(moved.to_caller);
        };
        let tunnel = Tunnel {
            worker,
            pulse,
            idle_ms: server.plan.idle_timeout_ms,
        };
        let end = tunnel.run(self.stream, &mut link.stream, (&[], &[]), count).await;
        stats.pending.sub(1);
        path_stats.pending.sub(1);
        if end == End::Idle {
            server_stats.closings.idle.add(1);
        }
        stats.finish_connection(Counted::Success);
        path_stats.finish(connected_us - began_us, Counted::Success);
        hop.client.requeue_budget.deposit(worker.index, worker.tick_ms());
        Ok(Sent::Served(Served {
            status: 0,
            class: Class::Success,
            latency_us: connected_us.saturating_sub(self.began_us),
            whole: true,
        }))
    }

    fn may_retry(&self, _classifier: Classifier, cause: Cause) -> bool {
        // No byte was taken from the caller yet.
        cause == Cause::ConnectFailed
    }

    async fn pause(&mut self, wait_ms: u64) -> Result<(), Failure> {
        sleep(Duration::from_millis(wait_ms)).await;
        Ok(())
    }
}
