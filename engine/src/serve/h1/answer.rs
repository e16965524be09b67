//! The way back: an endpoint's response, read and passed on to the caller.

use std::cell::Cell;
use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::cause_of;
use super::classified::Asked;
use super::relay::{self, Broken, Waits};
use super::response::{self, Framing};
use super::streaming::Streaming;
use crate::access_log::{AccessLog, Entry};
use crate::classify::Class;
use crate::due::Due;
use crate::endpoint::Outcome;
use crate::failure::{Cause, Failure};
use crate::retry::Again;
use crate::route::{Hop, Unsent};
use crate::router::Server;
use crate::serve::buffer::Buffer;
use crate::serve::verdict::Verdict;
use crate::stream::Socket;
use crate::wire::h1::{Body, ChunkRelay, Form, Parse, RequestHead, ResponseHead, Version};
use crate::worker::Worker;

/// Interim responses that are passed on before the final one; more is a flood.
const INTERIM_LIMIT: usize = 64;

/// Why an attempt gave the caller no response.
pub(super) enum Lost {
    /// Not a byte of the request was taken.
    Unwritten(io::Error),
    /// The endpoint's connection ended before a byte of the response came.
    Silent(io::Error),
    /// What came is not a response.
    Garbled(io::Error),
    /// It took too long.
    Late(Failure),
    /// The caller's body is not what its framing says.
    BadUpload(io::Error),
    /// The caller's body stopped coming.
    SlowUpload,
    /// The caller closed its connection.
    CallerGone,
}

/// Which time is the first to pass; of an attempt, its milliseconds. The text is made only when it has passed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Late {
    Total(Due),
    Attempt(u64),
}

impl Late {
    pub(super) fn failure(self, endpoint: &str) -> Failure {
        match self {
            Self::Total(due) => due.failure(),
            Self::Attempt(timeout_ms) => Failure::attempt_timeout(timeout_ms, endpoint),
        }
    }
}

impl Lost {
    /// What the caller is told, and whether another attempt may follow: `replayable` says that the whole request is still here.
    pub(super) fn unsent(self, replayable: bool, idempotent: bool) -> Unsent {
        let closed = |error: &io::Error| {
            let message = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the endpoint closed the connection before it answered".to_owned(),
                _ => format!("the connection to the endpoint failed: {error}"),
            };
            Failure::endpoint(cause_of(error), message)
        };
        let (failure, repeatable) = match self {
            Self::Unwritten(error) => (closed(&error), replayable),
            Self::Silent(error) => (closed(&error), replayable && idempotent),
            Self::Garbled(error) => (Failure::endpoint(Cause::BadResponse, error.to_string()), false),
            Self::Late(failure) => (failure, false),
            Self::BadUpload(error) => (Failure::malformed(400, error.to_string()), false),
            Self::SlowUpload => (Failure::malformed(408, "the request's body took too long"), false),
            Self::CallerGone => (Failure::cancelled(), false),
        };
        Unsent { failure, repeatable }
    }

    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Unwritten(error) | Self::Silent(error) => cause_of(error),
            Self::Garbled(_) => Cause::BadResponse,
            Self::Late(failure) => failure.cause,
            Self::BadUpload(_) | Self::SlowUpload => Cause::BadRequest,
            Self::CallerGone => Cause::Cancelled,
        }
    }

    /// What this says of the endpoint, if anything.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::BadUpload(_) | Self::SlowUpload | Self::CallerGone => None,
            _ => Some(Outcome::Failure),
        }
    }
}

/// A response that went to the caller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relayed {
    pub(super) status: u16,
    pub(super) class: Class,
    /// It did not go to the caller after all: the request is sent once more.
    pub(super) withheld: Option<Again>,
    /// When its head came.
    pub(super) head_us: u64,
    pub(super) sent_bytes: u64,
    /// The endpoint's connection can be used again.
    pub(super) reusable: bool,
    /// The caller's connection can be used again.
    pub(super) keep_alive: bool,
    /// The protocol was changed: what follows is not HTTP.
    pub(super) switched: bool,
    /// The body was cut short.
    pub(super) broken: Option<Cause>,
}

fn outcome_of(class: Class) -> Outcome {
    if class.is_success() {
        Outcome::Success
    } else {
        Outcome::Failure
    }
}

/// The way back of one response.
pub(super) struct Answer<'a, 'e> {
    pub(super) waits: Waits<'a>,
    pub(super) server: &'a Server,
    pub(super) hop: &'a Hop<'a>,
    pub(super) request: &'a RequestHead,
    pub(super) reply: &'a mut Buffer,
    pub(super) response: &'a mut ResponseHead,
    pub(super) back: &'a mut Vec<u8>,
    /// The host that the caller asked for, where the endpoint was asked for another.
    pub(super) asked_host: &'a Vec<u8>,
    /// The caller may send another request.
    pub(super) caller_stays: bool,
    /// The request's body has gone out whole.
    pub(super) uploaded: &'a Cell<bool>,
    /// The endpoint was asked to change the protocol.
    pub(super) may_switch: bool,
    pub(super) deadline: Option<(Instant, Late)>,
    pub(super) verdict: Verdict<'a, 'e>,
    /// A byte of the response went to the caller, or half of an interim one.
    pub(super) begun: &'a Cell<bool>,
    /// The request can be sent again as it was; not once the caller has seen an interim response.
    pub(super) replayable: &'a Cell<bool>,
    pub(super) access: Option<(&'a AccessLog, &'a Entry)>,
    /// What a classifier in Python will be asked.
    pub(super) asked: Option<Box<Asked<'a>>>,
}

