//! One attempt at one endpoint: a connection to it, the request's way there, and the response's way back.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, Late, Lost, Relayed};
use super::classified::Asked;
use super::exchange::{H1Exchange, Told};
use super::relay::{self, Broken, NEVER, Rest, Upload, Waits, shorter_or_never};
use super::request::{self, HeadParts};
use super::streaming::Streaming;
use super::{Connection, Next, Scratch, forwarded, upgrade};
use crate::context::Deadline;
use crate::endpoint::connect::Link;
use crate::endpoint::{InFlight, Outcome};
use crate::plan::TracePropagator;
use crate::route::{Exchange as _, Hop, Sent, Served, Unsent};
use crate::serve::reach::Reach;
use crate::serve::tunnel::{Moved, Tunnel};
use crate::serve::verdict::Verdict;
use crate::stats::Counted;
use crate::stream::Stream;
use crate::tls::peer;

/// What has passed, if the time is over.
fn passed(deadline: Option<(Instant, Late)>) -> Option<Late> {
    deadline.and_then(|(by, late)| (by <= Instant::now()).then_some(late))
}

impl H1Exchange<'_, '_> {
    /// Sends the request to one endpoint and passes its response on.
    pub(super) async fn attempt(&mut self, hop: &Hop<'_>) -> Result<Sent, Unsent> {
        self.attempts += 1;
        let worker = self.worker;
        let stats = &*hop.client.stats[worker.index];
        let path_stats = &hop.leaf.stats[worker.index];
        let began_us = if self.attempts == 1 {
            worker.recent_us()
        } else {
            worker.now_us()
        };
        // Who waits for a place is load that the balancer has to see.
        let mut in_flight = hop.endpoint.begin(began_us);
        let _place = match &hop.endpoint.gate {
            // Boxed, so that it takes no room in the tasks of those who need not wait.
            Some(gate) => match Box::pin(self.reach(hop).enter(gate, self.name_path())).await {
                Ok(place) => place,
                Err(unsent) => {
                    let waited_us = worker.now_us() - began_us;
                    let counted = Counted::of(0, Some(unsent.failure.cause));
                    stats.finish(0, waited_us, counted);
                    path_stats.finish(waited_us, counted);
                    return Err(unsent);
                }
            },
            None => None,
        };
        let mut link = match self.connect(hop).await {
            Ok(link) => link,
            Err(unsent) => {
                let (client, now_us) = (hop.client, worker.now_us());
                let in_flight = &mut in_flight;
                Verdict {
                    worker,
                    client,
                    in_flight,
                }
                .tell(Outcome::Failure, now_us);
                let counted = Counted::of(0, Some(unsent.failure.cause));
                stats.finish(0, now_us - began_us, counted);
                path_stats.finish(now_us - began_us, counted);
                return Err(unsent);
            }
        };
        self.write_head(hop);
        stats.pending.add(1);
        path_stats.pending.add(1);
        let sent = Cell::new(0);
        let exchanged = self.exchange(hop, &mut link.stream, &mut in_flight, &sent).await;
        stats.pending.sub(1);
        path_stats.pending.sub(1);
        let (status, latency_us, counted) = match &exchanged {
            Ok(relayed) => {
                let counted = Counted::response(relayed.class, relayed.broken);
                (relayed.status, relayed.head_us.saturating_sub(began_us), counted)
            }
            Err(lost) => {
                let now_us = worker.now_us();
                if let Some(outcome) = lost.outcome() {
                    let (client, in_flight) = (hop.client, &mut in_flight);
                    Verdict {
                        worker,
                        client,
                        in_flight,
                    }
                    .tell(outcome, now_us);
                }
                (0, now_us - began_us, Counted::of(0, Some(lost.cause())))
            }
        };
        // With many names, what these two touch is in no cache: it is fetched at the same time.
        hop.resend.bound_to.look_ahead(latency_us);
        path_stats.finish(latency_us, counted);
        drop(in_flight);
        stats.finish(status, latency_us, counted);
        stats.sent_bytes.add(sent.get());
        stats.received_bytes.add(self.scratch.reply.take_count());
        if counted == Counted::Success {
            hop.client.requeue_budget.deposit(worker.index, worker.tick_ms());
        }
        match exchanged {
            Ok(relayed) => {
                if relayed.broken.is_none() {
                    let Scratch { request, response, .. } = &*self.scratch;
                    stats.payloads.record(request.body.length(), response.body.length());
                }
                let policy = &hop.client.policy;
                if relayed.reusable && !worker.is_draining() && !link.is_older_than(policy.life_timeout_ms) {
                    worker.pools.borrow_mut().put(
                        hop.endpoint,
                        link,
                        worker.tick_ms(),
                        &policy.pool,
                        policy.pool.idle_time_ms.or(policy.idle_timeout_ms),
                    );
                }
                if let Some(again) = relayed.withheld {
                    return Ok(Sent::Withheld(again));
                }
                self.server.stats[worker.index].sent_bytes.add(relayed.sent_bytes);
                self.next = match relayed {
                    Relayed { broken: Some(_), .. } => Next::Cut,
                    Relayed { keep_alive: true, .. } => Next::Request,
                    _ => Next::Close,
                };
                Ok(Sent::Served(Served {
                    status: relayed.status,
                    class: relayed.class,
                    latency_us: relayed.head_us.saturating_sub(self.started_us),
                    whole: relayed.broken.is_none(),
                }))
            }
            Err(lost) => {
                let replayable = !self.body_lost && !self.begun;
                Err(lost.unsent(replayable, self.scratch.request.method.is_idempotent()))
            }
        }
    }

