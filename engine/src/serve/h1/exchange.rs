//! One request and its response: from the caller's connection to an endpoint's, and back.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::relay::{self, Broken, Upload, Waits};
use super::request::{self, HeadParts};
use super::response::{self, Framing};
use super::{Connection, Next, Scratch, cause_of, upgrade};
use crate::context::{Deadline, Trace};
use crate::endpoint::{Outcome, connect};
use crate::failure::{Cause, Failure};
use crate::route::{Exchange, Hop, Served, Unsent};
use crate::router::Server;
use crate::serve::buffer::Buffer;
use crate::wire::h1::{Known, Limits, Method, Parse, RequestHead, ResponseHead};
use crate::worker::Worker;

/// A request that was read as far as its head, and all that it takes to answer it.
pub(super) struct H1Exchange<'a> {
    pub(super) worker: Rc<Worker>,
    pub(super) server: Arc<Server>,
    connection: &'a mut Connection,
    scratch: &'a mut Scratch,
    head_length: usize,
    started_us: u64,
    /// What an identifier left of the target.
    target: Option<Vec<u8>>,
    trace: Trace,
    deadline: Option<Deadline>,
    attempts: u32,
    /// A byte of the response went to the caller.
    begun: bool,
    /// Bytes of the body were given up to an endpoint and are not here any more.
    body_lost: bool,
    next: Next,
}

impl<'a> H1Exchange<'a> {
    pub(super) fn new(
        connection: &'a mut Connection,
        scratch: &'a mut Scratch,
        head_length: usize,
        started_us: u64,
    ) -> Self {
        Self {
            worker: connection.worker.clone(),
            server: connection.server.clone(),
            connection,
            scratch,
            head_length,
            started_us,
            target: None,
            trace: Trace::default(),
            deadline: None,
            attempts: 0,
            begun: false,
            body_lost: false,
            next: Next::Close,
        }
    }

    /// Whether the caller has seen a part of the response.
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    /// What becomes of the caller's connection.
    pub(super) fn next(&self) -> Next {
        self.next
    }