impl Answer<'_, '_> {
    pub(super) async fn pass_on<R, W>(&mut self, endpoint: &mut R, caller: &mut W) -> Result<Relayed, Lost>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Socket + Unpin,
    {
        let head_length = match self.deadline.take() {
            None => self.read_head(endpoint, caller).await?,
            Some((by, late)) => match tokio::time::timeout_at(by, self.read_head(endpoint, caller)).await {
                Ok(read) => read?,
                Err(_elapsed) => return Err(Lost::Late(late.failure(&self.hop.endpoint.text))),
            },
        };
        let head_us = self.waits.worker.now_us();
        let class = self.classify().await;
        self.verdict.tell(outcome_of(class), head_us);
        if self.response.status == 101 {
            return self.switch(head_length, head_us, caller).await;
        }
        self.log();
        if let Some(again) = self.withhold(class) {
            let reusable = self.discard(head_length);
            return Ok(Relayed {
                status: self.response.status,
                class,
                withheld: Some(again),
                head_us,
                sent_bytes: 0,
                reusable,
                keep_alive: self.caller_stays,
                switched: false,
                broken: None,
            });
        }
        let response = &*self.response;
        let (mut body, mut reusable, status) = (response.body, response.keep_alive, response.status);
        let mut framing = Framing::of(body, self.request.version);
        if self.server.plan.clear_context && response.l5d_err.is_some() && framing != Framing::None {
            // What another router told of its inside stays inside (reference/linker.md §5.7).
            (body, framing, reusable) = (Body::None, Framing::Exact(0), false);
        }
        let leaving = self.waits.worker.is_draining() || self.waits.pulse.is_draining();
        let keep_alive = self.caller_stays && !leaving && self.uploaded.get() && framing != Framing::UntilClose;
        self.back.clear();
        response::push_head(
            self.back,
            &response::HeadParts {
                response,
                bytes: self.reply.bytes(),
                request: self.request,
                framing,
                keep_alive,
                class: (!self.server.plan.clear_context).then_some(class),
                renamed: self.hop.authority.map(|authority| (&**authority, &self.asked_host[..])),
            },
        );
        self.reply.consume(head_length);
        self.begun.set(true);
        let streaming = Self::streaming(self.server, self.waits.worker, body);
        let passed = relay::download(self.waits, endpoint, caller, self.reply, self.back, body, framing).await;
        if let Some(streaming) = streaming {
            streaming.end(self.waits.worker);
        }
        let (at_boundary, sent_bytes, broken) = match passed {
            Ok((at_boundary, sent_bytes)) => (at_boundary, sent_bytes, None),
            Err(Broken::Source(error)) => {
                self.verdict.tell(Outcome::Failure, self.waits.worker.now_us());
                (false, 0, Some(cause_of(&error)))
            }
            Err(Broken::Sink(_gone)) => (false, 0, Some(Cause::Cancelled)),
        };
        Ok(Relayed {
            status,
            class,
            withheld: None,
            head_us,
            sent_bytes,
            reusable: reusable && at_boundary,
            keep_alive: keep_alive && broken.is_none(),
            switched: false,
            broken,
        })
    }

