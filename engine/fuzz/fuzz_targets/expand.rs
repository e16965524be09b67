//! Turns bytes into what looks like HTTP/1, so that a short run gets past the first line.

const FRAGMENTS: [&[u8]; 40] = [
    b"\r\n",
    b"\r\n\r\n",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b"HTTP/1.1 ",
    b"HTTP/1.0 ",
    b"200 OK\r\n",
    b"204 \r\n",
    b"304\r\n",
    b"101 Switching Protocols\r\n",
    b"100 Continue\r\n",
    b"GET /",
    b"POST /",
    b"OPTIONS *",
    b"CONNECT ",
    b"http://",
    b"%41",
    b"Host: ",
    b"example.com",
    b"[::1]:80",
    b":80",
    b"Content-Length: ",
    b"Transfer-Encoding: ",
    b"chunked",
    b"gzip, ",
    b"Connection: ",
    b"close, ",
    b"keep-alive",
    b"upgrade",
    b"Upgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Via: 1.1 a, ",
    b"l5d-dtab: /a=>/b\r\n",
    b"x: y\r\n",
    b": ",
    b"GET / HTTP/1.1\r\nHost: h\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
];

/// Replaces the bytes from 0x80 on by a fragment each; the last ones, and all below 0x80, stay as they are.
pub fn expand(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() * 4);
    for byte in bytes {
        match byte
            .checked_sub(0x80)
            .and_then(|index| FRAGMENTS.get(usize::from(index)))
        {
            Some(fragment) => text.extend_from_slice(fragment),
            None => text.push(*byte),
        }
    }
    text
}
