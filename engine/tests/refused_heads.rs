//! Heads of requests that are refused because they are malformed, or because two readers could take them differently.

mod heads;

use biandou_engine::wire::h1::HeadErrorKind;
use heads::request_in_all_pieces;

#[test]
fn ambiguous_or_malformed_requests_are_refused() {
    use HeadErrorKind::*;
    let long_line = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(300));
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nx: {}\r\n\r\n", "a".repeat(1024));
    let many = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "x: y\r\n".repeat(16));
    let options = format!("GET / HTTP/1.1\r\nHost: h\r\nConnection: {}\r\n\r\n", "a,".repeat(65));
    let cases: &[(&[u8], HeadErrorKind)] = &[
        // Line ends.
        (b"GET / HTTP/1.1\nHost: h\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost\n: h\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost:\n h\r\n\r\n", BareLf),
        (b"GET /\nHTTP/1.1\r\nHost: h\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\rHost: h\r\n\r\n", BareCr),
        (b"GET / HTTP/1.1\r\rHost: h\r\n\r\n", BareCr),
        (b"GET / HTTP/1.1\r\nHost: h\r\rx: y\r\n\r\n", BareCr),
        (b"GET / HTTP/1.1\r\nHost: h\rx: y\r\n\r\n", BareCr),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\rGET", BareCr),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\r\n", BareCr),
        (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", BareLf),
        (b"\rGET / HTTP/1.1\r\nHost: h\r\n\r\n", BareCr),
        (
            b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
            TooManyEmptyLines,
        ),
        // The request line.
        (b" GET / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
        (b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
        (b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
        (b"G\xc3\x89T / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
        (b"GET\x00 / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
        (b"GET:/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidMethod),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", InvalidMethod),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /\t HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET /  HTTP/1.1\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET / HTTP/1.1x\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET / HTTP/1.10\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET / HTTP/1.1\nHost: h\r\n\r\n", BareLf),
        (b"GET / HTTP/11 \r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET / http/1.1\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET / HTTP/1,1\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET / HTCPCP/1.0\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET /\r\nHost: h\r\n\r\n", InvalidVersion),
        (b"GET\r\nHost: h\r\n\r\n", InvalidMethod),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", UnsupportedVersion),
        (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", UnsupportedVersion),
        (b"GET / HTTP/0.9\r\nHost: h\r\n\r\n", UnsupportedVersion),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
        (long_line.as_bytes(), LineTooLong),
        // The target.
        (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /\x00 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /%a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET /?q=100% HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTarget),
        (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http:/h/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http://:80/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http://h:x/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"GET http://h\\@evil/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"CONNECT h HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"CONNECT h: HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"CONNECT :80 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"CONNECT http://h:80 HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        (b"CONNECT h:80/ HTTP/1.1\r\nHost: h\r\n\r\n", InvalidTargetForm),
        // Header lines.
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\nHost\t: h\r\n\r\n", SpaceBeforeColon),
        (
            b"GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
            SpaceBeforeColon,
        ),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", FoldedLine),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx: a\r\n b\r\n\r\n", FoldedLine),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx: a\r\n\tb\r\n\r\n", FoldedLine),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: x,\r\n chunked\r\n\r\n",
            UnknownTransferCoding,
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n", InvalidName),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx\r\n\r\n", InvalidName),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx\x00: a\r\n\r\n", InvalidName),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx\x0b: a\r\n\r\n", InvalidName),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent\rLength: 1\r\n\r\n", InvalidName),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nTransfer\rEncoding: chunked\r\n\r\n",
            InvalidName,
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nl5d-x y: a\r\n\r\n", SpaceBeforeColon),
        (b"GET / HTTP/1.1\r\nHost: h\r\nl5d-x\x00y: a\r\n\r\n", InvalidName),
        (b"GET / HTTP/1.1\r\nHost: h\r\nl5d-x\ny: a\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx\xff: a\r\n\r\n", InvalidName),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx(y): a\r\n\r\n", InvalidName),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\"x\": a\r\n\r\n", InvalidName),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length\x00: 1\r\n\r\n",
            InvalidName,
        ),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx: a\x00b\r\n\r\n", InvalidValue),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx: a\x01b\r\n\r\n", InvalidValue),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx: a\x7fb\r\n\r\n", InvalidValue),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx: a\x0bb\r\n\r\n", InvalidValue),
        (b"GET / HTTP/1.1\r\nHost: h\r\nx: \x1b[2J\r\n\r\n", InvalidValue),
        (large.as_bytes(), HeadTooLarge),
        (many.as_bytes(), TooManyHeaders),
        (options.as_bytes(), TooManyConnectionOptions),
        // Content-Length.
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1 1\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1.0\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1_0\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1,\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ,1\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1;\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \"1\"\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: \xd9\xa1\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551616\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            InvalidContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1, 2\r\n\r\n",
            ConflictingContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            ConflictingContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\ncontent-length: 44\r\n\r\n",
            ConflictingContentLength,
        ),
        // Transfer-Encoding.
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncodingWithContentLength,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            TransferEncodingWithContentLength,
        ),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            TransferEncodingInHttp10,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: ,\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked,\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            UnknownTransferCoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chun ked\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
            InvalidValue,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\x00\r\n\r\n",
            InvalidValue,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            InvalidTransferEncoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n",
            UnknownTransferCoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
            UnknownTransferCoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
            UnknownTransferCoding,
        ),
        (
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
            UnknownTransferCoding,
        ),
        // Host.
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", DuplicateHost),
        (b"GET / HTTP/1.1\r\nHost: a\r\nx: y\r\nhost: b\r\n\r\n", DuplicateHost),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", DuplicateHost),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: []\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", InvalidHost),
        (b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n", InvalidHost),
    ];
    assert!(cases.len() >= 130, "{}", cases.len());
    for (bytes, kind) in cases {
        let (_, parsed) = request_in_all_pieces(bytes);
        assert_eq!(parsed, Err(*kind), "{}", bytes.escape_ascii());
    }
}
