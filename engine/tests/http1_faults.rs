//! Callers and endpoints that do what they should not: what must still be true of the messages that pass.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Mesh, Origin, eventually};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";

#[test]
fn what_an_endpoint_sends_too_much_is_nobodys_response() {
    for (request, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        ("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil"),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
        ),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 evil\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 500 evil\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 103 evil\r\n\r\n",
        ),
    ] {
        for late in [false, true] {
            let first = std::sync::atomic::AtomicBool::new(true);
            let origin = Origin::start(move |mut peer, _| {
                loop {
                    peer.head();
                    if !first.swap(false, std::sync::atomic::Ordering::SeqCst) {
                        peer.send(HELLO.as_bytes());
                        continue;
                    }
                    let (head, rest) = response.split_once("\r\n\r\n").expect("a head");
                    if late && !response.contains("chunked\r\n\r\n0") {
                        peer.send(format!("{head}\r\n\r\n").as_bytes());
                        std::thread::sleep(Duration::from_millis(50));
                        peer.send(rest.as_bytes());
                    } else {
                        peer.send(response.as_bytes());
                    }
                }
            });
            let mesh = Mesh::web(&[origin.address]);
            let mut caller = mesh.connect();
            caller.send(format!("{request} / HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
            let head = caller.head();
            assert!(!head.contains("evil"), "{head}");
            if head.contains("chunked") {
                caller.until("0\r\n\r\n");
            }
            std::thread::sleep(Duration::from_millis(150));
            caller.send(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
            let rest = caller.rest();
            assert!(
                rest.starts_with("HTTP/1.1 200") && rest.ends_with("hello"),
                "{response:?} {late}: {rest}"
            );
            assert!(!rest.contains("evil"), "{response:?}: {rest}");
        }
    }
}

#[test]
fn a_broken_body_is_never_ended_for_the_endpoint() {
    for response in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let origin = Origin::start(move |mut peer, _| {
            peer.head();
            peer.send(response.as_bytes());
        });
        let mesh = Mesh::web(&[origin.address]);
        let text = mesh.talk(GET);
        assert!(!text.ends_with("0\r\n\r\n"), "{response:?}: {text}");
        assert!(text.matches("HTTP/1.1 ").count() <= 1, "{response:?}: {text}");
        eventually("it is counted as a failure", || mesh.counter("client", "failures") == 1);
        assert_eq!(mesh.gauge("server", "pending") + mesh.gauge("client", "pending"), 0);
    }
}

#[test]
fn an_endpoint_that_resets_an_unframed_body_has_not_ended_it() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc");
        std::thread::sleep(Duration::from_millis(50));
        socket2::SockRef::from(&peer.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("an option");
    });
    let mesh = Mesh::web(&[origin.address]);
    let text = mesh.talk(GET);
    assert!(text.contains("abc") && !text.ends_with("0\r\n\r\n"), "{text}");
}

