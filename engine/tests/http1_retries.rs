//! Requests that are sent again because of what became of them, and those that must not be.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Mesh, Origin, Peer, bound, endpoints, eventually, nowhere, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const SORRY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nsorry";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc";

/// A service's policy with this classifier; `keys` replaces the others.
fn policy(classifier: &str, keys: &Value) -> Value {
    let mut policy = json!({
        "total_timeout_ms": null, "classifier": {"kind": format!("io.l5d.http.{classifier}")},
        "retry_backoff": {"kind": "constant", "ms": 0},
        "retry_budget": {"min_retries_per_sec": 10, "percent_can_retry": 0.2, "ttl_ms": 10_000}
    });
    for (key, value) in keys.as_object().into_iter().flatten() {
        policy[key] = value.clone();
    }
    policy
}

fn mesh(service: &Value, client: &Value, origins: &[&Origin]) -> Mesh {
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let mut answer = bound("/#/io.l5d.fs/web");
    answer["policy"] = service.clone();
    Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &addresses, client)],
        &[("/svc/web", answer)],
    )
}

/// Reads a request with its body, if it says how long that is.
fn request(peer: &mut Peer) -> String {
    let head = peer.head();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    head + &String::from_utf8_lossy(&peer.take(length))
}

/// An endpoint that gives one response after the other, over all its connections, and the last one for ever.
fn saying(responses: &'static [&'static str]) -> Origin {
    let asked = Arc::new(AtomicUsize::new(0));
    Origin::start(move |mut peer, tell| {
        peer.stream.set_read_timeout(None).expect("no timeout");
        loop {
            let _told = tell.send(request(&mut peer));
            let nth = asked.fetch_add(1, SeqCst).min(responses.len() - 1);
            peer.send(responses[nth].as_bytes());
        }
    })
}

/// The requests that came until now.
fn seen(origin: &Origin) -> Vec<String> {
    origin.heads.try_iter().collect()
}

/// Sends a request and gives its response's head.
fn ask(mesh: &Mesh, request: &[u8]) -> String {
    let mut caller = mesh.connect();
    caller.send(request);
    caller.head()
}

#[test]
fn a_request_is_sent_again_when_its_classifier_says_so_and_its_caller_sees_one_response() {
    let origin = saying(&[SORRY, SORRY, HELLO]);
    let mesh = mesh(&policy("retryableRead5XX", &json!({})), &json!({}), &[&origin]);
    let mut caller = mesh.connect();
    caller.send(GET);
    let head = caller.head();
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("\r\nl5d-success-class: 1.0\r\n"),
        "{head}"
    );
    assert_eq!(caller.take(5), b"hello");
    assert_eq!(caller.until_silent(Duration::from_millis(50)), "");
    assert_eq!(seen(&origin).len(), 3);
    assert_eq!(
        origin.accepted(),
        1,
        "a response that was read whole leaves a good connection"
    );
    mesh.settle();
    let tally = mesh.engine.tally();
    let of = |kind: &str| {
        tally
            .scopes
            .iter()
            .find(|scope| scope.scope.len() == 4 && scope.scope[2] == kind)
    };
    let service = of("service").expect("a service");
    let counters = [
        "requests",
        "success",
        "failures",
        "retries/total",
        "retries/budget_exhausted",
    ];
    assert_eq!(counters.map(|name| service.counters[name]), [1, 1, 0, 2, 0]);
    assert_eq!(service.stats["retries/per_request"].buckets, [(2.0, 1)]);
    assert!(
        (service.gauges["retries/budget"] - 98.0).abs() < 0.1,
        "100 and 0.2, less 2"
    );
    let client = of("client").expect("a client");
    let counters = [
        "requests",
        "success",
        "failures",
        "status/503",
        "status/200",
        "retries/requeues",
    ];
    assert_eq!(counters.map(|name| client.counters[name]), [3, 1, 2, 2, 1, 0]);
    let server = of("server").expect("a server");
    assert_eq!(
        ["requests", "success", "status/200"].map(|name| server.counters[name]),
        [1, 1, 1]
    );
    assert!(!server.counters.contains_key("status/503"));
}