    /// Refuses what must not go on, before anybody is asked about it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let request = &self.scratch.request;
        let limit = self.server.plan.max_call_depth;
        if request.via_entries > limit {
            return Err(Failure::too_many_hops(limit));
        }
        if request.method == Method::Connect {
            return Err(Failure::malformed(405, "CONNECT is not served: this is no forward proxy"));
        }
        Ok(())
    }

    fn values(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let Scratch { input, request, .. } = &*self.scratch;
        request
            .headers
            .iter()
            .filter(move |header| header.known == known)
            .map(|header| header.value.get(input.bytes()))
    }

    /// The request's own dtab, as `l5d-ctx-dtab` and then `l5d-dtab` bring it; an edge takes none from a stranger.
    fn dtab_values(&self) -> impl Iterator<Item = &[u8]> {
        let trusted = !self.server.plan.clear_context;
        self.values(Known::L5dCtxDtab)
            .chain(self.values(Known::L5dDtab))
            .filter(move |_| trusted)
    }

    fn read_context(&mut self) {
        let Scratch { input, request, .. } = &*self.scratch;
        let mut random = self.worker.random.borrow_mut();
        let (mut trace, mut sample, mut deadline) = (None, None, None);
        if !self.server.plan.clear_context && request.headers.iter().any(|header| header.known.is_context()) {
            for header in &request.headers {
                let value = header.value.get(input.bytes());
                match header.known {
                    Known::L5dCtxTrace => trace = trace.or_else(|| Trace::read(value)),
                    Known::L5dSample => sample = sample.or(Some(value)),
                    Known::L5dCtxDeadline => deadline = Deadline::combine(deadline, Deadline::read(value)),
                    _ => {}
                }
            }
        }
        self.trace = match trace {
            Some(trace) => trace.child(&mut random),
            None => Trace::root(&mut random),
        };
        if let Some(sample) = sample {
            self.trace.sample(sample);
        }
        self.deadline = deadline;
    }

    /// A connection to the endpoint, and whether it was used before.
    async fn connect(&self, hop: &Hop<'_>) -> Result<(TcpStream, bool), Unsent> {
        let stats = &hop.client.stats[self.worker.index];
        if self.attempts <= 1
            && let Some(stream) = self.worker.pools.borrow_mut().take(hop.endpoint)
        {
            return Ok((stream, true));
        }
        let policy = &hop.client.policy;
        let started_us = self.worker.now_us();
        match connect::connect(hop.endpoint.address, policy.connect_timeout_ms, &policy.socket).await {
            Ok(stream) => {
                stats.connects.add(1);
                stats.connect_latency.record(self.worker.now_us() - started_us);
                Ok((stream, false))
            }
            Err(error) => {
                stats.connect_failures.add(1);
                hop.endpoint.report(
                    Outcome::Failure,
                    self.worker.now_us(),
                    0,
                    &mut self.worker.random.borrow_mut(),
                );
                Err(Unsent {
                    failure: Failure::endpoint(Cause::ConnectFailed, error.to_string()),
                    repeatable: !self.body_lost,
                })
            }
        }
    }

    /// Writes the request's head for this attempt into `output`.
    fn write_head(&mut self, hop: &Hop<'_>) {
        let scratch = &mut *self.scratch;
        let output = &mut scratch.output;
        output.clear();
        request::push_head(
            output,
            &HeadParts {
                head: &scratch.request,
                bytes: scratch.input.bytes(),
                target: self.target.as_deref(),
                clear_context: self.server.plan.clear_context,
                timestamp_header: self.server.plan.timestamp_header.as_deref(),
                endpoint: &hop.endpoint.text,
                upgrade: scratch.request.upgrade.map(|protocol| protocol.get(scratch.input.bytes())),
            },
        );
        let trace = self.trace.child(&mut self.worker.random.borrow_mut());
        output.extend_from_slice(b"l5d-ctx-trace: ");
        trace.write(output);
        output.extend_from_slice(b"\r\nl5d-reqid: ");
        trace.write_request_id(output);
        output.extend_from_slice(b"\r\n");
        if let Some(deadline) = &self.deadline {
            output.extend_from_slice(b"l5d-ctx-deadline: ");
            deadline.write(output);
            output.extend_from_slice(b"\r\n");
        }
        request::push_hop(output, hop);
    }

    /// When the response's head must be there, and the failure if it is not.
    fn head_deadline(&self, hop: &Hop<'_>) -> Option<(Instant, Failure)> {
        let total = hop
            .deadline
            .map(|(by, timeout_ms)| (by, Failure::total_timeout(timeout_ms)));
        let attempt = hop.client.policy.request_attempt_timeout_ms.map(|timeout_ms| {
            let failure = Failure::attempt_timeout(timeout_ms, &hop.endpoint.text);
            (Instant::now() + Duration::from_millis(timeout_ms), failure)
        });
        total.into_iter().chain(attempt).min_by_key(|(by, _)| *by)
    }

    async fn exchange(&mut self, hop: &Hop<'_>, endpoint: &mut TcpStream, reused: bool) -> Result<Relayed, Lost> {
        let deadline = self.head_deadline(hop);
        let server = self.server.clone();
        let worker = self.worker.clone();
        let stats = &server.stats[worker.index];
        let Scratch {
            input,
            request,
            output,
            reply,
            response,
            back,
            ..
        } = &mut *self.scratch;
        let waits = Waits {
            worker: &worker,
            pulse: &self.connection.pulse,
            stall_ms: server.plan.idle_timeout_ms,
        };
        let mut body = Upload::of(request.body);
        let used = body
            .take(&input.bytes()[self.head_length..], output)
            .map_err(Lost::BadUpload)?;
        waits.write(endpoint, output).await.map_err(|(written, error)| {
            if written == 0 { Lost::Unwritten(error) } else { Lost::Silent(error) }
        })?;
        reply.clear();
        let uploaded = Cell::new(body.is_done());
        let mut answer = Answer {
            waits,
            request,
            reply,
            response,
            back,
            limits: &server.limits,
            clear_context: server.plan.clear_context,
            caller_stays: request.keep_alive && !worker.is_draining(),
            uploaded: &uploaded,
            started_us: self.started_us,
            deadline,
            begun: false,
        };
        if body.is_done() {
            let relayed = answer.pass_on(endpoint, &mut self.connection.stream).await;
            self.begun |= answer.begun;
            let relayed = relayed?;
            input.consume(self.head_length + used);
            if relayed.switched {
                self.next = Next::Close;
                let Connection { stream, .. } = &mut *self.connection;
                let tunnel = upgrade::tunnel(stream, endpoint, input.bytes(), answer.reply.bytes());
                // A tunnel ends when either side wants it to; how is nobody's failure.
                if let Ok((sent, received)) = Box::pin(tunnel).await {
                    stats.received_bytes.add(sent);
                    stats.sent_bytes.add(received);
                }
                input.clear();
            }
            return Ok(relayed);
        }
        let _ = reused;
        let (mut caller_reads, mut caller_writes) = self.connection.stream.split();
        if request.expect_continue && input.len() == self.head_length {
            let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
            waits.write(&mut caller_writes, interim).await.map_err(|_gone| Lost::CallerGone)?;
        }
        input.consume(self.head_length + used);
        self.body_lost = true;
        let (mut endpoint_reads, mut endpoint_writes) = endpoint.split();
        let mut uploading = pin!(relay::upload(
            waits,
            &mut caller_reads,
            &mut endpoint_writes,
            input,
            output,
            &mut body,
            &stats.received_bytes,
            &uploaded,
        ));
        let mut uploading_over = false;
        let relayed = {
            let mut answering = pin!(answer.pass_on(&mut endpoint_reads, &mut caller_writes));
            poll_fn(|context| {
                if !uploading_over && let Poll::Ready(sent) = uploading.as_mut().poll(context) {
                    uploading_over = true;
                    match sent {
                        // An endpoint that stops reading may have answered: its response decides.
                        Ok(()) | Err(Broken::Sink(_)) => {}
                        Err(Broken::Source(error)) if error.kind() == io::ErrorKind::InvalidData => {
                            return Poll::Ready(Err(Lost::BadUpload(error)));
                        }
                        Err(Broken::Source(error)) if error.kind() == io::ErrorKind::TimedOut => {
                            return Poll::Ready(Err(Lost::SlowUpload));
                        }
                        Err(Broken::Source(_)) => return Poll::Ready(Err(Lost::CallerGone)),
                    }
                }
                answering.as_mut().poll(context)
            })
            .await
        };
        self.begun |= answer.begun;
        let mut relayed = relayed?;
        relayed.reusable &= uploaded.get();
        Ok(relayed)
    }
}

