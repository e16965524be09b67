//! Zipkin's `x-b3-*` headers (reference/wire.md §5.2), instead of `l5d-ctx-trace`.

use super::Trace;
use crate::wire::text::push_decimal;

/// Ids longer than this lose their upper half, as in Linkerd.
const DIGITS: usize = 16;

/// The values of the headers of one request, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct B3<'a> {
    pub trace: Option<&'a [u8]>,
    pub span: Option<&'a [u8]>,
    pub parent: Option<&'a [u8]>,
    pub sampled: Option<&'a [u8]>,
    pub flags: Option<&'a [u8]>,
}

impl B3<'_> {
    /// The trace that they tell, if the id of the span is sound.
    pub fn read(&self) -> Option<Trace> {
        let span = read_id(self.span?)?;
        let parent = self.parent.and_then(read_id).unwrap_or(span);
        let trace = self.trace.and_then(read_id).unwrap_or(parent);
        let mut trace = Trace {
            span,
            parent,
            trace,
            trace_high: None,
            flags: self.flags.map_or(0, read_flags),
        };
        // Whether to keep the trace is a header of its own.
        trace.flags &= !Trace::DECISION;
        if let Some(sampled) = self.sampled {
            trace.decide(says_yes(sampled));
        }
        Some(trace)
    }
}

impl Trace {
    /// Appends the five header lines.
    pub fn write_b3(&self, out: &mut Vec<u8>) {
        for (name, id) in [
            ("x-b3-traceid: ", self.trace),
            ("\r\nx-b3-spanid: ", self.span),
            ("\r\nx-b3-parentspanid: ", self.parent),
        ] {
            out.extend_from_slice(name.as_bytes());
            super::trace::write_hex(id, out);
        }
        out.extend_from_slice(b"\r\nx-b3-sampled: ");
        out.push(if self.sampled() == Some(true) { b'1' } else { b'0' });
        out.extend_from_slice(b"\r\nx-b3-flags: ");
        push_decimal(out, self.flags & !Trace::DECISION);
        out.extend_from_slice(b"\r\n");
    }
}

fn read_id(digits: &[u8]) -> Option<u64> {
    let last = &digits[digits.len().saturating_sub(DIGITS)..];
    let sound = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(last).ok().filter(|_| sound)?, 16).ok()
}

/// The number at the beginning.
fn read_flags(value: &[u8]) -> u64 {
    let end = value
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(value.len());
    let digits = std::str::from_utf8(&value[..end]).unwrap_or_default();
    digits.parse().unwrap_or(0)
}

fn says_yes(value: &[u8]) -> bool {
    [&b"1"[..], b"t", b"true"]
        .iter()
        .any(|yes| value.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b3<'a>(trace: &'a str, span: &'a str, sampled: Option<&'a str>) -> B3<'a> {
        B3 {
            trace: Some(trace.as_bytes()),
            span: Some(span.as_bytes()),
            sampled: sampled.map(str::as_bytes),
            ..B3::default()
        }
    }

    #[test]
    fn ids_are_hexadecimal_and_a_long_one_keeps_its_lower_half() {
        let id = b3("0123456789abcdef00000000000000AB", "1", None).read().expect("sound");
        assert_eq!((id.trace, id.span, id.parent, id.trace_high), (0xab, 1, 1, None));
        assert_eq!(id.sampled(), None);
    }

    #[test]
    fn without_a_sound_span_there_is_no_trace() {
        assert_eq!(B3::default().read(), None);
        for span in ["", "x", "-1", "+1", "0x1", "1 "] {
            assert_eq!(b3("1", span, None).read(), None, "{span:?}");
        }
    }

    #[test]
    fn what_is_sampled_is_said_and_debug_asks_for_it() {
        for (sampled, kept) in [
            ("1", true),
            ("t", true),
            ("TRUE", true),
            ("0", false),
            ("no", false),
            ("0.5", false),
        ] {
            let id = b3("1", "2", Some(sampled)).read().expect("sound");
            assert_eq!(id.sampled(), Some(kept), "{sampled}");
        }
        let debug = B3 {
            flags: Some(b"1x"),
            ..b3("1", "2", None)
        };
        assert_eq!(debug.read().expect("sound").sampled(), Some(true));
    }

    #[test]
    fn all_five_are_written_whatever_came() {
        let mut out = Vec::new();
        b3("ab", "2", None).read().expect("sound").write_b3(&mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "x-b3-traceid: 00000000000000ab\r\nx-b3-spanid: 0000000000000002\r\nx-b3-parentspanid: 0000000000000002\r\n\
             x-b3-sampled: 0\r\nx-b3-flags: 0\r\n"
        );
        out.clear();
        let id = B3 {
            flags: Some(b"8"),
            ..b3("1", "2", Some("1"))
        };
        id.read().expect("sound").write_b3(&mut out);
        assert!(String::from_utf8_lossy(&out).ends_with("x-b3-sampled: 1\r\nx-b3-flags: 8\r\n"));
    }
}
