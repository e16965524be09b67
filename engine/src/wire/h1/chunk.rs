//! Chunked bodies (RFC 9112 §7.1), checked and written anew while they stream through.

use std::fmt;

use super::framing::MAX_LENGTH;
use super::trailer::Trailers;

/// The last chunk and an empty trailer section: what ends a chunked body of ours.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// Hexadecimal digits of a chunk's size.
const MAX_SIZE_DIGITS: u8 = 16;
/// Bytes of a chunk's extensions, which nobody uses and everybody has to read.
const MAX_EXTENSION_BYTES: u16 = 256;

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As chunks, without extensions, with those trailers that may pass.
    Chunked,
    /// The data alone, for a caller that knows no chunks.
    Plain,
}

/// What one call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that were used; those after the body's end never are.
    pub consumed: usize,
    /// Whether the body has ended.
    pub done: bool,
}

/// Why a chunked body was refused. Where the next message begins is not known, so the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    InvalidSize,
    SizeTooLarge,
    InvalidExtension,
    ExtensionTooLong,
    InvalidLineEnd,
    InvalidTrailer,
    TrailersTooLarge,
}

impl fmt::Display for ChunkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InvalidSize => "a chunk's size is not a hexadecimal number",
            Self::SizeTooLarge => "a chunk's size has more than 16 digits, or is 2^63 or more",
            Self::InvalidExtension => "a chunk's extension is malformed",
            Self::ExtensionTooLong => "a chunk's extensions are too long",
            Self::InvalidLineEnd => "a chunk does not end with CRLF",
            Self::InvalidTrailer => "a trailer line is malformed",
            Self::TrailersTooLarge => "the trailers are too large or too many",
        })
    }
}

impl std::error::Error for ChunkError {}

/// Where in the body the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size {
        size: u64,
        digits: u8,
    },
    /// In white space after the size, which only an extension may follow.
    Space {
        size: u64,
        bytes: u16,
    },
    Extension {
        size: u64,
        bytes: u16,
    },
    /// After the CR of a size line.
    SizeLf {
        size: u64,
    },
    /// So many bytes of data are left.
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// The state of one chunked body; reused for the next after `reset`.
#[derive(Debug, Default)]
pub struct ChunkRelay {
    state: State,
    trailers: Trailers,
}

impl ChunkRelay {
    /// Makes ready for another body.
    pub fn reset(&mut self) {
        self.state = State::Start;
        self.trailers.clear();
    }

    /// Reads body bytes from `input` and appends what they become to `out`.
    ///
    /// Stops at the body's end, or once about `room` bytes were appended: a chunk's size line or a trailer line that is
    /// complete is appended whole. All calls together append no more bytes than they consume.
    pub fn relay(&mut self, input: &[u8], out: &mut Vec<u8>, form: Form, room: usize) -> Result<Progress, ChunkError> {
        let full = out.len().saturating_add(room);
        let mut at = 0;
        while at < input.len() && self.state != State::Done && out.len() < full {
            match self.state {
                State::Data { left } => {
                    let rest = &input[at..];
                    let count = rest.len().min(full - out.len());
                    let count = usize::try_from(left).map_or(count, |left| left.min(count));
                    out.extend_from_slice(&rest[..count]);
                    at += count;
                    self.state = match left - count as u64 {
                        0 => State::DataCr,
                        left => State::Data { left },
                    };
                }
                State::Trailers => {
                    let (consumed, ended) = self.trailers.relay(&input[at..], out, form, full)?;
                    at += consumed;
                    if ended {
                        self.state = State::Done;
                    }
                }
                _ => {
                    self.state = self.state.step(input[at], out, form)?;
                    at += 1;
                }
            }
        }
        Ok(Progress {
            consumed: at,
            done: self.state == State::Done,
        })
    }
}

impl State {
    /// Goes on by one byte that is not data.
    fn step(self, byte: u8, out: &mut Vec<u8>, form: Form) -> Result<Self, ChunkError> {
        Ok(match (self, byte) {
            (Self::Start, _) => Self::Size {
                size: hexadecimal(byte).ok_or(ChunkError::InvalidSize)?,
                digits: 1,
            },
            (Self::Size { size, .. } | Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, .. }, b';') => Self::Extension { size, bytes: 1 },
            (Self::Size { size, .. }, b' ' | b'\t') => Self::Space { size, bytes: 1 },
            (Self::Size { size, digits }, _) => {
                let digit = hexadecimal(byte).ok_or(ChunkError::InvalidSize)?;
                if digits >= MAX_SIZE_DIGITS {
                    return Err(ChunkError::SizeTooLarge);
                }
                let size = size << 4 | digit;
                if size > MAX_LENGTH {
                    return Err(ChunkError::SizeTooLarge);
                }
                Self::Size {
                    size,
                    digits: digits + 1,
                }
            }
            (Self::Space { bytes, .. } | Self::Extension { bytes, .. }, _) if bytes >= MAX_EXTENSION_BYTES => {
                return Err(ChunkError::ExtensionTooLong);
            }
            (Self::Space { size, bytes }, b' ' | b'\t') => Self::Space { size, bytes: bytes + 1 },
            (Self::Space { size, bytes }, b';') => Self::Extension { size, bytes: bytes + 1 },
            (Self::Space { .. }, _) => return Err(ChunkError::InvalidSize),
            (Self::Extension { size, bytes }, _) => {
                if byte.is_ascii_control() && byte != b'\t' {
                    return Err(ChunkError::InvalidExtension);
                }
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::SizeLf { size }, b'\n') => {
                if form == Form::Chunked {
                    push_chunk_head(out, size);
                }
                if size == 0 {
                    Self::Trailers
                } else {
                    Self::Data { left: size }
                }
            }
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => {
                if form == Form::Chunked {
                    out.extend_from_slice(b"\r\n");
                }
                Self::Start
            }
            (Self::SizeLf { .. } | Self::DataCr | Self::DataLf, _) => {
                return Err(ChunkError::InvalidLineEnd);
            }
            (Self::Data { .. } | Self::Trailers | Self::Done, _) => self,
        })
    }
}

/// Writes the line that begins a chunk of `size` bytes; the data and a CRLF follow.
pub fn push_chunk_head(out: &mut Vec<u8>, size: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut shift = (64 - size.leading_zeros()).div_ceil(4).max(1) * 4;
    while shift > 0 {
        shift -= 4;
        out.push(DIGITS[(size >> shift & 15) as usize]);
    }
    out.extend_from_slice(b"\r\n");
}

fn hexadecimal(byte: u8) -> Option<u64> {
    (byte as char).to_digit(16).map(u64::from)
}
