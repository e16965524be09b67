//! The timeouts that a configuration sets for servers, clients and their sockets.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Mesh, Origin, bound, endpoints, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";

fn mesh(server: &Value, policy: &Value, origin: &Origin) -> Mesh {
    Mesh::start(
        &plan(server, &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address], policy)],
        &[("/svc/web", bound("/#/io.l5d.fs/web"))],
    )
}

fn socket(key: &str, timeout_ms: u64) -> Value {
    let mut socket = json!({
        "no_delay": true, "reuse_port": false, "keep_alive": null, "backlog": null,
        "read_timeout_ms": null, "write_timeout_ms": null
    });
    socket[key] = json!(timeout_ms);
    json!({ "socket": socket })
}

fn silent() -> Origin {
    Origin::start(|mut peer, _| {
        peer.until("never");
    })
}

#[test]
fn a_server_lets_a_request_take_no_longer_than_it_says() {
    let mesh = mesh(&json!({"request_timeout_ms": 100}), &json!({}), &silent());
    let mut caller = mesh.connect();
    caller.send(GET);
    let head = caller.head();
    assert!(
        head.starts_with("HTTP/1.1 503") && head.contains("exceeded+100.milliseconds"),
        "{head}"
    );
}

#[test]
fn a_caller_that_sends_nothing_is_closed_after_the_read_timeout() {
    let mesh = mesh(&socket("read_timeout_ms", 300), &json!({}), &silent());
    let began = Instant::now();
    assert_eq!(mesh.connect().rest(), "");
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_caller_that_has_ended_its_half_is_waited_for_no_longer_than_an_idle_one() {
    let mesh = mesh(&json!({"idle_timeout_ms": 300}), &json!({}), &silent());
    let mut caller = mesh.connect();
    let began = Instant::now();
    caller.send(GET);
    caller.finish();
    assert_eq!(caller.rest(), "");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_body_that_stops_coming_ends_after_the_read_timeout() {
    let mesh = mesh(&socket("read_timeout_ms", 300), &json!({}), &silent());
    let mut caller = mesh.connect();
    let began = Instant::now();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n12345");
    assert!(caller.head().starts_with("HTTP/1.1 408 "));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn an_endpoint_that_sends_nothing_is_given_up_after_the_read_timeout() {
    let mesh = mesh(&json!({}), &socket("read_timeout_ms", 300), &silent());
    let mut caller = mesh.connect();
    let began = Instant::now();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 502 "));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_connection_to_an_endpoint_is_not_used_beyond_its_life() {
    let origin = Origin::replying(HELLO);
    let mesh = mesh(&json!({}), &json!({"life_timeout_ms": 200}), &origin);
    let mut caller = mesh.connect();
    for pause_ms in [0, 300, 0] {
        std::thread::sleep(Duration::from_millis(pause_ms));
        caller.send(GET);
        caller.head();
        caller.take(5);
    }
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn connections_to_an_endpoint_are_limited_and_so_are_those_who_wait() {
    let origin = Origin::start(|mut peer, tell| {
        tell.send(peer.head()).expect("the test listens");
        std::thread::sleep(Duration::from_millis(400));
        peer.send(HELLO.as_bytes());
    });
    let pool = json!({"pool": {"min_size": 0, "max_size": 1, "idle_time_ms": null, "max_waiters": 1}});
    let mesh = mesh(&json!({}), &pool, &origin);
    let mut callers: Vec<_> = (0..3).map(|_| mesh.connect()).collect();
    callers[0].send(GET);
    origin.head();
    callers[1].send(GET);
    std::thread::sleep(Duration::from_millis(100));
    callers[2].send(GET);
    let crowded = callers[2].head();
    assert!(
        crowded.starts_with("HTTP/1.1 502 ") && crowded.contains("too+many+requests+wait"),
        "{crowded}"
    );
    for caller in &mut callers[..2] {
        assert!(caller.head().starts_with("HTTP/1.1 200 "));
    }
}
