//! The place of a request in its trace, as `l5d-ctx-trace` carries it (reference/wire.md §5.1).

use std::sync::OnceLock;

use fastrand::Rng;

use super::base64;

/// Set when the sampling flag means something.
const SAMPLING_KNOWN: u64 = 2;
const SAMPLED: u64 = 4;
const DEBUG: u64 = 1;

/// The place of one span in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub span: u64,
    pub parent: u64,
    pub trace: u64,
    /// The upper half of a 128-bit trace id.
    pub trace_high: Option<u64>,
    /// All bits as they came; those that we don't know are kept.
    pub flags: u64,
}

impl Trace {
    /// The flags that say whether to keep the trace.
    pub(super) const DECISION: u64 = SAMPLING_KNOWN | SAMPLED;

    /// Begins a trace: all three ids are the same.
    pub fn root(random: &mut Rng) -> Self {
        let id = random_id(random);
        Self {
            span: id,
            parent: id,
            trace: id,
            trace_high: None,
            flags: 0,
        }
    }

    /// Makes a span below this one, in the same trace.
    #[must_use]
    pub fn child(&self, random: &mut Rng) -> Self {
        Self {
            span: random_id(random),
            parent: self.span,
            ..*self
        }
    }

    /// Reads the value of `l5d-ctx-trace`: base64 of 32 or 40 bytes. Anything else is ignored.
    pub fn read(value: &[u8]) -> Option<Self> {
        let mut bytes = [0u8; 40];
        let length = base64::decode(value, &mut bytes)?;
        let word = |index: usize| bytes[index * 8..].first_chunk().map(|word| u64::from_be_bytes(*word));
        Some(Self {
            span: word(0)?,
            parent: word(1)?,
            trace: word(2)?,
            flags: word(3)?,
            trace_high: match length {
                32 => None,
                40 => word(4),
                _ => return None,
            },
        })
    }

    /// Whether the trace is to be kept; `None` if nobody has decided.
    pub fn sampled(&self) -> Option<bool> {
        if self.flags & DEBUG != 0 {
            return Some(true);
        }
        (self.flags & SAMPLING_KNOWN != 0).then_some(self.flags & SAMPLED != 0)
    }

    /// Notes a decision. Bits are only ever added, so one that was taken to keep the trace stays
    /// (reference/wire.md §5.1).
    pub(super) fn decide(&mut self, keep: bool) {
        self.flags |= if keep { SAMPLING_KNOWN | SAMPLED } else { SAMPLING_KNOWN };
    }

    /// Takes in the value of `l5d-sample`, the share of all traces to keep; it overrides what was decided before. Anything
    /// but a number is ignored.
    pub fn sample(&mut self, value: &[u8]) {
        if let Some(rate) = read_sample_rate(value) {
            self.decide(keeps(salt(), self.trace, rate));
        }
    }

    /// Appends the value of `l5d-ctx-trace`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut bytes = [0u8; 40];
        let words = [
            self.span,
            self.parent,
            self.trace,
            self.flags,
            self.trace_high.unwrap_or(0),
        ];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        let length = if self.trace_high.is_some() { 40 } else { 32 };
        base64::encode(&bytes[..length], out);
    }

    /// Appends the value of `l5d-reqid`: the trace's id in 16 hexadecimal digits.
    pub fn write_request_id(&self, out: &mut Vec<u8>) {
        write_hex(self.trace, out);
    }
}

/// Appends an id in 16 hexadecimal digits.
pub(super) fn write_hex(id: u64, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits: [u8; 16] = std::array::from_fn(|index| DIGITS[(id >> (60 - 4 * index) & 15) as usize]);
    out.extend_from_slice(&digits);
}

/// An id is never 0, which stands for none.
fn random_id(random: &mut Rng) -> u64 {
    random.u64(1..)
}

/// Drawn once per process, so that all requests of a trace are decided alike, and processes not all alike.
fn salt() -> u64 {
    static SALT: OnceLock<u64> = OnceLock::new();
    *SALT.get_or_init(|| fastrand::u64(..))
}

/// Whether a trace is kept when the share `rate` (0 to 1) of all is (reference/wire.md §5.3).
fn keeps(salt: u64, trace: u64, rate: f64) -> bool {
    let place = (trace ^ salt).cast_signed().unsigned_abs() % 10_000;
    (place as f64) < rate * 10_000.0
}

