//! What a caller's deadline ends: every wait that a request has.

mod support;

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use support::{Mesh, Origin, answer, bound, endpoints, nowhere, plan};

/// A request that must be answered within so many milliseconds from now.
fn request(left_ms: i64, more: &str) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a time")
        .as_nanos() as i64;
    let deadline = now + left_ms * 1_000_000;
    format!("GET / HTTP/1.1\r\nHost: web\r\nl5d-ctx-deadline: {now} {deadline}\r\n{more}\r\n")
}

/// Sends a request that has 300 ms left and gives the head of what comes back, which must not take much longer.
fn refused_in_time(mesh: &Mesh) -> String {
    let mut caller = mesh.connect();
    let began = Instant::now();
    caller.send(request(300, "").as_bytes());
    let head = caller.head();
    assert!(began.elapsed() >= Duration::from_millis(290), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("l5d-err: exceeded+request+deadline+of+"), "{head}");
    head
}

#[test]
fn a_request_whose_deadline_has_passed_is_refused_at_once_and_counted() {
    let origin = Origin::replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(request(-2000, "").as_bytes());
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("l5d-err: exceeded+request+deadline+by+2"), "{head}");
    let length: usize = head
        .split("Content-Length: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next()?.parse().ok())
        .expect("a length");
    caller.take(length);
    caller.send(request(5000, "").as_bytes());
    assert!(caller.head().starts_with("HTTP/1.1 200 "), "the connection goes on");
    mesh.settle();
    assert_eq!(origin.heads.try_iter().count(), 1, "the endpoint saw only the second");
    assert_eq!(mesh.counter("server", "admission_control/deadline/rejected"), 1);
    assert_eq!(mesh.counter("server", "admission_control/deadline/exceeded"), 1);
}

#[test]
fn a_name_that_is_not_bound_in_time_is_not_waited_for() {
    refused_in_time(&Mesh::start(&plan(&json!({}), &json!({})), &[], &[]));
}

#[test]
fn a_registry_that_says_nothing_in_time_is_not_waited_for() {
    let mut pending = endpoints("/#/io.l5d.fs/web", &[], &json!({}));
    pending["state"] = json!({"type": "pending"});
    let answers = [("/svc/web", bound("/#/io.l5d.fs/web"))];
    refused_in_time(&Mesh::start(&plan(&json!({}), &json!({})), &[pending], &answers));
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_is_not_waited_for() {
    let origin = Origin::silent();
    refused_in_time(&Mesh::web(&[origin.address]));
    origin.head();
    assert_eq!(origin.head(), "ended");
}

#[test]
fn a_place_among_an_endpoints_connections_is_not_waited_for_beyond_the_deadline() {
    let origin = Origin::silent();
    let pool = json!({"pool": {"min_size": 0, "max_size": 1, "idle_time_ms": null, "max_waiters": null}});
    let mesh = Mesh::web_with(&json!({}), &json!({}), &pool, &[origin.address]);
    let mut first = mesh.connect();
    first.send(request(5000, "").as_bytes());
    origin.head();
    refused_in_time(&mesh);
}

#[test]
fn an_endpoint_that_takes_no_more_bytes_is_not_waited_for_beyond_the_deadline() {
    let origin = Origin::start(|peer, _| {
        std::thread::sleep(Duration::from_secs(5));
        drop(peer);
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    let began = Instant::now();
    let head = request(300, "Content-Length: 100000000\r\n");
    caller.send(head.as_bytes());
    let mut stream = caller.stream.try_clone().expect("a second handle");
    std::thread::spawn(move || {
        use std::io::Write as _;
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let head = caller.head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn a_response_that_is_not_over_in_time_is_cut() {
    let origin = Origin::start(|mut peer, tell| {
        let _told = tell.send(peer.head());
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegun");
        while peer.stream.set_nodelay(true).is_ok() {
            std::thread::sleep(Duration::from_millis(50));
            peer.send(b".");
        }
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    let began = Instant::now();
    caller.send(request(400, "").as_bytes());
    let all = caller.rest();
    assert!(all.starts_with("HTTP/1.1 200 ") && all.contains("begun"), "{all}");
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn a_server_timeout_bounds_the_wait_for_a_name_too() {
    let server = json!({"request_timeout_ms": 300});
    let mesh = Mesh::start(&plan(&server, &json!({})), &[], &[]);
    let mut caller = mesh.connect();
    let began = Instant::now();
    caller.send(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 503 "));
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn the_earlier_of_a_timeout_and_the_deadline_holds_and_is_told() {
    let origin = Origin::silent();
    let mut named = bound("/#/io.l5d.fs/web");
    named["policy"]["total_timeout_ms"] = json!(60_000);
    let letter = endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}));
    refused_in_time(&Mesh::start(
        &plan(&json!({}), &json!({})),
        &[letter],
        &[("/svc/web", named)],
    ));
}

#[test]
fn a_deadline_far_away_changes_nothing() {
    let mesh = Mesh::web(&[nowhere()]);
    let far = format!(
        "GET / HTTP/1.1\r\nHost: web\r\nl5d-ctx-deadline: 1 {}\r\n\r\n",
        i64::MAX
    );
    let mut caller = mesh.connect();
    caller.send(far.as_bytes());
    assert!(caller.head().starts_with("HTTP/1.1 502 "));
    let fails = answer(&json!({"type": "negative"}));
    let mesh = Mesh::start(&plan(&json!({}), &json!({})), &[], &[("/svc/web", fails)]);
    assert!(mesh.talk(far.as_bytes()).starts_with("HTTP/1.1 502 "));
}
