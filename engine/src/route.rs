//! The road of a request, read top to bottom: identify, bind, resolve, balance, send; with one loop around the last two.
//!
//! Step ④, transformation, has no line here: Python answers with endpoints that are transformed already. Every protocol gives
//! `route` an `Exchange`; none has a road of its own.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::bind::{Answered, Binding, Bound, Leaf, Name};
use crate::classify::{Class, Classifier};
use crate::due::{self, Due};
use crate::endpoint::{Endpoint, EndpointSet};
use crate::failure::{Cause, Failure};
use crate::resolve::{Client, Resolved};
use crate::retry::{self, Again, Retries, Tried};
use crate::router::Router;
use crate::stats::Counted;
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

    /// By when the server, or the caller, wants the request to be answered.
    fn due(&self) -> Option<Due>;

    /// Sends the request to one endpoint and passes the response on to the caller, or withholds one that is retried.
    async fn send(&mut self, hop: &Hop<'_>) -> Result<Sent, Unsent>;

    /// Whether an attempt that was lost for this cause may be retried.
    fn may_retry(&self, classifier: Classifier, cause: Cause) -> bool;

    /// Waits before a retry; fails if the caller is gone afterwards.
    async fn pause(&mut self, wait_ms: u64) -> Result<(), Failure>;
}

/// Where one attempt goes.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    pub answered: &'a Answered,
    pub leaf: &'a Leaf,
    pub client: &'a Client,
    pub endpoint: &'a Arc<Endpoint>,
    /// The `Host` that the endpoint wants to be asked for, if it is not the caller's.
    pub authority: Option<&'a Arc<str>>,
    /// By when the response must have begun.
    pub due: Option<Due>,
    /// A new connection is to be made, since an idle one may be as old as the one that was lost.
    pub fresh: bool,
    pub resend: Resend<'a>,
}

/// What decides whether the request of an attempt may be sent again.
#[derive(Clone, Copy, Debug)]
pub struct Resend<'a> {
    pub bound_to: &'a BoundTo,
    /// There are endpoints that were not tried.
    pub room: bool,
}

impl Hop<'_> {
    /// Takes a retry out of the service's budget; false if there is none, or no time left for one.
    pub fn take_retry(&self, worker: &Worker) -> bool {
        let BoundTo { binding, retries, .. } = self.resend.bound_to;
        retries.take_retry(worker, self.answered, self.due.map(|due| due.by), &binding.stats)
    }

    /// Takes a requeue, for a request that cannot have been acted on or may be acted on twice; false if there is none.
    pub fn take_requeue(&self, worker: &Worker, cause: Cause) -> bool {
        let stats = &self.client.stats[worker.index];
        if !self.resend.room {
            retry::count_stranded(cause, stats);
            return false;
        }
        let taken = !retry::costs_budget(cause) || self.resend.bound_to.retries.take_requeue(worker, self.client);
        stats.requeues.add(u64::from(taken));
        taken
    }
}

/// How an attempt that brought a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Served(Served),
    /// The caller saw nothing of the response: what it costs to send the request again is paid.
    Withheld(Again),
}

/// A response that was passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub status: u16,
    pub class: Class,
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
    Status(u16, Class),
}

/// The service name that a request was bound to, for its metrics; counted as under way for as long as this lives.
#[derive(Debug)]
pub struct BoundTo {
    binding: Rc<Binding>,
    retries: Retries,
}

impl BoundTo {
    fn new(binding: Rc<Binding>) -> Self {
        binding.stats.pending.add(1);
        Self {
            binding,
            retries: Retries::default(),
        }
    }

    /// Has the memory fetched that `finish` will touch, while others are fetched.
    pub fn look_ahead(&self, latency_us: u64) {
        self.binding.stats.latency.look_ahead(latency_us);
    }

    /// Counts the request as done.
    pub fn finish(self, latency_us: u64, counted: Counted) {
        let stats = &self.binding.stats;
        stats.finish(latency_us, counted);
        let retries = self.retries.count();
        if retries > 0 {
            stats.retries_per_request.record(retries);
        }
    }
}

impl Drop for BoundTo {
    fn drop(&mut self) {
        self.binding.stats.pending.sub(1);
    }
}

