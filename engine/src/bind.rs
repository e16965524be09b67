//! Step ②, cached: what each service name means now, as Python last answered.
//!
//! A name that is known costs a look-up in the worker's own map. A miss goes to the router's table, where the first to come posts one
//! *ask*, however many requests on however many workers wait for it. Python keeps an answer current until the name is
//! *released*: because it was idle, or because the table is full and another name needs the place.

mod answered;
mod binding;
mod service;

use std::collections::HashMap;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::limit::ServiceLimits;
use crate::mail::{Answer, Level, Outbox, Outcome, Outgoing, lock};
use crate::plan::{RouterPlan, ServicePolicy};
use crate::resolve::Clients;
use crate::spent::SpentBudgets;
use crate::stats::BindCacheStats;

pub use answered::{Answered, Bound, Leaf, Residual, Tree};
pub use binding::{Binding, Bindings, Cached};
pub use service::Service;

/// Services that may be known before those that are gone are looked for.
const SERVICES_BOUND: usize = 256;
/// How many names are looked at to find one to evict.
const EVICTION_SAMPLE: usize = 16;
/// So many more are looked at if all of those are in use.
const EVICTION_RESAMPLE: usize = 48;
/// For how long after its last request a name counts as in use, if that request was not its first.
const IN_USE_S: u64 = 60;
/// So many names for which a request waits may stand in the table beyond its limit.
const WAITING_MAX: usize = 16_384;

/// A ticket's number within its router; the bits above are the router's.
const TICKET_BITS: u32 = 40;

/// A service name as one router was asked for it, together with the request's own dtab.
#[derive(Debug)]
pub struct Name {
    pub ticket: u64,
    key: Box<[u8]>,
    pub answered: ArcSwapOption<Answered>,
    /// How many answers there were.
    answers: AtomicU64,
    /// Rung at each answer.
    pub changed: Notify,
    /// Twice the second of its last request, and one more if that was not the first.
    used: AtomicU64,
    retired: AtomicBool,
    pub service: Arc<Service>,
}

impl Name {
    /// Whether the table has dropped this name: ask anew.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn answers(&self) -> u64 {
        self.answers.load(Acquire)
    }

    /// Remembers that another request used the name.
    pub fn touch(&self, now_s: u64) {
        let used = now_s << 1 | 1;
        if self.used.load(Relaxed) != used {
            self.used.store(used, Relaxed);
        }
    }

    /// Remembers that a request waited for the name's answer.
    pub fn touch_first(&self, now_s: u64) {
        self.used.store(now_s << 1 | self.used.load(Relaxed) & 1, Relaxed);
    }

    fn used_s(&self) -> u64 {
        self.used.load(Relaxed) >> 1
    }

    /// Whether it has had another request than its first, and lately: strangers' names, a new one with each request, have not.
    fn is_in_use(&self, now_s: u64) -> bool {
        self.used.load(Relaxed) & 1 == 1 && now_s.saturating_sub(self.used_s()) <= IN_USE_S
    }

    fn serves(&self) -> bool {
        let answered = self.answered.load();
        answered
            .as_ref()
            .is_some_and(|answered| matches!(answered.bound, Bound::Tree(_)))
    }

    /// Whether a request may be waiting for the answer. Were the name given up then, the request would ask anew and take
    /// the place of another one that waits, and so on without end.
    fn is_awaited(&self, now_s: u64, patience_s: u64) -> bool {
        self.answered.load().is_none() && now_s.saturating_sub(self.used_s()) <= patience_s
    }

    /// How willingly the name is given up, least first: names that lead nowhere before those that serve, those that were asked for
    /// once before those in use, then the longest idle.
    fn worth(&self, now_s: u64) -> (bool, bool, u64) {
        (self.serves(), self.is_in_use(now_s), self.used_s())
    }
}

/// Whether a text that goes into a header line holds a byte that would end it.
fn has_control(answer: &Answer) -> bool {
    let bad = |text: &str| text.bytes().any(|byte| byte.is_ascii_control());
    let branches = match &answer.outcome {
        Outcome::Bound { branches } => branches.as_slice(),
        _ => &[],
    };
    bad(&answer.context)
        || branches
            .iter()
            .any(|branch| bad(&branch.residual) || branch.client.as_deref().is_some_and(bad))
}

/// The policies of names: those that have the same share it, so that it stays in the caches.
#[derive(Debug, Default)]
struct Policies(Mutex<Arc<ServicePolicy>>);

impl Policies {
    /// Gives the last policy, if it is the same.
    fn shared(&self, policy: ServicePolicy) -> Arc<ServicePolicy> {
        let mut last = lock(&self.0);
        if **last != policy {
            *last = Arc::new(policy);
        }
        last.clone()
    }
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Arc<Name>>,
    by_key: HashMap<Box<[u8]>, usize>,
    by_ticket: HashMap<u64, Arc<Name>>,
    services: HashMap<Box<str>, Weak<Service>>,
    /// At how many services those that are gone are swept out.
    services_bound: usize,
    next_ticket: u64,
}

