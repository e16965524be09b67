//! Waits, counts and memory that have an end, and what is left when it comes.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use biandou_engine::mail::Outgoing;
use serde_json::{Value, json};
use support::{Mesh, Origin, answer, bound, endpoints, eventually, nowhere, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const WEB: &str = "/#/io.l5d.fs/web";

/// An endpoint that takes a request's head and then does nothing.
fn silent() -> Origin {
    Origin::start(|mut peer, tell| {
        let _told = tell.send(peer.head());
        peer.stream.set_read_timeout(None).expect("no timeout");
        peer.rest();
        let _told = tell.send("ended".to_owned());
    })
}

/// An address that takes no connection and refuses none: its queue is full.
fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).expect("a port");
    socket.listen(0).expect("it listens");
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(100)) {
        waiting.push(stream);
    }
    (address, listener, waiting)
}

fn nothing_is_pending(mesh: &Mesh) {
    eventually("nothing is under way any more", || {
        let pending: u32 = mesh
            .engine
            .tally()
            .clients
            .iter()
            .flat_map(|client| &client.endpoints)
            .map(|endpoint| endpoint.pending)
            .sum();
        pending == 0
            && ["server", "service", "client"]
                .iter()
                .all(|kind| mesh.gauge(kind, "pending") == 0.0)
    });
}

fn drained(mesh: &Mesh, unfinished: u64) {
    eventually("the engine says that it has drained", || {
        let letters = mesh.asked.lock().expect("the list");
        letters
            .iter()
            .any(|letter| matches!(letter, Outgoing::Drained { unfinished: count } if *count == unfinished))
    });
}

#[test]
fn an_endpoint_may_take_longer_than_a_caller_may_idle() {
    for parts in [
        &["GET / HTTP/1.1\r\nHost: web\r\n\r\n"][..],
        &["POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\nab", "cd"],
    ] {
        for (first, second) in [(0, 5), (38, 1)] {
            let origin = Origin::start(move |mut peer, _| {
                let head = peer.head();
                if head.starts_with("POST") {
                    peer.take(4);
                }
                peer.send(&HELLO.as_bytes()[..first]);
                std::thread::sleep(Duration::from_millis(900));
                peer.send(&HELLO.as_bytes()[first..first + second]);
                std::thread::sleep(Duration::from_millis(900));
                peer.send(&HELLO.as_bytes()[first + second..]);
                peer.until("never");
            });
            let mesh = Mesh::web_with(
                &json!({"idle_timeout_ms": 300}),
                &json!({}),
                &json!({}),
                &[origin.address],
            );
            let mut caller = mesh.connect();
            for part in parts {
                caller.send(part.as_bytes());
                std::thread::sleep(Duration::from_millis(20));
            }
            let head = caller.head();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(caller.take(5), b"hello");
        }
    }
}

#[test]
fn an_upload_that_stalls_ends() {
    // The endpoint answers, or has begun to, or has sent all it has, while the caller keeps its body back.
    for (response, told) in [
        ("", "HTTP/1.1 408"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "HTTP/1.1 200"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.1 200"),
    ] {
        let origin = Origin::start(move |mut peer, _| {
            peer.head();
            peer.send(response.as_bytes());
            peer.until("never");
        });
        let mesh = Mesh::web_with(
            &json!({"idle_timeout_ms": 300}),
            &json!({}),
            &json!({}),
            &[origin.address],
        );
        let mut caller = mesh.connect();
        caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n12345");
        let text = caller.rest();
        assert!(text.starts_with(told), "{response:?}: {text}");
        nothing_is_pending(&mesh);
    }
}

#[test]
fn a_caller_that_reads_nothing_is_let_go() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
        let piece = vec![b'x'; 100_000];
        for _ in 0..1000 {
            peer.send(&piece);
        }
    });
    let mesh = Mesh::web_with(
        &json!({"idle_timeout_ms": 300}),
        &json!({}),
        &json!({}),
        &[origin.address],
    );
    let mut caller = mesh.connect();
    caller.send(GET);
    eventually("the connection is closed", || mesh.counter("server", "closes") == 1);
    nothing_is_pending(&mesh);
}

