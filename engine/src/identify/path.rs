//! `io.l5d.path`: the first segments of the target's path name the service.

use super::{Consumed, Unidentified, path_and_query, path_only, shown};
use crate::wire::h1::{RequestHead, Span};

pub(super) fn identify(
    segments: usize,
    consume: bool,
    head: &RequestHead,
    buf: &[u8],
    out: &mut Vec<u8>,
) -> Result<Option<Consumed>, Unidentified> {
    let path = path_only(head, buf).get(buf);
    let [b'/', rest @ ..] = path else {
        return Err(too_few());
    };
    // Empty segments at the end don't count.
    let length = rest.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    let mut left = &rest[..length];
    let mut used = 0;
    for _ in 0..segments {
        if left.is_empty() {
            return Err(too_few());
        }
        let end = memchr::memchr(b'/', left).unwrap_or(left.len());
        if end == 0 {
            return Err(Unidentified::Invalid("requirement failed".into()));
        }
        shown::push_element(&left[..end], out);
        used += 1 + end;
        left = left.get(end + 1..).unwrap_or_default();
    }
    let target = path_and_query(head);
    Ok(consume.then(|| Consumed {
        rest: Span {
            start: target.start + used as u32,
            ..target
        },
    }))
}

fn too_few() -> Unidentified {
    Unidentified::Reason("not enough segments in path".into())
}
