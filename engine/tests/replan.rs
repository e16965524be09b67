//! A new plan while the engine serves: what both plans have stays, and nobody's request suffers.

mod support;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use biandou_engine::listen::Inherited;
use biandou_engine::mail::Outgoing;
use biandou_engine::view::Wanted;
use serde_json::{Value, json};
use support::{Mesh, Origin, Peer, bound, endpoints, eventually, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const WEB: &str = "/#/io.l5d.fs/web";

fn replan(mesh: &Mesh, plan: &Value) -> io::Result<Vec<(String, SocketAddr)>> {
    let plan = serde_json::from_value(plan.clone()).expect("a plan");
    mesh.engine.replan(plan, Inherited::new())
}

fn tell(mesh: &Mesh, letter: &Value) {
    mesh.engine
        .endpoints(serde_json::from_value(letter.clone()).expect("a letter"));
}

/// Answers again what was asked first.
fn answer_again(mesh: &Mesh) {
    let letters = mesh.asked.lock().expect("the list");
    let Some(Outgoing::Ask { ticket, .. }) = letters.first() else {
        panic!("{letters:?}");
    };
    mesh.engine
        .answer(*ticket, serde_json::from_value(bound(WEB)).expect("an answer"));
}

fn ask(caller: &mut Peer) -> String {
    exchange(caller, GET)
}

/// Sends a request and gives the response.
fn exchange(caller: &mut Peer, request: &[u8]) -> String {
    caller.send(request);
    let head = caller.head();
    let lower = head.to_lowercase();
    let length = lower
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.split('\r').next());
    let length = length.map_or(0, |digits| digits.parse().expect("a length"));
    head + &String::from_utf8_lossy(&caller.take(length))
}

fn two_servers() -> Value {
    let mut plan = plan(&json!({}), &json!({}));
    let one = plan["routers"][0]["servers"][0].clone();
    plan["routers"][0]["servers"] = json!([one.clone(), one]);
    plan
}

#[test]
fn a_kept_connection_goes_by_the_new_rules_from_its_next_request_on_and_names_stay_bound() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    assert!(ask(&mut caller).ends_with("hello"));
    let serving = replan(&mesh, &plan(&json!({"max_call_depth": 0}), &json!({}))).expect("a change");
    assert_eq!(serving, [("http".to_owned(), mesh.address)], "it listens where it did");
    let via = b"GET / HTTP/1.1\r\nHost: web\r\nVia: 1.1 x\r\n\r\n";
    eventually("the worker has the new plan", || {
        exchange(&mut caller, via).starts_with("HTTP/1.1 400 ")
    });
    let mut other = mesh.connect();
    assert!(ask(&mut other).ends_with("hello"));
    assert_eq!(mesh.asks(), 1, "the name was known");
    assert_eq!(mesh.counter("server", "connects"), 2, "and the counts go on");
}

#[test]
fn a_removed_server_ends_idle_connections_and_finishes_what_runs() {
    let origin = Origin::start(|mut peer, tell| {
        loop {
            let _told = tell.send(peer.head());
            std::thread::sleep(Duration::from_millis(300));
            peer.send(HELLO.as_bytes());
        }
    });
    let letters = [endpoints(WEB, &[origin.address], &json!({}))];
    let mesh = Mesh::start(&two_servers(), &letters, &[("/svc/web", bound(WEB))]);
    let serving = replan(&mesh, &two_servers()).expect("no change");
    let second = serving[1].1;
    let connect = || Peer::new(std::net::TcpStream::connect(second).expect("it listens"));
    let (mut idle, mut busy) = (connect(), connect());
    assert!(ask(&mut idle).ends_with("hello"));
    origin.head();
    busy.send(GET);
    origin.head();
    replan(&mesh, &plan(&json!({}), &json!({}))).expect("a change");
    assert_eq!(idle.rest(), "");
    let text = busy.rest();
    assert!(
        text.contains("\r\nConnection: close\r\n") && text.ends_with("hello"),
        "{text}"
    );
    eventually("nobody listens there", || std::net::TcpStream::connect(second).is_err());
    eventually("its metrics are gone", || {
        let scopes = mesh.engine.tally().scopes;
        let port = format!("/{}", second.port());
        scopes
            .iter()
            .all(|scope| !scope.scope[3..].iter().any(|part| part.ends_with(&port)))
    });
    assert!(ask(&mut mesh.connect()).ends_with("hello"), "the first goes on");
}

