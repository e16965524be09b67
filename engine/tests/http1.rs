//! HTTP/1 through the whole road, spoken in bytes on both sides.

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Mesh, Origin, bound, endpoints, eventually, nowhere, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";

#[test]
fn a_request_gets_its_response() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"GET /a?b=c HTTP/1.1\r\nHost: web\r\nX-Mine: 1\r\n\r\n");
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 5\r\n"), "{head}");
    assert!(head.contains("\r\nl5d-success-class: 1.0\r\n"), "{head}");
    assert!(head.contains("\r\nVia: 1.1 linkerd\r\n"), "{head}");
    assert_eq!(caller.take(5), b"hello");
    let asked = origin.head();
    assert!(
        asked.starts_with("GET /a?b=c HTTP/1.1\r\nHost: web\r\nX-Mine: 1\r\n"),
        "{asked}"
    );
    assert!(asked.contains("\r\nl5d-dst-service: /svc/web\r\n"), "{asked}");
    assert!(asked.contains("\r\nl5d-dst-client: /#/io.l5d.fs/web\r\n"), "{asked}");
    assert!(asked.contains("\r\nl5d-ctx-trace: "), "{asked}");
    assert!(asked.contains("\r\nl5d-reqid: "), "{asked}");
    assert!(!asked.contains("l5d-dst-residual"), "{asked}");
    // Counted once the response is out, which the caller may see first.
    eventually("the request is counted", || {
        mesh.counter("server", "requests") == 1 && mesh.counter("client", "success") == 1
    });
}

