//! Endpoints that fail: when they are taken out of use, how they are probed, and what is told of them.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use biandou_engine::tally::EndpointView;
use biandou_engine::view::Wanted;
use serde_json::{Value, json};
use support::{Mesh, Origin, eventually, nowhere};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BAD: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";

fn mesh(policy: &Value, addresses: &[SocketAddr]) -> Mesh {
    Mesh::web_with(&json!({}), &json!({}), policy, addresses)
}

fn accrual(failures: u32, rest_ms: u64) -> Value {
    json!({"kind": "io.l5d.consecutiveFailures", "failures": failures, "backoff": {"kind": "constant", "ms": rest_ms}})
}

/// What is known of an endpoint.
fn seen(mesh: &Mesh, address: SocketAddr) -> EndpointView {
    let clients = mesh.engine.clients(Wanted::default()).clients;
    let found = clients
        .into_iter()
        .flat_map(|client| client.endpoints)
        .find(|endpoint| endpoint.address == address.to_string());
    found.expect("the endpoint is known")
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

/// An endpoint that answers 200 or 500 as the test says, and counts.
struct Moody {
    origin: Origin,
    good: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Moody {
    fn start(good: bool) -> Self {
        let (good, asked) = (Arc::new(AtomicBool::new(good)), Arc::new(AtomicUsize::new(0)));
        let (mood, count) = (good.clone(), asked.clone());
        let origin = Origin::start(move |mut peer, _| {
            loop {
                peer.head();
                count.fetch_add(1, SeqCst);
                peer.send(if mood.load(SeqCst) { OK } else { BAD }.as_bytes());
            }
        });
        Self { origin, good, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

#[test]
fn an_endpoint_that_fails_rests_is_probed_with_one_request_and_is_back() {
    let (bad, good) = (Moody::start(false), Moody::start(true));
    let addresses = [bad.origin.address, good.origin.address];
    let mesh = mesh(&json!({"failure_accrual": accrual(2, 300)}), &addresses);
    eventually("two failures close it", || {
        mesh.talk(GET);
        mesh.counter("client", "failure_accrual/removals") == 1
    });
    assert_eq!(bad.asked(), 2);
    let told = seen(&mesh, addresses[0]);
    assert_eq!((&*told.state, told.times_ejected), ("ejected", 1));
    assert!(told.next_probe_ms.is_some_and(|ms| ms <= 300), "{told:?}");
    assert_eq!(seen(&mesh, addresses[1]).state, "in use");
    // A probe that fails is another rest of the same length, and costs one request.
    let began = Instant::now();
    eventually("it is probed", || {
        mesh.talk(GET);
        mesh.counter("client", "failure_accrual/probes") == 1
    });
    assert!(began.elapsed() > Duration::from_millis(200));
    assert_eq!(bad.asked(), 3);
    assert_eq!(mesh.counter("client", "failure_accrual/removals"), 1);
    bad.good.store(true, SeqCst);
    eventually("it is back", || {
        mesh.talk(GET);
        mesh.counter("client", "failure_accrual/revivals") == 1
    });
    assert_eq!(mesh.counter("client", "failure_accrual/probes"), 2);
    assert_eq!(seen(&mesh, addresses[0]).state, "in use");
}

#[test]
fn while_it_is_probed_no_other_request_goes_there() {
    let slow = Arc::new(AtomicBool::new(false));
    let (asked, good) = (Arc::new(AtomicUsize::new(0)), Moody::start(true));
    let (mood, count) = (slow.clone(), asked.clone());
    let bad = Origin::start(move |mut peer, _| {
        peer.head();
        count.fetch_add(1, SeqCst);
        if mood.load(SeqCst) {
            thread::sleep(Duration::from_millis(500));
            peer.send(OK.as_bytes());
        } else {
            peer.send(BAD.as_bytes());
        }
    });
    let addresses = [bad.address, good.origin.address];
    let mesh = mesh(&json!({"failure_accrual": accrual(1, 100)}), &addresses);
    eventually("it is closed", || {
        mesh.talk(GET);
        asked.load(SeqCst) == 1
    });
    slow.store(true, SeqCst);
    thread::sleep(Duration::from_millis(150));
    thread::scope(|scope| {
        let callers: Vec<_> = (0..20).map(|_| scope.spawn(|| mesh.talk(GET))).collect();
        eventually("it is probed", || seen(&mesh, addresses[0]).state == "probing");
        let answers: Vec<String> = callers
            .into_iter()
            .map(|caller| caller.join().expect("an answer"))
            .collect();
        assert!(answers.iter().all(|answer| status(answer) == "200"));
    });
    assert_eq!(asked.load(SeqCst), 2, "the failure, and one probe");
    assert_eq!(mesh.counter("client", "failure_accrual/revivals"), 1);
}

#[test]
fn a_success_rate_that_is_too_low_closes_an_endpoint() {
    let kinds = [
        json!({"kind": "io.l5d.successRate", "successRate": 0.6, "requests": 10,
               "backoff": {"kind": "jittered", "minMs": 60_000, "maxMs": 60_000}}),
        json!({"kind": "io.l5d.successRateWindowed", "successRate": 0.6, "window": 60}),
    ];
    for kind in kinds {
        let (bad, good) = (Moody::start(false), Moody::start(true));
        let addresses = [bad.origin.address, good.origin.address];
        let mesh = mesh(&json!({"failure_accrual": kind}), &addresses);
        eventually("it is closed", || {
            mesh.talk(GET);
            seen(&mesh, addresses[0]).state == "ejected"
        });
        let told = seen(&mesh, addresses[0]);
        assert!(told.success_rate.is_some_and(|rate| rate < 0.6), "{kind}: {told:?}");
        assert_eq!(told.failures_in_a_row, None);
        let (before, asked) = (good.asked(), bad.asked());
        assert!((5..=10).contains(&asked), "{kind}: closed after {asked}");
        for _ in 0..20 {
            assert_eq!(status(&mesh.talk(GET)), "200");
        }
        assert_eq!((good.asked() - before, bad.asked() - asked), (20, 0), "{kind}");
    }
}

#[test]
fn beyond_the_cap_a_failing_endpoint_stays_in_use() {
    let origins: Vec<Moody> = (0..4).map(|nth| Moody::start(nth == 3)).collect();
    let addresses: Vec<SocketAddr> = origins.iter().map(|moody| moody.origin.address).collect();
    let policy = json!({
        "failure_accrual": accrual(1, 60_000), "balancer": {"kind": "roundRobin"},
        "outliers": {"max_ejected_percent": 50, "panic_threshold_percent": 0}
    });
    let mesh = mesh(&policy, &addresses);
    for _ in 0..4 {
        mesh.talk(GET);
    }
    let states: Vec<String> = addresses.iter().map(|&address| seen(&mesh, address).state).collect();
    assert_eq!(states, ["ejected", "ejected", "spared", "in use"]);
    assert_eq!(mesh.counter("client", "failure_accrual/removals"), 3);
    assert_eq!(mesh.gauge("client", "failure_accrual/ejected"), 2);
    assert_eq!(mesh.gauge("client", "loadbalancer/available"), 1);
    let before: Vec<usize> = origins.iter().map(Moody::asked).collect();
    for _ in 0..20 {
        mesh.talk(GET);
    }
    let asked: Vec<usize> = origins
        .iter()
        .zip(before)
        .map(|(moody, before)| moody.asked() - before)
        .collect();
    assert!(
        asked[0] == 0 && asked[1] == 0 && asked[2] >= 5 && asked[3] >= 5,
        "{asked:?}"
    );
}

#[test]
fn when_too_few_are_healthy_all_are_used_and_that_is_told() {
    let origins: Vec<Moody> = (0..4).map(|nth| Moody::start(nth == 3)).collect();
    let addresses: Vec<SocketAddr> = origins.iter().map(|moody| moody.origin.address).collect();
    let policy = json!({
        "failure_accrual": accrual(1, 60_000), "balancer": {"kind": "roundRobin"},
        "outliers": {"panic_threshold_percent": 50}
    });
    let mesh = mesh(&policy, &addresses);
    for _ in 0..4 {
        mesh.talk(GET);
    }
    let clients = mesh.engine.clients(Wanted::default()).clients;
    assert!(clients[0].panic);
    assert_eq!(mesh.gauge("client", "failure_accrual/panic"), 1);
    let before: Vec<usize> = origins.iter().map(Moody::asked).collect();
    for _ in 0..20 {
        mesh.talk(GET);
    }
    for (moody, before) in origins.iter().zip(before) {
        assert_eq!(moody.asked() - before, 5);
    }
}

#[test]
fn what_cannot_be_connected_to_is_left_alone_until_it_can() {
    let good = Moody::start(true);
    // A port that is taken, and not listened on before the test says so.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("a port");
    let listener = TcpListener::from(socket.try_clone().expect("a second handle"));
    let gone = listener.local_addr().expect("an address");
    let policy = json!({"outliers": {"fail_fast": true}});
    let addresses = [gone, good.origin.address];
    let mesh = mesh(&policy, &addresses);
    for _ in 0..20 {
        assert_eq!(status(&mesh.talk(GET)), "200", "the other one serves");
    }
    assert_eq!(
        mesh.counter("client", "service_creation/failures"),
        1,
        "one request found out"
    );
    assert_eq!(mesh.counter("client", "failfast/marked_dead"), 1);
    assert_eq!(mesh.gauge("client", "failfast/is_marked_dead"), 1);
    let told = seen(&mesh, gone);
    assert_eq!(told.state, "ejected");
    assert!(told.next_probe_ms.is_some_and(|ms| ms <= 1_000), "{told:?}");
    socket.listen(16).expect("it listens");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut peer = support::Peer::new(stream);
            thread::spawn(move || {
                if peer.stream.peek(&mut [0]).is_ok_and(|count| count > 0) {
                    peer.head();
                    peer.send(OK.as_bytes());
                }
            });
        }
    });
    eventually("a connection of our own finds out", || {
        mesh.counter("client", "failfast/marked_available") == 1
    });
    assert_eq!(seen(&mesh, gone).state, "in use");
    assert_eq!(mesh.gauge("client", "failfast/is_marked_dead"), 0);
    assert_eq!(
        mesh.counter("client", "service_creation/failures"),
        1,
        "no request was risked"
    );
    assert_eq!(mesh.counter("client", "failure_accrual/removals"), 0);
}

#[test]
fn a_request_that_finds_nothing_better_tries_one_that_is_left_alone() {
    let gone = nowhere();
    let mesh = mesh(&json!({"outliers": {"fail_fast": true}}), &[gone]);
    assert_eq!(status(&mesh.talk(GET)), "502");
    assert_eq!(seen(&mesh, gone).state, "spared", "it is the only one");
    assert_eq!(status(&mesh.talk(GET)), "502");
    assert!(mesh.counter("client", "service_creation/failures") >= 2);
}

#[test]
fn those_who_wait_for_a_connection_are_counted_and_the_endpoint_is_busy() {
    let slow = Origin::start(|mut peer, _| {
        loop {
            peer.head();
            thread::sleep(Duration::from_millis(300));
            peer.send(OK.as_bytes());
        }
    });
    let pool = json!({"min_size": 0, "max_size": 1, "idle_time_ms": null, "max_waiters": 1});
    let mesh = mesh(&json!({"pool": pool}), &[slow.address]);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                thread::sleep(Duration::from_millis(30));
                scope.spawn(|| mesh.talk(GET))
            })
            .collect();
        eventually("one is refused", || {
            mesh.counter("client", "pool_num_too_many_waiters") >= 1
        });
        let told = seen(&mesh, slow.address);
        assert_eq!(
            (&*told.state, told.waiting, told.connections, told.idle),
            ("busy", 1, 1, 0)
        );
        let mut statuses: Vec<String> = callers
            .into_iter()
            .map(|caller| status(&caller.join().expect("an answer")).to_owned())
            .collect();
        statuses.sort_unstable();
        assert_eq!(statuses[..2], ["200", "200"]);
        assert_ne!(statuses[2], "200");
    });
    assert_eq!(mesh.counter("client", "pool_num_waited"), 1);
    mesh.settle();
    let told = seen(&mesh, slow.address);
    assert_eq!(
        (&*told.state, told.waiting, told.connections, told.idle),
        ("in use", 0, 1, 1)
    );
}

