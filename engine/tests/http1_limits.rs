//! Waits, counts and memory that have an end, and what is left when it comes.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Mesh, Origin, answer, bound, endpoints, eventually, nowhere, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const WEB: &str = "/#/io.l5d.fs/web";

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
        mesh.settle();
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
    mesh.settle();
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
    mesh.settle();
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
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    mesh.settle();
}

#[test]
fn the_total_timeout_covers_binding() {
    let origin = Origin::silent();
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({"binding_timeout_ms": 5000})),
        &[endpoints(WEB, &[origin.address], &json!({}))],
        &[],
    );
    let mut caller = mesh.connect();
    let started = Instant::now();
    caller.send(GET);
    std::thread::sleep(Duration::from_secs(1));
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
            let origin = Origin::silent();
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
            mesh.settle();
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
        let origin = Origin::silent();
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
        mesh.settle();
    }
}

#[test]
fn places_for_connections_and_requests_are_given_back() {
    let origin = Origin::silent();
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
    mesh.settle();
    let kept: Vec<_> = (0..3).map(|_| mesh.connect()).collect();
    eventually("three connections are there", || {
        mesh.gauge("server", "connections") == 3
    });
    assert_eq!(mesh.connect().rest(), "", "the fourth is turned away");
    drop(kept);
}

#[test]
fn an_idle_connection_to_an_endpoint_is_closed_in_time() {
    for policy in [
        json!({"pool": {"min_size": 0, "max_size": null, "idle_time_ms": 300, "max_waiters": null}}),
        json!({"idle_timeout_ms": 300}),
        json!({"pool": {"min_size": 0, "max_size": 0, "idle_time_ms": null, "max_waiters": null}}),
    ] {
        let origin = Origin::start(|mut peer, tell| {
            peer.head();
            peer.send(HELLO.as_bytes());
            peer.rest();
            let _told = tell.send("ended".to_owned());
        });
        let mesh = Mesh::web_with(&json!({}), &json!({}), &policy, &[origin.address]);
        let mut caller = mesh.connect();
        caller.send(GET);
        caller.head();
        let ended = origin.heads.recv_timeout(Duration::from_secs(4));
        assert_eq!(ended.as_deref(), Ok("ended"), "{policy}");
        eventually("it is counted out", || {
            mesh.gauge("client", "pool_size") == 0 && mesh.gauge("client", "pool_cached") == 0
        });
    }
}

#[test]
fn a_response_head_has_bounds() {
    let long = "x".repeat(9000);
    for (what, head) in [
        ("one line", format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n")),
        (
            "many lines",
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200)),
        ),
        (
            "a line without end",
            format!("HTTP/1.1 200 OK\r\nX: {}", long.repeat(10)),
        ),
        ("a reason", format!("HTTP/1.1 200 {long}\r\n\r\n")),
        (
            "a long trailer",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: {long}\r\n\r\n"),
        ),
        (
            "trailers",
            format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
                "X: y\r\n".repeat(100)
            ),
        ),
        (
            "an extension",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{long}\r\nx\r\n0\r\n\r\n"),
        ),
    ] {
        let origin = Origin::start(move |mut peer, _| {
            peer.head();
            peer.send(head.as_bytes());
            peer.until("never");
        });
        let mesh = Mesh::web(&[origin.address]);
        let text = mesh.talk(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        assert!(
            text.starts_with("HTTP/1.1 502") || !text.ends_with("\r\n\r\n") || !text.contains("\r\n0\r\n\r\n"),
            "{what}: {} bytes",
            text.len()
        );
        eventually("it is a failure", || mesh.counter("client", "failures") == 1);
        mesh.settle();
    }
}

#[test]
fn an_old_caller_may_keep_its_connection_after_an_error() {
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({})),
        &[],
        &[("/svc/web", answer(&json!({"type": "negative"})))],
    );
    let mut caller = mesh.connect();
    for keep in ["Connection: keep-alive", "Connection: close"] {
        caller.send(format!("GET / HTTP/1.0\r\nHost: web\r\n{keep}\r\n\r\n").as_bytes());
        let head = caller.head();
        assert!(head.contains(&format!("\r\n{keep}\r\n")), "{head}");
        caller.until("override dtab:\n\n");
    }
    assert_eq!(caller.rest(), "");
}

#[test]
fn an_empty_line_after_a_request_is_no_slow_request() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web_with(
        &json!({"head_timeout_ms": 300}),
        &json!({}),
        &json!({}),
        &[origin.address],
    );
    let mut caller = mesh.connect();
    caller.send(GET);
    caller.send(b"\r\n");
    caller.head();
    caller.take(5);
    assert_eq!(caller.rest(), "", "nobody answers what nobody asked");
}
