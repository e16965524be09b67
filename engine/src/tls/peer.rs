//! What an endpoint is told of a caller's certificate: `x-forwarded-client-cert` (reference/linker.md §5.6).
//!
//! The certificate was verified, but its names are still its owner's words: what would look like more than a name is left out or
//! escaped.

use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;

const SEQUENCE: u8 = 0x30;
const EXTENSIONS: u8 = 0xa3;
const OCTET_STRING: u8 = 0x04;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
/// 2.5.29.17, subjectAltName.
const ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// The attribute types that RFC 2253 §2.3 has names for.
const ATTRIBUTES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

/// Appends the header's value for a certificate in DER form.
pub fn push_forwarded(out: &mut Vec<u8>, certificate: &[u8]) {
    out.extend_from_slice(b"Hash=");
    if let Some(suite) = TLS13_AES_128_GCM_SHA256.tls13() {
        for byte in suite.common.hash_provider.hash(certificate).as_ref() {
            out.extend_from_slice(format!("{byte:02X}").as_bytes());
        }
    }
    let Some((subject, names)) = read(certificate) else {
        return;
    };
    for (tag, key) in [(URI, "SAN"), (DNS_NAME, "DNS")] {
        // One URI, but all DNS names.
        let count = if tag == URI { 1 } else { usize::MAX };
        let named = Elements(names).filter(|(found, name)| *found == tag && is_plain(name));
        for (_, name) in named.take(count) {
            out.extend_from_slice(format!(";{key}=").as_bytes());
            out.extend_from_slice(name);
        }
    }
    if !subject.is_empty() {
        out.extend_from_slice(b";Subject=\"");
        push_name(out, subject);
        out.push(b'"');
    }
}

/// Whether a name can stand between separators as it is.
fn is_plain(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b";,\"\\".contains(byte);
    !name.is_empty() && name.iter().all(plain)
}

/// The elements of DER bytes, each a tag and its content; they end where the bytes are not sound.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let mut length = usize::from(first);
        if first & 0x80 != 0 {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            if digits.is_empty() || digits.len() > 4 {
                return None;
            }
            length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            rest = after;
        }
        let (content, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, content))
    }
}

/// The subject's RDNs and the subject's alternative names; both may be empty.
fn read(certificate: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, certificate) = Elements(certificate).next()?;
    let (_, body) = Elements(certificate).next()?;
    // Serial number, algorithm, issuer, validity and subject, whether or not a version comes before them.
    let mut sequences = Elements(body).filter(|(tag, _)| *tag == SEQUENCE);
    let (_, subject) = sequences.nth(3)?;
    let extensions = Elements(body).find(|(tag, _)| *tag == EXTENSIONS);
    let names = extensions.and_then(|(_, extensions)| {
        let (_, extensions) = Elements(extensions).next()?;
        let alt = Elements(extensions)
            .find(|(_, extension)| Elements(extension).next().is_some_and(|(_, id)| id == ALT_NAME));
        let (_, value) = Elements(alt?.1).find(|(tag, _)| *tag == OCTET_STRING)?;
        Some(Elements(value).next()?.1)
    });
    Some((subject, names.unwrap_or_default()))
}

/// Appends a name as RFC 2253 writes it: the last RDN first.
fn push_name(out: &mut Vec<u8>, name: &[u8]) {
    let rdns: Vec<&[u8]> = Elements(name).map(|(_, rdn)| rdn).collect();
    for (nth, rdn) in rdns.iter().rev().enumerate() {
        for (index, (_, attribute)) in Elements(rdn).enumerate() {
            match (nth, index) {
                (0, 0) => {}
                (_, 0) => out.push(b','),
                _ => out.push(b'+'),
            }
            let mut parts = Elements(attribute);
            if let (Some((_, id)), Some((_, value))) = (parts.next(), parts.next()) {
                push_attribute(out, id, value);
            }
        }
    }
}

fn push_attribute(out: &mut Vec<u8>, id: &[u8], value: &[u8]) {
    match ATTRIBUTES.iter().find(|(known, _)| *known == id) {
        Some((_, name)) => out.extend_from_slice(name.as_bytes()),
        None => push_oid(out, id),
    }
    out.push(b'=');
    let last = value.len().saturating_sub(1);
    for (at, &byte) in value.iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend_from_slice(&[b'\\', byte]),
            b'#' if at == 0 => out.extend_from_slice(b"\\#"),
            b' ' if at == 0 || at == last => out.extend_from_slice(b"\\ "),
            b' '..=b'~' => out.push(byte),
            _ => out.extend_from_slice(format!("\\{byte:02X}").as_bytes()),
        }
    }
}

/// Appends an object identifier as numbers and dots (X.690 §8.19).
fn push_oid(out: &mut Vec<u8>, id: &[u8]) {
    let mut number = 0u64;
    let mut first = true;
    for byte in id {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        if first {
            let root = (number / 40).min(2);
            out.extend_from_slice(format!("{root}.{}", number - 40 * root).as_bytes());
            first = false;
        } else {
            out.extend_from_slice(format!(".{number}").as_bytes());
        }
        number = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_has_a_hash_and_no_names() {
        for junk in [
            &b""[..],
            b"\x30",
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x80\x00",
            &[0x30; 300],
        ] {
            let mut out = Vec::new();
            push_forwarded(&mut out, junk);
            assert_eq!(out.len(), "Hash=".len() + 64, "{}", junk.escape_ascii());
        }
    }

    #[test]
    fn a_subject_is_written_last_part_first_and_escaped() {
        let attribute = |kind: u8, value: &[u8]| {
            let mut bytes = vec![
                0x31,
                value.len() as u8 + 9,
                0x30,
                value.len() as u8 + 7,
                6,
                3,
                0x55,
                4,
                kind,
                12,
            ];
            bytes.push(value.len() as u8);
            bytes.extend_from_slice(value);
            bytes
        };
        let name = [attribute(10, b"a,b\"\r\n"), attribute(3, b" x ")].concat();
        let mut out = Vec::new();
        push_name(&mut out, &name);
        assert_eq!(String::from_utf8_lossy(&out), "CN=\\ x\\ ,O=a\\,b\\\"\\0D\\0A");
    }
}
