//! Limits that an operator sets: rates and requests at once; what is refused, how it is told, and what is counted.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

mod support;

use support::{Mesh, Origin, Peer, bound, endpoints, plan};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A limit that gives nothing back while a test runs.
fn limit(burst: u32, by_header: Option<&str>) -> Value {
    json!({"requests_per_second": 0.01, "burst": burst, "by_header": by_header})
}

fn web_with_server_limit(origin: &Origin, limit: &Value) -> Mesh {
    let server = json!({ "rate_limit": limit });
    Mesh::web_with(&server, &json!({}), &json!({}), &[origin.address])
}

fn web_with_service_limit(origin: &Origin, limit: &Value) -> Mesh {
    let mut answer = bound("/#/io.l5d.fs/web");
    answer["policy"]["rate_limit"] = limit.clone();
    Mesh::start(
        &plan(&json!({}), &json!({})),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
        &[
            ("/svc/web", answer.clone()),
            ("/svc/other", answer),
            ("/svc/free", bound("/#/io.l5d.fs/web")),
        ],
    )
}

/// The status of the answer to a request with these header lines.
fn status(peer: &mut Peer, headers: &str) -> String {
    peer.send(format!("GET / HTTP/1.1\r\n{headers}\r\n").as_bytes());
    let head = peer.head();
    if let Some(length) = head.split("Content-Length: ").nth(1) {
        let length = length.split("\r\n").next().and_then(|length| length.parse().ok());
        peer.take(length.expect("a length"));
    }
    head[9..12].to_owned()
}

#[test]
fn a_server_refuses_what_is_above_its_rate_and_keeps_the_connection() {
    let origin = Origin::replying(OK);
    let mesh = web_with_server_limit(&origin, &limit(2, None));
    let mut peer = mesh.connect();
    let statuses = [0; 4].map(|_| status(&mut peer, "Host: web\r\n"));
    assert_eq!(statuses, ["200", "200", "429", "429"]);
    peer.send(GET);
    let head = peer.head();
    let seconds = head
        .split("Retry-After: ")
        .nth(1)
        .and_then(|rest| rest.split("\r\n").next());
    let seconds: u64 = seconds.and_then(|seconds| seconds.parse().ok()).expect("whole seconds");
    assert!((90..=100).contains(&seconds), "{head}");
    assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{head}");
    assert!(
        head.contains("l5d-err: Too+many+requests%3A+this+server+takes+0.01+a+second\r\n"),
        "{head}"
    );
    assert!(!head.contains("l5d-retryable"), "{head}");
    assert!(!head.contains("Connection: close"), "{head}");
    mesh.settle();
    assert_eq!(mesh.counter("server", "rate_limited"), 3);
    assert_eq!(mesh.counter("server", "status/429"), 3);
    assert_eq!(mesh.counter("server", "failures"), 0, "it is the caller's doing");
    assert_eq!(mesh.counter("service", "requests"), 2);
}

#[test]
fn what_came_in_time_is_taken_again() {
    let origin = Origin::replying(OK);
    let rate = json!({"requests_per_second": 20.0, "burst": 1, "by_header": null});
    let mesh = web_with_server_limit(&origin, &rate);
    let mut peer = mesh.connect();
    let (began, mut served) = (Instant::now(), 0);
    while served < 4 {
        served += u32::from(status(&mut peer, "Host: web\r\n") == "200");
        thread::sleep(Duration::from_millis(2));
        assert!(began.elapsed() < support::PATIENCE);
    }
    // Three tokens of 50 ms each came after the first.
    assert!(began.elapsed() >= Duration::from_millis(149), "{:?}", began.elapsed());
}

