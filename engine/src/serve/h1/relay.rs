//! Bodies on their way: read, written anew where the framing changes, and never held whole.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::coop::consume_budget;

use super::response::Framing;
use crate::serve::buffer::Buffer;
use crate::serve::pulse::{Deadline, Pulse};
use crate::stream::Socket;
use crate::wire::h1::{Body, ChunkRelay, Form, LAST_CHUNK, push_chunk_head};
use crate::worker::{TICK_MS, Worker};

/// How often we look whether a caller that waits for an endpoint is still there.
const LOOK_MS: u64 = 1000;

/// What every wait on a connection needs: who wakes it when it has taken too long. Times that are without limit are `NEVER`: an
/// `Option` would make them, and with them the task of each connection, larger.
#[derive(Clone, Copy)]
pub(super) struct Waits<'a> {
    pub worker: &'a Worker,
    pub pulse: &'a Pulse,
    /// The one of the pulse's deadlines that these waits have.
    pub deadline: &'a Deadline,
    /// How long nothing at all may move.
    pub stall_ms: u64,
    /// How long an endpoint may be silent.
    pub silence_ms: u64,
    /// How long a caller is waited for that says no more.
    pub idle_ms: u64,
    /// When on the worker's clock every wait is over, as the caller's deadline says.
    pub until_ms: u64,
}

