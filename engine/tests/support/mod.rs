//! An engine with canned answers, callers and endpoints of raw bytes: what the tests of the road are made of.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use biandou_engine::Engine;
use biandou_engine::listen::Inherited;
use biandou_engine::mail::Outgoing;
use biandou_engine::view::Wanted;
use serde_json::{Value, json};

/// How long anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Gives a plan of one router with one server; `server` and `router` replace keys of the defaults.
pub fn plan(server: &Value, router: &Value) -> Value {
    let socket = json!({
        "no_delay": true, "reuse_port": false, "keep_alive": null, "backlog": null,
        "read_timeout_ms": null, "write_timeout_ms": null
    });
    let mut one = json!({
        "ip": "127.0.0.1", "port": 0, "fds": [], "socket": socket, "clear_context": false,
        "max_concurrent_requests": null, "max_call_depth": 1000, "timestamp_header": null, "head_timeout_ms": 1000,
        "idle_timeout_ms": 5000, "life_timeout_ms": null, "request_timeout_ms": null, "max_connections": 1000
    });
    replace(&mut one, server);
    let mut all = json!({
        "label": "http", "protocol": "http", "dst_prefix": "/svc",
        "identifiers": [{"kind": "io.l5d.header.token", "header": "Host"}],
        "servers": [one], "base_dentries": ["/svc => /#/io.l5d.fs"], "binding_timeout_ms": 2000,
        "binding_cache": {"paths": 100, "trees": 100, "bounds": 100, "clients": 100, "idle_ttl_ms": 600_000},
        "http": {"max_head_bytes": 8192, "max_line_bytes": 4096, "max_header_count": 128, "max_error_body_bytes": 65536},
        "originator": false
    });
    replace(&mut all, router);
    json!({"workers": 1, "routers": [all]})
}

fn replace(target: &mut Value, with: &Value) {
    for (key, value) in with.as_object().into_iter().flatten() {
        target[key] = value.clone();
    }
}

/// Gives a letter with the endpoints of a client name.
pub fn endpoints(client: &str, addresses: &[SocketAddr], policy: &Value) -> Value {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|address| json!([address.ip().to_string(), address.port(), 1.0]))
        .collect();
    let mut whole = json!({
        "balancer": {"kind": "p2c", "maxEffort": 5},
        "failure_accrual": {"kind": "io.l5d.consecutiveFailures", "failures": 5},
        "pool": {"min_size": 0, "max_size": null, "idle_time_ms": null, "max_waiters": null},
        "socket": {"no_delay": true, "reuse_port": false, "keep_alive": null, "backlog": null,
                   "read_timeout_ms": null, "write_timeout_ms": null},
        "connect_timeout_ms": 1000, "request_attempt_timeout_ms": null, "idle_timeout_ms": null, "life_timeout_ms": null
    });
    replace(&mut whole, policy);
    json!({
        "router": "http", "client": client,
        "state": {"type": "bound", "addresses": addresses, "authority": null}, "policy": whole
    })
}

/// Gives an answer that sends everything to one client.
pub fn bound(client: &str) -> Value {
    answer(&json!({"type": "bound", "branches": [{"weight": 1.0, "client": client, "residual": "/"}]}))
}

/// Gives an answer with this outcome.
pub fn answer(outcome: &Value) -> Value {
    json!({"outcome": outcome, "context": "", "override_dentries": [], "policy": {"total_timeout_ms": null}})
}

/// An engine whose names are answered from a table; a name that is not there is never answered.
pub struct Mesh {
    pub engine: Arc<Engine>,
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Outgoing>>>,
}