    fn streaming<'s>(server: &'s Server, worker: &Worker, body: Body) -> Option<Streaming<'s>> {
        Streaming::begin(body, &server.stats[worker.index].response_streams, worker)
    }

    /// What the response comes to, as its service has it classified.
    async fn classify(&mut self) -> Class {
        if let Some(asked) = self.asked.take() {
            // Boxed, so that it takes no room in the tasks of those whose classifier is not in Python.
            if let Some(class) = Box::pin(asked.about(self.response, self.reply.bytes())).await {
                return class;
            }
        }
        let classifier = self.hop.answered.policy.classifier;
        classifier.response(self.request.method, self.response.status, self.response.signals)
    }

    /// Whether the request is sent again instead of passing its response on, which is paid for here.
    fn withhold(&self, class: Class) -> Option<Again> {
        if class.is_success() || !self.replayable.get() {
            return None;
        }
        let (status, signals) = (self.response.status, self.response.signals);
        let worker = self.waits.worker;
        let nacked = status == 503 && signals.nack && !signals.nonretryable_nack;
        if nacked && self.hop.take_requeue(worker, Cause::Rejected) {
            Some(Again::Requeue)
        } else if class == Class::RetryableFailure && self.hop.take_retry(worker) {
            Some(Again::Retry)
        } else {
            None
        }
    }

    /// Steps over a response that is withheld; whether the connection is at a message boundary then: the rest of a body
    /// that is not here is not waited for.
    fn discard(&mut self, head_length: usize) -> bool {
        let rest = &self.reply.bytes()[head_length..];
        let whole = match self.response.body {
            Body::None => rest.is_empty(),
            Body::Exact(length) => rest.len() as u64 == length,
            Body::Chunked => {
                self.back.clear();
                let relayed = ChunkRelay::default().relay(rest, self.back, Form::Plain, usize::MAX);
                relayed.is_ok_and(|progress| progress.done && progress.consumed == rest.len())
            }
            Body::UntilClose => false,
        };
        self.reply.clear();
        whole && self.response.keep_alive && self.uploaded.get()
    }

    /// Writes the line of the access log, while the response's head is here.
    fn log(&self) {
        if let Some((log, entry)) = self.access {
            log.add(self.waits.worker.index, entry, self.response, self.reply.bytes());
        }
    }

    /// Reads up to the head of the final response, passing interim ones on; gives back its length.
    async fn read_head<R, W>(&mut self, endpoint: &mut R, caller: &mut W) -> Result<usize, Lost>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Socket + Unpin,
    {
        let mut silent = true;
        let mut interims = 0;
        loop {
            if !self.reply.is_empty() {
                let parsed = self
                    .response
                    .parse(self.reply.bytes(), &self.server.limits, self.request.method)
                    .map_err(|error| Lost::Garbled(io::Error::new(io::ErrorKind::InvalidData, error)))?;
                match parsed {
                    Parse::Complete(length) if matches!(self.response.status, 100 | 102..200) => {
                        interims += 1;
                        if interims > INTERIM_LIMIT {
                            let error = io::Error::new(io::ErrorKind::InvalidData, "too many interim responses");
                            return Err(Lost::Garbled(error));
                        }
                        self.pass_interim(length, caller).await?;
                        continue;
                    }
                    Parse::Complete(length) => return Ok(length),
                    Parse::Partial if self.reply.is_full() => {
                        let error = io::Error::new(io::ErrorKind::InvalidData, "the response's head is too large");
                        return Err(Lost::Garbled(error));
                    }
                    Parse::Partial => {}
                }
            }
            match self.waits.fill_for(caller, self.reply, endpoint).await {
                Ok(0) if silent => return Err(Lost::Silent(io::ErrorKind::UnexpectedEof.into())),
                Ok(0) => return Err(Lost::Garbled(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => silent = false,
                Err(Broken::Source(error)) if silent => return Err(Lost::Silent(error)),
                Err(Broken::Source(error)) => return Err(Lost::Garbled(error)),
                Err(Broken::Sink(_gone)) => return Err(Lost::CallerGone),
            }
        }
    }

    /// Passes an interim response on; `100 Continue` we have sent ourselves, and HTTP/1.0 knows none.
    async fn pass_interim<W: AsyncWrite + Unpin>(&mut self, length: usize, caller: &mut W) -> Result<(), Lost> {
        if self.response.status != 100 && self.request.version == Version::Http11 {
            self.back.clear();
            response::push_interim(
                self.back,
                self.response,
                self.reply.bytes(),
                None,
                self.server.plan.clear_context,
            );
            self.replayable.set(false);
            // Half of it written leaves no way back; written whole, any final response may follow.
            self.begun.set(true);
            let written = self.waits.write(caller, self.back).await;
            written.map_err(|_gone| Lost::CallerGone)?;
            self.begun.set(false);
            self.waits.pulse.expect_by(None);
        }
        self.reply.consume(length);
        Ok(())
    }

    /// Passes a 101 on, if the caller has asked for it.
    async fn switch<W: AsyncWrite + Unpin>(
        &mut self,
        length: usize,
        head_us: u64,
        caller: &mut W,
    ) -> Result<Relayed, Lost> {
        let protocol = self.response.upgrade.map(|protocol| protocol.get(self.reply.bytes()));
        let (Some(protocol), true) = (protocol, self.may_switch && self.uploaded.get()) else {
            let message = "the endpoint changed the protocol unasked, or before it had the whole request";
            let error = io::Error::new(io::ErrorKind::InvalidData, message);
            return Err(Lost::Garbled(error));
        };
        self.log();
        self.back.clear();
        let bytes = self.reply.bytes();
        response::push_interim(
            self.back,
            self.response,
            bytes,
            Some(protocol),
            self.server.plan.clear_context,
        );
        self.begun.set(true);
        let written = self.waits.write(caller, self.back).await;
        written.map_err(|_gone| Lost::CallerGone)?;
        self.waits.pulse.expect_by(None);
        self.reply.consume(length);
        Ok(Relayed {
            status: 101,
            class: Class::Success,
            withheld: None,
            head_us,
            sent_bytes: self.back.len() as u64,
            reusable: false,
            keep_alive: false,
            switched: true,
            broken: None,
        })
    }
}
