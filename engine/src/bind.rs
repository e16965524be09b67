//! Step ②, cached: what each service name means now, as Python last answered.
//!
//! A name that is known costs a look-up in the worker's own map. A miss goes to the router's table, where the first to come posts one
//! *ask*, however many requests on however many workers wait for it. Python keeps an answer current until the name is
//! *released*: because it was idle, or because the table is full and another name needs the place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::budget::{Budget, BudgetPlan};
use crate::limit::{Limit, ServiceLimits};
use crate::mail::{Answer, Level, Outbox, Outcome, Outgoing, lock};
use crate::plan::{RouterPlan, ServicePolicy};
use crate::resolve::{Client, Clients};
use crate::stats::{BindCacheStats, PathStats, ServiceStats};

/// Services that may be known before those that are gone are looked for.
const SERVICES_BOUND: usize = 256;
/// How many names are looked at to find one to evict.
const EVICTION_SAMPLE: usize = 16;
/// So many names for which a request waits may stand in the table beyond its limit.
const WAITING_MAX: usize = 16_384;

/// A service name as one router was asked for it, together with the request's own dtab.
#[derive(Debug)]
pub struct Name {
    pub ticket: u64,
    key: Box<[u8]>,
    pub answered: ArcSwapOption<Answered>,
    /// Rung at each answer.
    pub changed: Notify,
    used_s: AtomicU64,
    retired: AtomicBool,
    pub service: Arc<Service>,
}

impl Name {
    /// Whether the table has dropped this name: ask anew.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Remembers that a request used the name.
    pub fn touch(&self, now_s: u64) {
        if self.used_s.load(Relaxed) != now_s {
            self.used_s.store(now_s, Relaxed);
        }
    }

    /// Whether a request may be waiting for the answer. Were the name given up then, the request would ask anew and take
    /// the place of another one that waits, and so on without end.
    fn is_awaited(&self, now_s: u64, patience_s: u64) -> bool {
        self.answered.load().is_none() && now_s.saturating_sub(self.used_s.load(Relaxed)) <= patience_s
    }

    /// How willingly the name is given up, least first: names that lead nowhere before those that serve, then the longest idle.
    fn worth(&self) -> (bool, u64) {
        let serves = self
            .answered
            .load()
            .as_ref()
            .is_some_and(|answered| matches!(answered.bound, Bound::Tree(_)));
        (serves, self.used_s.load(Relaxed))
    }
}

/// The metrics of one logical path, whatever dtabs its requests brought.
#[derive(Debug)]
pub struct Service {
    pub path: Box<str>,
    /// One block a worker.
    pub stats: Box<[Arc<ServiceStats>]>,
    /// The metrics of this path through each client.
    through: Mutex<HashMap<Box<str>, PathBlocks>>,
    /// What its retries cost, whatever dtabs they brought; none before its first answer.
    budget: Mutex<Option<Arc<Budget>>>,
}

/// One block a worker.
type PathBlocks = Arc<[Arc<PathStats>]>;

impl Service {
    fn new(path: &str, workers: usize) -> Self {
        Self {
            path: path.into(),
            stats: (0..workers).map(|_| Arc::new(ServiceStats::default())).collect(),
            through: Mutex::default(),
            budget: Mutex::default(),
        }
    }

    /// The budget for retries, made anew when the operator has changed it.
    fn budget_of(&self, plan: BudgetPlan) -> Arc<Budget> {
        let mut budget = lock(&self.budget);
        match &*budget {
            Some(budget) if *budget.plan() == plan => budget.clone(),
            _ => budget.insert(Arc::new(Budget::new(plan, self.stats.len()))).clone(),
        }
    }

    /// How many requests may be retried now; none before the first answer.
    pub fn retries_left(&self, now_ms: u64) -> Option<u64> {
        lock(&self.budget).as_ref().map(|budget| budget.balance(now_ms))
    }

    fn through_client(&self, client: &str) -> PathBlocks {
        let mut through = lock(&self.through);
        if let Some(blocks) = through.get(client) {
            return blocks.clone();
        }
        if through.len() == through.capacity() {
            // The next sweep may be a minute away, and requests can name thousands of clients until then.
            through.retain(|_, blocks| Arc::strong_count(blocks) > 1);
            let in_use = through.len();
            through.reserve(in_use.max(1));
        }
        let blocks: PathBlocks = self.stats.iter().map(|_| Arc::new(PathStats::default())).collect();
        through.insert(client.into(), blocks.clone());
        blocks
    }

    /// Drops the metrics of clients that no answer names any more: dtabs of requests can name any number of them.
    fn forget_unused(&self) {
        lock(&self.through).retain(|_, blocks| Arc::strong_count(blocks) > 1);
    }

    /// The metrics of this path through each client that it goes through.
    pub fn through(&self) -> Vec<(Box<str>, PathBlocks)> {
        let through = lock(&self.through);
        through
            .iter()
            .map(|(client, blocks)| (client.clone(), blocks.clone()))
            .collect()
    }
}

