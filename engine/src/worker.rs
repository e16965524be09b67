//! A worker: one thread with its own runtime, listeners, path cache and pools.
//!
//! Nothing here is shared or locked; what workers have in common is in `Router`, behind atomics.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::bind::{Binding, Bindings, Cached};
use crate::endpoint::pool::Pools;
use crate::mail::{Level, Outbox};
use crate::roster::{Change, Roster};
use crate::router::{Router, Server};
use crate::serve::h1::{self, Scratch};
use crate::serve::pulse::Pulse;
use crate::serve::tcp;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(TICK_MS);
/// By so much at the most `Worker::tick_ms` is behind.
pub const TICK_MS: u64 = 100;
/// Idle connections and retired names are looked at every so many ticks.
const TICKS_PER_SWEEP: u64 = 10;
/// How long a worker that stops waits for one more request on connections that idle.
const LAST_REQUEST: Duration = Duration::from_millis(500);
/// Working memory that is kept for the next requests.
const SPARE_SCRATCHES: usize = 64;
/// A worker's own path cache may outgrow the router's table only until the next sweep.
const CACHE_SLACK: usize = 64;

/// What one thread of the engine works with.
#[derive(Debug)]
pub struct Worker {
    pub index: usize,
    pub outbox: Arc<Outbox>,
    pub random: RefCell<fastrand::Rng>,
    pub pools: RefCell<Pools>,
    /// For bytes that only pass through.
    pub room: RefCell<Vec<u8>>,
    epoch: Instant,
    recent_us: Cell<u64>,
    tick_ms: Cell<u64>,
    caches: RefCell<Vec<(Bindings, u64)>>,
    // Boxed, since they are large and move in and out for every request.
    #[allow(clippy::vec_box)]
    scratches: RefCell<Vec<Box<Scratch>>>,
    /// Of each connection, with the server that took it.
    pulses: RefCell<Vec<(u64, Rc<Pulse>)>>,
    routers: RefCell<Vec<Arc<Router>>>,
    listening: RefCell<HashMap<u64, Listening>>,
    changes: Cell<u64>,
    draining: Cell<bool>,
    /// When the loss of a connection was logged last.
    told_loss_ms: Cell<Option<u64>>,
}

/// A server that takes connections here.
#[derive(Debug)]
struct Listening {
    server: Arc<Server>,
    accepting: JoinHandle<()>,
    /// Dropped to end that.
    open: oneshot::Sender<()>,
}

impl Worker {
    fn new(index: usize, epoch: Instant, outbox: Arc<Outbox>) -> Self {
        Self {
            index,
            outbox,
            random: RefCell::new(fastrand::Rng::new()),
            pools: RefCell::default(),
            room: RefCell::default(),
            epoch,
            recent_us: Cell::new(0),
            tick_ms: Cell::new(0),
            caches: RefCell::default(),
            scratches: RefCell::default(),
            pulses: RefCell::default(),
            routers: RefCell::default(),
            listening: RefCell::default(),
            changes: Cell::new(0),
            draining: Cell::new(false),
            told_loss_ms: Cell::new(None),
        }
    }

    /// Microseconds since the engine started.
    pub fn now_us(&self) -> u64 {
        let now_us = self.epoch.elapsed().as_micros() as u64;
        self.recent_us.set(now_us);
        now_us
    }

    /// What `now_us` gave last: right for a request that has not waited since it came, and costs no look at the clock.
    pub fn recent_us(&self) -> u64 {
        self.recent_us.get()
    }

    /// Milliseconds since the engine started, at most a tick ago: for deadlines, which costs no look at the clock.
    pub fn tick_ms(&self) -> u64 {
        self.tick_ms.get()
    }

    /// Whether the process is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Logs why a connection was lost whose caller cannot be told; of many in a second, one.
    pub fn tell_loss(&self, room: &'static str, message: String) {
        let now_ms = self.tick_ms();
        if self.told_loss_ms.get().is_none_or(|told_ms| now_ms >= told_ms + 1000) {
            self.told_loss_ms.set(Some(now_ms));
            self.outbox.note(Level::Warning, room, message);
        }
    }

    /// How many plans have been taken on: tells a connection when to look up its server anew.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    /// A server as the latest plan says; none if it takes no connections any more.
    pub fn server(&self, id: u64) -> Option<Arc<Server>> {
        let listening = self.listening.borrow();
        listening.get(&id).map(|listening| listening.server.clone())
    }

    /// The router of a label.
    pub fn labelled(&self, label: &str) -> Option<Arc<Router>> {
        let routers = self.routers.borrow();
        routers.iter().find(|router| router.plan.label == label).cloned()
    }