    /// A connection to the endpoint: an idle one, or a new one.
    async fn connect(&self, hop: &Hop<'_>) -> Result<Link, Unsent> {
        if !hop.fresh
            && let Some(link) = self.worker.pools.borrow_mut().take(hop.endpoint)
        {
            return Ok(link);
        }
        // Boxed, since few requests need one.
        Box::pin(self.reach(hop).connect()).await
    }

    fn reach<'r>(&self, hop: &'r Hop<'r>) -> Reach<'r>
    where
        Self: 'r,
    {
        Reach {
            worker: self.worker,
            router: &self.server.router,
            hop,
            repeatable: !self.body_lost,
        }
    }

    /// Writes the request's head for this attempt into `output`.
    fn write_head(&mut self, hop: &Hop<'_>) {
        // What is left of our own timeouts is told to the next hop (reference/linker.md §5.3).
        let own = self
            .own_timeout(hop)
            .and_then(|by| Deadline::within(by.duration_since(Instant::now())));
        let forwards = hop.client.policy.forward_client_cert;
        let shown = forwards.then(|| self.connection.stream.peer_certificate()).flatten();
        let scratch = &mut *self.scratch;
        let output = &mut scratch.output;
        output.clear();
        request::push_head(
            output,
            &HeadParts {
                head: &scratch.request,
                bytes: scratch.input.bytes(),
                consumed: self.consumed,
                clear_context: self.server.plan.clear_context,
                trace_propagator: self.server.router.plan.trace_propagator,
                client_cert_passes: forwards && shown.is_none() && !self.server.plan.withhold_errors,
                timestamp_header: self.server.plan.timestamp_header.as_deref(),
                authority: hop.authority.map(|authority| &**authority),
                endpoint: &hop.endpoint.text,
                upgrade: upgrade::wanted(&scratch.request, scratch.input.bytes()),
            },
        );
        if let Some(certificate) = shown {
            output.extend_from_slice(b"x-forwarded-client-cert: ");
            peer::push_forwarded(output, certificate);
            output.extend_from_slice(b"\r\n");
        }
        let trace = self.trace.child(&mut self.worker.random.borrow_mut());
        match self.server.router.plan.trace_propagator {
            TracePropagator::Default => {
                output.extend_from_slice(b"l5d-ctx-trace: ");
                trace.write(output);
                output.extend_from_slice(b"\r\nl5d-reqid: ");
                trace.write_request_id(output);
                output.extend_from_slice(b"\r\n");
            }
            TracePropagator::Zipkin => trace.write_b3(output),
        }
        if let Some(plan) = &self.server.plan.forwarded {
            forwarded::push(
                output,
                plan,
                &forwarded::Seen {
                    head: &scratch.request,
                    bytes: scratch.input.bytes(),
                    router: &self.server.router.plan.label,
                    // Of a connection that is gone nobody will read it.
                    local: self.connection.stream.socket().local_addr().ok(),
                    peer: self.connection.peer,
                    opened_ms: self.connection.opened_ms,
                    span: self.trace.span,
                },
            );
        }
        if let Some(deadline) = Deadline::combine(self.deadline, own) {
            output.extend_from_slice(b"l5d-ctx-deadline: ");
            deadline.write(output);
            output.extend_from_slice(b"\r\n");
        }
        request::push_hop(output, hop, &scratch.key[..scratch.path_end]);
    }

