//! Bytes both ways between two connections, whatever they mean, until both have ended.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::serve::pulse::{Interrupt, Pulse};
use crate::stream::{ReadHalf, Stream, WriteHalf};
use crate::worker::Worker;

/// Bytes that are moved at once, and that each way holds at the most while nobody takes them.
const TUNNEL_BYTES: usize = 16 * 1024;
/// So often one way reads before others have their turn.
const ROUNDS: usize = 8;

/// How many bytes went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) to_endpoint: u64,
    pub(super) to_caller: u64,
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides have said all.
    Whole,
    /// Nothing came from either side for too long.
    Idle,
    /// One side's connection failed.
    Broken,
}

/// A tunnel that has not begun.
pub(super) struct Tunnel<'a> {
    pub(super) worker: &'a Worker,
    pub(super) pulse: &'a Pulse,
    /// After so long a silence of both it ends.
    pub(super) idle_ms: Option<u64>,
}

impl Tunnel<'_> {
    /// Copies until both sides have ended, one has failed, or both are silent for too long. `early` was sent by the caller
    /// before, and `late` by the endpoint. `moved` is told of bytes as they go.
    pub(super) async fn run(
        self,
        caller: &mut Stream,
        endpoint: &mut Stream,
        (early, late): (&[u8], &[u8]),
        moved: impl FnMut(Moved),
    ) -> End {
        // A tunnel may be silent for hours: only the kernel can find out that the other side has vanished.
        for stream in [caller.socket(), endpoint.socket()] {
            if SockRef::from(stream).set_keepalive(true).is_err() {
                return End::Broken;
            }
            // Whoever is left by a connection that fails, or that a linker's end cuts off, learns that the other end is lost,
            // not that it has said all. A socket that is gone already cannot be told.
            let _reset = stream.set_zero_linger();
        }
        let end = self.copy(caller, endpoint, (early, late), moved).await;
        if end != End::Broken {
            for stream in [caller.socket(), endpoint.socket()] {
                let _in_order = SockRef::from(stream).set_linger(None);
            }
        }
        end
    }

    async fn copy(
        self,
        caller: &mut Stream,
        endpoint: &mut Stream,
        (early, late): (&[u8], &[u8]),
        mut moved: impl FnMut(Moved),
    ) -> End {
        let (mut caller_reads, mut caller_writes) = caller.split();
        let (mut endpoint_reads, mut endpoint_writes) = endpoint.split();
        let (mut there, mut back) = (Way::with(early), Way::with(late));
        let until_ms = || self.idle_ms.map(|idle_ms| self.worker.tick_ms() + idle_ms);
        self.pulse.expect_by(until_ms());
        let ended = self.pulse.until(|context| {
            let mut room = self.worker.room.borrow_mut();
            room.resize(TUNNEL_BYTES, 0);
            let ends = [
                there.poll(&mut caller_reads, &mut endpoint_writes, &mut room, context),
                back.poll(&mut endpoint_reads, &mut caller_writes, &mut room, context),
            ];
            let now = Moved {
                to_endpoint: there.take_moved(),
                to_caller: back.take_moved(),
            };
            if now != Moved::default() {
                if let Some(until_ms) = until_ms() {
                    self.pulse.main.extend(until_ms);
                }
                moved(now);
            }
            match ends {
                [Poll::Ready(Err(error)), _] | [_, Poll::Ready(Err(error))] => Poll::Ready(Err(error)),
                [Poll::Ready(Ok(())), Poll::Ready(Ok(()))] => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        });
        match ended.await {
            Ok(Ok(())) => End::Whole,
            Ok(Err(_error)) => End::Broken,
            Err(Interrupt::Expired | Interrupt::Draining) => End::Idle,
        }
    }
}

/// One direction. Holds memory only for bytes that were read and not taken yet.
#[derive(Debug, Default)]
struct Way {
    waiting: Vec<u8>,
    written: usize,
    moved: u64,
    flushed: bool,
    source_ended: bool,
    ended: bool,
}

impl Way {
    fn with(bytes: &[u8]) -> Self {
        Self {
            waiting: bytes.to_vec(),
            ..Self::default()
        }
    }

    fn take_moved(&mut self) -> u64 {
        std::mem::take(&mut self.moved)
    }

    /// Ready when the source has ended, and its end was passed on.
    fn poll(
        &mut self,
        source: &mut ReadHalf<'_>,
        sink: &mut WriteHalf<'_>,
        room: &mut [u8],
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..ROUNDS {
            ready!(self.poll_drain(sink, context))?;
            if self.source_ended {
                ready!(Pin::new(&mut *sink).poll_shutdown(context))?;
                self.ended = true;
                return Poll::Ready(Ok(()));
            }
            let mut space = ReadBuf::new(room);
            ready!(Pin::new(&mut *source).poll_read(context, &mut space))?;
            let bytes = space.filled();
            if bytes.is_empty() {
                self.source_ended = true;
                continue;
            }
            self.flushed = false;
            match Pin::new(&mut *sink).poll_write(context, bytes)? {
                Poll::Ready(count) => {
                    self.moved += count as u64;
                    self.waiting.extend_from_slice(&bytes[count..]);
                }
                Poll::Pending => self.waiting.extend_from_slice(bytes),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Ready when nothing waits any more.
    fn poll_drain(&mut self, sink: &mut WriteHalf<'_>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.waiting.len() {
            let count = ready!(Pin::new(&mut *sink).poll_write(context, &self.waiting[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.moved += count as u64;
            self.flushed = false;
        }
        if self.written > 0 {
            // A connection that idles holds no memory.
            self.waiting = Vec::new();
            self.written = 0;
        }
        if !self.flushed {
            ready!(Pin::new(sink).poll_flush(context))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}