/// The names of one router.
#[derive(Debug)]
pub struct Names {
    router: String,
    table: Mutex<Table>,
    limit: AtomicUsize,
    /// How long a request waits for an answer.
    patience_s: AtomicU64,
    workers: usize,
    outbox: Arc<Outbox>,
    /// Counted under the table's lock.
    pub stats: BindCacheStats,
    /// Counted by whoever answers, one after the other. A tree and its leaves live and die with their name.
    pub trees: BindCacheStats,
    pub bounds: BindCacheStats,
    pub limits: ServiceLimits,
    spent: Arc<SpentBudgets>,
    policies: Policies,
    changes: AtomicU64,
}

impl Names {
    /// Makes an empty table for the names of a router. Its tickets are told from others' by their upper bits, `index`.
    pub fn new(index: usize, plan: &RouterPlan, workers: usize, outbox: Arc<Outbox>) -> Self {
        let table = Table {
            next_ticket: (index as u64) << TICKET_BITS,
            ..Table::default()
        };
        Self {
            router: plan.label.clone(),
            table: Mutex::new(table),
            limit: AtomicUsize::new(limit_of(plan)),
            patience_s: AtomicU64::new(patience_of(plan)),
            workers,
            outbox,
            stats: BindCacheStats::default(),
            trees: BindCacheStats::default(),
            bounds: BindCacheStats::default(),
            limits: ServiceLimits::default(),
            spent: Arc::default(),
            policies: Policies::default(),
            changes: AtomicU64::new(1),
        }
    }

    /// Grows whenever a name is answered or retired, after that: while it is as it was, so are all names. Never 0.
    pub fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    fn count_change(&self) {
        self.changes.fetch_add(1, Release);
    }

    /// Takes on the bounds of a new plan. Names beyond them are given up as others come.
    pub fn adjust(&self, plan: &RouterPlan) {
        self.limit.store(limit_of(plan), Relaxed);
        self.patience_s.store(patience_of(plan), Relaxed);
    }

    /// Retires every name: the router is gone.
    pub fn close(&self) {
        let mut table = lock(&self.table);
        while !table.slots.is_empty() {
            self.retire(&mut table, 0);
        }
    }

    /// The router that a ticket belongs to.
    pub fn router_of(ticket: u64) -> usize {
        (ticket >> TICKET_BITS) as usize
    }

    /// Finds a name, or adds it and asks Python for it. `dtab` gives the texts of the request's own dtab.
    pub fn find_or_ask(&self, key: &[u8], path: &str, dtab: impl FnOnce() -> Vec<String>, now_s: u64) -> Arc<Name> {
        let mut table = lock(&self.table);
        if let Some(&index) = table.by_key.get(key) {
            return table.slots[index].clone();
        }
        self.stats.misses.add(1);
        self.make_room(&mut table, 1, now_s);
        table.next_ticket += 1;
        let name = Arc::new(Name {
            ticket: table.next_ticket,
            key: key.into(),
            answered: ArcSwapOption::empty(),
            answers: AtomicU64::new(0),
            changed: Notify::new(),
            used: AtomicU64::new(now_s << 1),
            retired: AtomicBool::new(false),
            service: self.service(&mut table, path),
        });
        let index = table.slots.len();
        table.slots.push(name.clone());
        table.by_key.insert(name.key.clone(), index);
        table.by_ticket.insert(name.ticket, name.clone());
        self.outbox.post(Outgoing::Ask {
            ticket: name.ticket,
            router: self.router.clone(),
            path: path.to_owned(),
            dtab: dtab(),
        });
        name
    }

    /// Takes in an answer; one for a ticket that was released meanwhile is too late and does nothing.
    pub fn answer(&self, ticket: u64, answer: Answer, clients: &Clients) {
        let name = lock(&self.table).by_ticket.get(&ticket).cloned();
        let Some(name) = name else { return };
        let bound = match answer.outcome {
            // Paths and dtabs are escaped where they are shown; from a plugin that forgot to, they'd add header lines.
            _ if has_control(&answer) => {
                let path = &name.service.path;
                let message = format!("{path} was answered with a text that holds control characters");
                self.outbox.note(Level::Error, "binding", message.clone());
                Bound::Failed(message)
            }
            Outcome::Bound { branches } => {
                self.trees.misses.add(1);
                self.bounds.misses.add(branches.len() as u64);
                let leaves = branches
                    .iter()
                    .map(|branch| (branch.weight, self.leaf(&name, branch, clients)));
                Tree::of(leaves).map_or(Bound::Negative, Bound::Tree)
            }
            Outcome::Negative => Bound::Negative,
            Outcome::Failed { message } => Bound::Failed(message),
            Outcome::Invalid { message } => Bound::Invalid(message),
        };
        name.answered.store(Some(Arc::new(Answered {
            bound,
            context: answer.context.into(),
            override_dentries: answer.override_dentries,
            limit: self.limits.of(&name.service.path, answer.policy.rate_limit.as_ref()),
            budget: name.service.budget_of(answer.policy.retry_budget),
            policy: self.policies.shared(answer.policy),
        })));
        name.answers.fetch_add(1, Release);
        self.count_change();
        name.changed.notify_waiters();
        // One that nobody waits for any more may have outgrown the table.
        self.make_room(&mut lock(&self.table), 0, name.used_s());
    }

