//! The road of a request, read top to bottom: identify, bind, resolve, balance, send; with one loop around the last two.
//!
//! Step ④, transformation, has no line here: Python answers with endpoints that are transformed already. Every protocol gives
//! `route` an `Exchange`; none has a road of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bind::{Answered, Bound, Leaf, Name};
use crate::endpoint::Endpoint;
use crate::failure::{Cause, Failure};
use crate::resolve::{Client, Resolved};
use crate::retry::Tried;
use crate::router::Router;
use crate::worker::Worker;

/// One request, whatever its protocol: what the road has to know of it, and how it is sent.
pub trait Exchange {
    /// ① Finds the service name; afterwards `name_key` and `name_path` tell it.
    fn identify(&mut self) -> Result<(), Failure>;

    /// What tells names apart: the path, and the texts of the request's own dtab.
    fn name_key(&self) -> &[u8];

    /// The service name in shown form, `/svc/web`.
    fn name_path(&self) -> &str;

    /// The texts of the request's own dtab, lowest precedence first.
    fn dtab(&self) -> Vec<String>;

    /// The value of a header that the request has once and no more.
    fn sole_value(&self, header: &str) -> Option<&[u8]>;

    /// How long the server lets a request take.
    fn timeout_ms(&self) -> Option<u64>;

    /// Sends the request to one endpoint and passes the response on to the caller.
    async fn send(&mut self, hop: &Hop<'_>) -> Result<Served, Unsent>;
}

/// Where one attempt goes.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    pub answered: &'a Answered,
    pub leaf: &'a Leaf,
    pub client: &'a Client,
    pub endpoint: &'a Arc<Endpoint>,
    /// By when the response must have begun, and how many milliseconds that was from the start.
    pub deadline: Option<(Instant, u64)>,
}

/// A response that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub status: u16,
    /// From the request's head to the response's head.
    pub latency_us: u64,
    /// Whether all of it was passed on; otherwise the caller's connection is cut.
    pub whole: bool,
}

/// An attempt that gave the caller nothing.
#[derive(Debug)]
pub struct Unsent {
    pub failure: Failure,
    /// The endpoint cannot have acted on the request, or doing so twice does no harm.
    pub repeatable: bool,
}

/// How a request's way ended.
#[derive(Debug)]
pub enum Routed {
    /// An endpoint answered.
    Served(Served),
    /// The name is bound to a status that we answer ourselves.
    Status(u16),
}

/// The service name that a request was bound to, for its metrics; counted as under way for as long as this lives.
#[derive(Debug)]
pub struct BoundTo {
    name: Arc<Name>,
    worker: usize,
}

impl BoundTo {
    fn new(name: Arc<Name>, worker: usize) -> Self {
        name.service.stats[worker].pending.add(1);
        Self { name, worker }
    }

    /// Counts the request as done.
    pub fn finish(self, status: u16, latency_us: u64, cause: Option<Cause>) {
        self.name.service.stats[self.worker].finish(status, latency_us, cause);
    }
}

impl Drop for BoundTo {
    fn drop(&mut self) {
        self.name.service.stats[self.worker].pending.sub(1);
    }
}