#[test]
fn each_classifier_retries_its_methods_and_no_others() {
    for (classifier, retried) in [
        ("nonRetryable5XX", ""),
        ("retryableRead5XX", "GET HEAD OPTIONS TRACE"),
        ("retryableIdempotent5XX", "GET HEAD OPTIONS TRACE PUT DELETE"),
        ("retryableAll5XX", "GET HEAD OPTIONS TRACE PUT DELETE POST PATCH"),
        ("allSuccessful", ""),
    ] {
        for method in "GET HEAD OPTIONS TRACE PUT DELETE POST PATCH PURGE".split(' ') {
            let origin = saying(&[
                "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 204 Fine\r\n\r\n",
            ]);
            let mesh = mesh(&policy(classifier, &json!({})), &json!({}), &[&origin]);
            let head = ask(&mesh, format!("{method} / HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
            let status = if retried.split(' ').any(|name| name == method) {
                204
            } else {
                500
            };
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status} ")),
                "{classifier} {method}: {head}"
            );
            let success = status == 204 || classifier == "allSuccessful";
            let class = format!("\r\nl5d-success-class: {}.0\r\n", u8::from(success));
            assert!(head.contains(&class), "{classifier} {method}: {head}");
            mesh.settle();
            for kind in ["server", "service"] {
                assert_eq!(
                    mesh.counter(kind, "success"),
                    u64::from(success),
                    "{kind} {classifier} {method}"
                );
            }
        }
    }
}

#[test]
fn what_is_lost_is_retried_as_a_5xx_is() {
    type Serve = fn(&mut Peer);
    let ways: [(&str, Serve, Value); 3] = [
        ("closed", |_| {}, json!({})),
        ("garbled", |peer| peer.send(b"what?\r\n\r\n"), json!({})),
        (
            "late",
            |peer| {
                peer.until_silent(Duration::from_secs(1));
            },
            json!({"request_attempt_timeout_ms": 200}),
        ),
    ];
    for (what, serve, client) in ways {
        for (classifier, status) in [("retryableAll5XX", "200"), ("retryableIdempotent5XX", "50")] {
            let asked = Arc::new(AtomicUsize::new(0));
            let origin = Origin::start(move |mut peer, tell| {
                let _told = tell.send(request(&mut peer));
                if asked.fetch_add(1, SeqCst) == 0 {
                    return serve(&mut peer);
                }
                peer.send(HELLO.as_bytes());
                peer.until("never");
            });
            let mesh = mesh(&policy(classifier, &json!({})), &client, &[&origin]);
            let head = ask(&mesh, POST);
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}")),
                "{what} {classifier}: {head}"
            );
            mesh.settle();
            for seen in seen(&origin) {
                assert!(seen.ends_with("\r\n\r\nabc"), "{what}: {seen}");
            }
        }
    }
}

#[test]
fn an_endpoint_may_ask_for_another_attempt_whatever_the_classifier_and_the_method() {
    for signal in [
        "l5d-retryable: true",
        "L5D-Retryable: TRUE",
        "finagle-http-nack: true",
        "Retry-After: 0",
    ] {
        let sorry = format!("HTTP/1.1 503 Busy\r\n{signal}\r\nContent-Length: 0\r\n\r\n");
        let origin = saying(Box::leak(Box::new([&*sorry.leak(), HELLO])));
        let head = ask(&Mesh::web(&[origin.address]), POST);
        assert!(head.starts_with("HTTP/1.1 200 "), "{signal}: {head}");
        assert_eq!(seen(&origin).len(), 2);
    }
    for signal in [
        "l5d-retryable: false",
        "Retry-After: 1",
        "X-Retryable: true",
        "finagle-http-nonretryable-nack: true\r\nl5d-retryable: true",
    ] {
        let sorry = format!("HTTP/1.1 503 Busy\r\n{signal}\r\nContent-Length: 0\r\n\r\n");
        let origin = saying(Box::leak(Box::new([&*sorry.leak(), HELLO])));
        let head = ask(&Mesh::web(&[origin.address]), GET);
        assert!(
            head.starts_with("HTTP/1.1 503 ") && head.contains(signal),
            "{signal}: {head}"
        );
    }
}

