//! Path elements in shown form (reference/naming.md §0.1).

/// Whether a byte is shown as it is.
pub(super) fn is_showable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'.' | b'#' | b'$' | b'%' | b'-')
}

/// Appends `/` and one element; if any of its bytes cannot be shown, all are written as `\xHH`.
pub(super) fn push_element(element: &[u8], out: &mut Vec<u8>) {
    if element.iter().all(|&byte| is_showable(byte)) {
        out.push(b'/');
        out.extend_from_slice(element);
    } else {
        push_bytes(element.iter().copied(), out);
    }
}

/// Appends `/` and one element in lower case.
pub(super) fn push_lower_case_element(element: &[u8], out: &mut Vec<u8>) {
    push_bytes(element.iter().map(u8::to_ascii_lowercase), out);
}

/// Appends `/` and the element that `bytes` gives.
pub(super) fn push_bytes(bytes: impl Iterator<Item = u8> + Clone, out: &mut Vec<u8>) {
    out.push(b'/');
    if bytes.clone().all(is_showable) {
        out.extend(bytes);
    } else {
        bytes.for_each(|byte| push_escaped(byte, out));
    }
}

/// Appends one byte as `\xHH`.
fn push_escaped(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS[usize::from(value)];
    out.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
}
