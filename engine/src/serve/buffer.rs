//! Bytes that were read and not yet used.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// A fixed block of memory, filled at `end` and used from `start`.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// Bytes read since `take_count`.
    count: u64,
}

impl Buffer {
    /// Makes an empty buffer of `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
            count: 0,
        }
    }

    /// The unused bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether nothing is left to use.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The number of unused bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Marks `count` bytes as used.
    pub fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.len(), "more bytes consumed than were read");
        self.start += count;
        if self.start >= self.end {
            self.clear();
        }
    }

    /// Puts `with` in the place of the first `count` bytes; false, with nothing changed, if there is no room.
    pub fn replace(&mut self, count: usize, with: &[u8]) -> bool {
        let rest = self.len().saturating_sub(count);
        if with.len() + rest > self.bytes.len() {
            return false;
        }
        self.bytes.copy_within(self.end - rest..self.end, with.len());
        self.bytes[..with.len()].copy_from_slice(with);
        self.start = 0;
        self.end = with.len() + rest;
        true
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// How many bytes fit.
    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no more can be read before something is used.
    pub fn is_full(&self) -> bool {
        self.len() == self.bytes.len()
    }

    /// How many bytes were read since this was last asked.
    pub fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// Reads once from `source` into the free space; 0 means the end of the stream. The buffer must not be full.
    pub fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        source: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.end == self.bytes.len() && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut space = ReadBuf::new(&mut self.bytes[self.end..]);
        ready!(Pin::new(source).poll_read(context, &mut space))?;
        let count = space.filled().len();
        self.end += count;
        self.count += count as u64;
        Poll::Ready(Ok(count))
    }
}
