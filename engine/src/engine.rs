//! The engine as a whole: made from a plan, started once, fed with letters, stopped once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::access_log::AccessLog;
use crate::bind::Names;
use crate::collect;
use crate::listen::Inherited;
use crate::mail::{Answer, Endpoints, Level, Outbox, Outgoing, lock};
use crate::plan::Plan;
use crate::plugin::{Advice, Consultations};
use crate::roster::{Change, Roster};
use crate::tally::{ClientsView, Scope, Tally};
use crate::view::{self, Wanted};
use crate::windows::Windows;
use crate::worker::{self, Taken};

/// Threads at the most: more than any machine this runs on has.
const WORKERS_MAX: usize = 1024;
/// How long a new plan is waited for to be taken on: workers do it between two requests.
const TAKE_ON_MAX: Duration = Duration::from_secs(1);

/// All routers of a plan, and the threads that serve them.
#[derive(Debug)]
pub struct Engine {
    /// What `start` is to do.
    first: Mutex<Option<(Plan, Inherited)>>,
    roster: Arc<Roster>,
    /// To each worker; locked while a plan is taken on, so that one comes after the other.
    workers: Mutex<Vec<mpsc::UnboundedSender<(Change, Taken)>>>,
    worker_count: usize,
    outbox: Arc<Outbox>,
    epoch: Instant,
    windows: Windows,
    stop: watch::Sender<Option<u64>>,
}

impl Engine {
    /// Makes an engine that does nothing yet; `bell` is an eventfd that is rung when mail waits.
    pub fn new(plan: Plan, bell: OwnedFd, inherited: Inherited) -> Self {
        Self {
            worker_count: plan.workers.clamp(1, WORKERS_MAX),
            first: Mutex::new(Some((plan, inherited))),
            roster: Arc::default(),
            workers: Mutex::default(),
            outbox: Arc::new(Outbox::new(bell)),
            epoch: Instant::now(),
            windows: Windows::default(),
            stop: watch::Sender::new(None),
        }
    }