#[test]
fn a_nack_is_requeued_elsewhere_and_costs_the_clients_budget() {
    let busy = saying(&["HTTP/1.1 503 Busy\r\nfinagle-http-nack: true\r\nContent-Length: 0\r\n\r\n"]);
    let idle = saying(&[HELLO]);
    let client = json!({"failure_accrual": {"kind": "none"}, "balancer": {"kind": "roundRobin"}});
    let mesh = mesh(&policy("nonRetryable5XX", &json!({})), &client, &[&busy, &idle]);
    for _ in 0..10 {
        let head = ask(&mesh, POST);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    }
    mesh.settle();
    let nacks = seen(&busy).len() as u64;
    assert!(nacks > 0);
    assert_eq!(mesh.counter("client", "retries/requeues"), nacks);
    assert_eq!(mesh.counter("service", "retries/total"), 0);
    // 100 to begin with, and a fifth of the ten that succeeded.
    assert_eq!(mesh.gauge("client", "retries/budget"), 102 - nacks.cast_signed());
}

#[test]
fn when_the_budget_is_used_up_the_response_goes_to_the_caller() {
    let origin = saying(&[SORRY]);
    let budget = json!({"retry_budget": {"min_retries_per_sec": 1, "percent_can_retry": 0.0, "ttl_ms": 3_000}});
    let mesh = mesh(
        &policy("retryableRead5XX", &budget),
        &json!({"failure_accrual": {"kind": "none"}}),
        &[&origin],
    );
    let mut caller = mesh.connect();
    for (attempts, exhausted) in [(4, 1), (1, 2)] {
        caller.send(GET);
        let head = caller.head();
        assert!(
            head.starts_with("HTTP/1.1 503 ") && head.contains("\r\nl5d-success-class: 0.0\r\n"),
            "{head}"
        );
        assert_eq!(caller.take(5), b"sorry");
        assert_eq!(seen(&origin).len(), attempts);
        assert_eq!(mesh.counter("service", "retries/budget_exhausted"), exhausted);
    }
    assert_eq!(mesh.counter("service", "retries/total"), 3);
    assert_eq!(mesh.gauge("service", "retries/budget"), 0);
}

#[test]
fn a_request_that_always_fails_does_not_use_up_what_others_may() {
    let origin = saying(&[SORRY]);
    let client = json!({"failure_accrual": {"kind": "none"}});
    let mesh = mesh(&policy("retryableRead5XX", &json!({})), &client, &[&origin]);
    assert!(ask(&mesh, GET).starts_with("HTTP/1.1 503 "));
    assert_eq!(seen(&origin).len(), 26);
}

