//! Where messages begin and end: what is ambiguous is refused, and what passes is as unambiguous as what we write.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{Mesh, Origin};

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";

/// An endpoint that tells all the bytes of its connection, and answers once `mark` has come.
fn recorder(mark: &'static str) -> Origin {
    Origin::start(move |mut peer, tell| {
        let first = peer.until(mark);
        peer.send(HELLO.as_bytes());
        let rest = peer.until_silent(Duration::from_millis(300));
        let _told = tell.send(first + &rest);
    })
}

/// An endpoint that answers its first connection with `response` and then waits, and later ones with `HELLO`.
fn once(response: &'static str) -> Origin {
    let first = std::sync::atomic::AtomicBool::new(true);
    Origin::start(move |mut peer, tell| {
        loop {
            let head = peer.head();
            let _told = tell.send(head);
            let odd = first.swap(false, std::sync::atomic::Ordering::SeqCst);
            peer.send(if odd { response } else { HELLO }.as_bytes());
        }
    })
}

#[test]
fn a_request_is_framed_for_the_endpoint_as_it_was_for_us() {
    for (what, request, framing, body) in [
        (
            "one length said twice",
            "Content-Length: 3, 3\r\n\r\nabc",
            "Content-Length: 3",
            "abc",
        ),
        (
            "two lines that agree",
            "Content-Length: 3\r\ncontent-length: 003\r\n\r\nabc",
            "Content-Length: 3",
            "abc",
        ),
        (
            "leading zeros",
            "Content-Length: 0003\r\n\r\nabc",
            "Content-Length: 3",
            "abc",
        ),
        ("no body", "Content-Length: 0\r\n\r\n", "Content-Length: 0", ""),
        (
            "a length that is named as a hop's own",
            "Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc",
            "Content-Length: 3",
            "abc",
        ),
        (
            "a coding that is named as a hop's own",
            "Connection: Transfer-Encoding, Host\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a coding in capitals, a chunk with extension and zeros",
            "Transfer-Encoding: CHUNKED\r\n\r\n0003;a=b\r\nabc\r\n000\r\n\r\n",
            "Transfer-Encoding: chunked",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "trailers that would be headers",
            "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\nHost: evil\r\nl5d-dtab: /a=>/b\r\nX-Ok: 1\r\n\r\n",
            "Transfer-Encoding: chunked",
            "0\r\nX-Ok: 1\r\n\r\n",
        ),
    ] {
        let origin = recorder("\r\n\r\n");
        let mesh = Mesh::web(&[origin.address]);
        mesh.talk(format!("POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n{request}").as_bytes());
        let seen = origin.head();
        let (head, rest) = seen.split_once("\r\n\r\n").expect("a head");
        let lines: Vec<&str> = head
            .lines()
            .filter(|line| line.starts_with("Content-Length") || line.starts_with("Transfer-Encoding"))
            .collect();
        assert_eq!(lines, [framing], "{what}: {seen}");
        assert_eq!(rest, body, "{what}: {seen}");
        assert_eq!(head.matches("\r\nHost: web").count(), 1, "{what}: {seen}");
        assert!(!head.contains("evil"), "{what}: {seen}");
    }
}

#[test]
fn an_ambiguous_request_is_refused_and_what_follows_it_is_no_request() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    for lines in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 4",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length: 3 3",
        "Content-Length:",
        "Content-Length: 3,",
        "Content-Length: 18446744073709551616",
        "Content-Length : 3",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding\r\n: chunked",
        " Content-Length: 3",
        "X: a\r\n Content-Length: 3",
        "X: a\rContent-Length: 3",
        "X: a\nContent-Length: 3",
        "X: a\u{0}b",
        "X\u{0}: b",
        "Host: other",
        "Host: web,other",
    ] {
        let text = mesh.talk(
            format!("POST / HTTP/1.1\r\nHost: web\r\n{lines}\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n")
                .as_bytes(),
        );
        let status = &text[..text.len().min(12)];
        assert!(["HTTP/1.1 400", "HTTP/1.1 501"].contains(&status), "{lines:?}: {text}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{lines:?}: {text}");
        assert!(text.contains("\r\nConnection: close\r\n"), "{lines:?}: {text}");
    }
    assert_eq!(origin.accepted(), 0);
}