impl Exchange for H1Exchange<'_> {
    fn identify(&mut self) -> Result<(), Failure> {
        self.read_context();
        let router = self.server.router.clone();
        let scratch = &mut *self.scratch;
        let key = &mut scratch.key;
        let mut reason = String::new();
        let mut identified = false;
        for identifier in &router.plan.identifiers {
            key.clear();
            if router.plan.dst_prefix != "/" {
                key.extend_from_slice(router.plan.dst_prefix.as_bytes());
            }
            match identifier.identify(&scratch.request, scratch.input.bytes(), key) {
                Ok(consumed) => {
                    self.target = consumed;
                    identified = true;
                    break;
                }
                Err(unidentified) => reason = unidentified.to_string(),
            }
        }
        if !identified {
            let bytes = scratch.input.bytes();
            let method = String::from_utf8_lossy(scratch.request.method_span.get(bytes)).into_owned();
            let target = String::from_utf8_lossy(scratch.request.target.get(bytes)).into_owned();
            return Err(Failure::unidentified(&method, &target, self.connection.peer, &reason));
        }
        if scratch.key.is_empty() {
            scratch.key.push(b'/');
        }
        scratch.path_end = scratch.key.len();
        if !self.server.plan.clear_context {
            let Scratch {
                key, input, request, ..
            } = scratch;
            for known in [Known::L5dCtxDtab, Known::L5dDtab] {
                for header in request.headers.iter().filter(|header| header.known == known) {
                    // A path in shown form holds no NUL, so this cannot be mistaken for another name.
                    key.push(0);
                    key.push(known as u8);
                    key.extend_from_slice(header.value.get(input.bytes()));
                }
            }
        }
        Ok(())
    }

    fn name_key(&self) -> &[u8] {
        &self.scratch.key
    }

    fn name_path(&self) -> &str {
        // The shown form of a path is ASCII; were it ever not, the name would be unknown rather than wrong.
        std::str::from_utf8(&self.scratch.key[..self.scratch.path_end]).unwrap_or("/")
    }

    fn dtab(&self) -> Vec<String> {
        self.dtab_values()
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    async fn send(&mut self, hop: &Hop<'_>) -> Result<Served, Unsent> {
        self.attempts += 1;
        let (mut endpoint, reused) = self.connect(hop).await?;
        self.write_head(hop);
        let worker = self.worker.clone();
        let stats = &*hop.client.stats[worker.index];
        let path_stats = &*hop.leaf.stats[worker.index];
        let sent_us = worker.now_us();
        hop.endpoint.begin();
        stats.pending.add(1);
        let exchanged = self.exchange(hop, &mut endpoint, reused).await;
        stats.pending.sub(1);
        let (outcome, status, latency_us, cause) = match &exchanged {
            Ok(relayed) => {
                let outcome = if relayed.status < 500 { Outcome::Success } else { Outcome::Failure };
                let latency_us = relayed.head_us.saturating_sub(sent_us);
                (outcome, relayed.status, latency_us, relayed.broken)
            }
            Err(lost) => (lost.outcome(), 0, worker.now_us() - sent_us, Some(lost.cause())),
        };
        hop.endpoint.finish();
        hop.endpoint
            .report(outcome, worker.now_us(), latency_us, &mut worker.random.borrow_mut());
        stats.finish(status, latency_us, cause);
        path_stats.finish(status, latency_us, cause);
        match exchanged {
            Ok(relayed) => {
                let policy = &hop.client.policy;
                if relayed.reusable && !worker.is_draining() {
                    worker.pools.borrow_mut().put(
                        hop.endpoint,
                        endpoint,
                        worker.tick_ms(),
                        policy.pool.max_size,
                        policy.pool.idle_time_ms.or(policy.idle_timeout_ms),
                    );
                }
                self.server.stats[worker.index].sent_bytes.add(relayed.sent_bytes);
                self.next = match relayed {
                    Relayed { broken: Some(_), .. } => Next::Cut,
                    Relayed { keep_alive: true, .. } => Next::Request,
                    _ => Next::Close,
                };
                Ok(Served {
                    status: relayed.status,
                    latency_us: relayed.head_us.saturating_sub(self.started_us),
                    whole: relayed.broken.is_none(),
                })
            }
            Err(lost) => Err(self.unsent(lost)),
        }
    }
}