#[test]
fn a_body_that_comes_late_is_kept_and_one_that_is_too_large_is_not() {
    for (length, status) in [(3, 200), (5 * 1024, 200), (5 * 1024 + 1, 503), (100_000, 503)] {
        let origin = saying(&[SORRY, HELLO]);
        let mesh = mesh(&policy("retryableAll5XX", &json!({})), &json!({}), &[&origin]);
        let mut caller = mesh.connect();
        caller.send(format!("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        std::thread::sleep(Duration::from_millis(30));
        let body = "0123456789".repeat(length / 10 + 1);
        caller.send(&body.as_bytes()[..length]);
        let head = caller.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {head}");
        caller.take(5);
        let seen = seen(&origin);
        assert_eq!(seen.len(), if status == 200 { 2 } else { 1 }, "{length}");
        for request in seen {
            assert!(request.ends_with(&format!("\r\n\r\n{}", &body[..length])), "{length}");
        }
        // What comes next on the connection is the next request.
        caller.send(GET);
        assert!(caller.head().starts_with("HTTP/1.1 200 "), "{length}");
    }
}

#[test]
fn a_chunked_body_is_never_sent_twice_for_a_5xx() {
    let origin = Origin::start(|mut peer, tell| {
        loop {
            let head = peer.head();
            let _told = tell.send(head + &peer.until("0\r\n\r\n"));
            peer.send(SORRY.as_bytes());
        }
    });
    let mesh = mesh(&policy("retryableAll5XX", &json!({})), &json!({}), &[&origin]);
    let chunked = b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert!(ask(&mesh, chunked).starts_with("HTTP/1.1 503 "));
    assert_eq!(seen(&origin).len(), 1);
}

#[test]
fn a_response_that_comes_before_the_body_is_retried_with_all_of_it() {
    let first = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |mut peer, tell| {
        if first.fetch_add(1, SeqCst) == 0 {
            peer.head();
            peer.send(SORRY.as_bytes());
            peer.until("never");
        }
        let _told = tell.send(request(&mut peer));
        peer.send(HELLO.as_bytes());
        peer.until("never");
    });
    let mesh = mesh(&policy("retryableAll5XX", &json!({})), &json!({}), &[&origin]);
    let mut caller = mesh.connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 6\r\n\r\nabc");
    eventually("the request is retried", || {
        mesh.counter("service", "retries/total") == 1
    });
    caller.send(b"def");
    assert!(caller.head().starts_with("HTTP/1.1 200 "));
    assert!(origin.head().ends_with("\r\n\r\nabcdef"));
    assert_eq!(origin.accepted(), 2, "the first connection still waits for a body");
}

#[test]
fn a_caller_that_waits_to_be_asked_for_its_body_is_asked_once() {
    let first = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |mut peer, tell| {
        if first.fetch_add(1, SeqCst) == 0 {
            peer.head();
            return peer.send(SORRY.as_bytes());
        }
        let _told = tell.send(request(&mut peer));
        peer.send(HELLO.as_bytes());
        peer.until("never");
    });
    let mesh = mesh(&policy("retryableAll5XX", &json!({})), &json!({}), &[&origin]);
    let mut caller = mesh.connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 100 "));
    eventually("the request is retried", || {
        mesh.counter("service", "retries/total") == 1
    });
    std::thread::sleep(Duration::from_millis(50));
    caller.send(b"abc");
    assert!(caller.head().starts_with("HTTP/1.1 200 "));
}

#[test]
fn nothing_is_retried_once_the_caller_has_seen_an_interim_response() {
    let origin = saying(&[
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        HELLO,
    ]);
    let mesh = mesh(&policy("retryableRead5XX", &json!({})), &json!({}), &[&origin]);
    let mut caller = mesh.connect();
    caller.send(GET);
    assert!(caller.head().starts_with("HTTP/1.1 103 "));
    assert!(caller.head().starts_with("HTTP/1.1 503 "));
    assert_eq!(seen(&origin).len(), 1);
}

#[test]
fn a_connection_with_the_rest_of_a_withheld_response_is_not_used_again() {
    for (rest, accepted) in [
        ("Content-Length: 5\r\n\r\nsorry", 1),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\n\r\n", 1),
        ("Content-Length: 99\r\n\r\nsorry", 2),
        ("Content-Length: 5\r\n\r\nsorryHTTP/1.1 200 evil\r\n\r\n", 2),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n", 2),
        ("Connection: close\r\nContent-Length: 5\r\n\r\nsorry", 2),
        ("\r\nsorry", 2),
    ] {
        let sorry = format!("HTTP/1.1 500 Oops\r\n{rest}").leak();
        let origin = saying(Box::leak(Box::new([&*sorry, HELLO])));
        let mesh = mesh(&policy("retryableRead5XX", &json!({})), &json!({}), &[&origin]);
        let mut caller = mesh.connect();
        caller.send(GET);
        let head = caller.head();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{rest:?}: {head}");
        assert_eq!(caller.take(5), b"hello");
        assert_eq!(origin.accepted(), accepted, "{rest:?}");
    }
}

