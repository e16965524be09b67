//! Any bytes as a chunked body: no panic, the pieces and the room make no difference, and what comes out is a body with the
//! same data that comes out again as it is.
#![no_main]

mod expand;

use biandou_engine::wire::h1::{ChunkError, ChunkRelay, Form};
use expand::expand;
use libfuzzer_sys::fuzz_target;

/// Relays in pieces of `step` bytes with `room` a call: what came out, how much was used, whether the body ended.
fn relay(input: &[u8], form: Form, step: usize, room: usize) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let mut relay = ChunkRelay::default();
    let (mut out, mut at, mut end) = (Vec::new(), 0, step.min(input.len()));
    loop {
        let progress = relay.relay(&input[at..end], &mut out, form, room)?;
        at += progress.consumed;
        assert!(at <= end && out.len() <= at);
        if progress.done || (at == end && end == input.len()) {
            return Ok((out, at, progress.done));
        }
        end = if at == end { (end + step).min(input.len()) } else { end };
    }
}

fuzz_target!(|input: &[u8]| {
    // The first two bytes choose the pieces and the room.
    let [step, room, bytes @ ..] = input else { return };
    let bytes = &*expand(bytes);
    let (step, room) = (usize::from(*step) + 1, usize::from(*room) + 1);
    let chunked = relay(bytes, Form::Chunked, bytes.len().max(1), usize::MAX);
    let plain = relay(bytes, Form::Plain, bytes.len().max(1), usize::MAX);
    assert_eq!(relay(bytes, Form::Chunked, step, room), chunked);
    assert_eq!(relay(bytes, Form::Plain, step, room), plain);
    let (Ok((anew, used, done)), Ok((data, used_plain, done_plain))) = (&chunked, &plain) else {
        assert_eq!(chunked.err(), plain.err());
        return;
    };
    assert_eq!((used, done), (used_plain, done_plain));
    // What was written anew holds the same data, and is as it would be written.
    assert_eq!(
        relay(anew, Form::Plain, step, usize::MAX),
        Ok((data.clone(), anew.len(), *done))
    );
    assert_eq!(
        relay(anew, Form::Chunked, step, usize::MAX),
        Ok((anew.clone(), anew.len(), *done))
    );
});