impl H1Exchange<'_> {
    fn unsent(&self, lost: Lost) -> Unsent {
        let replayable = !self.body_lost && !self.begun;
        let idempotent = self.scratch.request.method.is_idempotent();
        let closed = |error: &io::Error| {
            let message = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the endpoint closed the connection before it answered".to_owned(),
                _ => format!("the connection to the endpoint failed: {error}"),
            };
            Failure::endpoint(cause_of(error), message)
        };
        let (failure, repeatable) = match lost {
            Lost::Unwritten(error) => (closed(&error), replayable),
            Lost::Silent(error) => (closed(&error), replayable && idempotent),
            Lost::Garbled(error) => (Failure::endpoint(Cause::BadResponse, error.to_string()), false),
            Lost::Late(failure) => (failure, false),
            Lost::BadUpload(error) => (Failure::malformed(400, error.to_string()), false),
            Lost::SlowUpload => (Failure::malformed(408, "the request's body took too long"), false),
            Lost::CallerGone => (Failure::cancelled(), false),
        };
        Unsent { failure, repeatable }
    }
}

/// Why an attempt gave the caller no response.
enum Lost {
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

impl Lost {
    fn cause(&self) -> Cause {
        match self {
            Self::Unwritten(error) | Self::Silent(error) => cause_of(error),
            Self::Garbled(_) => Cause::BadResponse,
            Self::Late(failure) => failure.cause,
            Self::BadUpload(_) | Self::SlowUpload => Cause::BadRequest,
            Self::CallerGone => Cause::Cancelled,
        }
    }

    /// What this says of the endpoint.
    fn outcome(&self) -> Outcome {
        match self {
            Self::BadUpload(_) | Self::SlowUpload | Self::CallerGone => Outcome::Ignored,
            _ => Outcome::Failure,
        }
    }
}

/// A response that went to the caller.
#[derive(Clone, Copy, Debug)]
struct Relayed {
    status: u16,
    /// When its head came.
    head_us: u64,
    sent_bytes: u64,
    /// The endpoint's connection can be used again.
    reusable: bool,
    /// The caller's connection can be used again.
    keep_alive: bool,
    /// The protocol was changed: what follows is not HTTP.
    switched: bool,
    /// The body was cut short.
    broken: Option<Cause>,
}

/// The way back of one response.
struct Answer<'a> {
    waits: Waits<'a>,
    request: &'a RequestHead,
    reply: &'a mut Buffer,
    response: &'a mut ResponseHead,
    back: &'a mut Vec<u8>,
    limits: &'a Limits,
    clear_context: bool,
    /// The caller may send another request.
    caller_stays: bool,
    /// The request's body has gone out whole.
    uploaded: &'a Cell<bool>,
    started_us: u64,
    deadline: Option<(Instant, Failure)>,
    begun: bool,
}

