//! Why a head was refused.

use std::fmt;

/// A head that cannot be used. Where the next message begins is not known, so the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    pub kind: HeadErrorKind,
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadErrorKind {
    LineTooLong,
    HeadTooLarge,
    TooManyHeaders,
    TooManyEmptyLines,
    BareCr,
    BareLf,
    InvalidMethod,
    InvalidTarget,
    InvalidTargetForm,
    InvalidVersion,
    UnsupportedVersion,
    InvalidStatus,
    InvalidReason,
    InterimBody,
    InvalidName,
    SpaceBeforeColon,
    FoldedLine,
    InvalidValue,
    InvalidContentLength,
    ConflictingContentLength,
    InvalidTransferEncoding,
    UnknownTransferCoding,
    TransferEncodingInHttp10,
    TransferEncodingWithContentLength,
    DuplicateHost,
    InvalidHost,
    TooManyConnectionOptions,
}

impl HeadError {
    /// The status that tells the caller.
    pub fn status(&self) -> u16 {
        match self.kind {
            HeadErrorKind::LineTooLong => 414,
            HeadErrorKind::HeadTooLarge | HeadErrorKind::TooManyHeaders => 431,
            HeadErrorKind::UnsupportedVersion => 505,
            HeadErrorKind::UnknownTransferCoding => 501,
            _ => 400,
        }
    }
}

impl From<HeadErrorKind> for HeadError {
    fn from(kind: HeadErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            HeadErrorKind::LineTooLong => "the first line is too long",
            HeadErrorKind::HeadTooLarge => "the head is too large",
            HeadErrorKind::TooManyHeaders => "there are too many header lines",
            HeadErrorKind::TooManyEmptyLines => "there are too many empty lines before the request",
            HeadErrorKind::BareCr => "a CR is not followed by LF",
            HeadErrorKind::BareLf => "a line ends with LF alone",
            HeadErrorKind::InvalidMethod => "the method is not a token",
            HeadErrorKind::InvalidTarget => "the request target has a byte or an escape that is not allowed",
            HeadErrorKind::InvalidTargetForm => "the request target has a form that the method does not allow",
            HeadErrorKind::InvalidVersion => "the HTTP version is malformed",
            HeadErrorKind::UnsupportedVersion => "the HTTP version is neither 1.0 nor 1.1",
            HeadErrorKind::InvalidStatus => "the status is not three digits from 100 on",
            HeadErrorKind::InvalidReason => "the reason phrase has a byte that is not allowed",
            HeadErrorKind::InterimBody => "an interim response announces a body",
            HeadErrorKind::InvalidName => "a header name is not a token",
            HeadErrorKind::SpaceBeforeColon => "there is white space between a header name and its colon",
            HeadErrorKind::FoldedLine => "a header line begins with white space",
            HeadErrorKind::InvalidValue => "a header value has a byte that is not allowed",
            HeadErrorKind::InvalidContentLength => "`Content-Length` is not a decimal number below 2^63",
            // The reference's own text (linker.md §3.10).
            HeadErrorKind::ConflictingContentLength => "conflicting `Content-Length` headers",
            HeadErrorKind::InvalidTransferEncoding => "`Transfer-Encoding` is malformed or does not end with `chunked`",
            HeadErrorKind::UnknownTransferCoding => "`Transfer-Encoding` has a coding other than `chunked`",
            HeadErrorKind::TransferEncodingInHttp10 => "`Transfer-Encoding` is not allowed in HTTP/1.0",
            HeadErrorKind::TransferEncodingWithContentLength => {
                "`Transfer-Encoding` and `Content-Length` are both present"
            }
            HeadErrorKind::DuplicateHost => "there is more than one `Host` header",
            HeadErrorKind::InvalidHost => "the `Host` header is not a host with an optional port",
            HeadErrorKind::TooManyConnectionOptions => "`Connection` has too many options",
        })
    }
}

impl std::error::Error for HeadError {}
