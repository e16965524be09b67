//! How long reading a head takes: `cargo bench -p biandou-engine --bench head`.

#![allow(clippy::print_stdout, reason = "a benchmark is run to be read")]

use std::hint::black_box;
use std::time::Instant;

use biandou_engine::wire::h1::{ChunkRelay, Form, Limits, Method, RequestHead, ResponseHead};

const REQUEST: &[u8] = b"GET /api/v1/items/12345?fields=name,price HTTP/1.1\r\n\
    Host: web.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0 Safari\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.8\r\n\
    Connection: keep-alive\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: backend/1.0\r\n\
    Date: Mon, 23 Nov 2026 02:44:09 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Content-Length: 1024\r\n\
    Cache-Control: no-store\r\n\r\n";

const LIMITS: Limits = Limits {
    head_bytes: 8192,
    line_bytes: 4096,
    headers: 100,
};

const ROUNDS: u32 = 200_000;

/// Prints the best of nine runs, since whatever else the machine does only adds.
fn measure(what: &str, mut once: impl FnMut()) {
    let best = (0..9)
        .map(|_| {
            let started = Instant::now();
            (0..ROUNDS).for_each(|_| once());
            started.elapsed() / ROUNDS
        })
        .min()
        .unwrap_or_default();
    println!("{what:<40} {:>6} ns", best.as_nanos());
}

fn main() {
    // The head has the rest of a read behind it, as a buffer would.
    let mut request_bytes = REQUEST.to_vec();
    request_bytes.extend_from_slice(&[b'x'; 64]);
    let mut response_bytes = RESPONSE.to_vec();
    response_bytes.extend_from_slice(&[b'x'; 1024]);
    let mut request = RequestHead::default();
    measure(&format!("request head, {} bytes", REQUEST.len()), || {
        assert!(black_box(request.parse(black_box(&request_bytes), &LIMITS)).is_ok());
    });
    let mut response = ResponseHead::default();
    measure(&format!("response head, {} bytes", RESPONSE.len()), || {
        assert!(black_box(response.parse(black_box(&response_bytes), &LIMITS, Method::Get)).is_ok());
    });
    measure("httparse, the same request", || {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        assert!(black_box(httparse::Request::new(&mut headers).parse(black_box(&request_bytes))).is_ok());
    });
    measure("httparse, the same response", || {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        assert!(black_box(httparse::Response::new(&mut headers).parse(black_box(&response_bytes))).is_ok());
    });
    let mut body = b"400\r\n".to_vec();
    body.extend_from_slice(&[b'x'; 1024]);
    body.extend_from_slice(b"\r\n0\r\n\r\n");
    let (mut relay, mut out) = (ChunkRelay::default(), Vec::with_capacity(2048));
    measure("chunked body, 1 KiB in one chunk", || {
        relay.reset();
        out.clear();
        assert!(black_box(relay.relay(black_box(&body), &mut out, Form::Chunked, usize::MAX)).is_ok());
    });
}