    /// By when our own timeouts want the response's head to be there.
    fn own_timeout(&self, hop: &Hop<'_>) -> Option<Instant> {
        let server = self.server.plan.request_timeout_ms;
        let own = hop
            .due
            .filter(|_| server.or(hop.answered.policy.total_timeout_ms).is_some());
        let attempt = hop.client.policy.request_attempt_timeout_ms;
        let attempt = attempt.map(|timeout_ms| Instant::now() + Duration::from_millis(timeout_ms));
        own.map(|due| due.by).into_iter().chain(attempt).min()
    }

    /// When the response's head must be there, and what has passed if it is not.
    fn head_deadline(hop: &Hop<'_>) -> Option<(Instant, Late)> {
        let total = hop.due.map(|due| (due.by, Late::Total(due)));
        let attempt = hop.client.policy.request_attempt_timeout_ms.map(|timeout_ms| {
            let by = Instant::now() + Duration::from_millis(timeout_ms);
            (by, Late::Attempt(timeout_ms))
        });
        total.into_iter().chain(attempt).min_by_key(|(by, _)| *by)
    }

    async fn exchange(
        &mut self,
        hop: &Hop<'_>,
        endpoint: &mut Stream,
        in_flight: &mut InFlight<'_>,
        sent: &Cell<u64>,
    ) -> Result<Relayed, Lost> {
        let deadline = Self::head_deadline(hop);
        let kept = self.kept_body();
        let replayable = Cell::new(kept.is_some() && self.told != Told::Interim);
        let server = self.server;
        let worker = self.worker;
        let stats = &server.stats[worker.index];
        let Scratch {
            input,
            request,
            output,
            reply,
            response,
            back,
            access,
            asked_host,
            ..
        } = &mut *self.scratch;
        let Connection {
            stream, pulse, peer, ..
        } = &mut *self.connection;
        let waits = Waits {
            worker,
            pulse,
            deadline: &pulse.main,
            stall_ms: shorter_or_never(server.plan.stall_ms(), server.plan.socket.write_timeout_ms),
            silence_ms: hop.client.policy.socket.read_timeout_ms.unwrap_or(NEVER),
            idle_ms: server.plan.idle_timeout_ms.unwrap_or(NEVER),
            until_ms: self.until_ms,
        };
        if let Some(log) = &server.router.access_log {
            log.note(access, request, input.bytes(), output, peer.ip());
        }
        let classifier = hop.answered.policy.classifier.plugin();
        let asked = classifier.map(|number| Box::new(Asked::new(server, number, request, input.bytes(), *peer)));
        let upstream_stall_ms = shorter_or_never(server.plan.stall_ms(), hop.client.policy.socket.write_timeout_ms);
        if hop.authority.is_some() {
            // The head may be gone when the response comes.
            asked_host.clear();
            asked_host.extend_from_slice(request.authority().map_or(b"", |host| host.get(input.bytes())));
        }
        let mut body = Upload::of(request.body);
        let used = body
            .take(&input.bytes()[self.head_length..], output)
            .map_err(Lost::BadUpload)?;
        let towards = Waits {
            stall_ms: upstream_stall_ms,
            until_ms: deadline.as_ref().map_or(NEVER, |(by, _)| {
                worker.now_us() / 1000 + by.duration_since(Instant::now()).as_millis() as u64 + 2
            }),
            ..waits
        };
        towards.write(endpoint, output).await.map_err(|(written, error)| {
            if let Some(late) = passed(deadline) {
                Lost::Late(late.failure(&hop.endpoint.text))
            } else if written == 0 {
                Lost::Unwritten(error)
            } else {
                Lost::Silent(error)
            }
        })?;
        sent.set(output.len() as u64);
        reply.clear();
        let uploaded = Cell::new(body.is_done());
        let begun = Cell::new(false);
        let mut answer = Answer {
            waits,
            server,
            hop,
            request,
            reply,
            response,
            back,
            asked_host,
            caller_stays: request.keep_alive && !worker.is_draining(),
            uploaded: &uploaded,
            may_switch: upgrade::wanted(request, input.bytes()).is_some(),
            deadline,
            verdict: Verdict {
                worker,
                client: hop.client,
                in_flight,
            },
            begun: &begun,
            replayable: &replayable,
            access: server.router.access_log.as_deref().map(|log| (log, &*access)),
            asked,
        };
        let relayed = if body.is_done() {
            if let Some(streaming) = Streaming::begin(request.body, &stats.request_streams, worker) {
                streaming.end(worker);
            }
            let (_, mut caller_writes) = stream.split();
            let relayed = answer.pass_on(endpoint, &mut caller_writes).await;
            self.begun |= begun.get();
            if kept.is_some() && !replayable.get() {
                self.told = Told::Interim;
            }
            let relayed = relayed?;
            if relayed.withheld.is_none() {
                input.consume(self.head_length + used);
            }
            relayed
        } else {
            let (mut caller_reads, mut caller_writes) = stream.split();
            if request.expect_continue && self.told == Told::Nothing && input.len() == self.head_length {
                self.told = Told::Continue;
                let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
                waits
                    .write(&mut caller_writes, interim)
                    .await
                    .map_err(|_gone| Lost::CallerGone)?;
            }
            if kept.is_none() {
                input.consume(self.head_length + used);
                self.body_lost = true;
            }
            let (mut endpoint_reads, mut endpoint_writes) = endpoint.split();
            // Boxed, so that a task need not have room for both at once: few bodies come in more than one piece.
            let mut uploading = Box::pin(relay::upload(
                Waits {
                    deadline: &pulse.upload,
                    stall_ms: upstream_stall_ms.min(server.plan.socket.read_timeout_ms.unwrap_or(NEVER)),
                    ..waits
                },
                &mut caller_reads,
                &mut endpoint_writes,
                Rest {
                    input,
                    out: output,
                    body: &mut body,
                    kept: kept.map(|_| self.head_length + used),
                    sent,
                    done: &uploaded,
                },
            ));
            let mut streaming = Streaming::begin(request.body, &stats.request_streams, worker);
            let mut uploading_over = false;
            let relayed = {
                let mut answering = Box::pin(answer.pass_on(&mut endpoint_reads, &mut caller_writes));
                poll_fn(|context| {
                    if !uploading_over && let Poll::Ready(sent) = uploading.as_mut().poll(context) {
                        uploading_over = true;
                        if let Some(streaming) = streaming.take() {
                            streaming.end(worker);
                        }
                        match sent {
                            Err(Broken::Sink(error)) if error.kind() == io::ErrorKind::TimedOut && !begun.get() => {
                                // Which of two clocks has rung first says nothing.
                                let late = passed(deadline).map(|late| late.failure(&hop.endpoint.text));
                                return Poll::Ready(Err(late.map_or(Lost::Silent(error), Lost::Late)));
                            }
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
            drop(uploading);
            self.begun |= begun.get();
            if kept.is_some() && !replayable.get() {
                self.told = Told::Interim;
            }
            let mut relayed = relayed?;
            relayed.reusable &= uploaded.get();
            if let (Some(length), true, None) = (kept, uploaded.get(), relayed.withheld) {
                input.consume(self.head_length + length);
            }
            relayed
        };
        if relayed.switched {
            self.next = Next::Close;
            let tunnel = Tunnel {
                worker,
                pulse,
                idle_ms: None,
            };
            let held = (input.bytes(), answer.reply.bytes());
            let count = |moved: Moved| {
                stats.received_bytes.add(moved.to_endpoint);
                stats.sent_bytes.add(moved.to_caller);
            };
            // It ends when either side wants it to; how is nobody's failure.
            Box::pin(tunnel.run(stream, endpoint, held, count)).await;
            input.clear();
        }
        Ok(relayed)
    }
}