#[test]
fn what_is_not_idempotent_is_never_sent_twice() {
    for (what, answer) in [
        ("silence", ""),
        ("half a head", "HTTP/1.1 2"),
        ("an interim response", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("a continue", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        for (body, sent) in [("ab", "ab"), ("ab", "a"), ("", "")] {
            let origin = Origin::start(move |mut peer, tell| {
                let _told = tell.send(peer.head());
                peer.take(sent.len());
                peer.send(answer.as_bytes());
            });
            let mesh = Mesh::web(&[origin.address, origin.address]);
            let mut caller = mesh.connect();
            let head = format!(
                "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {}\r\n\r\n{sent}",
                body.len()
            );
            caller.send(head.as_bytes());
            caller.until("HTTP/1.1 ");
            std::thread::sleep(Duration::from_millis(50));
            assert_eq!(origin.accepted(), 1, "{what} {body:?} {sent:?}");
        }
    }
}

#[test]
fn an_idempotent_request_is_repeated_with_all_of_its_body() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let origin = Origin::start(move |mut peer, tell| {
        let head = peer.head();
        let body = peer.until("0\r\n\r\n");
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        let _told = tell.send(head + &body);
        peer.send(HELLO.as_bytes());
        peer.until("never");
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"PUT / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 200"));
    let seen = origin.head();
    assert!(seen.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{seen}");
    assert_eq!(seen.matches("l5d-ctx-trace").count(), 1, "{seen}");
}

#[test]
fn a_body_that_is_on_its_way_and_is_not_kept_is_not_repeated() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.take(5);
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"PUT / HTTP/1.1\r\nHost: web\r\nContent-Length: 10000\r\n\r\n12345");
    let text = caller.rest();
    assert!(
        text.starts_with("HTTP/1.1 502 ") && text.contains("Connection: close"),
        "{text}"
    );
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn connections_end_when_either_side_says_so() {
    for (response, accepted) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            3,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: foo, Close\r\n\r\nhello",
            3,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 3),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
            1,
        ),
        (HELLO, 1),
    ] {
        let origin = Origin::replying(response);
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        for _ in 0..3 {
            caller.send(GET);
            let head = caller.head();
            assert!(!head.to_lowercase().contains("connection:"), "{response:?}: {head}");
            assert_eq!(caller.take(5), b"hello");
        }
        assert_eq!(origin.accepted(), accepted, "{response:?}");
    }
}

#[test]
fn interim_responses_are_not_the_last_word() {
    let origin = Origin::start(|mut peer, _| {
        peer.head();
        peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        std::thread::sleep(Duration::from_millis(30));
    });
    let mesh = Mesh::web(&[origin.address]);
    let mut caller = mesh.connect();
    caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 103"));
    let last = caller.head();
    assert!(last.starts_with("HTTP/1.1 502"), "{last}");
}

