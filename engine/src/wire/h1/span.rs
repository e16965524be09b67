//! A piece of the buffer that a head was read from.

/// Where a piece begins and ends, in bytes from the start of the buffer that was parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// Makes a span; positions are below the head's bound, which fits `u32`.
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    /// The piece itself; `buf` is the buffer that was parsed.
    pub fn get<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[self.start as usize..self.end as usize]
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether the piece is empty.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}