    /// Binds every server and begins to serve; gives back each server's router and address.
    pub fn start(&self) -> io::Result<Vec<(String, SocketAddr)>> {
        let Some((plan, mut inherited)) = lock(&self.first).take() else {
            return Err(io::Error::other("the engine was started before"));
        };
        let mut workers = lock(&self.workers);
        let prepared = self
            .roster
            .prepare(plan, self.worker_count, &self.outbox, &mut inherited)?;
        report_panics(&self.outbox);
        let running = Arc::new(AtomicUsize::new(self.worker_count));
        let unfinished = Arc::new(AtomicU64::new(0));
        for index in 0..self.worker_count {
            let (roster, outbox, epoch, stop) = (
                self.roster.clone(),
                self.outbox.clone(),
                self.epoch,
                self.stop.subscribe(),
            );
            let (running, unfinished) = (running.clone(), unfinished.clone());
            let (worker, changes) = mpsc::unbounded_channel();
            workers.push(worker);
            thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                match worker::run(index, epoch, &roster, changes, &outbox, stop) {
                    Ok(cut) => {
                        unfinished.fetch_add(cut as u64, Ordering::Relaxed);
                    }
                    Err(error) => outbox.note(Level::Error, "engine", format!("worker {index} ended: {error}")),
                }
                if running.fetch_sub(1, Ordering::AcqRel) == 1 {
                    let unfinished = unfinished.load(Ordering::Relaxed);
                    for router in roster.routers() {
                        router.access_log.as_deref().into_iter().for_each(AccessLog::close);
                    }
                    outbox.post(Outgoing::Drained { unfinished });
                }
            })?;
        }
        // The sockets listen already, so nobody waits for the workers.
        let _taken = self.send(&workers, self.roster.commit(prepared, self.worker_count));
        Ok(self.roster.serving())
    }

    /// Replaces the plan while requests are served; gives back each server's router and address as they are then. What both plans
    /// have is kept, with names, connections and counts. When it returns, the next request of each connection goes by the new one.
    /// An error (a port in use, a file that cannot be read) changes nothing.
    pub fn replan(&self, plan: Plan, mut inherited: Inherited) -> io::Result<Vec<(String, SocketAddr)>> {
        let workers = lock(&self.workers);
        if workers.is_empty() || self.stop.borrow().is_some() {
            return Err(io::Error::other("the engine is not running"));
        }
        if plan.workers != self.worker_count {
            let message = format!(
                "there are {} workers, and {} from the next start on",
                self.worker_count, plan.workers
            );
            self.outbox.note(Level::Warning, "engine", message);
        }
        let prepared = self
            .roster
            .prepare(plan, self.worker_count, &self.outbox, &mut inherited)?;
        for unmet in &prepared.unmet {
            let message = format!("takes effect at the next start: {unmet}");
            self.outbox.note(Level::Warning, "engine", message);
        }
        let taken = self.send(&workers, self.roster.commit(prepared, self.worker_count));
        if taken.recv_timeout(TAKE_ON_MAX) == Err(RecvTimeoutError::Timeout) {
            let message = "a worker is busy, and takes on the new plan later".to_owned();
            self.outbox.note(Level::Warning, "engine", message);
        }
        Ok(self.roster.serving())
    }

    /// Gives each worker its part; what comes back hangs up when all have taken it on.
    fn send(&self, workers: &[mpsc::UnboundedSender<(Change, Taken)>], changes: Vec<Change>) -> Receiver<()> {
        let (taken, all_taken) = channel();
        for (index, (worker, change)) in workers.iter().zip(changes).enumerate() {
            if worker.send((change, taken.clone())).is_err() {
                let message = format!("worker {index} has ended, and takes on no plan");
                self.outbox.note(Level::Error, "engine", message);
            }
        }
        all_taken
    }

    /// Takes the letters for Python.
    pub fn mail(&self) -> Vec<Outgoing> {
        self.outbox.take()
    }

    /// Takes in what a name means now.
    pub fn answer(&self, ticket: u64, answer: Answer) {
        if let Some(router) = self.roster.numbered(Names::router_of(ticket)) {
            router.names.answer(ticket, answer, &router.clients);
        }
    }

    /// Takes in what the plugins say of a request.
    pub fn advise(&self, ticket: u64, advice: Advice) {
        if let Some(router) = self.roster.numbered(Consultations::router_of(ticket)) {
            router.consultations.advise(ticket, advice);
        }
    }

    /// Takes in where a client name is now.
    pub fn endpoints(&self, letter: Endpoints) {
        if let Some(router) = self.roster.labelled(&letter.router) {
            let grown = router.clients.update(letter);
            // Python tells that a client is gone once it knows that no name leads there any more.
            if grown.is_some_and(|clients| clients > router.plan.binding_cache.clients)
                && router.names.give_up_for_client(self.epoch.elapsed().as_secs())
            {
                router.clients.stats.evicts.add(1);
            }
        }
    }

    /// Drops a client name that no answer names any more.
    pub fn forget(&self, router: &str, client: &str) {
        if let Some(router) = self.roster.labelled(router) {
            router.clients.forget(client);
        }
    }

    /// Counts up all that was counted since the start.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.collect(&mut |scope| tally.scopes.push(scope));
        tally
    }

    /// As `tally`, but of distributions the last window.
    pub fn last_windows(&self) -> Tally {
        let mut tally = Tally::default();
        self.collect(&mut |mut scope| {
            self.windows.show(&mut scope);
            tally.scopes.push(scope);
        });
        tally
    }

    /// Ends the window of every distribution.
    pub fn end_windows(&self) {
        self.windows.end(|take| self.collect(take));
    }

    fn collect(&self, take: &mut dyn FnMut(Scope)) {
        collect::collect(&self.roster.routers(), &self.roster.servers(), self.epoch, take);
    }

    /// Shows clients and their endpoints as they are now.
    pub fn clients(&self, wanted: Wanted<'_>) -> ClientsView {
        view::clients(&self.roster.routers(), wanted, self.epoch.elapsed().as_micros() as u64)
    }

    /// Stops taking connections and lets requests finish within `grace_ms`; returns at once. `Drained` is posted when
    /// the last is done. A second call with 0 cuts off what is left.
    pub fn stop(&self, grace_ms: u64) {
        self.stop.send_replace(Some(grace_ms));
    }

    /// Opens the access logs anew by their names.
    pub fn reopen_logs(&self) {
        for router in self.roster.routers() {
            router.access_log.as_deref().into_iter().for_each(AccessLog::reopen);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop(0);
    }
}

/// Makes a panic in one of our threads known to Python's log: it harms one connection only, and is a defect all the same.
fn report_panics(outbox: &Arc<Outbox>) {
    let outbox = Arc::downgrade(outbox);
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let ours = thread::current().name().is_some_and(|name| name.starts_with("worker-"));
        match outbox.upgrade() {
            Some(outbox) if ours => outbox.note(Level::Error, "engine", format!("panic: {panic}")),
            _ => former(panic),
        }
    }));
}