/// An answer, made ready for use on the hot path.
#[derive(Debug)]
pub struct Answered {
    pub bound: Bound,
    /// The request's own dtab as passed on, empty for none.
    pub context: Box<str>,
    pub override_dentries: Vec<String>,
    pub policy: ServicePolicy,
    pub limit: Option<Arc<Limit>>,
    /// What retries cost.
    pub budget: Arc<Budget>,
}

/// What a name is bound to.
#[derive(Debug)]
pub enum Bound {
    Tree(Tree),
    Negative,
    Failed(String),
    Invalid(String),
}

/// Weighted leaves.
#[derive(Debug)]
pub struct Tree {
    leaves: Box<[Leaf]>,
    /// Running totals of the weights, parallel to `leaves`.
    totals: Box<[f64]>,
}

/// A client name, and what was left of the path.
#[derive(Debug)]
pub struct Leaf {
    /// `None` for a share of a union that has no endpoint.
    pub client: Option<Arc<Client>>,
    /// The residual path in shown form, empty for none.
    pub residual: Box<str>,
    /// `l5d-dst-service`, `l5d-dst-client` and `l5d-dst-residual` as header lines.
    pub lines: Box<[u8]>,
    /// The metrics of this path through this client, one block a worker.
    pub stats: PathBlocks,
}

impl Tree {
    /// Chooses a leaf by weight; a leaf of weight 0 is never chosen while another has weight.
    pub fn choose(&self, random: &mut fastrand::Rng) -> Option<&Leaf> {
        let (Some(leaf), Some(&total)) = (self.leaves.first(), self.totals.last()) else {
            return None;
        };
        if self.leaves.len() == 1 {
            return Some(leaf);
        }
        if total <= 0.0 {
            return self.leaves.get(random.usize(..self.leaves.len()));
        }
        let point = random.f64() * total;
        let index = self.totals.partition_point(|&upto| upto <= point);
        self.leaves.get(index.min(self.leaves.len() - 1))
    }

    /// All leaves, for the tally.
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
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
    limit: usize,
    /// How long a request waits for an answer.
    patience_s: u64,
    workers: usize,
    outbox: Arc<Outbox>,
    /// Counted under the table's lock.
    pub stats: BindCacheStats,
    pub limits: ServiceLimits,
    /// Grows whenever a name is retired, so that workers know when to look through their maps.
    pub retirements: AtomicU64,
}

impl Names {
    /// Makes an empty table for the names of a router. Its tickets are told from others' by their upper bits, `index`.
    pub fn new(index: usize, plan: &RouterPlan, workers: usize, outbox: Arc<Outbox>) -> Self {
        let table = Table {
            next_ticket: (index as u64) << 48,
            ..Table::default()
        };
        Self {
            router: plan.label.clone(),
            table: Mutex::new(table),
            limit: plan.binding_cache.paths.max(1),
            patience_s: plan.binding_timeout_ms.div_ceil(1000),
            workers,
            outbox,
            stats: BindCacheStats::default(),
            limits: ServiceLimits::default(),
            retirements: AtomicU64::new(0),
        }
    }