#[test]
fn each_value_of_a_header_has_a_rate_and_those_without_one_share_theirs() {
    let origin = Origin::replying(OK);
    let mesh = web_with_server_limit(&origin, &limit(1, Some("X-Api-Key")));
    let mut peer = mesh.connect();
    let mut status = |headers: &str| status(&mut peer, &format!("Host: web\r\n{headers}"));
    assert_eq!(status("X-Api-Key: a\r\n"), "200");
    assert_eq!(status("x-api-key: b\r\n"), "200");
    assert_eq!(status("X-API-KEY:   a \r\n"), "429");
    assert_eq!(status(""), "200");
    assert_eq!(status(""), "429");
    assert_eq!(
        status("X-Api-Key: c\r\nX-Api-Key: d\r\n"),
        "429",
        "two lines are no value"
    );
    assert_eq!(status("X-Api-Key: c\r\n"), "200");
    assert_eq!(mesh.counter("server", "rate_limited"), 3);
    assert_eq!(mesh.counter("server", "rate_limit/forgotten"), 0);
}

#[test]
fn the_host_that_counts_is_the_one_that_goes_on() {
    let origin = Origin::replying(OK);
    let mesh = web_with_server_limit(&origin, &limit(1, Some("host")));
    let mut peer = mesh.connect();
    let mut status = |host: &str| {
        peer.send(format!("GET http://web/ HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let head = peer.head();
        let body = head.contains(" 429 ").then(|| peer.until("value of host"));
        (head[9..12].to_owned(), body.is_some())
    };
    assert_eq!(status("one"), ("200".to_owned(), false));
    assert_eq!(status("another"), ("429".to_owned(), true));
}

#[test]
fn each_service_has_a_rate_of_its_own() {
    let origin = Origin::replying(OK);
    let mesh = web_with_service_limit(&origin, &limit(1, None));
    let mut peer = mesh.connect();
    let mut status = |host: &str| status(&mut peer, &format!("Host: {host}\r\n"));
    assert_eq!([status("web"), status("web"), status("web")], ["200", "429", "429"]);
    assert_eq!([status("other"), status("other")], ["200", "429"]);
    assert_eq!([status("free"), status("free")], ["200", "200"]);
    mesh.settle();
    assert_eq!(mesh.counter("service", "rate_limited"), 3);
    assert_eq!(mesh.counter("service", "failures"), 0);
    assert_eq!(
        mesh.counter("client", "requests"),
        4,
        "nothing that is refused reaches an endpoint"
    );
    assert_eq!(mesh.counter("server", "rate_limited"), 0);
}

#[test]
fn each_service_counts_the_values_of_a_header_by_itself() {
    let origin = Origin::replying(OK);
    let mesh = web_with_service_limit(&origin, &limit(1, Some("x-user")));
    let mut peer = mesh.connect();
    let mut status = |host: &str, user: &str| status(&mut peer, &format!("Host: {host}\r\nX-User: {user}\r\n"));
    assert_eq!([status("web", "ann"), status("web", "ann")], ["200", "429"]);
    assert_eq!([status("web", "bob"), status("other", "ann")], ["200", "200"]);
    let tally = mesh.engine.tally();
    let table = tally
        .scopes
        .iter()
        .find(|scope| scope.scope == ["rt", "http", "rate_limit"]);
    assert_eq!(table.expect("a scope of the table").counters["forgotten"], 0);
}

#[test]
fn an_answer_with_the_same_limit_gives_nothing_back_and_one_with_another_does() {
    let origin = Origin::replying(OK);
    let mesh = web_with_service_limit(&origin, &limit(1, None));
    let mut peer = mesh.connect();
    assert_eq!(status(&mut peer, "Host: web\r\n"), "200");
    let answer = |limit: &Value| {
        let mut answer = bound("/#/io.l5d.fs/web");
        answer["policy"]["rate_limit"] = limit.clone();
        let letters = mesh.asked.lock().expect("the list");
        let ticket = letters.iter().find_map(|letter| match letter {
            biandou_engine::mail::Outgoing::Ask { ticket, .. } => Some(*ticket),
            _ => None,
        });
        let answer = serde_json::from_value(answer).expect("an answer");
        mesh.engine.answer(ticket.expect("an ask"), answer);
    };
    answer(&limit(1, None));
    assert_eq!(status(&mut peer, "Host: web\r\n"), "429");
    answer(&limit(2, None));
    assert_eq!(
        [0; 3].map(|_| status(&mut peer, "Host: web\r\n")),
        ["200", "200", "429"]
    );
    answer(&Value::Null);
    assert_eq!([0; 3].map(|_| status(&mut peer, "Host: web\r\n")), ["200"; 3]);
}

#[test]
fn an_edge_tells_when_to_come_again_and_nothing_of_itself() {
    let origin = Origin::replying(OK);
    let server = json!({"clear_context": true, "rate_limit": limit(1, None)});
    let mesh = Mesh::web_with(&server, &json!({}), &json!({}), &[origin.address]);
    let mut peer = mesh.connect();
    assert_eq!(status(&mut peer, "Host: web\r\n"), "200");
    peer.send(GET);
    let head = peer.head();
    assert!(
        head.starts_with("HTTP/1.1 429 ") && head.contains("Retry-After: "),
        "{head}"
    );
    assert!(!head.contains("0.01"), "{head}");
}

#[test]
fn two_workers_take_from_the_same_bucket() {
    let origin = Origin::replying(OK);
    let mut plan = plan(&json!({"rate_limit": limit(10, None)}), &json!({}));
    plan["workers"] = json!(2);
    let letters = [endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))];
    let mesh = Mesh::start(&plan, &letters, &[("/svc/web", bound("/#/io.l5d.fs/web"))]);
    let served: usize = (0..16)
        .map(|_| {
            let mut peer = mesh.connect();
            (0..2).filter(|_| status(&mut peer, "Host: web\r\n") == "200").count()
        })
        .sum();
    assert_eq!(served, 10);
}