#[test]
fn retries_wait_as_they_are_told_to() {
    let origin = saying(&[SORRY, SORRY, HELLO]);
    let backoff = json!({"retry_backoff": {"kind": "constant", "ms": 150}});
    let mesh = mesh(&policy("retryableRead5XX", &backoff), &json!({}), &[&origin]);
    let began = Instant::now();
    assert!(ask(&mesh, GET).starts_with("HTTP/1.1 200 "));
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(300) && took < Duration::from_secs(3),
        "{took:?}"
    );
}

#[test]
fn a_retry_for_which_there_is_no_time_is_not_made() {
    let origin = saying(&[SORRY]);
    let keys = json!({"total_timeout_ms": 400, "retry_backoff": {"kind": "constant", "ms": 150}});
    let mesh = mesh(&policy("retryableRead5XX", &keys), &json!({}), &[&origin]);
    let began = Instant::now();
    let head = ask(&mesh, GET);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(head.starts_with("HTTP/1.1 503 ") && !head.contains("l5d-err"), "{head}");
    assert_eq!(seen(&origin).len(), 3);
}

#[test]
fn the_total_timeout_ends_a_retry_that_takes_too_long() {
    let asked = Arc::new(AtomicUsize::new(0));
    let origin = Origin::start(move |mut peer, tell| {
        loop {
            let _told = tell.send(peer.head());
            if asked.fetch_add(1, SeqCst) == 0 {
                peer.send(SORRY.as_bytes());
            }
        }
    });
    let mesh = mesh(
        &policy("retryableRead5XX", &json!({"total_timeout_ms": 300})),
        &json!({}),
        &[&origin],
    );
    let head = ask(&mesh, GET);
    assert!(
        head.starts_with("HTTP/1.1 503 ") && head.contains("exceeded+300.milliseconds"),
        "{head}"
    );
    assert_eq!(seen(&origin).len(), 2);
}

#[test]
fn nobody_waits_on_for_a_caller_that_is_gone() {
    let origin = saying(&[SORRY]);
    let backoff = json!({"retry_backoff": {"kind": "constant", "ms": 1500}});
    let mesh = mesh(&policy("retryableRead5XX", &backoff), &json!({}), &[&origin]);
    let mut caller = mesh.connect();
    caller.send(GET);
    origin.head();
    socket2::SockRef::from(&caller.stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a reset");
    drop(caller);
    mesh.settle();
    assert_eq!(seen(&origin).len(), 0, "it was asked once");
    assert_eq!(
        mesh.counter(
            "server",
            "failures/interrupted/com.twitter.finagle.CancelledRequestException"
        ),
        1
    );
}

#[test]
fn a_retry_prefers_another_endpoint() {
    let (bad, good) = (saying(&[SORRY]), saying(&[HELLO]));
    let client = json!({"failure_accrual": {"kind": "none"}});
    let mesh = mesh(&policy("retryableRead5XX", &json!({})), &client, &[&bad, &good]);
    for _ in 0..20 {
        assert!(ask(&mesh, GET).starts_with("HTTP/1.1 200 "));
    }
    mesh.settle();
    assert_eq!(seen(&good).len(), 20);
    assert_eq!(mesh.counter("service", "retries/total"), seen(&bad).len() as u64);
}

#[test]
fn an_endpoint_is_judged_as_its_services_classifier_judges() {
    for (classifier, removals) in [("nonRetryable5XX", 1), ("allSuccessful", 0)] {
        let origin = saying(&[SORRY]);
        let mesh = mesh(&policy(classifier, &json!({})), &json!({}), &[&origin]);
        let mut caller = mesh.connect();
        for _ in 0..6 {
            caller.send(GET);
            caller.head();
            caller.take(5);
        }
        mesh.settle();
        assert_eq!(
            mesh.counter("client", "failure_accrual/removals"),
            removals,
            "{classifier}"
        );
        let success = if classifier == "allSuccessful" { 6 } else { 0 };
        assert_eq!(mesh.counter("client", "success"), success);
        assert_eq!(mesh.counter("client", "status/503"), 6);
    }
}

#[test]
fn a_connection_that_cannot_be_made_costs_no_budget_and_one_that_breaks_does() {
    let origin = saying(&[HELLO]);
    let mut answer = bound("/#/io.l5d.fs/web");
    answer["policy"] = policy("nonRetryable5XX", &json!({}));
    let none = json!({"min_retries_per_sec": 0, "percent_can_retry": 0.0, "ttl_ms": 1000});
    let client = json!({
        "failure_accrual": {"kind": "none"}, "balancer": {"kind": "roundRobin"}, "requeue_budget": none
    });
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address, nowhere()], &client)],
        &[("/svc/web", answer.clone())],
    );
    for _ in 0..4 {
        assert!(ask(&mesh, GET).starts_with("HTTP/1.1 200 "));
    }
    mesh.settle();
    assert!(mesh.counter("client", "retries/requeues") > 0);
    assert_eq!(mesh.counter("client", "retries/request_limit"), 0);

    let broken = Origin::start(|mut peer, tell| {
        let _told = tell.send(peer.head());
    });
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[broken.address], &client)],
        &[("/svc/web", answer)],
    );
    assert!(ask(&mesh, GET).starts_with("HTTP/1.1 502 "));
    mesh.settle();
    assert_eq!(seen(&broken).len(), 1);
    assert_eq!(mesh.counter("client", "retries/request_limit"), 1);
}