    /// Looks up a name in this worker's cache.
    pub fn cached(&self, router: &Router, key: &[u8]) -> Option<Rc<Binding>> {
        let mut caches = self.caches.borrow_mut();
        let (cache, _) = caches.get_mut(router.index)?;
        let Cached(binding) = cache.get(key)?;
        if !binding.is_current(router.names.changes()) {
            cache.remove(key);
            return None;
        }
        Some(binding.clone())
    }

    /// Keeps a name in this worker's cache.
    pub fn remember(&self, router: &Router, binding: &Rc<Binding>) {
        let mut caches = self.caches.borrow_mut();
        let Some((cache, _)) = caches.get_mut(router.index) else {
            return;
        };
        if cache.len() >= router.plan.binding_cache.paths + CACHE_SLACK {
            let changes = router.names.changes();
            cache.retain(|Cached(binding)| binding.is_current(changes));
        }
        if cache.len() < router.plan.binding_cache.paths + CACHE_SLACK {
            cache.replace(Cached(binding.clone()));
        }
    }

    /// Gives working memory for one request.
    pub fn scratch(&self, server: &Server) -> Box<Scratch> {
        let spare = self.scratches.borrow_mut().pop();
        match spare {
            Some(scratch) if scratch.holds(server.head_room) => scratch,
            _ => Box::new(Scratch::new(server.head_room)),
        }
    }

    /// Takes working memory back.
    pub fn reuse(&self, mut scratch: Box<Scratch>) {
        let mut scratches = self.scratches.borrow_mut();
        if scratches.len() < SPARE_SCRATCHES {
            scratch.reset();
            scratches.push(scratch);
        }
    }

    fn sweep(&self) {
        self.pools.borrow_mut().sweep(self.tick_ms());
        let mut caches = self.caches.borrow_mut();
        for router in self.routers.borrow().iter() {
            let Some((cache, seen)) = caches.get_mut(router.index) else {
                continue;
            };
            let changes = router.names.changes();
            if *seen != changes {
                *seen = changes;
                cache.retain(|Cached(binding)| binding.is_current(changes));
            }
        }
        self.pulses
            .borrow_mut()
            .retain(|(_, pulse)| Rc::strong_count(pulse) > 1);
    }

    /// Takes on a new plan: the next request of each connection goes by it.
    fn change(self: &Rc<Self>, change: Change) {
        self.keep_caches(&change.routers);
        self.routers.replace(change.routers);
        let mut listening = self.listening.borrow_mut();
        let mut former = std::mem::take(&mut *listening);
        for server in change.servers {
            if let Some(kept) = former.remove(&server.id) {
                listening.insert(server.id, Listening { server, ..kept });
            }
        }
        for (server, listener) in change.opened {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let (open, closed) = oneshot::channel();
                    let accepting = tokio::task::spawn_local(accept(self.clone(), server.clone(), listener, closed));
                    listening.insert(
                        server.id,
                        Listening {
                            server,
                            accepting,
                            open,
                        },
                    );
                }
                Err(error) => {
                    let message = format!("cannot listen on {}: {error}", server.address);
                    self.outbox.note(Level::Error, "server", message);
                }
            }
        }
        for (id, removed) in former {
            tokio::task::spawn_local(leave(self.clone(), id, removed));
        }
        self.changes.set(self.changes.get() + 1);
    }

    /// Has a cache for each router, and none for those that are gone.
    fn keep_caches(&self, routers: &[Arc<Router>]) {
        let mut caches = self.caches.borrow_mut();
        let room = routers.iter().map(|router| router.index + 1).max().unwrap_or(0);
        if caches.len() < room {
            caches.resize_with(room, Default::default);
        }
        for (index, cache) in caches.iter_mut().enumerate() {
            if routers.iter().all(|router| router.index != index) {
                *cache = Default::default();
            }
        }
    }
}

/// Takes the connections that the kernel has taken already for a server that was removed, then lets each finish what it does.
async fn leave(worker: Rc<Worker>, id: u64, removed: Listening) {
    drop(removed.open);
    // An accept that failed has no connections to hand over.
    let _ended = removed.accepting.await;
    for (server, pulse) in worker.pulses.borrow().iter() {
        if *server == id {
            pulse.drain();
        }
    }
}

/// Dropped when a worker has taken on its part of a plan.
pub type Taken = std::sync::mpsc::Sender<()>;

/// How a worker is told to stop: `None` while it runs, then the grace in milliseconds.
pub type Stop = watch::Receiver<Option<u64>>;

