//! One request: what it asks for and brings along, and how far its exchange has come.

use std::time::Duration;

use tokio::time::Instant;

use super::relay::NEVER;
use super::{Connection, Next, Scratch};
use crate::classify::{Class, Classifier};
use crate::context::{B3, Deadline, Trace};
use crate::due::{Due, SetBy};
use crate::failure::{Cause, Failure};
use crate::identify::{self, Consumed};
use crate::plan::TracePropagator;
use crate::plugin;
use crate::route::{Exchange, Hop, Sent, Unsent};
use crate::router::Server;
use crate::wire::h1::{Body, Known, Method};
use crate::worker::Worker;

/// A request that was read as far as its head, and all that it takes to answer it.
pub(super) struct H1Exchange<'a, 'c> {
    pub(super) worker: &'c Worker,
    pub(super) server: &'c Server,
    pub(super) connection: &'a mut Connection<'c>,
    pub(super) scratch: &'a mut Scratch,
    pub(super) head_length: usize,
    pub(super) started_us: u64,
    /// What an identifier left of the target.
    pub(super) consumed: Option<Consumed>,
    pub(super) trace: Trace,
    /// What the caller said of its deadline.
    pub(super) deadline: Option<Deadline>,
    /// By when the caller, or the server, wants the request to be answered.
    due: Option<Due>,
    /// The caller's deadline on the worker's clock.
    pub(super) until_ms: u64,
    pub(super) attempts: u32,
    /// A byte of the response went to the caller.
    pub(super) begun: bool,
    /// Bytes of the body were given up to an endpoint and are not here any more.
    pub(super) body_lost: bool,
    pub(super) told: Told,
    pub(super) next: Next,
}

/// What the caller was told before the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// To send its body.
    Continue,
    /// An endpoint's interim response.
    Interim,
}

/// How far an exchange has come, when it is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The caller has seen a part of the response.
    pub(super) begun: bool,
    /// A part of the request's body is gone.
    pub(super) body_lost: bool,
    /// What becomes of the caller's connection.
    pub(super) next: Next,
}

impl<'a, 'c> H1Exchange<'a, 'c> {
    pub(super) fn new(
        connection: &'a mut Connection<'c>,
        scratch: &'a mut Scratch,
        head_length: usize,
        started_us: u64,
    ) -> Self {
        Self {
            worker: connection.worker,
            server: connection.server,
            connection,
            scratch,
            head_length,
            started_us,
            consumed: None,
            trace: Trace::default(),
            deadline: None,
            due: None,
            until_ms: NEVER,
            attempts: 0,
            begun: false,
            body_lost: false,
            told: Told::Nothing,
            next: Next::Close,
        }
    }

    /// How far the exchange has come.
    pub(super) fn progress(&self) -> Progress {
        Progress {
            begun: self.begun,
            body_lost: self.body_lost,
            next: self.next,
        }
    }

