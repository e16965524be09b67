//! What `Content-Length` and `Transfer-Encoding` say about the body (RFC 9112 §6).

use super::error::HeadErrorKind;
use super::request::Version;
use super::scan::{elements, is_token, trim};

/// The longest body, or chunk, that is believed: of more, who counts with a sign would think otherwise.
pub(super) const MAX_LENGTH: u64 = i64::MAX as u64;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    #[default]
    None,
    /// So many bytes.
    Exact(u64),
    Chunked,
    /// All that comes until the sender closes; responses only.
    UntilClose,
}

impl Body {
    /// How many bytes it has, if that is known before it comes.
    pub fn length(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Exact(length) => Some(length),
            Self::Chunked | Self::UntilClose => None,
        }
    }
}

/// The framing fields that were seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    pub content_length: Option<u64>,
    /// There is one `Content-Length` line, written as we would write it.
    pub plain_length: bool,
    pub chunked: bool,
}

impl Framing {
    /// Takes in the value of a `Content-Length` line; several values must be the same number (RFC 9112 §6.3).
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), HeadErrorKind> {
        if self.content_length.is_none() && is_plain(value) {
            self.content_length = decimal(value);
            self.plain_length = true;
            return self.content_length.map(drop).ok_or(HeadErrorKind::InvalidContentLength);
        }
        self.plain_length = false;
        for element in value.split(|&byte| byte == b',') {
            let length = decimal(trim(element)).ok_or(HeadErrorKind::InvalidContentLength)?;
            if *self.content_length.get_or_insert(length) != length {
                return Err(HeadErrorKind::ConflictingContentLength);
            }
        }
        Ok(())
    }

    /// Takes in the value of a `Transfer-Encoding` line, which may only be `chunked`.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), HeadErrorKind> {
        // A second line, too, would apply a coding twice.
        if !self.chunked && value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let codings = elements(value).count();
        let malformed = codings == 0
            || self.chunked
            || elements(value).enumerate().any(|(index, coding)| {
                let name = trim(coding.split(|&byte| byte == b';').next().unwrap_or(coding));
                let last = index + 1 == codings;
                !is_token(name) || name.eq_ignore_ascii_case(b"chunked") && (codings == 1 || !last)
            });
        Err(if malformed {
            HeadErrorKind::InvalidTransferEncoding
        } else {
            HeadErrorKind::UnknownTransferCoding
        })
    }

    /// Checks the fields against each other and finds the framing that they ask for; `None` without any.
    pub(super) fn body(&self, version: Version) -> Result<Option<Body>, HeadErrorKind> {
        if !self.chunked {
            return Ok(self.content_length.map(Body::Exact));
        }
        if self.content_length.is_some() {
            return Err(HeadErrorKind::TransferEncodingWithContentLength);
        }
        if version == Version::Http10 {
            return Err(HeadErrorKind::TransferEncodingInHttp10);
        }
        Ok(Some(Body::Chunked))
    }
}

/// Whether this is a number, and its shortest form; it may still be too large.
fn is_plain(digits: &[u8]) -> bool {
    matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.iter().all(u8::is_ascii_digit)
}

/// A number of at most `MAX_LENGTH`.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, &digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    number.filter(|&number| number <= MAX_LENGTH)
}