/// Takes a request down the road.
pub async fn route<E: Exchange>(
    worker: &Worker,
    router: &Router,
    exchange: &mut E,
    bound_to: &mut Option<BoundTo>,
) -> Result<Routed, Failure> {
    let started = worker.tick_ms();
    let began_us = worker.recent_us();
    exchange.identify()?;
    let (name, answered) = bind(worker, router, exchange).await?;
    let name = &*bound_to.insert(BoundTo::new(name, worker.index)).name;
    if let Some(limit) = &answered.limit {
        let taken = limit.take(worker.recent_us(), |header| exchange.sole_value(header));
        taken.inspect_err(|_| name.service.stats[worker.index].rate_limited.add(1))?;
    }
    let leaf = match &answered.bound {
        Bound::Tree(tree) => tree.choose(&mut worker.random.borrow_mut()),
        Bound::Negative => None,
        Bound::Failed(message) => return Err(Failure::binding(message)),
        Bound::Invalid(message) => return Err(Failure::bad_override(message)),
    };
    let no_brokers = || {
        Failure::no_brokers(
            &name.service.path,
            &router.plan.base_dentries,
            &answered.override_dentries,
        )
    };
    let Some((leaf, client)) = leaf.and_then(|leaf| Some((leaf, leaf.client.as_deref()?))) else {
        return Err(no_brokers());
    };
    let resolved = resolve(worker, router, client, name, started).await?;
    let set = match &*resolved {
        Resolved::Endpoints(set) => set,
        Resolved::Status(status) => return Ok(Routed::Status(*status)),
        Resolved::Failed(message) => return Err(Failure::resolution(message)),
        Resolved::Pending => return Err(no_brokers()),
    };
    let timeout_ms = answered
        .policy
        .total_timeout_ms
        .into_iter()
        .chain(exchange.timeout_ms())
        .min();
    let deadline = timeout_ms.map(|timeout_ms| {
        // Binding has used up a part of it.
        let used = Duration::from_micros(worker.recent_us().saturating_sub(began_us));
        let left = Duration::from_millis(timeout_ms).saturating_sub(used);
        (Instant::now() + left, timeout_ms)
    });
    let mut tried = Tried::default();
    loop {
        let picked = {
            let mut random = worker.random.borrow_mut();
            client.balancer.pick(set, tried.ids(), worker.recent_us(), &mut random)
        };
        let endpoint = picked.ok_or_else(no_brokers)?;
        let hop = Hop {
            answered: &answered,
            leaf,
            client,
            endpoint,
            deadline,
        };
        match exchange.send(&hop).await {
            Ok(served) => {
                client.stats[worker.index]
                    .requeues_per_request
                    .record(tried.ids().len() as u64);
                return Ok(Routed::Served(served));
            }
            Err(unsent) => {
                if !tried.may_go_on(&unsent, endpoint.id, set.endpoints.len()) {
                    return Err(told(unsent.failure, name, client, set, endpoint));
                }
                client.stats[worker.index].requeues.add(1);
            }
        }
    }
}

/// ② What the name means: from the worker's cache, the router's table, or Python, in this order.
async fn bind<E: Exchange>(
    worker: &Worker,
    router: &Router,
    exchange: &E,
) -> Result<(Arc<Name>, Arc<Answered>), Failure> {
    let now_s = worker.tick_ms() / 1000;
    if let Some(name) = worker.cached(router.index, exchange.name_key())
        && let Some(answered) = name.answered.load_full()
    {
        name.touch(now_s);
        return Ok((name, answered));
    }
    let timeout_ms = router.plan.binding_timeout_ms;
    let asked = async {
        loop {
            let key = exchange.name_key();
            let name = router
                .names
                .find_or_ask(key, exchange.name_path(), || exchange.dtab(), now_s);
            let answered = {
                let changed = name.changed.notified();
                tokio::pin!(changed);
                // Listening begins before looking, so that no answer falls between the two.
                changed.as_mut().enable();
                let answered = name.answered.load_full();
                if answered.is_none() && !name.is_retired() {
                    changed.await;
                    // The answer is good for us also when the name was retired at once.
                    name.answered.load_full()
                } else {
                    answered
                }
            };
            if let Some(answered) = answered {
                name.touch_first(worker.tick_ms() / 1000);
                worker.remember(router, key, &name);
                return (name, answered);
            }
        }
    };
    let bound = tokio::time::timeout(Duration::from_millis(timeout_ms), asked).await;
    worker.now_us();
    bound.map_err(|_elapsed| Failure::binding_timeout(timeout_ms, exchange.name_path()))
}

/// ③ Where the client name is; waits for a registry that has not spoken yet.
async fn resolve(
    worker: &Worker,
    router: &Router,
    client: &Client,
    name: &Name,
    started_ms: u64,
) -> Result<Arc<Resolved>, Failure> {
    let resolved = client.resolved.load_full();
    if !matches!(*resolved, Resolved::Pending) {
        return Ok(resolved);
    }
    let timeout_ms = router.plan.binding_timeout_ms;
    let left_ms = (started_ms + timeout_ms).saturating_sub(worker.now_us() / 1000);
    let known = async {
        loop {
            let changed = client.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let resolved = client.resolved.load_full();
            if !matches!(*resolved, Resolved::Pending) {
                return resolved;
            }
            changed.await;
        }
    };
    let resolved = tokio::time::timeout(Duration::from_millis(left_ms), known).await;
    worker.now_us();
    resolved.map_err(|_elapsed| Failure::binding_timeout(timeout_ms, &name.service.path))
}

/// A failure to connect is told with all that an operator needs to find out why.
fn told(
    failure: Failure,
    name: &Name,
    client: &Client,
    set: &crate::endpoint::EndpointSet,
    endpoint: &Endpoint,
) -> Failure {
    if failure.cause != Cause::ConnectFailed {
        return failure;
    }
    let addresses: Vec<String> = set.endpoints.iter().map(|endpoint| endpoint.text.to_string()).collect();
    Failure::connect(&name.service.path, &client.id, &addresses, &endpoint.text)
}