#[test]
fn connections_are_kept_on_both_sides() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    for _ in 0..50 {
        caller.send(GET);
        caller.head();
        assert_eq!(caller.take(5), b"hello");
    }
    assert_eq!(origin.accepted(), 1);
    assert_eq!(mesh.counter("server", "connects"), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|mut peer, _| {
        loop {
            let head = peer.head();
            let path = head.split(' ').nth(1).expect("a target").to_owned();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len()).as_bytes());
        }
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    let requests: Vec<String> = (0..20)
        .map(|index| format!("GET /{index:02} HTTP/1.1\r\nHost: web\r\n\r\n"))
        .collect();
    caller.send(requests.concat().as_bytes());
    for index in 0..20 {
        caller.head();
        assert_eq!(caller.take(3), format!("/{index:02}").into_bytes());
    }
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    for byte in GET {
        caller.send(&[*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(caller.head().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_body_of_known_length_goes_through() {
    let origin = Origin::start(|mut peer, tell| {
        let head = peer.head();
        let body = peer.take(1_000_000);
        tell.send(head).expect("the test listens");
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
        peer.send(&body);
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    let body: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 1000000\r\n\r\n");
    let mut writer = caller.stream.try_clone().expect("a second handle");
    let sent = body.clone();
    let writing = std::thread::spawn(move || writer.write_all(&sent));
    caller.head();
    assert_eq!(caller.take(1_000_000), body);
    writing.join().expect("the writer ends").expect("all was taken");
    assert!(origin.head().contains("\r\nContent-Length: 1000000\r\n"));
}

#[test]
fn chunks_and_trailers_go_through_both_ways() {
    let origin = Origin::start(|mut peer, tell| {
        tell.send(peer.head()).expect("the test listens");
        tell.send(peer.until("0\r\n")).expect("the test listens");
        tell.send(peer.until("\r\n\r\n")).expect("the test listens");
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        peer.send(b"2;ext=1\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n");
        peer.until("never");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    std::thread::sleep(Duration::from_millis(50));
    caller.send(b"6\r\n world\r\n0\r\nX-Digest: abc\r\n\r\n");
    let head = caller.head();
    assert!(head.contains("\r\nTransfer-Encoding: chunked\r\n"), "{head}");
    assert_eq!(
        caller.until("X-Sum: 5\r\n\r\n"),
        "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n"
    );
    assert!(origin.head().contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert_eq!(origin.head(), "5\r\nhello\r\n6\r\n world\r\n0\r\n");
    assert_eq!(origin.head(), "X-Digest: abc\r\n\r\n");
}

#[test]
fn a_body_that_is_not_what_it_says_is_refused() {
    let origin = Origin::start(|mut peer, _| {
        peer.until("never");
    });
    let mesh = Mesh::web(&[origin.address]);
    let text = mesh.talk(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
    assert!(text.contains("Connection: close"), "{text}");
}

#[test]
fn head_and_bodiless_statuses_have_no_body() {
    for (request, response, length) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            Some("Content-Length: 10"),
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", None),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
            Some("Content-Length: 7"),
        ),
    ] {
        let origin = Origin::replying(response);
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        for _ in 0..2 {
            caller.send(format!("{request} / HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
            let head = caller.head();
            assert_eq!(
                head.lines().find(|line| line.starts_with("Content-Length")),
                length,
                "{head}"
            );
        }
        assert_eq!(origin.accepted(), 1);
    }
}

#[test]
fn a_response_without_length_ends_with_its_connection() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nsome ");
        std::thread::sleep(Duration::from_millis(30));
        peer.send(b"bytes");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    for _ in 0..2 {
        caller.send(GET);
        assert!(caller.head().contains("\r\nTransfer-Encoding: chunked\r\n"));
        assert_eq!(caller.until("0\r\n\r\n"), "5\r\nsome \r\n5\r\nbytes\r\n0\r\n\r\n");
    }
}

#[test]
fn an_old_caller_gets_no_chunks() {
    let origin = Origin::replying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let mesh = Mesh::web(&[origin.address]);
    let text = mesh.talk(b"GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\n");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\nabc"), "{text}");
    assert!(origin.head().contains("\r\nVia: 1.0 linkerd\r\n"));
}

#[test]
fn an_old_caller_may_keep_its_connection() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    for _ in 0..2 {
        caller.send(b"GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\n");
        assert!(caller.head().contains("\r\nConnection: keep-alive\r\n"));
        caller.take(5);
    }
    let text = mesh.talk(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n");
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
}

#[test]
fn a_caller_that_waits_is_told_to_continue() {
    let origin = Origin::start(|mut peer, tell| {
        tell.send(peer.head()).expect("the test listens");
        peer.take(5);
        peer.send(HELLO.as_bytes());
        peer.until("never");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(caller.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    caller.send(b"12345");
    assert!(caller.head().starts_with("HTTP/1.1 200"));
    assert!(!origin.head().to_lowercase().contains("expect"));
}

#[test]
fn interim_responses_reach_the_caller() {
    let origin = Origin::replying(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(GET);
    let hints = caller.head();
    assert!(
        hints.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n"),
        "{hints}"
    );
    assert!(caller.head().starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let origin = Origin::replying(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Back\r\nX-Back: 1\r\nX-Kept: 2\r\nKeep-Alive: timeout=5\r\n\r\n",
    );
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(
        b"GET / HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\nTE: trailers\r\n\
          Proxy-Authorization: secret\r\nKeep-Alive: 5\r\nUpgrade: nothing\r\n\r\n",
    );
    let head = caller.head();
    assert!(
        head.contains("X-Kept: 2") && !head.contains("X-Back") && !head.contains("Keep-Alive"),
        "{head}"
    );
    let asked = origin.head();
    assert!(asked.contains("X-End: 2"), "{asked}");
    for gone in [
        "X-Hop",
        "TE:",
        "Proxy-Authorization",
        "Keep-Alive",
        "Upgrade",
        "Connection",
    ] {
        assert!(!asked.contains(gone), "{gone} in {asked}");
    }
}

#[test]
fn websockets_go_through() {
    let origin = Origin::start(|mut peer, tell| {
        tell.send(peer.head()).expect("the test listens");
        peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Accept: 1\r\n\r\nhi",
        );
        let echoed = peer.take(4);
        peer.send(&echoed);
        peer.until("never");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    assert!(
        head.contains("\r\nUpgrade: websocket\r\n") && head.contains("X-Accept: 1"),
        "{head}"
    );
    assert_eq!(caller.take(2), b"hi");
    caller.send(b"ping");
    assert_eq!(caller.take(4), b"ping");
    let asked = origin.head();
    assert!(
        asked.contains("Connection: upgrade\r\nUpgrade: websocket\r\n"),
        "{asked}"
    );
    caller.finish();
    assert_eq!(caller.rest(), "");
}

#[test]
fn nothing_goes_through_before_the_protocol_has_changed() {
    let origin = Origin::start(|mut peer, tell| {
        tell.send(peer.head()).expect("the test listens");
        peer.send(HELLO.as_bytes());
        tell.send(peer.head()).expect("the test listens");
        peer.send(HELLO.as_bytes());
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"GET /a HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /b HTTP/1.1\r\nHost: web\r\n\r\n");
    caller.head();
    caller.take(5);
    caller.head();
    assert!(origin.head().starts_with("GET /a "));
    let second = origin.head();
    assert!(
        second.starts_with("GET /b ") && second.contains("l5d-dst-service"),
        "{second}"
    );
}

#[test]
fn nobody_slips_into_http2() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 200"));
    let asked = origin.head();
    assert!(!asked.contains("h2c") && !asked.contains("HTTP2-Settings"), "{asked}");
}

#[test]
fn an_absolute_target_names_the_host() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    mesh.talk(b"GET http://web/path?q HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n");
    let asked = origin.head();
    assert!(asked.starts_with("GET /path?q HTTP/1.1\r\nHost: web\r\n"), "{asked}");
    assert!(!asked.contains("other"), "{asked}");
}

#[test]
fn an_early_response_ends_the_upload() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
        std::thread::sleep(Duration::from_millis(100));
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100000000\r\n\r\nfirst bytes");
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
    assert_eq!(caller.take(3), b"big");
}

#[test]
fn a_half_closed_caller_gets_its_response() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        std::thread::sleep(Duration::from_millis(100));
        peer.send(HELLO.as_bytes());
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(GET);
    caller.finish();
    assert!(caller.rest().ends_with("\r\n\r\nhello"));
}

#[test]
fn a_dead_endpoint_costs_no_request() {
    let origin = Origin::start(|mut peer, _| {
        loop {
            peer.head();
            peer.take(2);
            peer.send(HELLO.as_bytes());
        }
    });
    let mesh = Mesh::web(&[nowhere(), origin.address, nowhere()]);
    let mut caller = mesh.connect();
    for _ in 0..50 {
        caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 2\r\n\r\n");
        caller.send(b"ab");
        assert!(caller.head().starts_with("HTTP/1.1 200"));
        caller.take(5);
    }
    assert_eq!(mesh.counter("server", "failures"), 0);
    eventually("a failed connection was counted", || {
        mesh.counter("client", "retries/requeues") > 0
    });
}

#[test]
fn an_old_connection_that_closes_costs_no_request() {
    // Each connection serves one request and closes a moment later, without having said so.
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.send(HELLO.as_bytes());
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    for _ in 0..100 {
        caller.send(GET);
        assert!(caller.head().starts_with("HTTP/1.1 200"));
        caller.take(5);
    }
    assert_eq!(mesh.counter("server", "failures"), 0);
}

#[test]
fn when_nobody_listens_the_caller_is_told_where() {
    let gone = nowhere();
    let mesh = Mesh::web(&[gone]);
    let mut caller = mesh.connect();
    caller.send(GET);
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
    assert!(
        head.contains(&format!(
            "l5d-err: Unable+to+establish+connection+to+127.0.0.1%3A{}",
            gone.port()
        )),
        "{head}"
    );
    let body = caller.until("selected address:");
    assert!(body.contains("client name: /#/io.l5d.fs/web\n"), "{body}");
    // The connection goes on.
    caller.send(GET);
    assert!(caller.until("HTTP/1.1 502").ends_with("502"));
}

#[test]
fn an_endpoint_that_says_nothing_useful_is_a_bad_gateway() {
    for response in [
        "",
        "HTTP/1.1 2",
        "not http at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    ] {
        let origin = Origin::start(move |mut peer, _| {
            peer.head();
            peer.send(response.as_bytes());
        });
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n");
        let head = caller.head();
        assert!(head.starts_with("HTTP/1.1 502"), "{response:?}: {head}");
        assert_eq!(origin.accepted(), 1, "a POST is not sent twice");
    }
}

#[test]
fn a_response_that_is_cut_short_is_seen_to_be() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(GET);
    caller.head();
    let rest = caller.rest();
    assert!(rest.len() < 100, "{rest}");
}

#[test]
fn more_than_one_response_is_thrown_away_with_its_connection() {
    let origin = Origin::replying(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    );
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    for _ in 0..3 {
        caller.send(GET);
        caller.head();
        assert_eq!(caller.take(2), b"ok");
    }
    assert_eq!(origin.accepted(), 3);
}

#[test]
fn names_that_lead_nowhere_are_502() {
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints("/#/io.l5d.fs/empty", &[], &json!({}))],
        &[
            ("/svc/no", support::answer(&json!({"type": "negative"}))),
            ("/svc/empty", bound("/#/io.l5d.fs/empty")),
            (
                "/svc/bad",
                support::answer(&json!({"type": "failed", "message": "the namer is ill"})),
            ),
            (
                "/svc/override",
                support::answer(&json!({"type": "invalid", "message": "no dtab"})),
            ),
        ],
    );
    for (host, status, text) in [
        ("no", 502, "Unable to route request!\n\nservice name: /svc/no\n"),
        ("empty", 502, "base dtab:\n  /svc => /#/io.l5d.fs\noverride dtab:\n\n"),
        ("bad", 502, "the namer is ill"),
        ("override", 400, "no dtab"),
    ] {
        let answer = mesh.talk(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("\r\nl5d-err: ") && answer.contains(text), "{answer}");
    }
}

#[test]
fn a_name_that_is_never_answered_times_out() {
    let mesh = Mesh::start(&plan(&json!({}), &json!({"binding_timeout_ms": 200})), &[], &[]);
    let started = Instant::now();
    let mut callers: Vec<_> = (0..5).map(|_| mesh.connect()).collect();
    for caller in &mut callers {
        caller.send(GET);
    }
    for caller in &mut callers {
        let head = caller.head();
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert!(head.contains("Exceeded+200.milliseconds+binding+timeout"), "{head}");
    }
    assert!(started.elapsed() < Duration::from_secs(2));
    let asks = mesh.asked.lock().expect("the list").len();
    assert_eq!(asks, 1, "many requests for one name are one ask");
}

#[test]
fn malformed_requests_get_400_and_lose_their_connection() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    for (bytes, status) in [
        (
            &b"GET / HTTP/1.1\r\nHost: web\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"[..],
            400,
        ),
        (b"GET / HTTP/1.1\nHost: web\n\n", 400),
        (
            b"GET / HTTP/1.1\r\nHost: web\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (b"GET / HTTP/1.1\r\nHost: web\r\nX : y\r\n\r\n", 400),
        (b"GET / HTTP/3.7\r\nHost: web\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
    ] {
        let text = mesh.talk(bytes);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:?}: {text}");
        assert!(text.contains("\r\nl5d-err: "), "{text}");
    }
    assert_eq!(origin.accepted(), 0);
    let large = format!("GET / HTTP/1.1\r\nHost: web\r\nX: {}\r\n\r\n", "x".repeat(9000));
    assert!(mesh.talk(large.as_bytes()).starts_with("HTTP/1.1 431 "));
    let long = format!("GET /{} HTTP/1.1\r\nHost: web\r\n\r\n", "x".repeat(5000));
    assert!(mesh.talk(long.as_bytes()).starts_with("HTTP/1.1 414 "));
}

#[test]
fn a_slow_head_times_out() {
    let mesh = Mesh::web(&[nowhere()]);
    let mut caller = mesh.connect();
    caller.send(b"GET / HT");
    let started = Instant::now();
    let text = caller.rest();
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn an_idle_connection_is_closed() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::start(
        &plan(&json!({"idle_timeout_ms": 300}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
        &[("/svc/web", bound("/#/io.l5d.fs/web"))],
    );
    let mut caller = mesh.connect();
    caller.send(GET);
    caller.head();
    caller.take(5);
    assert_eq!(caller.rest(), "");
}

#[test]
fn an_edge_hides_what_is_inside() {
    let origin = Origin::replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nl5d-inner: 1\r\n\r\n");
    let mesh = Mesh::start(
        &plan(&json!({"clear_context": true}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
        &[("/svc/web", bound("/#/io.l5d.fs/web"))],
    );
    let text = mesh
        .talk(b"GET / HTTP/1.1\r\nHost: web\r\nl5d-dtab: /svc => /evil\r\nl5d-thing: 1\r\nConnection: close\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 200") && !text.contains("l5d-"), "{text}");
    let asked = origin.head();
    assert!(!asked.contains("l5d-dtab") && !asked.contains("l5d-thing"), "{asked}");
    let lost = mesh.talk(b"GET / HTTP/1.1\r\n\r\n");
    assert!(
        lost.starts_with("HTTP/1.1 400") && !lost.contains("l5d-") && lost.ends_with("\r\n\r\n"),
        "{lost}"
    );
}

#[test]
fn too_many_requests_at_once_are_refused() {
    let origin = Origin::start(|mut peer, tell| {
        tell.send(peer.head()).expect("the test listens");
        std::thread::sleep(Duration::from_millis(500));
        peer.send(HELLO.as_bytes());
    });
    let mesh = Mesh::start(
        &plan(&json!({"max_concurrent_requests": 1}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
        &[("/svc/web", bound("/#/io.l5d.fs/web"))],
    );
    let mut first = mesh.connect();
    first.send(GET);
    origin.head();
    let mut another = mesh.connect();
    another.send(GET);
    let second = another.head();
    assert!(second.starts_with("HTTP/1.1 503 "), "{second}");
    assert!(second.contains("l5d-retryable: true"), "{second}");
    assert!(first.head().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_total_timeout_is_a_503() {
    let origin = Origin::start(|mut peer, _| {
        peer.until("never");
    });
    let mut slow = bound("/#/io.l5d.fs/web");
    slow["policy"]["total_timeout_ms"] = json!(100);
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
        &[("/svc/web", slow)],
    );
    let mut caller = mesh.connect();
    caller.send(GET);
    let head = caller.head();
    assert!(
        head.starts_with("HTTP/1.1 503") && head.contains("exceeded+100.milliseconds"),
        "{head}"
    );
}

#[test]
fn stopping_lets_a_request_finish() {
    let origin = Origin::start(|mut peer, tell| {
        tell.send(peer.head()).expect("the test listens");
        std::thread::sleep(Duration::from_millis(300));
        peer.send(HELLO.as_bytes());
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut idle = mesh.connect();
    let mut busy = mesh.connect();
    busy.send(GET);
    origin.head();
    mesh.engine.stop(5000);
    assert_eq!(idle.rest(), "");
    assert!(busy.rest().ends_with("hello"));
    eventually("the engine says that it has drained", || {
        let asked = mesh.asked.lock().expect("the list");
        asked
            .iter()
            .any(|letter| matches!(letter, biandou_engine::mail::Outgoing::Drained { unfinished: 0 }))
    });
}
