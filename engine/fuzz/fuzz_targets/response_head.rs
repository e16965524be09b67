//! A response's head is read the same however it arrives, and never past its end. The first byte says where it is cut.

#![no_main]

use biandou_engine::wire::h1::{HeadError, Limits, Method, Parse, ResponseHead};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    head_bytes: 512,
    line_bytes: 256,
    headers: 16,
};

/// Gives the length of a head that was taken.
fn length(read: &Result<Parse, HeadError>) -> Option<usize> {
    match read {
        Ok(Parse::Complete(length)) => Some(*length),
        _ => None,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    let mut whole = ResponseHead::default();
    let at_once = whole.parse(bytes, &LIMITS, Method::Get);
    let mut pieces = ResponseHead::default();
    let in_pieces = match pieces.parse(&bytes[..bytes.len().min(usize::from(cut))], &LIMITS, Method::Get) {
        Ok(Parse::Partial) => pieces.parse(bytes, &LIMITS, Method::Get),
        decided => decided,
    };
    // A head that isn't whole yet may be refused sooner or later; what is taken must be taken alike.
    assert_eq!(length(&at_once), length(&in_pieces));
    if let Some(length) = length(&at_once) {
        assert!(length <= bytes.len());
        assert!(bytes[..length].ends_with(b"\r\n\r\n"));
        assert_eq!(whole.headers, pieces.headers);
        assert!(whole.headers.len() <= LIMITS.headers);
    }
});
