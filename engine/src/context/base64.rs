//! Base64 with padding (RFC 4648 §4), strict and without allocation.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends padded base64 (RFC 4648 §4).
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    let (groups, rest) = bytes.as_chunks::<3>();
    for group in groups {
        out.extend_from_slice(&letters(*group));
    }
    match *rest {
        [one] => {
            let [first, second, ..] = letters([one, 0, 0]);
            out.extend_from_slice(&[first, second, b'=', b'=']);
        }
        [one, two] => {
            let [first, second, third, _] = letters([one, two, 0]);
            out.extend_from_slice(&[first, second, third, b'=']);
        }
        _ => {}
    }
}

fn letters([one, two, three]: [u8; 3]) -> [u8; 4] {
    let letter = |sextet: u8| ALPHABET[usize::from(sextet & 63)];
    [
        letter(one >> 2),
        letter(one << 4 | two >> 4),
        letter(two << 2 | three >> 6),
        letter(three),
    ]
}

/// Reads padded base64 strictly; gives the number of bytes, or `None` if it is malformed or longer than `out`.
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let (groups, rest) = text.as_chunks::<4>();
    if !rest.is_empty() || groups.is_empty() {
        return None;
    }
    let mut length = 0;
    for (index, group) in groups.iter().enumerate() {
        let padding = match group {
            [.., b'=', b'='] => 2,
            [.., b'='] => 1,
            _ => 0,
        };
        if padding > 0 && index + 1 < groups.len() {
            return None;
        }
        let mut word = 0u32;
        for &letter in &group[..4 - padding] {
            word = word << 6 | u32::from(sextet(letter)?);
        }
        word <<= 6 * padding;
        let [_, bytes @ ..] = word.to_be_bytes();
        let (bytes, unused) = bytes.split_at(3 - padding);
        if unused.iter().any(|&byte| byte != 0) {
            return None;
        }
        out.get_mut(length..length + bytes.len())?.copy_from_slice(bytes);
        length += bytes.len();
    }
    Some(length)
}

fn sextet(letter: u8) -> Option<u8> {
    Some(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}