#[test]
fn what_is_above_the_requests_at_once_is_refused_and_gauges_show_it() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |mut peer, tell| {
        let _told = tell.send(peer.head());
        let _gone = wait.lock().expect("the gate").recv();
        peer.send(OK.as_bytes());
    });
    let server = json!({"max_concurrent_requests": 1});
    let mesh = Mesh::web_with(&server, &json!({}), &json!({}), &[origin.address]);
    assert_eq!(mesh.gauge("server", "request_concurrency"), 0);
    let mut first = mesh.connect();
    first.send(GET);
    origin.head();
    let mut second = mesh.connect();
    second.send(GET);
    let head = second.head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    for line in [
        "l5d-retryable: true",
        "finagle-http-nack: true",
        "Retry-After: 0",
        "l5d-err: Request+was+not",
    ] {
        assert!(head.contains(&format!("\r\n{line}")), "no {line} in {head}");
    }
    assert_eq!(mesh.gauge("server", "request_concurrency"), 1);
    assert_eq!(mesh.gauge("server", "request_queue_size"), 0);
    go.send(()).expect("the endpoint waits");
    assert!(first.head().starts_with("HTTP/1.1 200 "));
    mesh.settle();
    assert_eq!(mesh.gauge("server", "request_concurrency"), 0);
}

#[test]
fn gauges_of_requests_at_once_are_there_only_where_they_are_limited() {
    let mesh = Mesh::web(&[]);
    let tally = mesh.engine.tally();
    let server = tally
        .scopes
        .iter()
        .find(|scope| scope.scope[2] == "server")
        .expect("a server");
    assert!(!server.gauges.contains_key("request_concurrency"));
    assert!(!server.counters.contains_key("rate_limited"));
}

/// The number of values of a distribution of one server or client, and their sum.
fn distribution(mesh: &Mesh, kind: &str, name: &str) -> (u64, f64) {
    let tally = mesh.engine.tally();
    let mut scopes = tally.scopes.iter().filter(|scope| scope.scope.len() == 4);
    let scope = scopes.find(|scope| scope.scope[2] == kind).expect("a scope");
    scope.stats.get(name).map_or((0, 0.0), |stat| (stat.count, stat.sum))
}

