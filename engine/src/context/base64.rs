//! Base64 with padding (RFC 4648 §4), strict and without allocation.

/// Bytes that are encoded at once: enough for a trace.
const BLOCK: usize = 48;

/// Appends padded base64 (RFC 4648 §4).
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for block in bytes.chunks(BLOCK) {
        let mut padded = [0; BLOCK];
        padded[..block.len()].copy_from_slice(block);
        let mut letters = [0; BLOCK / 6 * 8];
        let places = letters.as_chunks_mut::<8>().0.iter_mut();
        let groups = padded.as_chunks::<6>().0.iter().take(block.len().div_ceil(6));
        for (place, group) in places.zip(groups) {
            *place = sextets(*group);
        }
        // One plain loop over all, which the compiler does sixteen at a time.
        for place in &mut letters {
            *place = letter(*place);
        }
        let count = (block.len() * 8).div_ceil(6);
        out.extend_from_slice(&letters[..count]);
        out.extend_from_slice(&b"=="[..count.wrapping_neg() % 4]);
    }
}

/// Six bytes as eight values of six bits.
fn sextets(bytes: [u8; 6]) -> [u8; 8] {
    let mut word = [0; 8];
    word[2..].copy_from_slice(&bytes);
    let word = u64::from_be_bytes(word);
    // 48 bits to two halves of 24, these to quarters of 12, and these to eighths of 6.
    let halves = (word >> 24) << 32 | (word & 0xff_ffff);
    let quarters = (halves & 0x00ff_f000_00ff_f000) << 4 | (halves & 0x0000_0fff_0000_0fff);
    let eighths = (quarters & 0x0fc0_0fc0_0fc0_0fc0) << 2 | (quarters & 0x003f_003f_003f_003f);
    eighths.to_be_bytes()
}

/// The letter of six bits: `A` to `Z`, `a` to `z`, `0` to `9`, `+`, `/`; without a branch or a table.
fn letter(sextet: u8) -> u8 {
    let beyond = |most: u8, step: u8| if sextet > most { step } else { 0 };
    let back = beyond(51, 75).wrapping_add(beyond(61, 15));
    sextet
        .wrapping_add(b'A')
        .wrapping_add(beyond(25, 6))
        .wrapping_add(beyond(62, 3))
        .wrapping_sub(back)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sextet_has_its_letter() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for (value, &letter) in alphabet.iter().enumerate() {
            let sextet = value as u64;
            let word = (0..8).fold(0, |word, _| word << 6 | sextet);
            let [_, _, bytes @ ..] = word.to_be_bytes();
            assert_eq!(sextets(bytes).map(super::letter), [letter; 8]);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again_at_every_length() {
        for length in 1..=100 {
            let bytes: Vec<u8> = (0..length).map(|index| (index * 37 + length) as u8).collect();
            let mut text = Vec::new();
            encode(&bytes, &mut text);
            assert_eq!(text.len() % 4, 0);
            let mut decoded = [0; 100];
            assert_eq!(decode(&text, &mut decoded), Some(bytes.len()));
            assert_eq!(decoded[..bytes.len()], bytes);
        }
    }
}