    /// The router that a ticket belongs to.
    pub fn router_of(ticket: u64) -> usize {
        (ticket >> 48) as usize
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
            changed: Notify::new(),
            used_s: AtomicU64::new(now_s),
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
            Outcome::Bound { branches } => Bound::Tree(self.tree(&name, &branches, clients)),
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
            policy: answer.policy,
        })));
        name.changed.notify_waiters();
        // One that nobody waits for any more may have outgrown the table.
        self.make_room(&mut lock(&self.table), 0, name.used_s.load(Relaxed));
    }

    /// Retires every name that no request has used for `idle_s` seconds.
    pub fn expire(&self, now_s: u64, idle_s: u64) {
        self.limits.forget_unused(now_s.saturating_mul(1_000_000));
        let mut table = lock(&self.table);
        let mut index = 0;
        while let Some(name) = table.slots.get(index) {
            if now_s.saturating_sub(name.used_s.load(Relaxed)) >= idle_s {
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
        let service = Arc::new(Service::new(path, self.workers));
        if table.services.len() >= table.services_bound {
            table.services.retain(|_, service| service.strong_count() > 0);
            table.services_bound = SERVICES_BOUND.max(2 * table.services.len());
        }
        table.services.insert(path.into(), Arc::downgrade(&service));
        service
    }

    fn tree(&self, name: &Name, branches: &[crate::mail::Branch], clients: &Clients) -> Tree {
        let mut total = 0.0;
        let mut totals = Vec::with_capacity(branches.len());
        let mut leaves = Vec::with_capacity(branches.len());
        for branch in branches {
            if branch.weight.is_finite() && branch.weight > 0.0 {
                total += branch.weight;
            }
            totals.push(total);
            leaves.push(self.leaf(name, branch, clients));
        }
        Tree {
            leaves: leaves.into(),
            totals: totals.into(),
        }
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
        let residual = if branch.residual == "/" {
            ""
        } else {
            branch.residual.as_str()
        };
        let id = client.as_ref().map_or("", |client| &client.id);
        let mut lines = format!("l5d-dst-service: {path}\r\nl5d-dst-client: {id}\r\n");
        if !residual.is_empty() {
            lines.push_str("l5d-dst-residual: ");
            lines.push_str(residual);
            lines.push_str("\r\n");
        }
        let stats = name.service.through_client(id);
        Leaf {
            client,
            residual: residual.into(),
            lines: lines.into_bytes().into(),
            stats,
        }
    }

    /// Gives up names until there is `room` for more; two at most, so that a table that has grown shrinks again.
    fn make_room(&self, table: &mut Table, room: usize, now_s: u64) {
        for _ in 0..2 {
            let count = table.slots.len();
            if count + room <= self.limit {
                return;
            }
            let victim = (0..EVICTION_SAMPLE.min(count))
                .map(|nth| {
                    if count <= EVICTION_SAMPLE {
                        nth
                    } else {
                        fastrand::usize(..count)
                    }
                })
                .filter(|&index| {
                    count >= self.limit + WAITING_MAX || !table.slots[index].is_awaited(now_s, self.patience_s)
                })
                .min_by_key(|&index| table.slots[index].worth());
            let Some(index) = victim else { return };
            self.retire(table, index);
            self.stats.evicts.add(1);
        }
    }

    fn retire(&self, table: &mut Table, index: usize) {
        let name = table.slots.swap_remove(index);
        table.by_key.remove(&name.key);
        table.by_ticket.remove(&name.ticket);
        if let Some(moved) = table.slots.get(index) {
            table.by_key.insert(moved.key.clone(), index);
        }
        name.retired.store(true, Relaxed);
        self.retirements.fetch_add(1, Relaxed);
        self.outbox.post(Outgoing::Release { ticket: name.ticket });
        // Whoever waits for an answer asks anew.
        name.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Branch;

    fn names(limit: usize) -> Names {
        let text = format!(
            r#"{{"label": "http", "protocol": "http", "dst_prefix": "/svc", "identifiers": [], "servers": [],
                "base_dentries": [], "binding_timeout_ms": 10000, "originator": false,
                "binding_cache": {{"paths": {limit}, "trees": 1, "bounds": 1, "clients": 1, "idle_ttl_ms": 600000}},
                "http": {{"max_head_bytes": 1, "max_line_bytes": 1, "max_header_count": 1, "max_error_body_bytes": 1}}}}"#
        );
        let plan = serde_json::from_str(&text).expect("a plan");
        let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).expect("an eventfd");
        Names::new(0, &plan, 1, Arc::new(Outbox::new(bell)))
    }

    fn ask(names: &Names, path: &str, now_s: u64) -> Arc<Name> {
        names.find_or_ask(path.as_bytes(), path, Vec::new, now_s)
    }

    fn answer(outcome: Outcome) -> Answer {
        Answer {
            outcome,
            context: String::new(),
            override_dentries: Vec::new(),
            policy: ServicePolicy::default(),
        }
    }

    #[test]
    fn a_name_that_a_request_waits_for_is_not_given_up_for_another() {
        let names = names(2);
        let waiting: Vec<_> = (0..100).map(|number| ask(&names, &format!("/{number}"), 5)).collect();
        assert!(waiting.iter().all(|name| !name.is_retired()));
        assert_eq!(names.outbox.take().len(), 100, "one ask each, and no release");
        for name in &waiting {
            names.answer(name.ticket, answer(Outcome::Negative), &Clients::new(1));
        }
        for number in 100..300 {
            let name = ask(&names, &format!("/{number}"), 5);
            names.answer(name.ticket, answer(Outcome::Negative), &Clients::new(1));
        }
        assert!(names.all().len() <= 2, "{} names are left", names.all().len());
    }

    #[test]
    fn a_name_that_was_never_answered_is_given_up_once_nobody_can_wait_for_it() {
        let names = names(1);
        let first = ask(&names, "/a", 5);
        ask(&names, "/b", 15);
        assert!(!first.is_retired());
        ask(&names, "/c", 16);
        assert!(first.is_retired());
    }

    #[test]
    fn not_even_waiting_names_fill_the_table_without_end() {
        let names = names(1);
        for number in 0..WAITING_MAX + 1000 {
            ask(&names, &format!("/{number}"), 5);
        }
        assert!(names.all().len() <= WAITING_MAX + 1);
    }

    #[test]
    fn metrics_through_a_client_go_when_no_answer_names_it_any_more() {
        let names = names(10);
        let clients = Clients::new(1);
        let name = ask(&names, "/a", 5);
        for number in 0..1000 {
            let branches = vec![Branch {
                weight: 1.0,
                client: Some(format!("/{number}")),
                residual: "/".to_owned(),
            }];
            names.answer(name.ticket, answer(Outcome::Bound { branches }), &clients);
            name.service.through_client(&format!("/{number}"));
        }
        assert!(name.service.through().len() <= 16, "not even until the next sweep");
        names.expire(6, 600);
        assert!(name.service.through().len() <= 1);
    }
}
