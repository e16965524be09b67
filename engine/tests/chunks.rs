//! Chunked bodies: what goes through, what is dropped on the way, and what is refused.

use biandou_engine::wire::h1::{ChunkError, ChunkRelay, Form, LAST_CHUNK, push_chunk_head};

/// Relays `input` in pieces of `step` bytes with `room` a call; gives what came out and how much was used of the input.
fn relay(input: &[u8], form: Form, step: usize, room: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let mut relay = ChunkRelay::default();
    let (mut out, mut at, mut end) = (Vec::new(), 0, 0);
    loop {
        let before = out.len();
        let progress = relay.relay(&input[at..end], &mut out, form, room)?;
        at += progress.consumed;
        assert!(out.len() <= at, "no more comes out than went in");
        assert!(
            out.len() - before <= room.saturating_add(64),
            "the room is kept but for one line"
        );
        if progress.done || (end == input.len() && (at == end || progress.consumed == 0)) {
            return Ok((out, at, progress.done));
        }
        if at == end || progress.consumed == 0 {
            end = (end + step).min(input.len());
        }
    }
}

/// Relays in pieces of every size; all must come to the same.
fn relay_all(input: &[u8], form: Form) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let expected = relay(input, form, input.len().max(1), usize::MAX);
    for step in 1..=input.len().max(1) {
        for room in [1, 3, 16, usize::MAX] {
            assert_eq!(
                relay(input, form, step, room),
                expected,
                "{} by {step}",
                input.escape_ascii()
            );
        }
    }
    expected
}

#[test]
fn bodies_go_through_with_their_chunks_written_anew() {
    let cases: &[(&str, &str, &str)] = &[
        ("0\r\n\r\n", "0\r\n\r\n", ""),
        ("3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("003\r\nabc\r\n000\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "A\r\n0123456789\r\n0\r\n\r\n",
            "a\r\n0123456789\r\n0\r\n\r\n",
            "0123456789",
        ),
        ("0000000000000003\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            "1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
            "abc",
        ),
        ("2\r\n\r\n\r\n0\r\n\r\n", "2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("3;x\r\nabc\r\n0;y=z\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "abc"),
        (
            "3 \t;x=\"y\\\"z\"\t\u{e9}\r\nabc\r\n0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "abc",
        ),
    ];
    for (input, chunked, plain) in cases {
        let length = input.len();
        assert_eq!(
            relay_all(input.as_bytes(), Form::Chunked),
            Ok((chunked.as_bytes().to_vec(), length, true)),
            "{input:?}"
        );
        assert_eq!(
            relay_all(input.as_bytes(), Form::Plain),
            Ok((plain.as_bytes().to_vec(), length, true)),
            "{input:?}"
        );
        // What came out is what would come out again.
        assert_eq!(
            relay_all(chunked.as_bytes(), Form::Chunked).map(|(out, ..)| out),
            Ok(chunked.as_bytes().to_vec())
        );
    }
}

#[test]
fn bytes_after_the_body_are_left_alone() {
    let input = b"1\r\na\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let end = input.len() - b"GET / HTTP/1.1\r\n\r\n".len();
    let (out, used, done) = relay_all(input, Form::Chunked).expect("valid");
    assert_eq!((&*out, used, done), (&input[..end], end, true));
    let mut relay = ChunkRelay::default();
    let mut out = Vec::new();
    assert_eq!(
        relay
            .relay(input, &mut out, Form::Plain, usize::MAX)
            .map(|progress| progress.consumed),
        Ok(end)
    );
    let more = relay
        .relay(&input[end..], &mut out, Form::Plain, usize::MAX)
        .expect("nothing is read");
    assert_eq!((more.consumed, more.done, &*out), (0, true, &b"a"[..]));
}

#[test]
fn a_relay_that_is_reset_begins_anew() {
    let mut relay = ChunkRelay::default();
    let mut out = Vec::new();
    for cut in ["5\r\nab", "0\r\nx: partial", "0\r\n\r\n"] {
        relay
            .relay(cut.as_bytes(), &mut out, Form::Chunked, usize::MAX)
            .expect("valid so far");
        relay.reset();
        out.clear();
        let progress = relay
            .relay(b"1\r\na\r\n0\r\n\r\n", &mut out, Form::Chunked, usize::MAX)
            .expect("valid");
        assert_eq!((progress.done, &*out), (true, &b"1\r\na\r\n0\r\n\r\n"[..]));
        relay.reset();
    }
}