#[test]
fn a_bad_chunk_ends_the_upload_without_an_end() {
    for chunk in [
        "3\r\nabcX\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "11111111111111111\r\nabc\r\n0\r\n\r\n",
        "3;\u{1}\r\nabc\r\n0\r\n\r\n",
        "0\r\nbad trailer\r\n\r\n",
        "0\r\nX: a\nY: b\r\n\r\n",
    ] {
        for part in [false, true] {
            let origin = Origin::start(|mut peer, tell| {
                let seen = peer.until_silent(Duration::from_secs(5));
                let _told = tell.send(seen);
            });
            let mesh = Mesh::web(&[origin.address]);
            let mut caller = mesh.connect();
            caller.send(b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n");
            if part {
                caller.send(b"2\r\nok\r\n");
                std::thread::sleep(Duration::from_millis(20));
            }
            caller.send(chunk.as_bytes());
            caller.send(b"GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n");
            caller.finish();
            caller.rest();
            let seen = origin.head();
            assert_eq!(seen.contains("2\r\nok\r\n"), part, "{chunk:?}: {seen}");
            assert!(
                !seen.contains("\r\n0\r\n") && !seen.contains("smuggled"),
                "{chunk:?}: {seen}"
            );
        }
    }
}

#[test]
fn the_body_of_a_request_that_failed_is_no_request() {
    let mesh = Mesh::start(
        &support::plan(&json!({}), &json!({})),
        &[],
        &[("/svc/no", support::answer(&json!({"type": "negative"})))],
    );
    let inner = "GET /inner HTTP/1.1\r\nHost: no\r\n\r\n";
    let mut caller = mesh.connect();
    caller.send(
        format!(
            "POST / HTTP/1.1\r\nHost: no\r\nContent-Length: {}\r\n\r\n{inner}",
            inner.len()
        )
        .as_bytes(),
    );
    caller.send(b"GET / HTTP/1.1\r\nHost: no\r\nConnection: close\r\n\r\n");
    let text = caller.rest();
    assert_eq!(text.matches("HTTP/1.1 502").count(), 2, "{text}");
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: no\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n{inner}",
        inner.len()
    );
    let text = mesh.talk(chunked.as_bytes());
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    let text = mesh.talk(b"POST / HTTP/1.1\r\nHost: no\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert!(
        text.starts_with("HTTP/1.1 502") && text.contains("\r\nConnection: close\r\n"),
        "{text}"
    );
}

#[test]
fn a_response_that_is_ambiguous_is_a_bad_gateway() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 O\u{0}K\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 099 No\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let origin = once(response);
        let mesh = Mesh::web(&[origin.address]);
        let mut caller = mesh.connect();
        caller.send(GET);
        let head = caller.head();
        assert!(head.starts_with("HTTP/1.1 502 "), "{response:?}: {head}");
        assert!(!head.contains("Set-Cookie"), "{head}");
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .and_then(|length| length.parse().ok())
            .expect("a length");
        caller.take(length);
        caller.send(GET);
        assert!(caller.head().starts_with("HTTP/1.1 200"), "{response:?}");
        assert_eq!(origin.accepted(), 2, "{response:?}: its connection is not used again");
    }
}

#[test]
fn nothing_is_served_after_a_request_that_was_the_last() {
    for last in [
        "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: web\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
    ] {
        let origin = Origin::replying(HELLO);
        let mesh = Mesh::web(&[origin.address]);
        let text = mesh.talk(format!("{last}GET /2 HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
        assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
        assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    }
}

#[test]
fn empty_lines_between_requests_are_skipped() {
    let origin = Origin::replying(HELLO);
    let mesh = Mesh::web(&[origin.address]);
    let text = mesh.talk(
        b"\r\nGET / HTTP/1.1\r\nHost: web\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    let text = mesh.talk(&b"\r\n".repeat(50));
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
}
