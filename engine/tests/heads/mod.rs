//! Reading heads whole and in pieces.

#![allow(dead_code, reason = "each test takes what it needs")]

use biandou_engine::wire::h1::{HeadErrorKind, Limits, Parse, RequestHead};

pub const LIMITS: Limits = Limits {
    head_bytes: 1024,
    line_bytes: 256,
    headers: 16,
};

pub fn request(bytes: &[u8]) -> (RequestHead, Result<Parse, HeadErrorKind>) {
    let mut head = RequestHead::default();
    let parsed = head.parse(bytes, &LIMITS).map_err(|error| error.kind);
    (head, parsed)
}

/// Reads the request whole, in two pieces at every place, and byte by byte; all must come to the same.
pub fn request_in_all_pieces(bytes: &[u8]) -> (RequestHead, Result<Parse, HeadErrorKind>) {
    let (whole, expected) = request(bytes);
    let mut reused = RequestHead::default();
    for split in 0..bytes.len() {
        let mut first = reused.parse(&bytes[..split], &LIMITS);
        if first == Ok(Parse::Partial) {
            first = reused.parse(bytes, &LIMITS);
        }
        assert_eq!(
            first.map_err(|error| error.kind),
            expected,
            "{} at {split}",
            bytes.escape_ascii()
        );
        if expected.is_ok() {
            assert_eq!((&reused.headers, reused.body), (&whole.headers, whole.body));
        }
        reused.clear();
    }
    let mut last = Ok(Parse::Partial);
    for end in 0..=bytes.len() {
        last = reused.parse(&bytes[..end], &LIMITS);
        if last != Ok(Parse::Partial) {
            break;
        }
    }
    assert_eq!(last.map_err(|error| error.kind), expected, "{}", bytes.escape_ascii());
    (whole, expected)
}
