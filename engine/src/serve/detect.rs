//! What a connection speaks, found out without taking a byte from it.

use std::task::Poll;
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::net::TcpStream;

/// While a first line is incomplete, it is looked at again so often.
const AGAIN: Duration = Duration::from_millis(5);
/// Of a connection that is taken for HTTP so many bytes need to be seen at the most.
const LINE_BYTES: usize = 8 * 1024;
/// A `ClientHello` is no longer than one record (RFC 8446 §5.1).
const HELLO_BYTES: usize = 16 * 1024 + 5;

/// What is seen of a connection's first bytes.
enum Seen<T> {
    Decided(T),
    /// Too little, until the time was over or the caller sent no more; what it was.
    Undecided(Vec<u8>),
    Nothing,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With a request of HTTP/1, or what may become one.
    Http,
    Other,
    Silence,
}

/// Waits for the first line, or for so long.
pub(super) async fn beginning(stream: &TcpStream, silence_ms: u64) -> Beginning {
    match peek_until(stream, LINE_BYTES, silence_ms, begins_http).await {
        Seen::Decided(true) => Beginning::Http,
        // What begins like a request is the HTTP server's to wait for; a word alone is all that some protocols say.
        Seen::Undecided(bytes) if has_method(&bytes) => Beginning::Http,
        Seen::Decided(false) | Seen::Undecided(_) => Beginning::Other,
        Seen::Nothing => Beginning::Silence,
    }
}

/// The server that a TLS caller asks for (RFC 6066 §3).
pub(super) async fn server_name(stream: &TcpStream, silence_ms: u64) -> Option<Box<str>> {
    match peek_until(stream, HELLO_BYTES, silence_ms, asked_server).await {
        Seen::Decided(name) => name,
        Seen::Undecided(_) | Seen::Nothing => None,
    }
}

async fn peek_until<T>(
    stream: &TcpStream,
    limit: usize,
    silence_ms: u64,
    decide: impl Fn(&[u8]) -> Poll<T>,
) -> Seen<T> {
    let mut bytes = vec![0; limit];
    let mut seen = 0;
    let looking = async {
        loop {
            match stream.peek(&mut bytes).await {
                Ok(count) if count > seen => {
                    seen = count;
                    if let Poll::Ready(decided) = decide(&bytes[..count]) {
                        return Some(decided);
                    }
                    if count == limit {
                        return None;
                    }
                }
                Ok(count) if count > 0 => {}
                _ => return None,
            }
            // The socket stays readable, so that it cannot tell when there is more.
            tokio::time::sleep(AGAIN).await;
        }
    };
    let decided = tokio::time::timeout(Duration::from_millis(silence_ms), looking).await;
    match decided.ok().flatten() {
        Some(decided) => Seen::Decided(decided),
        None if seen > 0 => {
            bytes.truncate(seen);
            Seen::Undecided(bytes)
        }
        None => Seen::Nothing,
    }
}

/// Whether bytes begin a request of HTTP/1, which shows at the end of its first line.
fn begins_http(bytes: &[u8]) -> Poll<bool> {
    // Some send an empty line first (RFC 9112 §2.2).
    let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = &bytes[empty..];
    let line = memchr::memchr(b'\n', bytes).map(|end| &bytes[..end]);
    let seen = line.unwrap_or(bytes);
    let method = seen.iter().position(|&byte| byte == b' ').unwrap_or(seen.len());
    let is_method = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if !seen[..method].iter().all(is_method) || seen[method..].contains(&0) || seen.first() == Some(&b' ') {
        return Poll::Ready(false);
    }
    let Some(line) = line else {
        return Poll::Pending;
    };
    let version = line.strip_suffix(b"\r").unwrap_or(line);
    Poll::Ready(version.ends_with(b" HTTP/1.1") || version.ends_with(b" HTTP/1.0"))
}

/// Whether bytes that may begin a request have more than one word.
fn has_method(bytes: &[u8]) -> bool {
    bytes.contains(&b' ')
}

fn asked_server(bytes: &[u8]) -> Poll<Option<Box<str>>> {
    const HANDSHAKE: u8 = 22;
    if bytes[0] != HANDSHAKE {
        return Poll::Ready(None);
    }
    let (mut acceptor, mut rest) = (Acceptor::default(), bytes);
    while !rest.is_empty() {
        match acceptor.read_tls(&mut rest) {
            Ok(count) if count > 0 => {}
            _ => return Poll::Ready(None),
        }
    }
    match acceptor.accept() {
        Ok(Some(accepted)) => Poll::Ready(accepted.client_hello().server_name().map(Into::into)),
        Ok(None) => Poll::Pending,
        Err(_no_hello) => Poll::Ready(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_shows_at_the_end_of_its_first_line() {
        for (bytes, is_http) in [
            ("GET / HTTP/1.1\r\n", Poll::Ready(true)),
            ("\r\nGET / HTTP/1.0\nhost", Poll::Ready(true)),
            ("M-SEARCH * HTTP/1.1\r\n", Poll::Ready(true)),
            ("GE", Poll::Pending),
            ("GET /a", Poll::Pending),
            ("PRI * HTTP/2.0\r\n\r\n", Poll::Ready(false)),
            ("PING\r\n", Poll::Ready(false)),
            ("NICK somebody\r\n", Poll::Ready(false)),
            ("\u{16}\u{3}\u{1}", Poll::Ready(false)),
            ("*1\r\n$4\r\nPING\r\n", Poll::Ready(false)),
            (" GET / HTTP/1.1\r\n", Poll::Ready(false)),
            ("\0\0\0\u{8}\u{4}", Poll::Ready(false)),
        ] {
            assert_eq!(begins_http(bytes.as_bytes()), is_http, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_hello_of_tls_asks_for_no_server() {
        assert_eq!(asked_server(b"GET / HTTP/1.1\r\n"), Poll::Ready(None));
        assert_eq!(
            asked_server(b"\x16\x03\x01\x00\x05\x01"),
            Poll::Pending,
            "a part of a record"
        );
        assert_eq!(asked_server(b"\x16\x03\x01\x00\x02\xff\xff\xff\xff"), Poll::Ready(None));
    }
}