/// The shorter of two limits.
pub(super) fn shorter(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// The end, or the length, of a wait without limit.
pub(super) const NEVER: u64 = u64::MAX;

/// The shorter of two limits, or `NEVER`.
pub(super) fn shorter_or_never(one: Option<u64>, other: Option<u64>) -> u64 {
    shorter(one, other).unwrap_or(NEVER)
}

impl Waits<'_> {
    /// When on the worker's clock something that may take so long from now has to be over: late by a tick rather than too early.
    fn end_of(&self, limit_ms: u64) -> u64 {
        let end_ms = self.worker.tick_ms().saturating_add(TICK_MS).saturating_add(limit_ms);
        end_ms.min(self.until_ms)
    }

    fn begin(&self) {
        self.deadline.set(Some(self.end_of(self.stall_ms)));
    }

    /// Reads once; 0 is the end of the stream.
    pub(super) async fn fill<R: AsyncRead + Unpin>(&self, buffer: &mut Buffer, source: &mut R) -> io::Result<usize> {
        self.begin();
        let read = self
            .pulse
            .until_by(self.deadline, |context| buffer.poll_fill(source, context))
            .await;
        read.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Writes everything; an error says how many bytes were taken before it.
    pub(super) async fn write<W: AsyncWrite + Unpin>(
        &self,
        sink: &mut W,
        bytes: &[u8],
    ) -> Result<(), (usize, io::Error)> {
        let mut done = 0;
        self.begin();
        let written = self.pulse.until_by(self.deadline, |context| {
            while done < bytes.len() {
                match ready!(Pin::new(&mut *sink).poll_write(context, &bytes[done..])) {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Ok(count) => done += count,
                    Err(error) => return Poll::Ready(Err(error)),
                }
                self.begin();
            }
            // What TLS holds back goes out too; a plain socket holds nothing.
            Pin::new(&mut *sink).poll_flush(context)
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err((done, error)),
            Err(_late) => Err((done, io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Which side ended a transfer.
#[derive(Debug)]
pub(super) enum Broken {
    /// The side that the bytes come from.
    Source(io::Error),
    /// The side that they go to.
    Sink(io::Error),
}

fn sink((_, error): (usize, io::Error)) -> Broken {
    Broken::Sink(error)
}

fn ended() -> Broken {
    Broken::Source(io::ErrorKind::UnexpectedEof.into())
}

fn garbled(error: impl std::error::Error + Send + Sync + 'static) -> Broken {
    Broken::Source(io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A body of a request, part of which may be here already.
#[derive(Debug)]
pub(super) enum Upload {
    Exact(u64),
    Chunks(ChunkRelay),
    Done,
}

impl Upload {
    pub(super) fn of(body: Body) -> Self {
        match body {
            Body::Exact(0) | Body::None | Body::UntilClose => Self::Done,
            Body::Exact(length) => Self::Exact(length),
            Body::Chunked => Self::Chunks(ChunkRelay::default()),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Moves what `input` holds of the body to `out`; gives back how much of `input` that was.
    pub(super) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Done => Ok(0),
            Self::Exact(left) => {
                let count = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                out.extend_from_slice(&input[..count]);
                *left -= count as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(count)
            }
            Self::Chunks(relay) => {
                let progress = relay
                    .relay(input, out, Form::Chunked, usize::MAX)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if progress.done {
                    *self = Self::Done;
                }
                Ok(progress.consumed)
            }
        }
    }
}

/// What is still to be sent of a request.
pub(super) struct Rest<'a> {
    pub input: &'a mut Buffer,
    pub out: &'a mut Vec<u8>,
    pub body: &'a mut Upload,
    /// Where in `input` what was not sent begins, if what was sent is kept.
    pub kept: Option<usize>,
    /// Bytes sent so far.
    pub sent: &'a Cell<u64>,
    /// Set when all is sent.
    pub done: &'a Cell<bool>,
}

/// Sends the rest of a request's body as it comes.
pub(super) async fn upload<R, W>(
    waits: Waits<'_>,
    caller: &mut R,
    endpoint: &mut W,
    mut rest: Rest<'_>,
) -> Result<(), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    while !rest.body.is_done() {
        consume_budget().await;
        let from = rest.kept.unwrap_or(0);
        if rest.input.len() == from && waits.fill(rest.input, caller).await.map_err(Broken::Source)? == 0 {
            return Err(ended());
        }
        rest.out.clear();
        let unsent = &rest.input.bytes()[from..];
        let used = rest.body.take(unsent, rest.out).map_err(Broken::Source)?;
        match &mut rest.kept {
            Some(from) => *from += used,
            None => rest.input.consume(used),
        }
        waits.write(endpoint, rest.out).await.map_err(sink)?;
        rest.sent.set(rest.sent.get() + rest.out.len() as u64);
    }
    rest.done.set(true);
    waits.deadline.set(None);
    Ok(())
}

/// Passes a response's body on to the caller; `out` holds its head, which goes with the first bytes. Gives back whether the
/// endpoint's connection is at a message boundary afterwards, and how many bytes went to the caller.
pub(super) async fn download<R, W>(
    waits: Waits<'_>,
    endpoint: &mut R,
    caller: &mut W,
    reply: &mut Buffer,
    out: &mut Vec<u8>,
    body: Body,
    framing: Framing,
) -> Result<(bool, u64), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Socket + Unpin,
{
    let mut sent = 0;
    match body {
        Body::None => {}
        Body::Exact(length) => {
            let mut left = length;
            let count = reply.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            out.extend_from_slice(&reply.bytes()[..count]);
            reply.consume(count);
            left -= count as u64;
            waits.write(caller, out).await.map_err(sink)?;
            sent += out.len() as u64;
            out.clear();
            while left > 0 {
                consume_budget().await;
                if waits.fill_for(caller, reply, endpoint).await? == 0 {
                    return Err(ended());
                }
                let count = reply.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                waits.write(caller, &reply.bytes()[..count]).await.map_err(sink)?;
                reply.consume(count);
                left -= count as u64;
                sent += count as u64;
            }
        }
        Body::Chunked => {
            let form = match framing {
                Framing::UntilClose => Form::Plain,
                _ => Form::Chunked,
            };
            let mut relay = ChunkRelay::default();
            loop {
                let progress = relay.relay(reply.bytes(), out, form, usize::MAX).map_err(garbled)?;
                reply.consume(progress.consumed);
                waits.write(caller, out).await.map_err(sink)?;
                sent += out.len() as u64;
                out.clear();
                if progress.done {
                    break;
                }
                consume_budget().await;
                if waits.fill_for(caller, reply, endpoint).await? == 0 {
                    return Err(ended());
                }
            }
        }
        Body::UntilClose => {
            loop {
                if !reply.is_empty() {
                    push_piece(out, reply.bytes(), framing);
                    reply.clear();
                }
                waits.write(caller, out).await.map_err(sink)?;
                sent += out.len() as u64;
                out.clear();
                consume_budget().await;
                if waits.fill_for(caller, reply, endpoint).await? == 0 {
                    break;
                }
            }
            if framing == Framing::IntoChunks {
                out.extend_from_slice(LAST_CHUNK);
            }
        }
    }
    if !out.is_empty() {
        waits.write(caller, out).await.map_err(sink)?;
        sent += out.len() as u64;
    }
    waits.pulse.expect_by(None);
    Ok((reply.is_empty() && body != Body::UntilClose, sent))
}

impl Waits<'_> {
    /// Reads from an endpoint, which may be silent for as long as the caller is there to wait. One whose connection was reset is
    /// known to be gone. One that has ended its half may well wait, or be gone: it says no more, and so it is waited for no
    /// longer than for an idle one.
    pub(super) async fn fill_for<R, W>(
        &self,
        caller: &W,
        buffer: &mut Buffer,
        endpoint: &mut R,
    ) -> Result<usize, Broken>
    where
        R: AsyncRead + Unpin,
        W: Socket,
    {
        let silent_until_ms = self.end_of(self.silence_ms);
        let mut ended_ms = None;
        loop {
            let look_ms = self.worker.tick_ms() + LOOK_MS;
            self.pulse.expect_by(Some(look_ms.min(silent_until_ms)));
            match self.pulse.until(|context| buffer.poll_fill(endpoint, context)).await {
                Ok(read) => {
                    // While the response moves, an upload may rest.
                    if self.stall_ms != NEVER {
                        self.pulse.upload.extend(self.end_of(self.stall_ms));
                    }
                    return read.map_err(Broken::Source);
                }
                Err(_late) if self.worker.tick_ms() >= silent_until_ms => {
                    return Err(Broken::Source(io::ErrorKind::TimedOut.into()));
                }
                Err(_time_to_look) => {
                    if let Ok(Some(error)) | Err(error) = caller.take_error() {
                        return Err(Broken::Sink(error));
                    }
                    let now_ms = self.worker.tick_ms();
                    if ended_ms.is_none() && poll_fn(|context| Poll::Ready(caller.has_ended(context))).await {
                        ended_ms = Some(now_ms);
                    }
                    if ended_ms.is_some_and(|ended_ms: u64| now_ms >= ended_ms.saturating_add(self.idle_ms)) {
                        return Err(Broken::Sink(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
        }
    }
}

fn push_piece(out: &mut Vec<u8>, bytes: &[u8], framing: Framing) {
    if framing == Framing::IntoChunks {
        push_chunk_head(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(bytes);
    }
}