impl Mesh {
    /// Starts the engine and a thread that answers asks.
    pub fn start(plan: &Value, letters: &[Value], answers: &[(&str, Value)]) -> Self {
        let flags = rustix::event::EventfdFlags::CLOEXEC;
        let bell = rustix::event::eventfd(0, flags).expect("an eventfd");
        let heard = bell.try_clone().expect("a second handle");
        let plan = serde_json::from_value(plan.clone()).expect("a plan");
        let engine = Arc::new(Engine::new(plan, bell, Inherited::new()));
        let address = engine.start().expect("the engine starts")[0].1;
        for letter in letters {
            engine.endpoints(serde_json::from_value(letter.clone()).expect("a letter"));
        }
        let answers: HashMap<String, Value> = answers
            .iter()
            .map(|(path, answer)| ((*path).to_owned(), answer.clone()))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, weak) = (asked.clone(), Arc::downgrade(&engine));
        thread::spawn(move || {
            loop {
                let mut fds = [rustix::event::PollFd::new(&heard, rustix::event::PollFlags::IN)];
                let soon = rustix::event::Timespec {
                    tv_sec: 0,
                    tv_nsec: 50_000_000,
                };
                if rustix::event::poll(&mut fds, Some(&soon)).is_ok_and(|ready| ready > 0) {
                    let _rings = rustix::io::read(&heard, &mut [0; 8]);
                }
                let Some(engine) = weak.upgrade() else { return };
                for letter in engine.mail() {
                    let answer = match &letter {
                        Outgoing::Ask { ticket, path, .. } => answers.get(path).map(|answer| (*ticket, answer.clone())),
                        _ => None,
                    };
                    // Noted before it is answered, so that whoever has seen the answer finds it.
                    seen.lock().expect("the list").push(letter);
                    if let Some((ticket, answer)) = answer {
                        engine.answer(ticket, serde_json::from_value(answer).expect("an answer"));
                    }
                }
            }
        });
        Self { engine, address, asked }
    }

    /// Starts an engine that sends `web` to these endpoints.
    pub fn web(addresses: &[SocketAddr]) -> Self {
        Self::start(
            &plan(&json!({}), &json!({})),
            &[endpoints("/#/io.l5d.fs/web", addresses, &json!({}))],
            &[("/svc/web", bound("/#/io.l5d.fs/web"))],
        )
    }

    /// As `web`, with other keys of the server, the router and the client's policy.
    pub fn web_with(server: &Value, router: &Value, policy: &Value, addresses: &[SocketAddr]) -> Self {
        Self::start(
            &plan(server, router),
            &[endpoints("/#/io.l5d.fs/web", addresses, policy)],
            &[("/svc/web", bound("/#/io.l5d.fs/web"))],
        )
    }

    /// Opens a caller's connection.
    pub fn connect(&self) -> Peer {
        Peer::new(TcpStream::connect(self.address).expect("the server takes connections"))
    }

    /// Sends bytes on a new connection, ends it there, and gives all that comes back.
    pub fn talk(&self, bytes: &[u8]) -> String {
        let mut peer = self.connect();
        peer.send(bytes);
        peer.rest()
    }

    /// The sum of a gauge over all servers, services or clients.
    pub fn gauge(&self, kind: &str, name: &str) -> i64 {
        let tally = self.engine.tally();
        tally
            .scopes
            .iter()
            .filter(|scope| scope.scope.len() == 4 && scope.scope[2] == kind)
            .filter_map(|scope| scope.gauges.get(name))
            .map(|&level| level as i64)
            .sum()
    }

    /// Waits until no request is under way by any count.
    pub fn settle(&self) {
        eventually("nothing is under way any more", || {
            let clients = self.engine.clients(Wanted::default()).clients;
            let pending: u32 = clients
                .iter()
                .flat_map(|client| &client.endpoints)
                .map(|endpoint| endpoint.pending)
                .sum();
            let kinds = ["server", "service", "client"];
            pending == 0 && kinds.iter().all(|kind| self.gauge(kind, "pending") == 0)
        });
    }

    /// Waits until the engine says that it has drained but for so many connections.
    pub fn drain(&self, unfinished: u64) {
        eventually("the engine says that it has drained", || {
            let letters = self.asked.lock().expect("the list");
            letters
                .iter()
                .any(|letter| matches!(letter, Outgoing::Drained { unfinished: count } if *count == unfinished))
        });
    }

    /// How often Python was asked for a name.
    pub fn asks(&self) -> usize {
        let letters = self.asked.lock().expect("the list");
        letters
            .iter()
            .filter(|letter| matches!(letter, Outgoing::Ask { .. }))
            .count()
    }

    /// The value of a counter of one server, service or client.
    pub fn counter(&self, kind: &str, name: &str) -> u64 {
        let tally = self.engine.tally();
        tally
            .scopes
            .iter()
            .filter(|scope| scope.scope.len() == 4 && scope.scope[2] == kind)
            .filter_map(|scope| scope.counters.get(name))
            .sum()
    }
}

/// One end of a connection, spoken to in bytes.
pub struct Peer {
    pub stream: TcpStream,
    pending: Vec<u8>,
}

