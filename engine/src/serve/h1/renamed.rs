//! A registry may know an endpoint by another host name than callers do: requests get that one, and where a response leads by it,
//! callers are led by theirs (reference/linker.md §5.1).

use crate::route::Hop;
use crate::wire::h1::RequestHead;

/// The headers of a response that lead to another place.
const LEADING: [&[u8]; 2] = [b"location", b"refresh"];

/// The two names of one request's host.
#[derive(Debug)]
pub(super) struct Renamed {
    ours: Box<[u8]>,
    theirs: Box<[u8]>,
}

impl Renamed {
    /// Gives the names, if the registry has another than the request, of which `bytes` is the head.
    pub(super) fn of(hop: &Hop<'_>, request: &RequestHead, bytes: &[u8]) -> Option<Box<Self>> {
        let theirs = hop.endpoint.authority.as_deref()?.as_bytes();
        let ours = request.authority()?.get(bytes);
        (ours != theirs).then(|| {
            Box::new(Self {
                ours: ours.into(),
                theirs: theirs.into(),
            })
        })
    }

    /// Puts the caller's name for the endpoint's wherever a response's head leads somewhere.
    pub(super) fn rewrite(&self, head: &mut Vec<u8>) {
        let lines = || head.split_inclusive(|&byte| byte == b'\n');
        if !lines().any(leads) {
            return;
        }
        let mut rewritten = Vec::with_capacity(head.len() + self.ours.len());
        for line in lines() {
            if leads(line) {
                self.push(&mut rewritten, line);
            } else {
                rewritten.extend_from_slice(line);
            }
        }
        *head = rewritten;
    }

    fn push(&self, out: &mut Vec<u8>, line: &[u8]) {
        let mut rest = line;
        while let Some((first, after)) = rest.split_first() {
            if let Some(after) = rest.strip_prefix(&*self.theirs) {
                out.extend_from_slice(&self.ours);
                rest = after;
            } else {
                out.push(*first);
                rest = after;
            }
        }
    }
}

fn leads(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    LEADING.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(head: &str) -> String {
        let renamed = Renamed {
            ours: b"web".as_slice().into(),
            theirs: b"web.service.dc1.consul".as_slice().into(),
        };
        let mut head = head.as_bytes().to_vec();
        renamed.rewrite(&mut head);
        String::from_utf8(head).expect("text")
    }

    #[test]
    fn only_what_leads_somewhere_is_rewritten_and_there_each_occurrence() {
        let head = "HTTP/1.1 302 web.service.dc1.consul\r\nLOCATION: http://web.service.dc1.consul/?web.service.dc1.consul\r\n\
                    Refresh: 5; url=http://web.service.dc1.consul/\r\nx-Location: http://web.service.dc1.consul/\r\n\r\n";
        let expected = "HTTP/1.1 302 web.service.dc1.consul\r\nLOCATION: http://web/?web\r\n\
                        Refresh: 5; url=http://web/\r\nx-Location: http://web.service.dc1.consul/\r\n\r\n";
        assert_eq!(rewritten(head), expected);
    }

    #[test]
    fn a_head_that_leads_nowhere_or_elsewhere_stays() {
        for head in [
            "HTTP/1.1 200 OK\r\nETag: web.service.dc1.consul\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: http://elsewhere/web.service.dc2.consul\r\n\r\n",
        ] {
            assert_eq!(rewritten(head), head);
        }
    }
}
