//! What heads of responses are taken, how their bodies are framed, and what is refused.

mod heads;

use biandou_engine::wire::h1::{Body, HeadErrorKind, Method, Parse, ResponseHead};
use heads::LIMITS;

fn response(bytes: &[u8], method: Method) -> (ResponseHead, Result<Parse, HeadErrorKind>) {
    let mut head = ResponseHead::default();
    let parsed = head.parse(bytes, &LIMITS, method).map_err(|error| error.kind);
    (head, parsed)
}

fn response_in_all_pieces(bytes: &[u8], method: Method) -> (ResponseHead, Result<Parse, HeadErrorKind>) {
    let (whole, expected) = response(bytes, method);
    let mut reused = ResponseHead::default();
    for split in 0..bytes.len() {
        let mut first = reused.parse(&bytes[..split], &LIMITS, method);
        if first == Ok(Parse::Partial) {
            first = reused.parse(bytes, &LIMITS, method);
        }
        assert_eq!(
            first.map_err(|error| error.kind),
            expected,
            "{} at {split}",
            bytes.escape_ascii()
        );
        reused.clear();
    }
    (whole, expected)
}

#[test]
fn responses_are_framed_by_status_method_and_fields() {
    use Method::{Connect, Get, Head};
    let cases: &[(&str, Method, Body, bool)] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Get, Body::Exact(3), true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
            Get,
            Body::Exact(3),
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            Get,
            Body::Chunked,
            true,
        ),
        ("HTTP/1.1 200 OK\r\n", Get, Body::UntilClose, false),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n",
            Get,
            Body::Exact(3),
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n", Get, Body::Exact(3), false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n",
            Get,
            Body::Exact(3),
            true,
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n",
            Get,
            Body::UntilClose,
            false,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Head, Body::None, true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
            Head,
            Body::None,
            true,
        ),
        ("HTTP/1.1 200 OK\r\n", Head, Body::None, true),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n",
            Get,
            Body::None,
            true,
        ),
        ("HTTP/1.1 304 Not Modified\r\n", Get, Body::None, true),
        ("HTTP/1.1 204 No Content\r\n", Get, Body::None, true),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n",
            Get,
            Body::None,
            true,
        ),
        // Whether a body follows is anybody's guess.
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n",
            Get,
            Body::None,
            false,
        ),
        (
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n",
            Get,
            Body::None,
            false,
        ),
        ("HTTP/1.1 100 Continue\r\n", Get, Body::None, true),
        (
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\n",
            Get,
            Body::None,
            true,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n",
            Get,
            Body::None,
            false,
        ),
        ("HTTP/1.1 200 OK\r\n", Connect, Body::None, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", Connect, Body::None, false),
        (
            "HTTP/1.1 407 No\r\nContent-Length: 3\r\n",
            Connect,
            Body::Exact(3),
            true,
        ),
        ("HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n", Get, Body::Exact(0), true),
        ("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n", Get, Body::Exact(0), true),
    ];
    for (text, method, body, keep_alive) in cases {
        let bytes = format!("{text}\r\n").into_bytes();
        let (head, parsed) = response_in_all_pieces(&bytes, *method);
        assert_eq!(parsed, Ok(Parse::Complete(bytes.len())), "{text}");
        assert_eq!((head.body, head.keep_alive), (*body, *keep_alive), "{text}");
    }
}

#[test]
fn status_lines_are_read_strictly() {
    use HeadErrorKind::*;
    let good: &[(&[u8], u16, &[u8])] = &[
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, b"OK"),
        (b"HTTP/1.1 200 \r\n\r\n", 200, b""),
        (b"HTTP/1.1 200\r\n\r\n", 200, b""),
        (b"HTTP/1.0 404 Not\tFound \xe9\r\n\r\n", 404, b"Not\tFound \xe9"),
    ];
    for (bytes, status, reason) in good {
        let (head, parsed) = response_in_all_pieces(bytes, Method::Get);
        assert_eq!(parsed, Ok(Parse::Complete(bytes.len())), "{}", bytes.escape_ascii());
        assert_eq!((head.status, head.reason.get(bytes)), (*status, *reason));
    }
    let long = format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(300));
    let bad: &[(&[u8], HeadErrorKind)] = &[
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", InvalidVersion),
        (b"HTTP/1.1  200 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1\t200 OK\r\n\r\n", InvalidVersion),
        (b"HTTP/1.1 099 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 2000 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 20 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 +20 OK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 200\tOK\r\n\r\n", InvalidStatus),
        (b"HTTP/1.1 200 O\x00K\r\n\r\n", InvalidReason),
        (b"HTTP/1.1 200 OK\n\r\n", BareLf),
        (b"HTTP/1.1 200\n\r\n", BareLf),
        (b"HTTP/1.1 200 OK\rx\r\n\r\n", BareCr),
        (b"HTTP/2.0 200 OK\r\n\r\n", UnsupportedVersion),
        (b"HTTP/1.1x200 OK\r\n\r\n", InvalidVersion),
        (b"ICY 200 OK\r\n\r\n", InvalidVersion),
        (b"<html><body>", InvalidVersion),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            UnknownTransferCoding,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            TransferEncodingWithContentLength,
        ),
        (
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncodingInHttp10,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            ConflictingContentLength,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", InvalidContentLength),
        (b"HTTP/1.1 103 OK\r\nContent-Length: 5\r\n\r\n", InterimBody),
        (b"HTTP/1.1 100 OK\r\nTransfer-Encoding: chunked\r\n\r\n", InterimBody),
        (b"HTTP/1.1 200 OK\r\nContent\rLength: 5\r\n\r\n", InvalidName),
        (b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n", SpaceBeforeColon),
        (b"HTTP/1.1 200 OK\r\nx: y\r\n z\r\n\r\n", FoldedLine),
        (long.as_bytes(), LineTooLong),
    ];
    for (bytes, kind) in bad {
        let (_, parsed) = response_in_all_pieces(bytes, Method::Get);
        assert_eq!(parsed, Err(*kind), "{}", bytes.escape_ascii());
    }
}

#[test]
fn what_a_response_tells_the_router_is_found() {
    let bytes =
        b"HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nl5d-err: no\r\nContent-Length: 00\r\n\r\n";
    let (head, parsed) = response_in_all_pieces(bytes, Method::Get);
    assert_eq!(parsed, Ok(Parse::Complete(bytes.len())));
    assert_eq!(head.upgrade.map(|span| span.get(bytes)), Some(&b"websocket"[..]));
    assert_eq!(head.l5d_err.map(|span| span.get(bytes)), Some(&b"no"[..]));
    assert_eq!(head.content_length, Some(0));
}
