//! Finding where a run of allowed bytes ends.

/// Bytes of a token (RFC 9110 §5.6.2).
pub(super) static TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~", true);
/// Bytes of a request target that need no second look: visible ASCII without `#` and `%`.
pub(super) static TARGET: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        allowed[byte] = byte != b'#' as usize && byte != b'%' as usize;
        byte += 1;
    }
    allowed
};
/// Bytes of a registered name but `%` and `,`: unreserved and sub-delims (RFC 3986 §3.2.2). The comma is left out because
/// two `Host` lines that somebody joined would read like one.
pub(super) static HOST: [bool; 256] = table(b"-._~!$&'()*+;=", true);

const fn table(others: &[u8], alphanumeric: bool) -> [bool; 256] {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        allowed[byte] = alphanumeric && (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        allowed[others[index] as usize] = true;
        index += 1;
    }
    allowed
}

/// The number of leading bytes that the table allows.
pub(super) fn run(bytes: &[u8], allowed: &[bool; 256]) -> usize {
    bytes
        .iter()
        .position(|&byte| !allowed[usize::from(byte)])
        .unwrap_or(bytes.len())
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// The position of the first control character (below 0x20, or DEL); `bytes.len()` if there is none.
#[inline]
pub(super) fn control(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Eight at a time: a byte's high bit is set where subtracting borrowed. Borrows run upwards, so the lowest bit that is set
    // is right even where a higher one is not.
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let low = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        let delete = delete.wrapping_sub(ONES) & !delete;
        let found = (low | delete) & HIGHS;
        if found != 0 {
            return bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize;
        }
        rest = after;
    }
    let at = rest.iter().position(u8::is_ascii_control).unwrap_or(rest.len());
    bytes.len() - rest.len() + at
}

/// What is before the first colon and what is after it, if there is one.
#[inline]
pub(super) fn split_at_colon(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = bytes;
    let at = loop {
        let Some((chunk, after)) = rest.split_first_chunk::<8>() else {
            break rest.iter().position(|&byte| byte == b':')?;
        };
        let word = u64::from_le_bytes(*chunk) ^ (ONES * 0x3a);
        let found = word.wrapping_sub(ONES) & !word & HIGHS;
        if found != 0 {
            break (found.trailing_zeros() / 8) as usize;
        }
        rest = after;
    };
    let (before, after) = bytes.split_at_checked(bytes.len() - rest.len() + at)?;
    Some((before, after.get(1..)?))
}

/// Takes spaces and tabs from both ends.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether this is a token.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    // No branch for each byte: nearly all are.
    let allowed = bytes
        .iter()
        .fold(true, |allowed, &byte| allowed & TOKEN[usize::from(byte)]);
    allowed && !bytes.is_empty()
}

/// The elements of a comma-separated list, without the empty ones (RFC 9110 §5.6.1).
pub(super) fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
        .map(trim)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_control_character_is_found_whatever_precedes_it() {
        for length in 0..40 {
            for position in 0..length {
                for control_byte in (0..0x20u8).chain([0x7f]) {
                    for filler in [b' ', b'a', 0x80, 0xff, 0x9f, 0x7e] {
                        let mut bytes = vec![filler; length];
                        bytes[position] = control_byte;
                        assert_eq!(control(&bytes), position);
                        bytes[length - 1] = 0x01;
                        assert_eq!(control(&bytes), position);
                    }
                }
            }
            assert_eq!(control(&vec![0xff; length]), length);
        }
    }

    fn halves(bytes: &[u8]) -> Option<(usize, usize)> {
        split_at_colon(bytes).map(|(before, after)| (before.len(), after.len()))
    }

    #[test]
    fn the_first_colon_is_found_whatever_precedes_it() {
        for length in 0..40 {
            for position in 0..length {
                for filler in [b'a', b'9', b';', 0x3b, 0xba, 0x00, 0xff] {
                    let mut bytes = vec![filler; length];
                    bytes[position] = b':';
                    assert_eq!(halves(&bytes), Some((position, length - position - 1)));
                    bytes[length - 1] = b':';
                    assert_eq!(halves(&bytes), Some((position, length - position - 1)));
                }
            }
            assert_eq!(split_at_colon(&vec![0xff; length]), None);
        }
    }

    #[test]
    fn white_space_is_taken_from_both_ends_only() {
        assert_eq!(trim(b" \ta b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
    }
}
