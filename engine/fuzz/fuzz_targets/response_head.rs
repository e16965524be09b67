//! Any bytes as a response's head: no panic, nothing read beyond the bytes, and the pieces they come in make no difference.
#![no_main]

mod expand;

use biandou_engine::wire::h1::{Body, Limits, Method, Parse, ResponseHead};
use expand::expand;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head_bytes: 512,
    line_bytes: 128,
    headers: 12,
};

fuzz_target!(|input: &[u8]| {
    // The first byte says where the bytes are cut in two, the second what was asked.
    let [cut, asked, bytes @ ..] = input else { return };
    let bytes = &*expand(bytes);
    let method = match asked % 3 {
        0 => Method::Get,
        1 => Method::Head,
        _ => Method::Connect,
    };
    let mut whole = ResponseHead::default();
    let expected = whole.parse(bytes, &LIMITS, method);
    let cut = bytes.len() * usize::from(*cut) / 256;
    let mut pieces = ResponseHead::default();
    let mut parsed = pieces.parse(&bytes[..cut], &LIMITS, method);
    if parsed == Ok(Parse::Partial) {
        parsed = pieces.parse(bytes, &LIMITS, method);
    }
    assert_eq!(parsed, expected);
    let Ok(Parse::Complete(length)) = expected else { return };
    assert!(length <= bytes.len());
    assert!((100..1000).contains(&whole.status));
    assert_eq!(
        (&whole.headers, whole.body, whole.status),
        (&pieces.headers, pieces.body, pieces.status)
    );
    let head = &bytes[..length];
    assert!(
        !whole
            .reason
            .get(head)
            .iter()
            .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
    );
    for header in &whole.headers {
        assert!(header.line.get(head).ends_with(b"\r\n"));
        assert!(
            !header
                .value
                .get(head)
                .iter()
                .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        );
    }
    // A connection whose next response cannot be found is not used again.
    assert!(!(whole.keep_alive && whole.body == Body::UntilClose));
    assert_eq!(pieces.parse(&bytes[..length - 1], &LIMITS, method), Ok(Parse::Partial));
});
