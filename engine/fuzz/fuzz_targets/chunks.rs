//! A chunked body is read the same however it arrives; what it is written as is never longer, and reads as the same again.
//! The first byte says where it is cut.

#![no_main]

use biandou_engine::wire::h1::{ChunkRelay, Form};
use libfuzzer_sys::fuzz_target;

/// Gives what a body becomes, how much of the input it took, and whether it ended; nothing if it was refused.
fn relayed(pieces: &[&[u8]], form: Form) -> Option<(Vec<u8>, usize, bool)> {
    let mut relay = ChunkRelay::default();
    let mut out = Vec::new();
    let mut total = 0;
    for piece in pieces {
        let progress = relay.relay(piece, &mut out, form, usize::MAX).ok()?;
        total += progress.consumed;
        if progress.done {
            return Some((out, total, true));
        }
    }
    Some((out, total, false))
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else {
        return;
    };
    let (first, rest) = bytes.split_at(bytes.len().min(usize::from(cut)));
    for form in [Form::Chunked, Form::Plain] {
        let at_once = relayed(&[bytes], form);
        assert_eq!(at_once, relayed(&[first, rest], form));
        if let Some((out, consumed, _)) = &at_once {
            assert!(*consumed <= bytes.len());
            assert!(out.len() <= *consumed);
        }
    }
    if let Some((chunked, _, true)) = relayed(&[bytes], Form::Chunked) {
        let again = relayed(&[&chunked], Form::Plain).expect("what we write can be read");
        let (plain, _, _) = relayed(&[bytes], Form::Plain).expect("the form changes no verdict");
        assert_eq!((again.0, again.1, again.2), (plain, chunked.len(), true));
    }
});