#[test]
fn a_caller_that_reads_no_errors_is_let_go() {
    let message = "x".repeat(60_000);
    let mesh = Mesh::start(
        &plan(&json!({"idle_timeout_ms": 300}), &json!({})),
        &[],
        &[("/svc/web", answer(&json!({"type": "failed", "message": message})))],
    );
    let mut caller = mesh.connect();
    let requests = GET.repeat(50);
    caller
        .stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .expect("a timeout");
    for _ in 0..100 {
        if std::io::Write::write_all(&mut caller.stream, &requests).is_err() {
            break;
        }
    }
    eventually("the connection is closed", || mesh.counter("server", "closes") == 1);
    nothing_is_pending(&mesh);
    drop(caller);
}

#[test]
fn an_endpoint_that_reads_nothing_is_no_slow_caller() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        std::thread::sleep(Duration::from_secs(4));
    });
    let mesh = Mesh::web_with(
        &json!({"idle_timeout_ms": 300}),
        &json!({}),
        &json!({}),
        &[origin.address],
    );
    let mut caller = mesh.connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\n");
    let mut writer = caller.stream.try_clone().expect("a second handle");
    let writing = std::thread::spawn(move || {
        let piece = vec![b'x'; 100_000];
        while std::io::Write::write_all(&mut writer, &piece).is_ok() {}
    });
    let head = caller.head();
    assert!(
        head.starts_with("HTTP/1.1 502") || head.starts_with("HTTP/1.1 504"),
        "{head}"
    );
    caller
        .stream
        .shutdown(std::net::Shutdown::Both)
        .expect("the connection is there");
    writing.join().expect("the writer ends");
}

#[test]
fn a_dribbled_head_times_out() {
    let mesh = Mesh::web_with(&json!({"head_timeout_ms": 500}), &json!({}), &json!({}), &[nowhere()]);
    let mut caller = mesh.connect();
    let started = Instant::now();
    caller.send(b"GET / HTTP/1.1\r\n");
    while mesh.counter("server", "requests") == 0 && mesh.counter("server", "closes") == 0 {
        let _sent = std::io::Write::write_all(&mut caller.stream, b"X: y\r\n");
        std::thread::sleep(Duration::from_millis(20));
        assert!(started.elapsed() < Duration::from_secs(5), "it goes on and on");
    }
    assert!(caller.head().starts_with("HTTP/1.1 408"));
}

#[test]
fn the_total_timeout_covers_connecting() {
    let (address, _listener, _waiting) = black_hole();
    let mut slow = bound(WEB);
    slow["policy"]["total_timeout_ms"] = json!(200);
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints(WEB, &[address], &json!({"connect_timeout_ms": 3000}))],
        &[("/svc/web", slow)],
    );
    let mut caller = mesh.connect();
    let started = Instant::now();
    caller.send(GET);
    let head = caller.head();
    assert!(
        head.starts_with("HTTP/1.1 503") && head.contains("exceeded+200.milliseconds"),
        "{head}"
    );
    assert!(
        started.elapsed() < Duration::from_millis(2000),
        "{:?}",
        started.elapsed()
    );
    nothing_is_pending(&mesh);
}