/// Takes a request down the road.
pub async fn route<E: Exchange>(
    worker: &Worker,
    router: &Router,
    exchange: &mut E,
    bound_to: &mut Option<BoundTo>,
) -> Result<Routed, Failure> {
    let mut started = worker.tick_ms();
    let began_us = worker.recent_us();
    exchange.identify()?;
    let binding = bind(worker, router, exchange).await?;
    let bound_to = &*bound_to.insert(BoundTo::new(binding));
    let Binding {
        name,
        answered,
        stats,
        deposits,
        ..
    } = &*bound_to.binding;
    if let Some(limit) = &answered.limit {
        let taken = limit.take(worker.recent_us(), |header| exchange.sole_value(header));
        taken.inspect_err(|_| stats.rate_limited.add(1))?;
    }
    let tree = match &answered.bound {
        Bound::Tree(tree) => Some(tree),
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
    let total = answered.policy.total_timeout_ms.map(|timeout_ms| {
        let due = Due::within(timeout_ms);
        // Binding has used up a part of it.
        let used = Duration::from_micros(worker.recent_us().saturating_sub(began_us));
        let by = due.by.checked_sub(used).unwrap_or(due.by);
        Due { by, ..due }
    });
    let due = Due::earlier(exchange.due(), total);
    if let Some(deposits) = deposits {
        deposits.add(worker.tick_ms());
    }
    if let Some(tree) = tree {
        tree.look_ahead(worker.index);
    }
    let mut tried = Tried::default();
    // Once for each retry; requeues are inside.
    loop {
        let leaf = tree.map(|tree| tree.choose(&mut worker.random.borrow_mut()));
        let Some((leaf, client)) = leaf.and_then(|leaf| Some((leaf, leaf.client.as_deref()?))) else {
            return Err(no_brokers());
        };
        let resolved = resolve(worker, router, client, name, started, due).await?;
        let set = match &*resolved {
            Resolved::Endpoints(set) => set,
            Resolved::Status(status) => {
                // It would be the same again, whatever the method.
                let class = answered.policy.classifier.constant(*status);
                return Ok(Routed::Status(*status, class));
            }
            Resolved::Failed(message) => return Err(Failure::resolution(message)),
            Resolved::Pending => return Err(no_brokers()),
        };
        loop {
            let picked = {
                let mut random = worker.random.borrow_mut();
                client.balancer.pick(set, tried.ids(), worker.recent_us(), &mut random)
            };
            let endpoint = picked.ok_or_else(no_brokers)?;
            let room = tried.leaves_room(set.endpoints.len());
            let hop = Hop {
                answered,
                leaf,
                client,
                endpoint,
                authority: set.authority.as_ref(),
                due,
                fresh: tried.lost_connection(),
                resend: Resend { bound_to, room },
            };
            let sent = exchange.send(&hop).await;
            let lost = sent.is_err();
            let again = match sent {
                Ok(Sent::Served(served)) => {
                    let stats = &client.stats[worker.index];
                    stats.requeues_per_request.record(tried.requeues());
                    return Ok(Routed::Served(served));
                }
                Ok(Sent::Withheld(again)) => again,
                Err(unsent) => {
                    let cause = unsent.failure.cause;
                    if unsent.repeatable && hop.take_requeue(worker, cause) {
                        Again::Requeue
                    } else if exchange.may_retry(answered.policy.classifier, cause) && hop.take_retry(worker) {
                        Again::Retry
                    } else {
                        return Err(told(worker, unsent.failure, &hop, set));
                    }
                }
            };
            if again == Again::Requeue {
                tried.note(endpoint.id, lost);
                continue;
            }
            tried = Tried::after(endpoint.id, lost);
            exchange.pause(bound_to.retries.wait_ms()).await?;
            started = worker.now_us() / 1000;
            break;
        }
    }
}

/// ② What the name means: from the worker's cache, the router's table, or Python, in this order.
async fn bind<E: Exchange>(worker: &Worker, router: &Router, exchange: &E) -> Result<Rc<Binding>, Failure> {
    let now_s = worker.tick_ms() / 1000;
    if let Some(binding) = worker.cached(router, exchange.name_key()) {
        binding.touch(now_s);
        return Ok(binding);
    }
    let timeout_ms = router.plan.binding_timeout_ms;
    // Boxed, as is what waits in `resolve`, so that a task need not have room for what few requests wait for.
    let asked = Box::pin(async {
        loop {
            let key = exchange.name_key();
            let name = router
                .names
                .find_or_ask(key, exchange.name_path(), || exchange.dtab(), now_s);
            let changed = name.changed.notified();
            tokio::pin!(changed);
            // Listening begins before looking, so that no answer falls between the two.
            changed.as_mut().enable();
            let mut binding = Binding::of(name.clone(), worker.index);
            if binding.is_none() && !name.is_retired() {
                changed.await;
                // The answer is good for us also when the name was retired at once.
                binding = Binding::of(name.clone(), worker.index);
            }
            if let Some(binding) = binding {
                name.touch_first(worker.tick_ms() / 1000);
                worker.remember(router, &binding);
                return binding;
            }
        }
    });
    let late = || Failure::binding_timeout(timeout_ms, exchange.name_path());
    let bound = due::bounded(exchange.due(), Duration::from_millis(timeout_ms), asked, late).await;
    worker.now_us();
    bound
}

/// ③ Where the client name is; waits for a registry that has not spoken yet.
async fn resolve(
    worker: &Worker,
    router: &Router,
    client: &Client,
    name: &Name,
    started_ms: u64,
    due: Option<Due>,
) -> Result<Arc<Resolved>, Failure> {
    let resolved = client.resolved.load_full();
    if !matches!(*resolved, Resolved::Pending) {
        return Ok(resolved);
    }
    let timeout_ms = router.plan.binding_timeout_ms;
    let left_ms = (started_ms + timeout_ms).saturating_sub(worker.now_us() / 1000);
    let known = Box::pin(async {
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
    });
    let late = || Failure::binding_timeout(timeout_ms, &name.service.path);
    let resolved = due::bounded(due, Duration::from_millis(left_ms), known, late).await;
    worker.now_us();
    resolved
}

/// A failure to connect is told with all that an operator needs to find out why. While no endpoint is known to be alive, the
/// caller may know of another one.
fn told(worker: &Worker, failure: Failure, hop: &Hop<'_>, set: &EndpointSet) -> Failure {
    if failure.cause != Cause::ConnectFailed {
        return failure;
    }
    let addresses: Vec<String> = set.endpoints.iter().map(|endpoint| endpoint.text.to_string()).collect();
    let path = &hop.resend.bound_to.binding.name.service.path;
    let mut told = Failure::connect(path, &hop.client.id, &addresses, &hop.endpoint.text);
    told.retryable = set.available(worker.now_us()) == 0;
    if hop.client.tls.is_some() {
        // Which certificate was not trusted, and why, is more than that there is no connection.
        told.message.push_str("reason: ");
        told.message.push_str(&failure.message);
        told.message.push('\n');
    }
    told
}