fn read_sample_rate(value: &[u8]) -> Option<f64> {
    let rate: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (!rate.is_nan()).then(|| rate.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids as 64-bit words and their text, from the reference (wire.md §9.5).
    const IDS: &[(&str, &[u64])] = &[
        (
            "ESIzRFVmd4gRIjNEVWZ3iBEiM0RVZneIAAAAAAAAAAA=",
            &[0x1122_3344_5566_7788, 0x1122_3344_5566_7788, 0x1122_3344_5566_7788, 0],
        ),
        ("AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAY=", &[3, 2, 1, 6]),
        ("AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAI=", &[3, 2, 1, 2]),
        ("AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAE=", &[3, 2, 1, 1]),
        (
            "AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAYAAAAAAAAAqg==",
            &[3, 2, 1, 6, 0xaa],
        ),
        (
            "AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAA/4AAAY=",
            &[3, 2, 1, 0x3_fe00_0006],
        ),
    ];

    #[test]
    fn the_references_trace_ids_are_read_and_written_unchanged() {
        for (text, words) in IDS {
            let id = Trace::read(text.as_bytes()).expect(text);
            assert_eq!([id.span, id.parent, id.trace, id.flags], words[..4]);
            assert_eq!(id.trace_high, words.get(4).copied());
            let mut out = Vec::new();
            id.write(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn other_lengths_and_bad_base64_are_ignored() {
        let mut twenty_four = Vec::new();
        base64::encode(&[1; 24], &mut twenty_four);
        let mut forty_eight = Vec::new();
        base64::encode(&[1; 48], &mut forty_eight);
        let bad: &[&[u8]] = &[
            b"",
            b"=",
            b"====",
            &twenty_four,
            &forty_eight,
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAY",
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAY==",
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAZ=",
            b"AAAAAAAAAAM_AAAAAAAAAgAAAAAAAAABAAAAAAAAAAY=",
            b"AAAAAAAAAA==AAAAAAAAAgAAAAAAAAABAAAAAAAAAAY=",
            b"AAAAAAAAAAMAAAAAAAAAAgAAAAAAAAABAAAAAAAAAAY= ",
        ];
        for value in bad {
            assert_eq!(Trace::read(value), None, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_root_has_one_id_and_a_child_keeps_the_trace() {
        let mut random = Rng::with_seed(7);
        let root = Trace::root(&mut random);
        assert_eq!((root.span, root.parent, root.flags), (root.trace, root.trace, 0));
        let child = Trace {
            trace_high: Some(9),
            flags: 1 << 40,
            ..root
        }
        .child(&mut random);
        assert_eq!((child.trace, child.parent), (root.trace, root.span));
        assert_ne!(child.span, root.span);
        assert_eq!((child.trace_high, child.flags), (Some(9), 1 << 40));
    }

    #[test]
    fn decisions_only_add_bits_and_debug_wins() {
        let mut id = Trace::root(&mut Rng::with_seed(1));
        assert_eq!(id.sampled(), None);
        id.decide(false);
        assert_eq!((id.flags, id.sampled()), (2, Some(false)));
        id.decide(true);
        assert_eq!((id.flags, id.sampled()), (6, Some(true)));
        id.decide(false);
        assert_eq!(id.flags, 6);
        id.flags = 3;
        assert_eq!(id.sampled(), Some(true));
    }

    #[test]
    fn the_request_id_has_sixteen_digits() {
        let mut id = Trace::root(&mut Rng::with_seed(1));
        id.trace = 0xab;
        let mut out = Vec::new();
        id.write_request_id(&mut out);
        assert_eq!(out, b"00000000000000ab");
    }

    #[test]
    fn all_none_or_a_share_of_the_traces_is_kept() {
        let kept = |rate| (0..10_000u64).filter(|&trace| keeps(0x1234, trace, rate)).count();
        assert_eq!((kept(0.0), kept(1.0)), (0, 10_000));
        assert!((2_000..3_000).contains(&kept(0.25)), "{}", kept(0.25));
        // Magnitudes count, not signs: -3 and 3 are the same place.
        assert!(keeps(0, 3, 0.0004) && keeps(0, (-3i64).cast_unsigned(), 0.0004));
        assert!(!keeps(0, 4, 0.0004));
        assert!(!keeps(0, 0, 0.0) && keeps(0, i64::MIN.cast_unsigned(), 1.0));
    }

    #[test]
    fn sample_rates_are_clamped_and_junk_ignored() {
        for (value, rate) in [
            ("0.5", Some(0.5)),
            ("-1", Some(0.0)),
            ("2", Some(1.0)),
            ("1e-3", Some(0.001)),
        ] {
            assert_eq!(read_sample_rate(value.as_bytes()), rate);
        }
        for value in ["", "x", "NaN", "0,5", "\u{ff}"] {
            assert_eq!(read_sample_rate(value.as_bytes()), None);
        }
        assert_eq!(read_sample_rate(b"\xff"), None);
    }

    #[test]
    fn a_sample_header_overrides_an_undecided_trace_and_junk_leaves_it() {
        let mut id = Trace::root(&mut Rng::with_seed(1));
        id.sample(b"junk");
        assert_eq!(id.flags, 0);
        id.sample(b"0");
        assert_eq!(id.flags, 2);
        id.sample(b"1");
        assert_eq!(id.flags, 6);
    }
}