#[test]
fn requests_that_nothing_is_left_for_are_counted() {
    let mesh = Mesh::web(&[nowhere()]);
    assert!(ask(&mesh, GET).starts_with("HTTP/1.1 502 "));
    mesh.settle();
    let names = ["requeues", "not_open", "cannot_retry"];
    let counted = names.map(|name| mesh.counter("client", &format!("retries/{name}")));
    assert_eq!(counted, [1, 1, 0]);
    let closing = Origin::start(|mut peer, _| {
        peer.head();
    });
    let mesh = Mesh::web(&[closing.address]);
    assert!(ask(&mesh, GET).starts_with("HTTP/1.1 502 "));
    mesh.settle();
    let counted = names.map(|name| mesh.counter("client", &format!("retries/{name}")));
    assert_eq!(counted, [1, 0, 1]);
}

#[test]
fn a_caller_is_told_that_it_may_ask_elsewhere_while_no_endpoint_is_alive() {
    let mesh = Mesh::web(&[nowhere()]);
    let mut caller = mesh.connect();
    let told: Vec<bool> = (0..4)
        .map(|_| {
            caller.send(POST);
            let head = caller.head();
            assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
            caller.until("selected address");
            caller.until("\n");
            head.contains("\r\nl5d-retryable: true\r\n")
        })
        .collect();
    assert_eq!(
        told,
        [false, false, true, true],
        "two attempts each, and dead after five"
    );
}

#[test]
fn a_status_of_ours_has_the_class_that_its_service_gives_it() {
    for (classifier, status, class) in [
        ("nonRetryable5XX", 503, 0),
        ("allSuccessful", 503, 1),
        ("retryableAll5XX", 404, 1),
    ] {
        let mut answer = bound("/$/io.buoyant.http.status");
        answer["policy"] = policy(classifier, &json!({}));
        let mut status_of = endpoints("/$/io.buoyant.http.status", &[], &json!({}));
        status_of["state"] = json!({"type": "status", "code": status});
        let mesh = Mesh::start(&plan(&json!({}), &json!({})), &[status_of], &[("/svc/web", answer)]);
        let head = ask(&mesh, GET);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(
            head.contains(&format!("\r\nl5d-success-class: {class}.0\r\n")),
            "{head}"
        );
        mesh.settle();
        assert_eq!(mesh.counter("server", "success"), class);
        assert_eq!(mesh.counter("service", "success"), class);
    }
}