#[test]
fn lengths_of_bodies_are_counted_where_they_are_known_and_times_where_not() {
    let origin = Origin::start(|mut peer, _tell| {
        peer.until("abc");
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        thread::sleep(Duration::from_millis(60));
        peer.send(b"0\r\n\r\n");
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut peer = mesh.connect();
    peer.send(b"PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc");
    peer.until("hello");
    peer.send(GET);
    peer.until("0\r\n\r\n");
    mesh.settle();
    peer.send(GET);
    peer.rest();
    mesh.settle();
    for kind in ["server", "client"] {
        assert_eq!(distribution(&mesh, kind, "request_payload_bytes"), (2, 3.0), "{kind}");
        assert_eq!(distribution(&mesh, kind, "response_payload_bytes"), (1, 5.0), "{kind}");
    }
    let (count, sum_ms) = distribution(&mesh, "server", "http/stream/response/duration_ms");
    assert!(
        count == 1 && (50.0..5_000.0).contains(&sum_ms),
        "{count} took {sum_ms} ms"
    );
}

/// Whether the kernel asks on connections from one port to another whether the other end is there: in `/proc/net/tcp` the
/// addresses are hexadecimal, a state of 1 is an open connection, and a timer of 2 is that one.
fn asks_if_alive(wanted: impl Fn(u16, u16) -> bool) -> Vec<bool> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of connections");
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap_or(""), 16).expect("a port");
    let lines = table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines
        .filter(|fields| fields[3] == "01" && wanted(port(fields[1]), port(fields[2])))
        .map(|fields| fields[5].starts_with("02:"))
        .collect()
}

#[test]
fn a_host_that_is_gone_is_noticed_by_the_kernel_unless_the_operator_turns_that_off() {
    let socket = |keep_alive: Value| {
        json!({"socket": {"no_delay": true, "reuse_port": false, "keep_alive": keep_alive, "backlog": null,
                          "read_timeout_ms": null, "write_timeout_ms": null}})
    };
    for (keep_alive, expected) in [(Value::Null, true), (json!(true), true), (json!(false), false)] {
        let origin = Origin::replying(OK);
        let options = socket(keep_alive);
        let mesh = Mesh::web_with(&options, &json!({}), &options, &[origin.address]);
        let mut peer = mesh.connect();
        assert_eq!(status(&mut peer, "Host: web\r\n"), "200");
        let server = mesh.address.port();
        let theirs = asks_if_alive(|local, remote| local == server && remote != 0);
        assert_eq!(theirs, [expected], "of a caller");
        let endpoints = asks_if_alive(|_, remote| remote == origin.address.port());
        assert_eq!(endpoints, [expected], "to an endpoint");
    }
}

#[test]
fn a_short_idle_time_cuts_no_request_short_that_pauses() {
    let origin = Origin::start(|mut peer, _tell| {
        peer.until("abcdef");
        peer.send(OK.as_bytes());
    });
    let server = json!({"idle_timeout_ms": 100, "head_timeout_ms": 3000});
    let mesh = Mesh::web_with(&server, &json!({}), &json!({}), &[origin.address]);
    let mut peer = mesh.connect();
    peer.send(b"PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 6\r\n\r\nabc");
    thread::sleep(Duration::from_millis(600));
    peer.send(b"def");
    assert!(peer.head().starts_with("HTTP/1.1 200 "));
    let began = Instant::now();
    assert_eq!(peer.rest(), "", "between requests it is what it says");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_name_that_was_pushed_out_comes_back_with_what_was_taken() {
    let origin = Origin::replying(OK);
    let mut answer = bound("/#/io.l5d.fs/web");
    answer["policy"]["rate_limit"] = limit(1, None);
    let cache = json!({"paths": 1, "trees": 1, "bounds": 1, "clients": 1, "idle_ttl_ms": 600_000});
    let mesh = Mesh::start(
        &plan(&json!({}), &json!({ "binding_cache": cache })),
        &[endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
        &[("/svc/web", answer.clone()), ("/svc/other", answer)],
    );
    let mut peer = mesh.connect();
    let mut status = |host: &str| status(&mut peer, &format!("Host: {host}\r\n"));
    assert_eq!([status("web"), status("other"), status("web")], ["200", "200", "429"]);
    support::eventually("the name was pushed out and asked for again", || mesh.asks() == 3);
}