#[test]
fn the_total_timeout_covers_binding() {
    let origin = silent();
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({"binding_timeout_ms": 5000})),
        &[endpoints(WEB, &[origin.address], &json!({}))],
        &[],
    );
    let mut caller = mesh.connect();
    let started = Instant::now();
    caller.send(GET);
    std::thread::sleep(Duration::from_millis(1000));
    let mut slow = bound(WEB);
    slow["policy"]["total_timeout_ms"] = json!(1200);
    mesh.engine.answer(1, serde_json::from_value(slow).expect("an answer"));
    assert!(caller.head().starts_with("HTTP/1.1 503"));
    assert!(
        started.elapsed() < Duration::from_millis(1900),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn connecting_takes_no_longer_than_it_may() {
    let (address, _listener, _waiting) = black_hole();
    let mesh = Mesh::web_with(&json!({}), &json!({}), &json!({"connect_timeout_ms": 200}), &[address]);
    let started = Instant::now();
    let mut caller = mesh.connect();
    caller.send(GET);
    assert!(caller.head().starts_with("HTTP/1.1 502"));
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn timeouts_end_attempts_and_their_connections() {
    for (policy, total) in [
        (json!({"request_attempt_timeout_ms": 150}), None),
        (json!({}), Some(150)),
    ] {
        for body in ["Content-Length: 0\r\n\r\n", "Content-Length: 4\r\n\r\nab"] {
            let origin = silent();
            let mut web = bound(WEB);
            web["policy"]["total_timeout_ms"] = json!(total);
            let mesh = Mesh::start(
                &plan(&json!({}), &json!({})),
                &[endpoints(WEB, &[origin.address], &policy)],
                &[("/svc/web", web)],
            );
            let mut caller = mesh.connect();
            caller.send(format!("PUT / HTTP/1.1\r\nHost: web\r\n{body}").as_bytes());
            let head = caller.head();
            assert!(head.starts_with("HTTP/1.1 503"), "{head}");
            assert_eq!(head.contains("\r\nConnection: close\r\n"), body.contains('4'), "{head}");
            origin.head();
            assert_eq!(origin.head(), "ended");
            assert_eq!(origin.accepted(), 1);
            nothing_is_pending(&mesh);
        }
    }
}

#[test]
fn the_largest_timeouts_are_no_trouble() {
    let most = i64::MAX;
    let origin = Origin::replying(HELLO);
    let mut web = bound(WEB);
    web["policy"]["total_timeout_ms"] = json!(most);
    let mesh = Mesh::start(
        &plan(
            &json!({"head_timeout_ms": most, "idle_timeout_ms": most, "life_timeout_ms": most}),
            &json!({"binding_timeout_ms": most}),
        ),
        &[endpoints(
            WEB,
            &[origin.address],
            &json!({"request_attempt_timeout_ms": most, "connect_timeout_ms": most, "idle_timeout_ms": most,
                    "pool": {"min_size": 0, "max_size": null, "idle_time_ms": most, "max_waiters": null}}),
        )],
        &[("/svc/web", web)],
    );
    let mut caller = mesh.connect();
    for _ in 0..2 {
        caller.send(GET);
        assert!(caller.head().starts_with("HTTP/1.1 200"));
        caller.take(5);
        std::thread::sleep(Duration::from_millis(1200));
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn a_caller_that_resets_takes_its_request_with_it() {
    for body in ["Content-Length: 0\r\n\r\n", "Content-Length: 4\r\n\r\nab"] {
        let origin = silent();
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        caller.send(format!("POST / HTTP/1.1\r\nHost: web\r\n{body}").as_bytes());
        origin.head();
        socket2::SockRef::from(&caller.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
        drop(caller);
        assert_eq!(origin.head(), "ended", "{body:?}");
        eventually("the connection is closed", || mesh.counter("server", "closes") == 1);
        nothing_is_pending(&mesh);
    }
}

#[test]
fn more_names_than_there_is_room_for_do_not_chase_each_other_out() {
    let router = json!({"binding_timeout_ms": 700,
        "binding_cache": {"paths": 4, "trees": 4, "bounds": 4, "clients": 4, "idle_ttl_ms": 600_000}});
    let mesh = Mesh::start(&plan(&json!({}), &router), &[], &[]);
    let mut callers: Vec<_> = (0..12).map(|_| mesh.connect()).collect();
    for (index, caller) in callers.iter_mut().enumerate() {
        caller.send(format!("GET / HTTP/1.1\r\nHost: n{index}\r\n\r\n").as_bytes());
    }
    for caller in &mut callers {
        let head = caller.head();
        assert!(
            head.starts_with("HTTP/1.1 502") && head.contains("binding+timeout"),
            "{head}"
        );
    }
    assert_eq!(mesh.asks(), 12, "each name is asked for once");
}

#[test]
fn more_names_than_there_is_room_for_are_all_served() {
    let router = json!({"binding_cache": {"paths": 2, "trees": 2, "bounds": 2, "clients": 2, "idle_ttl_ms": 600_000}});
    let origin = Origin::replying(HELLO);
    let names: Vec<String> = (0..20).map(|index| format!("/svc/n{index}")).collect();
    let answers: Vec<(&str, Value)> = names.iter().map(|name| (name.as_str(), bound(WEB))).collect();
    let mesh = Mesh::start(
        &plan(&json!({}), &router),
        &[endpoints(WEB, &[origin.address], &json!({}))],
        &answers,
    );
    let mut callers: Vec<_> = (0..20).map(|_| mesh.connect()).collect();
    for round in 0..3 {
        for (index, caller) in callers.iter_mut().enumerate() {
            caller.send(format!("GET /{round} HTTP/1.1\r\nHost: n{index}\r\n\r\n").as_bytes());
        }
        for caller in &mut callers {
            let head = caller.head();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            caller.take(5);
        }
    }
    assert!(mesh.asks() <= 60, "{} asks", mesh.asks());
    eventually("as many names are released as there is no room for", || {
        let letters = mesh.asked.lock().expect("the list");
        let released = letters
            .iter()
            .filter(|letter| matches!(letter, Outgoing::Release { .. }))
            .count();
        let asked = letters
            .iter()
            .filter(|letter| matches!(letter, Outgoing::Ask { .. }))
            .count();
        asked - released <= 3
    });
}

#[test]
fn an_answer_for_a_released_name_does_nothing() {
    let router = json!({"binding_cache": {"paths": 1, "trees": 1, "bounds": 1, "clients": 1, "idle_ttl_ms": 1000}});
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::start(
        &plan(&json!({}), &router),
        &[endpoints(WEB, &[origin.address], &json!({}))],
        &[("/svc/a", bound(WEB)), ("/svc/b", answer(&json!({"type": "negative"})))],
    );
    for (host, status) in [("a", 200), ("b", 502)] {
        let text = mesh.talk(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    }
    let first = mesh
        .asked
        .lock()
        .expect("the list")
        .iter()
        .find_map(|letter| match letter {
            Outgoing::Ask { ticket, .. } => Some(*ticket),
            _ => None,
        });
    for ticket in [first.expect("an ask"), 0, 1 << 48, u64::MAX] {
        mesh.engine
            .answer(ticket, serde_json::from_value(bound(WEB)).expect("an answer"));
    }
    let text = mesh.talk(b"GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 502"), "{text}");
}

#[test]
fn a_name_that_expires_is_asked_for_again() {
    let router = json!({"binding_cache": {"paths": 9, "trees": 9, "bounds": 9, "clients": 9, "idle_ttl_ms": 1000}});
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web_with(&json!({}), &router, &json!({}), &[origin.address]);
    let mut caller = mesh.connect();
    for asks in 1..3 {
        caller.send(GET);
        assert!(caller.head().starts_with("HTTP/1.1 200"));
        caller.take(5);
        eventually("the name is released", || {
            let letters = mesh.asked.lock().expect("the list");
            let released = |letter: &&Outgoing| matches!(letter, Outgoing::Release { .. });
            letters.iter().filter(released).count() == asks
        });
        assert_eq!(mesh.asks(), asks);
    }
}

#[test]
fn the_first_word_from_a_registry_wakes_all_who_wait() {
    let origin = Origin::replying(HELLO);
    let mut pending = endpoints(WEB, &[], &json!({}));
    pending["state"] = json!({"type": "pending"});
    let mesh = Mesh::start(&plan(&json!({}), &json!({})), &[pending], &[("/svc/web", bound(WEB))]);
    let mut callers: Vec<_> = (0..10).map(|_| mesh.connect()).collect();
    for caller in &mut callers {
        caller.send(GET);
    }
    eventually("the name is asked for", || mesh.asks() == 1);
    std::thread::sleep(Duration::from_millis(100));
    let letter = endpoints(WEB, &[origin.address], &json!({}));
    mesh.engine.endpoints(serde_json::from_value(letter).expect("a letter"));
    for caller in &mut callers {
        assert!(caller.head().starts_with("HTTP/1.1 200"));
    }
}

#[test]
fn a_request_survives_what_becomes_of_its_endpoint() {
    for change in [
        "removed",
        "replaced",
        "negative",
        "failed",
        "pending",
        "status",
        "forgotten",
    ] {
        let origin = Origin::start(|mut peer, tell| {
            let _told = tell.send(peer.head());
            std::thread::sleep(Duration::from_millis(200));
            peer.send(HELLO.as_bytes());
            peer.stream.set_read_timeout(None).expect("no timeout");
            peer.rest();
            let _told = tell.send("ended".to_owned());
        });
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        caller.send(GET);
        origin.head();
        let mut letter = endpoints(WEB, &[], &json!({}));
        match change {
            "removed" => {}
            "replaced" => letter = endpoints(WEB, &[nowhere()], &json!({})),
            "failed" => letter["state"] = json!({"type": "failed", "message": "gone"}),
            "status" => letter["state"] = json!({"type": "status", "code": 404}),
            other => letter["state"] = json!({"type": other}),
        }
        if change == "forgotten" {
            mesh.engine.forget("http", WEB);
        } else {
            mesh.engine.endpoints(serde_json::from_value(letter).expect("a letter"));
        }
        assert!(caller.head().starts_with("HTTP/1.1 200"), "{change}");
        assert_eq!(caller.take(5), b"hello");
        if !["failed", "pending"].contains(&change) {
            assert_eq!(origin.head(), "ended", "{change}: its connection is not kept");
        }
    }
}

#[test]
fn a_share_that_leads_nowhere_fails_alone() {
    let origin = Origin::replying(HELLO);
    let branches = json!([
        {"weight": 0.0, "client": "/#/none", "residual": "/"},
        {"weight": 1.0, "client": WEB, "residual": "/"},
        {"weight": 1.0, "client": null, "residual": "/"},
        {"weight": 0.0, "client": null, "residual": "/"}
    ]);
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints(WEB, &[origin.address], &json!({}))],
        &[("/svc/web", answer(&json!({"type": "bound", "branches": branches})))],
    );
    let mut caller = mesh.connect();
    let mut served = 0;
    for _ in 0..200 {
        caller.send(GET);
        let head = caller.head();
        if head.starts_with("HTTP/1.1 200") {
            served += 1;
            caller.take(5);
        } else {
            assert!(head.starts_with("HTTP/1.1 502"), "{head}");
            caller.until("override dtab:\n\n");
        }
    }
    assert!((60..140).contains(&served), "{served}");
}

#[test]
fn places_for_connections_and_requests_are_given_back() {
    let origin = silent();
    let server = json!({"max_connections": 3, "max_concurrent_requests": 2, "idle_timeout_ms": 2000});
    let mut web = bound(WEB);
    web["policy"]["total_timeout_ms"] = json!(30);
    let mesh = Mesh::start(
        &plan(&server, &json!({})),
        &[endpoints(WEB, &[origin.address], &json!({}))],
        &[("/svc/web", web)],
    );
    for round in 0..10u64 {
        let mut callers: Vec<_> = (0..3).map(|_| mesh.connect()).collect();
        for caller in &mut callers {
            let kind = if round % 2 == 0 {
                "Content-Length: 0"
            } else {
                "Transfer-Encoding: chunked"
            };
            caller.send(format!("PUT / HTTP/1.1\r\nHost: web\r\n{kind}\r\n\r\n").as_bytes());
        }
        for caller in &mut callers {
            assert!(caller.head().starts_with("HTTP/1.1 503"));
        }
        drop(callers);
        eventually("all connections are counted out", || {
            mesh.counter("server", "closes") >= 3 * (round + 1)
        });
    }
    nothing_is_pending(&mesh);
    let kept: Vec<_> = (0..3).map(|_| mesh.connect()).collect();
    eventually("three connections are there", || {
        mesh.gauge("server", "connections") == 3.0
    });
    assert_eq!(mesh.connect().rest(), "", "the fourth is turned away");
    drop(kept);
}

#[test]
fn stopping_ends_kept_connections_after_their_request() {
    let origin = Origin::start(|mut peer, tell| {
        loop {
            let _told = tell.send(peer.head());
            std::thread::sleep(Duration::from_millis(200));
            peer.send(HELLO.as_bytes());
        }
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    let mut half = mesh.connect();
    caller.send(&GET.repeat(3));
    half.send(b"GET / HTTP/1.1\r\nHost: we");
    origin.head();
    mesh.engine.stop(5000);
    let text = caller.rest();
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
    half.send(b"b\r\n\r\n");
    let text = half.rest();
    assert!(
        text.contains("\r\nConnection: close\r\n") && text.ends_with("hello"),
        "{text}"
    );
    drained(&mesh, 0);
}

#[test]
fn stopping_does_not_wait_for_ever() {
    for second in [false, true] {
        let origin = silent();
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        let idle = mesh.connect();
        caller.send(GET);
        origin.head();
        let started = Instant::now();
        mesh.engine.stop(if second { 60_000 } else { 300 });
        if second {
            std::thread::sleep(Duration::from_millis(100));
            mesh.engine.stop(0);
        }
        assert_eq!(caller.rest(), "");
        drained(&mesh, 1);
        assert!(started.elapsed() < Duration::from_secs(5));
        drop(idle);
    }
}

#[test]
fn an_idle_connection_is_not_unfinished() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(GET);
    caller.head();
    caller.take(5);
    mesh.engine.stop(0);
    drained(&mesh, 0);
}

#[test]
fn an_engine_that_is_stopped_before_it_starts_stops() {
    let bell = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd");
    let plan = serde_json::from_value(plan(&json!({}), &json!({}))).expect("a plan");
    let engine = biandou_engine::Engine::new(plan, bell, biandou_engine::listen::Inherited::new());
    engine.stop(100);
    engine.start().expect("it starts");
    eventually("it has drained", || {
        engine
            .mail()
            .iter()
            .any(|letter| matches!(letter, Outgoing::Drained { unfinished: 0 }))
    });
}