impl Peer {
    /// Wraps a stream.
    pub fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self {
            stream,
            pending: Vec::new(),
        }
    }

    /// Writes bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the peer takes bytes");
    }

    /// Reads up to and with `mark`.
    pub fn until(&mut self, mark: &str) -> String {
        loop {
            if let Some(at) = find(&self.pending, mark.as_bytes()) {
                let rest = self.pending.split_off(at + mark.len());
                return String::from_utf8_lossy(&std::mem::replace(&mut self.pending, rest)).into_owned();
            }
            let mut bytes = [0; 16384];
            let count = self.stream.read(&mut bytes).expect("bytes come in time");
            assert!(
                count > 0,
                "the peer ended before {mark:?}; it sent {:?}",
                String::from_utf8_lossy(&self.pending)
            );
            self.pending.extend_from_slice(&bytes[..count]);
        }
    }

    /// Reads a head.
    pub fn head(&mut self) -> String {
        self.until("\r\n\r\n")
    }

    /// Reads so many bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.pending.len() < count {
            let mut bytes = [0; 16384];
            let got = self.stream.read(&mut bytes).expect("bytes come in time");
            assert!(got > 0, "the peer ended after {} of {count} bytes", self.pending.len());
            self.pending.extend_from_slice(&bytes[..got]);
        }
        let rest = self.pending.split_off(count);
        std::mem::replace(&mut self.pending, rest)
    }

    /// Reads to the end of the stream; a reset counts as an end.
    pub fn rest(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.pending);
        let mut piece = [0; 16384];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("no end in time: {error}; got {:?}", String::from_utf8_lossy(&bytes)),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads until the stream ends or is silent for so long.
    pub fn until_silent(&mut self, silence: Duration) -> String {
        let mut bytes = std::mem::take(&mut self.pending);
        let mut piece = [0; 16384];
        self.stream.set_read_timeout(Some(silence)).expect("a timeout");
        while let Ok(count @ 1..) = self.stream.read(&mut piece) {
            bytes.extend_from_slice(&piece[..count]);
        }
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends our half of the connection.
    pub fn finish(&self) {
        self.stream.shutdown(std::net::Shutdown::Write).expect("a half close");
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

/// An endpoint that does with each connection what the test says.
pub struct Origin {
    pub address: SocketAddr,
    pub heads: Receiver<String>,
    pub accepted: Arc<Mutex<usize>>,
}

impl Origin {
    /// Serves each connection with `serve`, which may tell the test what it saw.
    pub fn start(serve: impl Fn(Peer, &Sender<String>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (tell, heads) = mpsc::channel();
        let accepted = Arc::new(Mutex::new(0));
        let (serve, count) = (Arc::new(serve), accepted.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                *count.lock().expect("the count") += 1;
                let (serve, tell) = (serve.clone(), tell.clone());
                thread::spawn(move || {
                    // A caller that went away ends the connection, not the test.
                    let _ended =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| serve(Peer::new(stream), &tell)));
                });
            }
        });
        Self {
            address,
            heads,
            accepted,
        }
    }

    /// Answers every request head with the same bytes, on one connection after another.
    pub fn replying(response: &'static str) -> Self {
        Self::start(move |mut peer, tell| {
            peer.stream.set_read_timeout(None).expect("no timeout");
            loop {
                let head = peer.head();
                let _told = tell.send(head);
                peer.send(response.as_bytes());
            }
        })
    }

    /// Takes a request's head, tells it and then, when its connection ends, `ended`; and never answers.
    pub fn silent() -> Self {
        Self::start(|mut peer, tell| {
            let _told = tell.send(peer.head());
            peer.stream.set_read_timeout(None).expect("no timeout");
            peer.rest();
            let _told = tell.send("ended".to_owned());
        })
    }

    /// The next request head that came.
    pub fn head(&self) -> String {
        self.heads.recv_timeout(PATIENCE).expect("the endpoint is asked")
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        *self.accepted.lock().expect("the count")
    }
}

/// An address where nobody listens, nor will while the test runs: it is taken, but not listened on.
pub fn nowhere() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("a port");
    let address = socket
        .local_addr()
        .expect("an address")
        .as_socket()
        .expect("an IP address");
    std::mem::forget(socket);
    address
}

/// Waits until something is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "it never came true that {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
