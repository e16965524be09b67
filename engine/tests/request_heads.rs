//! What heads of requests are taken, and what is found in them.

mod heads;

use biandou_engine::wire::h1::{Body, HeadErrorKind, Known, Limits, Method, Parse, RequestHead, Span, Version};
use heads::{LIMITS, request, request_in_all_pieces};

#[test]
fn requests_are_framed_by_what_they_say() {
    let cases: &[(&[u8], Body, bool)] = &[
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Body::None, true),
        (b"POST / HTTP/1.1\r\nHost: h\r\n\r\n", Body::None, true),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            Body::Exact(0),
            true,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:  12\t\r\n\r\n",
            Body::Exact(12),
            true,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 007\r\n\r\n",
            Body::Exact(7),
            true,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\n",
            Body::Exact(5),
            true,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
            Body::Exact(5),
            true,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775807\r\n\r\n",
            Body::Exact(i64::MAX as u64),
            true,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: Chunked \r\n\r\n",
            Body::Chunked,
            true,
        ),
        // Only the exact name frames.
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent_Length: 5\r\n\r\n",
            Body::None,
            true,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nX-Content-Length: 5\r\n\r\n",
            Body::None,
            true,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            Body::None,
            false,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: a, CLOSE,\r\n\r\n",
            Body::None,
            false,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x\r\nConnection: close\r\n\r\n",
            Body::None,
            false,
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n",
            Body::None,
            true,
        ),
        (b"GET / HTTP/1.0\r\n\r\n", Body::None, false),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", Body::None, true),
        (
            b"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
            Body::None,
            false,
        ),
        (b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n", Body::Exact(3), false),
    ];
    for (bytes, body, keep_alive) in cases {
        let (head, parsed) = request_in_all_pieces(bytes);
        assert_eq!(parsed, Ok(Parse::Complete(bytes.len())), "{}", bytes.escape_ascii());
        assert_eq!(
            (head.body, head.keep_alive),
            (*body, *keep_alive),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn targets_of_every_form_are_taken_apart() {
    type Parts = Option<(&'static str, &'static str, &'static str)>;
    let cases: &[(&str, Parts)] = &[
        ("GET /", None),
        ("GET //a/../b;c?d=\"{|}\"", None),
        ("GET /%20%aF", None),
        ("OPTIONS *", None),
        ("OPTIONS /a", None),
        ("CONNECT h:443", None),
        ("CONNECT [::1]:443", None),
        ("GET http://h/", Some(("h", "/", "/"))),
        ("GET HTTPS://h:80/a?b", Some(("h:80", "/a?b", "/a?b"))),
        ("GET http://h", Some(("h", "", "/"))),
        ("GET http://h?a/b", Some(("h", "?a/b", "/?a/b"))),
        ("GET http://[::1]:8/", Some(("[::1]:8", "/", "/"))),
        ("OPTIONS http://h", Some(("h", "", "*"))),
        ("OPTIONS http://h/", Some(("h", "/", "/"))),
    ];
    for (line, expected) in cases {
        let bytes = format!("{line} HTTP/1.1\r\nHost: other\r\n\r\n").into_bytes();
        let (head, parsed) = request_in_all_pieces(&bytes);
        assert_eq!(parsed, Ok(Parse::Complete(bytes.len())), "{line}");
        let text = |span: Span| String::from_utf8_lossy(span.get(&bytes)).into_owned();
        assert_eq!(
            line.split_once(' '),
            Some((text(head.method_span).as_str(), text(head.target).as_str()))
        );
        let parts = head.absolute.map(|absolute| {
            let mut target = Vec::new();
            absolute.push_target(head.method, &bytes, &mut target);
            (
                text(absolute.authority),
                text(absolute.path),
                String::from_utf8_lossy(&target).into_owned(),
            )
        });
        let expected = expected.map(|(host, path, target)| (host.to_owned(), path.to_owned(), target.to_owned()));
        assert_eq!(parts, expected, "{line}");
        let host = expected.map_or("other".to_owned(), |(host, ..)| host);
        assert_eq!(head.authority().map(text), Some(host), "{line}");
    }
}

#[test]
fn header_lines_are_found_with_their_parts() {
    let bytes = b"\r\n\r\nPATCH /x HTTP/1.1\r\nHost:\th:80 \r\nx:\r\nA-b:  c\td\xff  \r\nConnection: a-B, upgrade\r\n\
        upgrade: websocket\r\nVia: 1.1 a, 1.0 b\r\nvia: 1.1 c\r\nExpect: 100-Continue\r\nL5D-Dtab: /a=>/b\r\n\
        l5d-x: y\r\n\r\nmore";
    let (head, parsed) = request_in_all_pieces(bytes);
    assert_eq!(parsed, Ok(Parse::Complete(bytes.len() - 4)));
    let found: Vec<(&[u8], &[u8], Known, bool)> = head
        .headers
        .iter()
        .map(|header| {
            (
                header.name.get(bytes),
                header.value.get(bytes),
                header.known,
                header.named_by_connection,
            )
        })
        .collect();
    let expected: &[(&[u8], &[u8], Known, bool)] = &[
        (b"Host", b"h:80", Known::Host, false),
        (b"x", b"", Known::Other, false),
        (b"A-b", b"c\td\xff", Known::Other, true),
        (b"Connection", b"a-B, upgrade", Known::Connection, false),
        (b"upgrade", b"websocket", Known::Upgrade, true),
        (b"Via", b"1.1 a, 1.0 b", Known::Via, false),
        (b"via", b"1.1 c", Known::Via, false),
        (b"Expect", b"100-Continue", Known::Expect, false),
        (b"L5D-Dtab", b"/a=>/b", Known::L5dDtab, false),
        (b"l5d-x", b"y", Known::L5dOther, false),
    ];
    assert_eq!(found, expected);
    // The lines join without a gap, so that neighbours can be copied in one piece.
    assert!(
        head.headers
            .windows(2)
            .all(|pair| pair[0].line.end == pair[1].line.start)
    );
    assert_eq!(head.headers[2].line.get(bytes), b"A-b:  c\td\xff  \r\n");
    assert_eq!((head.method, head.version), (Method::Patch, Version::Http11));
    assert_eq!(head.upgrade.map(|span| span.get(bytes)), Some(&b"websocket"[..]));
    assert_eq!(
        (head.via_entries, head.expect_continue, head.host_missing),
        (3, true, false)
    );
}

#[test]
fn all_that_connection_names_is_marked_wherever_it_stands() {
    let cases = [
        ("Keep-Alive: 5\r\nConnection: keep-alive\r\nx: y", "Keep-Alive"),
        (
            "Connection: x\r\nConnection: Y\r\nX: 1\r\ny: 2\r\nx: 3\r\nxy: 4",
            "X y x",
        ),
        ("x: 1\r\nConnection: close, , x\r\nclose: 2", "x close"),
        ("Host: h\r\nConnection: close", ""),
        ("x: 1\r\nConnection: y z", ""),
    ];
    for (lines, expected) in cases {
        let bytes = format!("GET / HTTP/1.1\r\n{lines}\r\n\r\n").into_bytes();
        let (head, _) = request_in_all_pieces(&bytes);
        let marked = head.headers.iter().filter(|header| header.named_by_connection);
        let names: Vec<String> = marked
            .map(|header| String::from_utf8_lossy(header.name.get(&bytes)).into_owned())
            .collect();
        assert_eq!(names.join(" "), expected, "{lines}");
    }
}

#[test]
fn what_needs_http_11_or_a_connection_option_is_not_seen_without() {
    let (head, _) = request(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!((head.upgrade, head.host_missing, head.host), (None, true, None));
    let (head, _) = request(b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: a\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(
        (head.upgrade, head.host_missing, head.expect_continue),
        (None, false, false)
    );
    let (head, _) = request(b"GET / HTTP/1.1\r\nHost:\r\nExpect: 100-continue, x\r\n\r\n");
    assert!(head.host.is_some_and(|host| host.is_empty()) && !head.expect_continue);
}

#[test]
fn a_head_that_is_used_again_keeps_nothing_of_the_last_one() {
    let mut head = RequestHead::default();
    let first = b"POST http://a/ HTTP/1.1\r\nHost: h\r\nConnection: close, upgrade\r\nUpgrade: x\r\nVia: 1.1 a\r\n\
        Expect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(head.parse(first, &LIMITS), Ok(Parse::Complete(first.len())));
    assert!(
        head.parse(b"POST / HTTP/1.1\r\nTransfer-Encoding: x\r\n\r\n", &LIMITS)
            .is_err()
    );
    let second = b"GET / HTTP/1.1\r\n\r\n";
    assert_eq!(head.parse(second, &LIMITS), Ok(Parse::Complete(second.len())));
    assert!(head.headers.is_empty() && head.keep_alive && head.host_missing && !head.expect_continue);
    assert_eq!(
        (head.body, head.upgrade, head.via_entries, head.absolute),
        (Body::None, None, 0, None)
    );
    // Nor of one that was longer in part than this one is whole, even if nobody told.
    assert_eq!(
        head.parse(b"GET /long HTTP/1.1\r\nx: y\r\nx", &LIMITS),
        Ok(Parse::Partial)
    );
    assert_eq!(head.parse(second, &LIMITS), Ok(Parse::Complete(second.len())));
    // And of one that never came whole, once it is told.
    assert_eq!(
        head.parse(b"POST / HTTP/1.1\r\nContent-Length: 4\r\nx", &LIMITS),
        Ok(Parse::Partial)
    );
    head.clear();
    assert_eq!(head.parse(second, &LIMITS), Ok(Parse::Complete(second.len())));
    assert!(head.headers.is_empty() && head.body == Body::None);
}

#[test]
fn heads_at_their_limits_are_taken_and_one_byte_more_is_not() {
    for (extra, line_ok, head_ok) in [(0, true, true), (1, false, false)] {
        let line = "GET /".len() + " HTTP/1.1".len();
        let target = "a".repeat(LIMITS.line_bytes - line + extra);
        let (_, parsed) = request_in_all_pieces(format!("GET /{target} HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(parsed.is_ok(), line_ok, "{parsed:?}");
        let value = "a".repeat(LIMITS.head_bytes - "x: \r\n\r\n".len() + extra);
        let (_, parsed) = request(format!("GET / HTTP/1.1\r\nx: {value}\r\n\r\n").as_bytes());
        assert_eq!(parsed.is_ok(), head_ok, "{parsed:?}");
        let lines = "x: y\r\n".repeat(LIMITS.headers + extra);
        let (_, parsed) = request_in_all_pieces(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes());
        assert_eq!(parsed.is_ok(), head_ok, "{parsed:?}");
    }
}

#[test]
fn an_endless_head_is_refused_before_it_ends() {
    let (_, parsed) = request(format!("GET /{}", "a".repeat(400)).as_bytes());
    assert_eq!(parsed, Err(HeadErrorKind::LineTooLong));
    let (_, parsed) = request(format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(1100)).as_bytes());
    assert_eq!(parsed, Err(HeadErrorKind::HeadTooLarge));
}

#[test]
fn refusals_have_their_status_and_a_text() {
    let cases: &[(&[u8], u16, &str)] = &[
        (b"GET / HTTP/2.0\r\n\r\n", 505, "version"),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
            "Transfer-Encoding",
        ),
        (
            b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n",
            400,
            "conflicting `Content-Length` headers",
        ),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "colon"),
    ];
    for (bytes, status, text) in cases {
        let error = RequestHead::default().parse(bytes, &LIMITS).expect_err("refused");
        assert_eq!(error.status(), *status);
        assert!(error.to_string().contains(text), "{error}");
    }
    let small = Limits {
        head_bytes: 4,
        line_bytes: 20,
        headers: 1,
    };
    let status = |bytes: &[u8]| {
        RequestHead::default()
            .parse(bytes, &small)
            .map_err(|error| error.status())
    };
    assert_eq!(status(b"GET /aaaaaaaaaaaaaaaaaaaaaaaaa"), Err(414));
    assert_eq!(status(b"GET / HTTP/1.1\r\nx: aaaaaaa"), Err(431));
}

#[test]
fn methods_know_whether_they_may_be_repeated() {
    for (name, safe, idempotent) in [
        ("GET", true, true),
        ("HEAD", true, true),
        ("OPTIONS", true, true),
        ("TRACE", true, true),
        ("PUT", false, true),
        ("DELETE", false, true),
        ("POST", false, false),
        ("PATCH", false, false),
        ("get", false, false),
        ("PURGE", false, false),
    ] {
        let (head, _) = request(format!("{name} / HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!(
            (head.method.is_safe(), head.method.is_idempotent()),
            (safe, idempotent),
            "{name}"
        );
    }
}

/// Where httparse, another reader, and we both take a head, we must have found the same in it; and what we take it takes.
#[test]
fn another_reader_finds_the_same() {
    let names = [
        "Host",
        "x-a",
        "Content-Length",
        "accept",
        "Connection",
        "a b",
        "",
        "x\u{1}",
    ];
    let values = ["h", "", " 3 ", "a, b", "\tx\t", "caf\u{e9}", "a\u{0}", "a\rb", "a\nb"];
    let ends = ["\r\n", "\n", "\r", " \r\n"];
    let mut random = fastrand::Rng::with_seed(3);
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut text = String::from(
            random
                .choice(["GET / HTTP/1.1", "POST /a?b HTTP/1.0", "PUT /%41 HTTP/1.1"])
                .unwrap_or(""),
        );
        let mut odd = random.u8(..4) == 0;
        let mut pick = |choices: &[&'static str], usual: usize| {
            let count = if odd { choices.len() } else { usual };
            odd &= random.bool();
            choices[random.usize(..count)]
        };
        text.push_str(pick(&ends, 1));
        for _ in 0..3 {
            text.push_str(pick(&names, 5));
            text.push(':');
            text.push_str(pick(&values, 6));
            text.push_str(pick(&ends, 1));
        }
        text.push_str("\r\n");
        let bytes = text.as_bytes();
        let (head, parsed) = request(bytes);
        let Ok(Parse::Complete(length)) = parsed else {
            continue;
        };
        taken += 1;
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut other = httparse::Request::new(&mut headers);
        assert_eq!(
            other.parse(bytes),
            Ok(httparse::Status::Complete(length)),
            "{}",
            text.escape_debug()
        );
        let ours: Vec<(&[u8], &[u8])> = head
            .headers
            .iter()
            .map(|header| (header.name.get(bytes), header.value.get(bytes)))
            .collect();
        let theirs: Vec<(&[u8], &[u8])> = other
            .headers
            .iter()
            .map(|header| (header.name.as_bytes(), header.value))
            .collect();
        assert_eq!(ours, theirs, "{}", text.escape_debug());
        assert_eq!(other.path.map(str::as_bytes), Some(head.target.get(bytes)));
        assert_eq!(other.version, Some(u8::from(head.version == Version::Http11)));
    }
    assert!(taken > 1_000, "{taken} of the heads were taken");
}