#[test]
fn a_removed_router_gives_up_its_names_and_one_that_comes_back_begins_anew() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    assert!(ask(&mut mesh.connect()).ends_with("hello"));
    let other = plan(&json!({}), &json!({"label": "other"}));
    replan(&mesh, &other).expect("a change");
    eventually("the name is released", || {
        let letters = mesh.asked.lock().expect("the list");
        letters.iter().any(|letter| matches!(letter, Outgoing::Release { .. }))
    });
    answer_again(&mesh);
    assert!(
        mesh.engine.clients(Wanted::default()).clients.is_empty(),
        "an answer that comes too late does nothing"
    );
    let back = replan(&mesh, &plan(&json!({}), &json!({}))).expect("a change");
    tell(&mesh, &endpoints(WEB, &[origin.address], &json!({})));
    let mut caller = Peer::new(std::net::TcpStream::connect(back[0].1).expect("it listens"));
    assert!(ask(&mut caller).ends_with("hello"));
    assert_eq!(mesh.asks(), 2);
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    assert!(ask(&mut caller).ends_with("hello"));
    let mut wanted = two_servers();
    wanted["routers"][0]["dst_prefix"] = json!("/elsewhere");
    wanted["routers"][0]["servers"][1]["port"] = json!(origin.address.port());
    let error = replan(&mesh, &wanted).expect_err("the port is taken");
    assert!(
        error
            .to_string()
            .contains(&format!("cannot listen on {}", origin.address)),
        "{error}"
    );
    wanted["routers"][0]["servers"][1]["port"] = json!(0);
    wanted["routers"][0]["servers"][1]["tls"] = json!({
        "cert_path": "/nowhere/cert.pem", "key_path": "/nowhere/key.pem", "intermediate_certs_path": null,
        "ca_cert_path": null, "require_client_auth": false, "ciphers": [], "protocols": []
    });
    let error = replan(&mesh, &wanted).expect_err("there is no such file");
    assert!(error.to_string().contains("/nowhere/"), "{error}");
    assert!(ask(&mut caller).ends_with("hello"));
    assert_eq!(mesh.asks(), 1, "the prefix is what it was");
    assert_eq!(mesh.counter("server", "connects"), 1);
    mesh.engine.stop(0);
    assert!(
        replan(&mesh, &plan(&json!({}), &json!({}))).is_err(),
        "not while it stops"
    );
}

#[test]
fn a_client_keeps_its_connections_unless_its_new_policy_touches_them() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    assert!(ask(&mut caller).ends_with("hello"));
    for (policy, connections) in [
        (
            json!({"request_attempt_timeout_ms": 5000, "connect_timeout_ms": 500}),
            1,
        ),
        (
            json!({"pool": {"min_size": 0, "max_size": 7, "idle_time_ms": null, "max_waiters": null}}),
            2,
        ),
        (
            json!({"pool": {"min_size": 0, "max_size": 7, "idle_time_ms": null, "max_waiters": null}}),
            2,
        ),
        (json!({"balancer": {"kind": "roundRobin", "maxEffort": 5}}), 3),
    ] {
        tell(&mesh, &endpoints(WEB, &[origin.address], &policy));
        answer_again(&mesh);
        assert!(ask(&mut caller).ends_with("hello"));
        assert_eq!(origin.accepted(), connections, "{policy}");
    }
    mesh.settle();
    assert_eq!(mesh.asks(), 1);
    assert_eq!(
        mesh.counter("client", "requests"),
        5,
        "one client, whatever its policies"
    );
}

#[test]
fn an_endpoint_that_failed_is_not_trusted_again_because_its_policy_changed() {
    let bad = Origin::replying("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
    let good = Origin::replying(HELLO);
    let policy = |failures: u32| {
        let accrual = json!({"kind": "io.l5d.consecutiveFailures", "failures": failures});
        let addresses = [bad.address, good.address];
        endpoints(WEB, &addresses, &json!({"failure_accrual": accrual}))
    };
    let mesh = Mesh::start(&plan(&json!({}), &json!({})), &[policy(1)], &[("/svc/web", bound(WEB))]);
    let busy = || {
        let clients = mesh.engine.clients(Wanted::default()).clients;
        let endpoints = clients.iter().flat_map(|client| &client.endpoints);
        endpoints.filter(|endpoint| endpoint.state == "ejected").count()
    };
    let mut caller = mesh.connect();
    eventually("the bad one has failed", || {
        ask(&mut caller);
        busy() == 1
    });
    tell(&mesh, &policy(2));
    answer_again(&mesh);
    assert_eq!(busy(), 1);
    assert!((0..20).all(|_| ask(&mut caller).ends_with("hello")));
    assert_eq!(
        mesh.counter("client", "failure_accrual/removals"),
        1,
        "and it is still counted"
    );
}

#[test]
fn a_request_that_waits_for_endpoints_hears_of_them_also_when_the_policy_changes_meanwhile() {
    for policy in [
        json!({"connect_timeout_ms": 77}),
        json!({"balancer": {"kind": "roundRobin", "maxEffort": 5}}),
    ] {
        let origin = Origin::replying(HELLO);
        let mut pending = endpoints(WEB, &[], &json!({}));
        pending["state"] = json!({"type": "pending"});
        let letters = [pending.clone()];
        let mesh = Mesh::start(&plan(&json!({}), &json!({})), &letters, &[("/svc/web", bound(WEB))]);
        let mut caller = mesh.connect();
        caller.send(GET);
        eventually("it is bound", || mesh.gauge("service", "pending") == 1);
        let known = endpoints(WEB, &[origin.address], &policy);
        pending["policy"] = known["policy"].clone();
        tell(&mesh, &pending);
        tell(&mesh, &known);
        assert!(caller.head().starts_with("HTTP/1.1 200 "), "{policy}");
    }
}
