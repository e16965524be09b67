//! The engine as a whole: made from a plan, started once, fed with letters, stopped once.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use tokio::sync::watch;

use crate::access_log::AccessLog;
use crate::bind::Names;
use crate::collect;
use crate::listen::{self, Inherited};
use crate::mail::{Answer, Endpoints, Level, Outbox, Outgoing, lock};
use crate::plan::Plan;
use crate::router::{Router, Server};
use crate::tally::{ClientsView, Tally};
use crate::view::{self, Wanted};
use crate::worker;

/// Threads at the most: more than any machine this runs on has.
const WORKERS_MAX: usize = 1024;

/// All routers of a plan, and the threads that serve them.
#[derive(Debug)]
pub struct Engine {
    routers: Arc<[Arc<Router>]>,
    servers: Mutex<Vec<Arc<Server>>>,
    inherited: Mutex<Inherited>,
    outbox: Arc<Outbox>,
    workers: usize,
    epoch: Instant,
    stop: watch::Sender<Option<u64>>,
}

impl Engine {
    /// Makes an engine that does nothing yet; `bell` is an eventfd that is rung when mail waits.
    pub fn new(plan: Plan, bell: OwnedFd, inherited: Inherited) -> Self {
        let outbox = Arc::new(Outbox::new(bell));
        let workers = plan.workers.clamp(1, WORKERS_MAX);
        let routers = plan
            .routers
            .into_iter()
            .enumerate()
            .map(|(index, plan)| Arc::new(Router::new(index, plan, workers, &outbox)))
            .collect();
        Self {
            routers,
            servers: Mutex::default(),
            inherited: Mutex::new(inherited),
            outbox,
            workers,
            epoch: Instant::now(),
            stop: watch::Sender::new(None),
        }
    }

    /// Binds every server and begins to serve; gives back each server's router and address.
    pub fn start(&self) -> io::Result<Vec<(String, SocketAddr)>> {
        let mut shares: Vec<Vec<(Arc<Server>, TcpListener)>> = (0..self.workers).map(|_| Vec::new()).collect();
        let mut serving = Vec::new();
        for router in self.routers.iter() {
            for plan in &router.plan.servers {
                let (address, listeners) = listen::listen(plan, self.workers, &mut lock(&self.inherited))?;
                let server = Arc::new(Server::new(router.clone(), plan.clone(), address, self.workers));
                if let Some(Err(message)) = server.tls.as_ref().map(|tls| (*tls.get(&self.outbox)).clone()) {
                    return Err(io::Error::other(format!("tls of the server on {address}: {message}")));
                }
                for (share, listener) in shares.iter_mut().zip(listeners) {
                    share.push((server.clone(), listener));
                }
                serving.push((router.plan.label.clone(), address));
                lock(&self.servers).push(server);
            }
        }
        report_panics(&self.outbox);
        for log in self.access_logs() {
            log.open(&self.outbox)?;
        }
        let running = Arc::new(AtomicUsize::new(self.workers));
        let unfinished = Arc::new(AtomicU64::new(0));
        for (index, listeners) in shares.into_iter().enumerate() {
            let (routers, outbox, epoch, stop) = (
                self.routers.clone(),
                self.outbox.clone(),
                self.epoch,
                self.stop.subscribe(),
            );
            let (running, unfinished) = (running.clone(), unfinished.clone());
            thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                match worker::run(index, epoch, &routers, listeners, &outbox, stop) {
                    Ok(cut) => {
                        unfinished.fetch_add(cut as u64, Ordering::Relaxed);
                    }
                    Err(error) => outbox.note(Level::Error, "engine", format!("worker {index} ended: {error}")),
                }
                if running.fetch_sub(1, Ordering::AcqRel) == 1 {
                    let unfinished = unfinished.load(Ordering::Relaxed);
                    for router in routers.iter() {
                        router.access_log.iter().for_each(AccessLog::close);
                    }
                    outbox.post(Outgoing::Drained { unfinished });
                }
            })?;
        }
        Ok(serving)
    }

    /// Takes the letters for Python.
    pub fn mail(&self) -> Vec<Outgoing> {
        self.outbox.take()
    }

    /// Takes in what a name means now.
    pub fn answer(&self, ticket: u64, answer: Answer) {
        if let Some(router) = self.routers.get(Names::router_of(ticket)) {
            router.names.answer(ticket, answer, &router.clients);
        }
    }

    /// Takes in where a client name is now.
    pub fn endpoints(&self, letter: Endpoints) {
        if let Some(router) = self.router(&letter.router) {
            router.clients.update(letter);
        }
    }

    /// Drops a client name that no answer names any more.
    pub fn forget(&self, router: &str, client: &str) {
        if let Some(router) = self.router(router) {
            router.clients.forget(client);
        }
    }

    /// Counts up all that was counted.
    pub fn tally(&self) -> Tally {
        collect::collect(&self.routers, &lock(&self.servers), self.epoch)
    }

    /// Shows clients and their endpoints as they are now.
    pub fn clients(&self, wanted: Wanted<'_>) -> ClientsView {
        view::clients(&self.routers, wanted, self.epoch.elapsed().as_micros() as u64)
    }

    /// Stops taking connections and lets requests finish within `grace_ms`; returns at once. `Drained` is posted when
    /// the last is done. A second call with 0 cuts off what is left.
    pub fn stop(&self, grace_ms: u64) {
        self.stop.send_replace(Some(grace_ms));
    }

    /// Opens the access logs anew by their names.
    pub fn reopen_logs(&self) {
        for log in self.access_logs() {
            log.reopen();
        }
    }

    fn access_logs(&self) -> impl Iterator<Item = &AccessLog> {
        self.routers.iter().filter_map(|router| router.access_log.as_ref())
    }

    fn router(&self, label: &str) -> Option<&Arc<Router>> {
        self.routers.iter().find(|router| router.plan.label == label)
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