/// Runs one worker, which begins with the first change and ends when it is told to stop and has drained; gives back how many
/// connections were cut off.
pub fn run(
    index: usize,
    epoch: Instant,
    roster: &Arc<Roster>,
    mut changes: mpsc::UnboundedReceiver<(Change, Taken)>,
    outbox: &Arc<Outbox>,
    mut stop: Stop,
) -> std::io::Result<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default())?;
    let worker = Rc::new(Worker::new(index, epoch, outbox.clone()));
    runtime.block_on(async {
        let ticking = tokio::task::spawn_local(tick(worker.clone(), roster.clone()));
        let grace_ms = loop {
            tokio::select! {
                biased;
                Some((change, _taken)) = changes.recv() => worker.change(change),
                // An error means that the engine itself is gone: stop at once.
                stopped = stop.wait_for(Option::is_some) => break stopped.map_or(0, |grace_ms| grace_ms.unwrap_or(0)),
            }
        };
        let listening = worker.listening.take();
        for removed in listening.into_values() {
            drop(removed.open);
            // One that failed has no connections to hand over.
            let _ended = removed.accepting.await;
        }
        let unfinished = drain(&worker, grace_ms, &mut stop).await;
        ticking.abort();
        Ok(unfinished)
    })
}

/// Takes connections until the server is removed or the worker is told to stop, and then those that the kernel has already taken
/// for us: closing a listening socket resets them.
async fn accept(worker: Rc<Worker>, mut server: Arc<Server>, listener: TcpListener, mut closed: oneshot::Receiver<()>) {
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            _ = &mut closed => break,
        };
        // As the latest plan says.
        server = worker.server(server.id).unwrap_or(server);
        match accepted {
            Ok((stream, peer)) => {
                failing = false;
                begin(&worker, &server, stream, peer);
            }
            Err(error) => {
                // Mostly EMFILE: trying again at once would only burn CPU until a connection closes.
                if !failing {
                    failing = true;
                    let message = format!("cannot accept on {}: {error}", server.address);
                    worker.outbox.note(Level::Warning, "server", message);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok((stream, peer))) = listener.poll_accept(&mut context) {
        begin(&worker, &server, stream, peer);
    }
}

fn begin(worker: &Rc<Worker>, server: &Arc<Server>, stream: TcpStream, peer: SocketAddr) {
    if server.admit_connection() {
        let pulse = Rc::new(Pulse::default());
        worker.pulses.borrow_mut().push((server.id, pulse.clone()));
        let (worker, server) = (worker.clone(), server.clone());
        if server.router.plan.protocol == tcp::PROTOCOL {
            tokio::task::spawn_local(tcp::serve(worker, server, stream, peer, pulse));
        } else {
            tokio::task::spawn_local(h1::serve(worker, server, stream, peer, pulse));
        }
    } else {
        server.stats[worker.index].refused_connections.add(1);
    }
}

async fn tick(worker: Rc<Worker>, roster: Arc<Roster>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0u64;
    loop {
        interval.tick().await;
        ticks += 1;
        let now_ms = worker.now_us() / 1000;
        worker.tick_ms.set(now_ms);
        for (_, pulse) in worker.pulses.borrow().iter() {
            pulse.check(now_ms);
        }
        if ticks.is_multiple_of(TICKS_PER_SWEEP) {
            worker.sweep();
            if worker.index == 0 {
                for router in worker.routers.borrow().iter() {
                    router.expire_names(now_ms);
                }
                roster.tidy();
            }
        }
    }
}

/// Lets requests finish within the grace, or until `stop` is set to a grace of 0.
///
/// Who has just been answered may be sending the next request already, and would lose it with a connection that is closed
/// now: for `LAST_REQUEST` connections stay, and what they ask is answered with `Connection: close`.
async fn drain(worker: &Worker, grace_ms: u64, stop: &mut Stop) -> usize {
    worker.draining.set(true);
    worker.pools.borrow_mut().clear();
    let open = || {
        let mut pulses = worker.pulses.borrow_mut();
        pulses.retain(|(_, pulse)| Rc::strong_count(pulse) > 1);
        pulses.len()
    };
    let began = Instant::now();
    let grace = Duration::from_millis(grace_ms);
    let mut idle_may_stay = true;
    let at_once = stop.wait_for(|grace_ms| *grace_ms == Some(0));
    tokio::pin!(at_once);
    while open() > 0 && began.elapsed() < grace {
        if idle_may_stay && began.elapsed() >= LAST_REQUEST.min(grace / 2) {
            idle_may_stay = false;
            for (_, pulse) in worker.pulses.borrow().iter() {
                pulse.drain();
            }
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(10)) => {}
            _ = &mut at_once => break,
        }
    }
    // What idles has nothing to finish.
    open();
    let pulses = worker.pulses.borrow();
    pulses.iter().filter(|(_, pulse)| !pulse.idle.get()).count()
}