#[test]
fn the_latency_is_told_where_the_balancer_knows_it() {
    for (kind, known) in [("ewma", true), ("heap", false), ("aperture", false)] {
        let good = [Moody::start(true), Moody::start(true)];
        let addresses = [good[0].origin.address, good[1].origin.address];
        let mesh = mesh(&json!({"balancer": {"kind": kind}}), &addresses);
        for _ in 0..10 {
            assert_eq!(status(&mesh.talk(GET)), "200");
        }
        let told = addresses.map(|address| seen(&mesh, address).latency_ms.is_some());
        assert_eq!(told, [known; 2], "{kind}");
        let gauge = mesh.gauge("client", "loadbalancer/logical_aperture");
        assert_eq!(
            gauge,
            i64::from(kind == "aperture"),
            "one endpoint is enough for one request at a time"
        );
    }
}

#[test]
fn a_router_or_client_can_be_asked_for() {
    let good = Moody::start(true);
    let mesh = mesh(&json!({}), &[good.origin.address]);
    let count = |router: &str, client: &str| mesh.engine.clients(Wanted { router, client }).clients.len();
    assert_eq!(count("", ""), 1);
    assert_eq!((count("http", ""), count("other", "")), (1, 0));
    assert_eq!((count("", "/#/io.l5d.fs/web"), count("", "/#/io.l5d.fs/w")), (1, 0));
}
