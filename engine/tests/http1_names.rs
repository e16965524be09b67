//! Names and endpoints that come and go while requests need them.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use biandou_engine::mail::Outgoing;
use serde_json::{Value, json};
use support::{Mesh, Origin, answer, bound, endpoints, eventually, nowhere, plan};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
const WEB: &str = "/#/io.l5d.fs/web";

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
    for workers in [1, 2] {
        let mut plan = plan(&json!({}), &router);
        plan["workers"] = json!(workers);
        let mesh = Mesh::start(&plan, &[endpoints(WEB, &[origin.address], &json!({}))], &answers);
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

/// What the engine is told of `web`, with the host name that the registry has for it.
fn known_as(authority: &str, addresses: &[SocketAddr]) -> Value {
    let mut letter = endpoints("/#/io.l5d.fs/web", addresses, &json!({}));
    letter["state"]["authority"] = json!(authority);
    letter
}

#[test]
fn requests_get_the_host_name_that_the_registry_has_now_and_no_header_of_its_making() {
    let origin = Origin::replying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mesh = Mesh::web(&[origin.address]);
    let get = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";
    for (authority, host) in [
        ("web.consul:80", "web.consul:80"),
        ("other.consul", "other.consul"),
        ("a\r\nx-forged: 1", "web"),
        ("a b", "web"),
        ("", "web"),
        ("web.consul", "web.consul"),
    ] {
        let letter = serde_json::from_value(known_as(authority, &[origin.address])).expect("a letter");
        mesh.engine.endpoints(letter);
        assert!(mesh.talk(get).starts_with("HTTP/1.1 200 "), "{authority:?}");
        let head = origin.head();
        assert!(head.contains(&format!("\r\nHost: {host}\r\n")), "{authority:?}: {head}");
        assert!(!head.contains("x-forged"), "{head}");
    }
}