#[test]
fn endless_interim_responses_end() {
    for status in ["103 Early Hints", "100 Continue", "199 Odd"] {
        let origin = Origin::start(move |mut peer, _| {
            peer.head();
            loop {
                peer.send(format!("HTTP/1.1 {status}\r\n\r\n").repeat(100).as_bytes());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        caller.send(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        let last = caller.until("502 Bad Gateway");
        assert!(last.len() < 100_000, "{status}: {} bytes came first", last.len());
    }
}

#[test]
fn an_edge_hides_interim_context_and_inner_errors() {
    let origin = Origin::replying(
        "HTTP/1.1 103 Early Hints\r\nl5d-inner: 1\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 502 Bad Gateway\r\nl5d-err: secret\r\nContent-Length: 6\r\n\r\nsecret",
    );
    let mesh = Mesh::web_with(
        &json!({"clear_context": true}),
        &json!({}),
        &json!({}),
        &[origin.address],
    );
    for _ in 0..2 {
        let text = mesh.talk(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        assert!(
            text.contains("Link: </a>") && text.contains("\r\nHTTP/1.1 502 "),
            "{text}"
        );
        assert!(!text.contains("l5d-") && !text.contains("secret"), "{text}");
        assert!(text.contains("\r\nContent-Length: 0\r\n"), "{text}");
    }
}

#[test]
fn a_change_to_http2_is_not_passed_on() {
    for upgrade in ["h2c", "H2C", "websocket, h2c", "h2c, websocket"] {
        let origin = Origin::replying(HELLO);
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        caller.send(
            format!(
                "GET / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\n\
                 HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n"
            )
            .as_bytes(),
        );
        assert!(caller.head().starts_with("HTTP/1.1 200"));
        let asked = origin.head().to_lowercase();
        assert!(
            !asked.contains("upgrade") && !asked.contains("h2c"),
            "{upgrade}: {asked}"
        );
    }
}

#[test]
fn a_protocol_changes_after_an_upload_too() {
    for parts in [&["hello"][..], &["he", "llo"]] {
        let origin = Origin::start(|mut peer, _| {
            peer.head();
            peer.take(5);
            peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
            let bytes = peer.take(4);
            peer.send(&bytes);
        });
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\n");
        for part in parts {
            std::thread::sleep(Duration::from_millis(20));
            caller.send(part.as_bytes());
        }
        assert!(caller.head().starts_with("HTTP/1.1 101"));
        caller.send(b"ping");
        assert_eq!(caller.take(4), b"ping");
    }
}

#[test]
fn a_status_of_ours_is_a_whole_response() {
    let codes = [100u16, 101, 199, 200, 204, 304, 404, 599];
    let letters: Vec<_> = codes
        .iter()
        .map(|code| {
            let mut letter = support::endpoints(&format!("/$/status/{code}"), &[], &json!({}));
            letter["state"] = json!({"type": "status", "code": code});
            letter
        })
        .collect();
    let paths: Vec<(String, String)> = codes
        .iter()
        .map(|code| (format!("/svc/s{code}"), format!("/$/status/{code}")))
        .collect();
    let answers: Vec<_> = paths
        .iter()
        .map(|(path, client)| (path.as_str(), support::bound(client)))
        .collect();
    let mesh = Mesh::start(&support::plan(&json!({}), &json!({})), &letters, &answers);
    for code in codes {
        let request = format!("GET / HTTP/1.1\r\nHost: s{code}\r\n\r\n").repeat(2);
        let text = mesh.talk(format!("{request}GET / HTTP/1.1\r\nHost: s404\r\nConnection: close\r\n\r\n").as_bytes());
        let told = if code < 200 { 502 } else { code };
        assert_eq!(text.matches("HTTP/1.1 ").count(), 3, "{code}: {text}");
        assert!(text.starts_with(&format!("HTTP/1.1 {told} ")), "{code}: {text}");
    }
}

#[test]
fn an_error_in_answer_to_head_has_no_body() {
    let mesh = Mesh::web(&[support::nowhere()]);
    let text = mesh.talk(b"HEAD / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
    assert!(text.starts_with("HTTP/1.1 502") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn texts_of_an_answer_cannot_add_header_lines() {
    for (key, residual) in [("context", "/"), ("", "/a\r\nEvil: 1"), ("", "/a\u{0}")] {
        let origin = Origin::replying(HELLO);
        let mut answer = support::answer(
            &json!({"type": "bound", "branches": [{"weight": 1.0, "client": "/#/io.l5d.fs/web", "residual": residual}]}),
        );
        if !key.is_empty() {
            answer[key] = json!("/a=>/b\r\nEvil: 1");
        }
        let mesh = Mesh::start(
            &support::plan(&json!({}), &json!({})),
            &[support::endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
            &[("/svc/web", answer)],
        );
        let text = mesh.talk(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 502"), "{text}");
        assert_eq!(origin.accepted(), 0, "{residual:?}");
    }
}

#[test]
fn an_identified_name_cannot_add_header_lines() {
    let router = json!({"identifiers": [{"kind": "io.l5d.header.token", "header": "X-Name"}]});
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::start(
        &support::plan(&json!({}), &router),
        &[support::endpoints("/#/io.l5d.fs/web", &[origin.address], &json!({}))],
        &[(
            "/svc/\\x61\\x20\\x3b\\x80\\x5c\\x78",
            support::bound("/#/io.l5d.fs/web"),
        )],
    );
    let mut caller = mesh.connect();
    caller.send(b"GET / HTTP/1.1\r\nHost: web\r\nX-Name: a ;\x80\\x\r\n\r\n");
    assert!(caller.head().starts_with("HTTP/1.1 200"));
    let asked = origin.head();
    assert!(
        asked.contains("\r\nl5d-dst-service: /svc/\\x61\\x20\\x3b\\x80\\x5c\\x78\r\n"),
        "{asked}"
    );
}