    /// Retires every name that no request has used for `idle_s` seconds.
    pub fn expire(&self, now_s: u64, idle_s: u64) {
        self.limits.forget_unused(now_s.saturating_mul(1_000_000));
        self.spent.forget_filled(now_s.saturating_mul(1000));
        let mut table = lock(&self.table);
        let mut index = 0;
        while let Some(name) = table.slots.get(index) {
            if now_s.saturating_sub(name.used_s()) >= idle_s {
                self.retire(&mut table, index);
                self.stats.expires.add(1);
            } else {
                index += 1;
            }
        }
        table.services.retain(|_, service| {
            let Some(service) = service.upgrade() else { return false };
            service.forget_unused();
            true
        });
    }

    /// All names, for the tally.
    pub fn all(&self) -> Vec<Arc<Name>> {
        lock(&self.table).slots.clone()
    }

    /// The metrics of every live logical path.
    pub fn services(&self) -> Vec<Arc<Service>> {
        lock(&self.table).services.values().filter_map(Weak::upgrade).collect()
    }

    fn service(&self, table: &mut Table, path: &str) -> Arc<Service> {
        if let Some(service) = table.services.get(path).and_then(Weak::upgrade) {
            return service;
        }
        let service = Arc::new(Service::new(path, self.workers, self.spent.clone()));
        if table.services.len() >= table.services_bound {
            table.services.retain(|_, service| service.strong_count() > 0);
            table.services_bound = SERVICES_BOUND.max(2 * table.services.len());
        }
        table.services.insert(path.into(), Arc::downgrade(&service));
        service
    }

    fn leaf(&self, name: &Name, branch: &crate::mail::Branch, clients: &Clients) -> Leaf {
        let path = &name.service.path;
        let client = branch.client.as_deref().and_then(|id| {
            let client = clients.get(id);
            if client.is_none() {
                let message = format!("{path} was answered with {id}, whose endpoints were never sent");
                self.outbox.note(Level::Error, "binding", message);
            }
            client
        });
        let stats = name
            .service
            .through_client(client.as_ref().map_or("", |client| &client.id));
        Leaf {
            client,
            residual: Residual::of(&branch.residual, path),
            stats,
        }
    }

    /// Gives up names until there is `room` for more; two at most, so that a table that has grown shrinks again.
    fn make_room(&self, table: &mut Table, room: usize, now_s: u64) {
        let (limit, patience_s) = (self.limit.load(Relaxed), self.patience_s.load(Relaxed));
        for _ in 0..2 {
            let count = table.slots.len();
            if count + room <= limit {
                return;
            }
            let crowded = count >= limit + WAITING_MAX;
            let victim = victim(table, now_s, |name| crowded || !name.is_awaited(now_s, patience_s));
            let Some(index) = victim else { return };
            self.retire(table, index);
            self.stats.evicts.add(1);
        }
    }

    /// Gives up a name that leads to a client, so that one fewer is needed; says whether there was one.
    pub fn give_up_for_client(&self, now_s: u64) -> bool {
        let mut table = lock(&self.table);
        let index = victim(&table, now_s, Name::serves);
        if let Some(index) = index {
            self.retire(&mut table, index);
        }
        index.is_some()
    }

    fn retire(&self, table: &mut Table, index: usize) {
        let name = table.slots.swap_remove(index);
        table.by_key.remove(&name.key);
        table.by_ticket.remove(&name.ticket);
        if let Some(moved) = table.slots.get(index) {
            table.by_key.insert(moved.key.clone(), index);
        }
        name.retired.store(true, Relaxed);
        self.count_change();
        self.outbox.post(Outgoing::Release { ticket: name.ticket });
        // Whoever waits for an answer asks anew.
        name.changed.notify_waiters();
    }
}

/// The name to be given up: of a few by chance that may go, the one of least worth. If all of those are in use, more are looked at.
fn victim(table: &Table, now_s: u64, may_go: impl Fn(&Name) -> bool) -> Option<usize> {
    let count = table.slots.len();
    let best = |sample: usize| {
        (0..sample.min(count))
            .map(|nth| if count <= sample { nth } else { fastrand::usize(..count) })
            .filter(|&index| may_go(&table.slots[index]))
            .min_by_key(|&index| table.slots[index].worth(now_s))
    };
    let first = best(EVICTION_SAMPLE);
    match first {
        Some(index) if count > EVICTION_SAMPLE && table.slots[index].is_in_use(now_s) => {
            let second = best(EVICTION_RESAMPLE).into_iter().chain(first);
            second.min_by_key(|&index| table.slots[index].worth(now_s))
        }
        _ => first,
    }
}

fn limit_of(plan: &RouterPlan) -> usize {
    plan.binding_cache.paths.max(1)
}

fn patience_of(plan: &RouterPlan) -> u64 {
    plan.binding_timeout_ms.div_ceil(1000)
}

#[cfg(test)]
mod tests;
