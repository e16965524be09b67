//! What a server believes of strangers (`trust: none`), and what holds for whoever sends: limits that cookies don't escape, and
//! nothing that is forwarded before a change of protocol.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Mesh, Origin};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn edge(origin: &Origin) -> Mesh {
    let server = json!({"clear_context": true, "withhold_errors": true});
    Mesh::web_with(&server, &json!({}), &json!({}), &[origin.address])
}

#[test]
fn a_stranger_is_told_an_id_and_no_reason() {
    let origin = Origin::replying(OK);
    let answer = edge(&origin).talk(b"GET /a/../b HTTP/1.1\r\nHost: web\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("\r\n\r\nBiandou error 400 SERVER id="), "{answer}");
    assert!(!answer.contains("segment"), "{answer}");
}

#[test]
fn a_path_that_climbs_is_refused_from_strangers_and_no_other() {
    let origin = Origin::replying(OK);
    let mesh = edge(&origin);
    for path in [
        "/..",
        "/.",
        "/a/./b",
        "/a/%2e%2E/b",
        "/a/.%2e",
        "/a/..;x=1/b",
        "/a\\..\\b",
    ] {
        let answer = mesh.talk(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    for path in ["/...", "/a..b", "/.well-known/x", "/a/%2efile", "//a//", "/a?b=/../c"] {
        let mut caller = mesh.connect();
        caller.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
        assert!(caller.head().starts_with("HTTP/1.1 200 "), "{path}");
        assert!(
            origin.head().starts_with(&format!("GET {path} HTTP/1.1\r\n")),
            "as it came"
        );
    }
    let trusting = Mesh::web(&[origin.address]);
    let mut caller = trusting.connect();
    caller.send(b"GET /a/../b HTTP/1.1\r\nHost: web\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 200 "));
    assert!(origin.head().starts_with("GET /a/../b HTTP/1.1\r\n"));
}

#[test]
fn every_cookie_line_and_all_their_bytes_count() {
    let origin = Origin::replying(OK);
    let mesh = Mesh::web(&[origin.address]);
    let lines = format!("GET / HTTP/1.1\r\nHost: web\r\n{}\r\n", "Cookie: a=b\r\n".repeat(128));
    assert!(mesh.talk(lines.as_bytes()).starts_with("HTTP/1.1 431 "));
    let pairs = format!(
        "GET / HTTP/1.1\r\nHost: web\r\nCookie: {}\r\n\r\n",
        "a=b; ".repeat(2000)
    );
    assert!(mesh.talk(pairs.as_bytes()).starts_with("HTTP/1.1 431 "));
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn nothing_goes_to_the_endpoint_after_a_request_to_upgrade_until_it_agrees() {
    let origin = Origin::start(|mut peer, tell| {
        let head = peer.head();
        let early = peer.until_silent(Duration::from_millis(300));
        tell.send(format!("{head}|{early}")).expect("the test listens");
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
        tell.send(peer.until("smuggled")).expect("the test listens");
        tell.send(peer.rest()).expect("the test listens");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nsmuggled");
    let before = origin.head();
    assert!(before.ends_with("\r\n\r\n|"), "{before}");
    assert!(caller.head().starts_with("HTTP/1.1 101 "));
    assert_eq!(origin.head(), "smuggled");
    caller.finish();
    caller.rest();
    assert_eq!(origin.head(), "", "the connection ends, and is not used again");
    mesh.settle();
    assert_eq!(mesh.gauge("client", "pool_cached"), 0);
}