impl Answer<'_> {
    async fn pass_on<R, W>(&mut self, endpoint: &mut R, caller: &mut W) -> Result<Relayed, Lost>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let head_length = match self.deadline.take() {
            None => self.read_head(endpoint, caller).await?,
            Some((by, failure)) => match tokio::time::timeout_at(by, self.read_head(endpoint, caller)).await {
                Ok(read) => read?,
                Err(_elapsed) => return Err(Lost::Late(failure)),
            },
        };
        let head_us = self.waits.worker.now_us();
        let response = &*self.response;
        if response.status == 101 {
            return self.switch(head_length, head_us, caller).await;
        }
        let framing = Framing::of(response.body, self.request.version);
        let keep_alive = self.caller_stays && self.uploaded.get() && framing != Framing::UntilClose;
        let (body, reusable, status) = (response.body, response.keep_alive, response.status);
        self.back.clear();
        response::push_head(
            self.back,
            response,
            self.reply.bytes(),
            self.request,
            framing,
            keep_alive,
            self.clear_context,
        );
        self.reply.consume(head_length);
        self.begun = true;
        let passed = relay::download(self.waits, endpoint, caller, self.reply, self.back, body, framing).await;
        let (at_boundary, sent_bytes, broken) = match passed {
            Ok((at_boundary, sent_bytes)) => (at_boundary, sent_bytes, None),
            Err(Broken::Source(error)) => (false, 0, Some(cause_of(&error))),
            Err(Broken::Sink(_gone)) => (false, 0, Some(Cause::Cancelled)),
        };
        Ok(Relayed {
            status,
            head_us,
            sent_bytes,
            reusable: reusable && at_boundary,
            keep_alive: keep_alive && broken.is_none(),
            switched: false,
            broken,
        })
    }

    /// Reads up to the head of the final response, passing interim ones on; gives back its length.
    async fn read_head<R, W>(&mut self, endpoint: &mut R, caller: &mut W) -> Result<usize, Lost>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut silent = true;
        loop {
            if !self.reply.is_empty() {
                let parsed = self
                    .response
                    .parse(self.reply.bytes(), self.limits, self.request.method)
                    .map_err(|error| Lost::Garbled(io::Error::new(io::ErrorKind::InvalidData, error)))?;
                match parsed {
                    Parse::Complete(length) if matches!(self.response.status, 100 | 102..200) => {
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
            let Self { waits, reply, .. } = self;
            // While a body is still being sent its own deadline stands.
            match waits.pulse.until(|context| reply.poll_fill(endpoint, context)).await {
                Ok(Ok(0)) if silent => return Err(Lost::Silent(io::ErrorKind::UnexpectedEof.into())),
                Ok(Err(error)) if silent => return Err(Lost::Silent(error)),
                Ok(Ok(0)) => return Err(Lost::Garbled(io::ErrorKind::UnexpectedEof.into())),
                Ok(Err(error)) => return Err(Lost::Garbled(error)),
                Ok(Ok(_)) => silent = false,
                Err(_late) => return Err(Lost::SlowUpload),
            }
        }
    }

    /// Passes an interim response on; `100 Continue` we have sent ourselves, and HTTP/1.0 knows none.
    async fn pass_interim<W: AsyncWrite + Unpin>(&mut self, length: usize, caller: &mut W) -> Result<(), Lost> {
        if self.response.status != 100 && self.request.version == crate::wire::h1::Version::Http11 {
            self.back.clear();
            response::push_interim(self.back, self.response, self.reply.bytes(), None);
            self.begun = true;
            let written = self.waits.write(caller, self.back).await;
            written.map_err(|_gone| Lost::CallerGone)?;
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
        let (Some(protocol), true) = (protocol, self.request.upgrade.is_some()) else {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the endpoint changed the protocol unasked");
            return Err(Lost::Garbled(error));
        };
        self.back.clear();
        response::push_interim(self.back, self.response, self.reply.bytes(), Some(protocol));
        self.begun = true;
        let written = self.waits.write(caller, self.back).await;
        written.map_err(|_gone| Lost::CallerGone)?;
        self.waits.pulse.expect_by(None);
        self.reply.consume(length);
        Ok(Relayed {
            status: 101,
            head_us,
            sent_bytes: self.back.len() as u64,
            reusable: false,
            keep_alive: false,
            switched: true,
            broken: None,
        })
    }
}