    /// Refuses what must not go on, before anybody is asked about it.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let request = &self.scratch.request;
        let limit = self.server.plan.max_call_depth;
        if request.via_entries > limit {
            return Err(Failure::too_many_hops(limit));
        }
        if request.host_missing {
            let mut failure = self.unidentified("Host header is absent");
            failure.cause = Cause::BadRequest;
            return Err(failure);
        }
        if self.server.plan.withhold_errors && identify::climbs(request, self.scratch.input.bytes()) {
            return Err(Failure::malformed(400, "the path has segments `.` or `..`"));
        }
        if request.method == Method::Connect {
            return Err(Failure::malformed(
                405,
                "CONNECT is not served: this is no forward proxy",
            ));
        }
        Ok(())
    }

    /// How long the body is, if it is kept so that the request can be sent again (reference/linker.md §2.10).
    pub(super) fn kept_body(&self) -> Option<usize> {
        let length = match self.scratch.request.body {
            Body::None => 0,
            Body::Exact(length) => length,
            Body::Chunked | Body::UntilClose => return None,
        };
        let room = self.scratch.input.capacity().saturating_sub(self.head_length) as u64;
        let limit = self.server.router.plan.http.replay_body_bytes.min(room);
        (length <= limit).then_some(length as usize)
    }

    fn unidentified(&self, reason: &str) -> Failure {
        let Scratch { input, request, .. } = &*self.scratch;
        let method = String::from_utf8_lossy(request.method_span.get(input.bytes()));
        let target = String::from_utf8_lossy(request.target.get(input.bytes()));
        Failure::unidentified(&method, &target, self.connection.peer, reason)
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

    /// Sees to it that the request is answered in the time that its caller has given, or refused if that is over.
    fn keep_to(&mut self, deadline: Deadline) -> Result<(), Failure> {
        let left = self.server.stats[self.worker.index].deadlines.admit(deadline.left())?;
        // Nobody waits for years, and no clock counts so far.
        let left = left.min(Duration::from_secs(365 * 24 * 3600));
        let left_ms = left.as_millis() as u64;
        let caller = Due {
            by: Instant::now() + left,
            set_by: SetBy::Caller(left_ms.try_into().unwrap_or(u32::MAX)),
        };
        self.due = Due::earlier(self.due, Some(caller));
        // A little later than `due`, which tells more.
        self.until_ms = self.started_us / 1000 + left_ms + 2;
        Ok(())
    }

    /// Zipkin's headers; of one that comes twice, the first.
    fn b3(&self) -> B3<'_> {
        let first = |known| self.values(known).next();
        B3 {
            trace: first(Known::B3TraceId),
            span: first(Known::B3SpanId),
            parent: first(Known::B3ParentSpanId),
            sampled: first(Known::B3Sampled),
            flags: first(Known::B3Flags),
        }
    }

    fn read_context(&mut self) {
        let Scratch { input, request, .. } = &*self.scratch;
        let mut random = self.worker.random.borrow_mut();
        let (mut trace, mut sample, mut deadline) = (None, None, None);
        let trusted = !self.server.plan.clear_context;
        if trusted && request.headers.iter().any(|header| header.known.is_context()) {
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
        if self.server.router.plan.trace_propagator == TracePropagator::Zipkin {
            let b3 = if trusted { self.b3() } else { B3::default() };
            (trace, sample) = (b3.read(), b3.sampled);
        }
        let mut trace = match trace {
            Some(trace) => trace.child(&mut random),
            None => Trace::root(&mut random),
        };
        if let Some(sample) = sample {
            trace.sample(sample);
        }
        self.trace = trace;
        self.deadline = deadline;
    }
}

impl Exchange for H1Exchange<'_, '_> {
    fn identify(&mut self) -> Result<(), Failure> {
        if self.server.plan.clear_context {
            // An edge believes nothing of this, whoever would read it (reference/linker.md §5.7).
            self.scratch.request.headers.retain(|header| !header.known.is_l5d());
        }
        self.read_context();
        self.due = self.server.plan.request_timeout_ms.map(Due::within);
        if let Some(deadline) = self.deadline {
            self.keep_to(deadline)?;
        }
        let router = &self.server.router;
        let scratch = &mut *self.scratch;
        let key = &mut scratch.key;
        key.clear();
        if router.plan.dst_prefix != "/" {
            key.extend_from_slice(router.plan.dst_prefix.as_bytes());
        }
        let bytes = scratch.input.bytes();
        let (identifiers, request) = (&router.plan.identifiers, &scratch.request);
        let original = self.connection.original.as_deref().copied();
        let identified = match router.plan.plugins {
            None => identify::identify(identifiers, request, bytes, original, key),
            Some(_) => plugin::identify(identifiers, &scratch.named, request, bytes, original, key),
        };
        match identified {
            Ok(consumed) => self.consumed = consumed,
            Err(unidentified) => return Err(self.unidentified(&unidentified.to_string())),
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

    fn sole_value(&self, header: &str) -> Option<&[u8]> {
        let Scratch { input, request, .. } = &*self.scratch;
        request.sole_value(header, input.bytes())
    }

    fn due(&self) -> Option<Due> {
        self.due
    }

    async fn send(&mut self, hop: &Hop<'_>) -> Result<Sent, Unsent> {
        self.attempt(hop).await
    }

    fn may_retry(&self, classifier: Classifier, cause: Cause) -> bool {
        let replayable = !self.body_lost && !self.begun && self.told != Told::Interim && self.kept_body().is_some();
        let method = self.scratch.request.method;
        replayable && classifier.loss(method, cause) == Class::RetryableFailure
    }

    async fn pause(&mut self, wait_ms: u64) -> Result<(), Failure> {
        if wait_ms > 0 {
            // Boxed, so that it takes no room in the tasks of those that need not wait.
            Box::pin(self.connection.pause(wait_ms)).await?;
        }
        Ok(())
    }
}
