//! A registry's own name for a service (`setHost`): endpoints are asked for it, and the caller is told of the one that it knows.

use std::sync::Arc;

use crate::resolve::Client;
use crate::wire::h1::RequestHead;

/// What the endpoint is told in `Host`, and what the caller said.
pub(super) struct Renamed {
    pub(super) authority: Arc<str>,
    host: Box<[u8]>,
}

impl Renamed {
    /// Nothing if the client's registry names no authority.
    pub(super) fn of(client: &Client, request: &RequestHead, bytes: &[u8]) -> Option<Self> {
        let authority = client.authority()?;
        let host = request.authority().map_or(&[][..], |host| host.get(bytes)).into();
        Some(Self { authority, host })
    }

    /// Puts the caller's host in the place of the authority in the `Location` and `Refresh` lines of a head.
    pub(super) fn restore(&self, head: &mut Vec<u8>) {
        let authority = self.authority.as_bytes();
        if authority.is_empty() || self.host.is_empty() {
            return;
        }
        let mut restored = Vec::with_capacity(head.len() + 64);
        for line in head.split_inclusive(|&byte| byte == b'\n') {
            if names_a_place(line) {
                replace(line, authority, &self.host, &mut restored);
            } else {
                restored.extend_from_slice(line);
            }
        }
        *head = restored;
    }
}

fn names_a_place(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(b"location") || name.eq_ignore_ascii_case(b"refresh")
}

fn replace(mut line: &[u8], from: &[u8], to: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = line.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&line[..at]);
        out.extend_from_slice(to);
        line = &line[at + from.len()..];
    }
    out.extend_from_slice(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_name_a_place_change() {
        let renamed = Renamed {
            authority: "web.service.dc1.consul".into(),
            host: b"web:4140"[..].into(),
        };
        let mut head = b"HTTP/1.1 302 web.service.dc1.consul\r\nLOCATION: http://web.service.dc1.consul/a?b=web.service.dc1.consul\r\n\
            Refresh: 5; url=http://web.service.dc1.consul/\r\nX-Location: web.service.dc1.consul\r\n\r\n"
            .to_vec();
        renamed.restore(&mut head);
        let expected = b"HTTP/1.1 302 web.service.dc1.consul\r\nLOCATION: http://web:4140/a?b=web:4140\r\n\
            Refresh: 5; url=http://web:4140/\r\nX-Location: web.service.dc1.consul\r\n\r\n";
        assert_eq!(head, expected);
    }
}