#[test]
fn malformed_bodies_are_refused() {
    use ChunkError::*;
    let extension = format!("1;{}\r\na\r\n", "x".repeat(256));
    let spaces = format!("1{};x\r\na\r\n", " ".repeat(256));
    let cases: &[(&[u8], ChunkError)] = &[
        (b"\r\n", InvalidSize),
        (b"\r\n0\r\n\r\n", InvalidSize),
        (b"\n", InvalidSize),
        (b" 1\r\na\r\n", InvalidSize),
        (b"g\r\n", InvalidSize),
        (b"-1\r\n", InvalidSize),
        (b"+1\r\n", InvalidSize),
        (b"0x1\r\na\r\n", InvalidSize),
        (b"1_0\r\n", InvalidSize),
        (b";x\r\n", InvalidSize),
        (b"1 \r\na\r\n", InvalidSize),
        (b"1\t\r\na\r\n", InvalidSize),
        (b"1 1\r\na\r\n", InvalidSize),
        (b"1,1\r\na\r\n", InvalidSize),
        (b"\xd9\xa1\r\n", InvalidSize),
        (b"1\x00\r\na\r\n", InvalidSize),
        (b"1\na\r\n", InvalidSize),
        (b"00000000000000001\r\na\r\n", SizeTooLarge),
        (b"11111111111111111\r\n", SizeTooLarge),
        (b"1\ra\r\n", InvalidLineEnd),
        (b"1\r\r\na\r\n", InvalidLineEnd),
        (b"1\r\nab\r\n", InvalidLineEnd),
        (b"1\r\na\n0\r\n\r\n", InvalidLineEnd),
        (b"1\r\na\r0\r\n\r\n", InvalidLineEnd),
        (b"1\r\na0\r\n\r\n", InvalidLineEnd),
        (b"1;x\na\r\n", InvalidExtension),
        (b"1;x\x00\r\na\r\n", InvalidExtension),
        (b"1;x\x7f\r\na\r\n", InvalidExtension),
        (b"1;\"\n\"\r\na\r\n", InvalidExtension),
        (b"1;x\ry\r\na\r\n", InvalidLineEnd),
        (extension.as_bytes(), ExtensionTooLong),
        (spaces.as_bytes(), ExtensionTooLong),
        (b"0\r\n\n", InvalidTrailer),
        (b"0\r\nx\r\n\r\n", InvalidTrailer),
        (b"0\r\nx: y\n\r\n", InvalidTrailer),
        (b"0\r\nx : y\r\n\r\n", InvalidTrailer),
        (b"0\r\n x: y\r\n\r\n", InvalidTrailer),
        (b"0\r\nx: y\r\n z\r\n\r\n", InvalidTrailer),
        (b"0\r\n: y\r\n\r\n", InvalidTrailer),
        (b"0\r\nx: a\rb\r\n\r\n", InvalidTrailer),
        (b"0\r\nx: a\x00b\r\n\r\n", InvalidTrailer),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", InvalidTrailer),
    ];
    for (input, error) in cases {
        for form in [Form::Chunked, Form::Plain] {
            assert_eq!(relay_all(input, form), Err(*error), "{}", input.escape_ascii());
        }
    }
}

#[test]
fn trailers_that_would_change_the_message_are_dropped() {
    let mut input = String::from("0\r\n");
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Via",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "WWW-Authenticate",
        "Cache-Control",
        "Pragma",
        "Max-Forwards",
        "Range",
        "If-Match",
        "if-none-match",
        "Age",
        "Date",
        "Expires",
        "Location",
        "Retry-After",
        "Vary",
        "Warning",
        "Content-Encoding",
        "Content-Type",
        "Content-Range",
        "Forwarded",
        "X-Forwarded-Client-Cert",
        "l5d-err",
        "L5D-anything",
        "l5d-ctx-trace",
        "l5d-dtab",
        "finagle-http-nack",
    ] {
        input.push_str(name);
        input.push_str(": x\r\n");
    }
    input.push_str("Server-Timing: a\r\n");
    input.push_str("grpc-status:0\r\nx-checksum: \t\u{e9} \r\n\r\n");
    let (out, used, done) = relay(input.as_bytes(), Form::Chunked, input.len(), usize::MAX).expect("valid");
    assert_eq!((used, done), (input.len(), true));
    assert_eq!(
        String::from_utf8_lossy(&out),
        "0\r\nServer-Timing: a\r\ngrpc-status:0\r\nx-checksum: \t\u{e9} \r\n\r\n"
    );
    let plain = relay(input.as_bytes(), Form::Plain, 7, usize::MAX).expect("valid");
    assert_eq!(plain, (Vec::new(), input.len(), true));
}

#[test]
fn trailers_are_bounded_in_bytes_and_lines() {
    let lines = |count: usize| format!("0\r\n{}\r\n", "x: y\r\n".repeat(count));
    assert!(relay(lines(64).as_bytes(), Form::Chunked, 10, usize::MAX).is_ok());
    let refused = Err(ChunkError::TrailersTooLarge);
    assert_eq!(relay(lines(65).as_bytes(), Form::Chunked, 10, usize::MAX), refused);
    for step in [1, 100, 20_000] {
        let endless = format!("0\r\nx: {}", "y".repeat(10_000));
        assert_eq!(relay(endless.as_bytes(), Form::Plain, step, usize::MAX), refused);
        let long = format!("{endless}\r\n\r\n");
        assert_eq!(relay(long.as_bytes(), Form::Plain, step, usize::MAX), refused);
    }
}

#[test]
fn the_largest_chunk_is_begun_and_its_data_passed() {
    let mut relay = ChunkRelay::default();
    let mut out = Vec::new();
    let input = b"7FFFFFFFFFFFFFFF\r\nabc";
    let progress = relay.relay(input, &mut out, Form::Chunked, usize::MAX).expect("valid");
    assert_eq!((progress.consumed, progress.done), (input.len(), false));
    assert_eq!(out, b"7fffffffffffffff\r\nabc");
}

#[test]
fn chunks_of_ours_are_read_back() {
    for size in [1usize, 9, 10, 15, 16, 17, 255, 256, 4096, 70_000] {
        let data = vec![b'd'; size];
        let mut body = Vec::new();
        push_chunk_head(&mut body, size as u64);
        body.extend_from_slice(&data);
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(LAST_CHUNK);
        let (out, used, done) = relay(&body, Form::Plain, 1000, usize::MAX).expect("valid");
        assert_eq!((out, used, done), (data, body.len(), true));
    }
    let mut zero = Vec::new();
    push_chunk_head(&mut zero, 0);
    assert_eq!(zero, b"0\r\n");
}
