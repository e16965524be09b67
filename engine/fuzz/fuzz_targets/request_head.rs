//! Any bytes as a request's head: no panic, nothing read beyond the bytes, and the pieces they come in make no difference.
#![no_main]

mod expand;

use biandou_engine::wire::h1::{Limits, Parse, RequestHead};
use expand::expand;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head_bytes: 512,
    line_bytes: 128,
    headers: 12,
};

fuzz_target!(|input: &[u8]| {
    // The first byte says where the bytes are cut in two.
    let Some((cut, bytes)) = input.split_first() else {
        return;
    };
    let bytes = &*expand(bytes);
    let mut whole = RequestHead::default();
    let expected = whole.parse(bytes, &LIMITS);
    let cut = bytes.len() * usize::from(*cut) / 256;
    let mut pieces = RequestHead::default();
    let mut parsed = pieces.parse(&bytes[..cut], &LIMITS);
    if parsed == Ok(Parse::Partial) {
        parsed = pieces.parse(bytes, &LIMITS);
    }
    assert_eq!(parsed, expected);
    let Ok(Parse::Complete(length)) = expected else { return };
    assert!(length <= bytes.len());
    assert_eq!(
        (&whole.headers, whole.body, whole.host),
        (&pieces.headers, pieces.body, pieces.host)
    );
    // The head alone is a head, and every piece of it lies inside.
    let head = &bytes[..length];
    assert_eq!(pieces.parse(head, &LIMITS), Ok(Parse::Complete(length)));
    assert!(!whole.method_span.get(head).is_empty() && !whole.target.get(head).is_empty());
    for header in &whole.headers {
        let line = header.line.get(head);
        assert!(line.starts_with(header.name.get(head)) && line.ends_with(b"\r\n"));
        assert!(
            !header
                .value
                .get(head)
                .iter()
                .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        );
    }
    // One byte less is not yet a head.
    assert_eq!(pieces.parse(&bytes[..length - 1], &LIMITS), Ok(Parse::Partial));
});
