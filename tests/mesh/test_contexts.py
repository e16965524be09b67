"""What a request carries from linker to linker: its trace, its deadline, its way."""

from __future__ import annotations

import base64
import re
import struct
import time
from dataclasses import dataclass

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin, exchange
from tests.mesh.callers import status_of, values_of

SAMPLED = 6


def config(port: int, more: str = "") -> str:
    """Send every name to a port of this host; `more` are further lines of the router."""
    text = f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc => /$/inet/127.0.0.1/{port} ;
  servers:
  - port: 0
"""
    return text + "".join(f"  {line}\n" for line in more.strip("\n").splitlines())


@dataclass(frozen=True, slots=True)
class Trace:
    """`l5d-ctx-trace` as the reference lays it out: big-endian words in base64."""

    span: int
    parent: int
    trace: int
    flags: int
    trace_high: int | None = None

    def __str__(self) -> str:
        words = [self.span, self.parent, self.trace, self.flags]
        words += [] if self.trace_high is None else [self.trace_high]
        return base64.b64encode(struct.pack(f">{len(words)}Q", *words)).decode()


def trace_of(request: bytes) -> Trace:
    """Read the trace of a request, which must carry exactly one, and its id again as `l5d-reqid`."""
    [value] = values_of(request, "l5d-ctx-trace")
    packed = base64.b64decode(value, validate=True)
    words = struct.unpack(f">{len(packed) // 8}Q", packed)
    found = Trace(*words)
    assert values_of(request, "l5d-reqid") == [f"{found.trace:016x}"]
    return found


async def test_two_linkers_in_a_row_are_in_one_trace_each_with_a_span_of_its_own() -> None:
    async with Origin() as last, LinkerProcess(config(last.port)) as second:

        async def forward(request: bytes) -> bytes:
            return await exchange("127.0.0.1", second.port(), request)

        async with Origin(forward) as between, LinkerProcess(config(between.port)) as first:
            for _ in range(2):
                assert status_of(await first.get("web")) == 200
        hops = [(trace_of(near), trace_of(far)) for near, far in zip(between.requests, last.requests, strict=True)]
        for near, far in hops:
            assert near.trace == far.trace
            assert near.flags == far.flags
            assert len({near.trace, near.span, far.span, far.parent}) == 4, "the server's span lies between the two"
        assert hops[0][0].trace != hops[1][0].trace, "each request that brings no trace begins one"
        assert len(values_of(last.requests[0], "Via")) == 1
        assert values_of(last.requests[0], "Via")[0] == "1.1 linkerd, 1.1 linkerd"


@pytest.mark.parametrize("high", [None, 0xABCDEF])
async def test_a_callers_trace_goes_on_with_its_flags_in_its_length(high: int | None) -> None:
    sent = Trace(span=3, parent=2, trace=1, flags=SAMPLED, trace_high=high)
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        await linker.get("web", "/", f"L5D-Ctx-Trace: {sent}")
        got = trace_of(origin.requests[0])
        assert (got.trace, got.flags, got.trace_high) == (sent.trace, sent.flags, high)
        assert got.span not in (1, 2, 3)
        assert got.parent not in (1, 2), "a child of the linker's own span"


async def test_a_malformed_trace_is_ignored() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        for value in ("", "!", "AAAA", "A" * 200, base64.b64encode(b"x" * 33).decode()):
            assert status_of(await linker.get("web", "/", f"l5d-ctx-trace: {value}")) == 200
            trace_of(origin.requests[-1])


async def test_a_sampling_rate_decides_and_does_not_travel_on() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        for rate, flags in (("1.0", SAMPLED), ("0", 2), ("7", SAMPLED), ("-1", 2), ("much", 0)):
            await linker.get("web", "/", f"l5d-sample: {rate}")
            assert trace_of(origin.requests[-1]).flags == flags, rate
            assert values_of(origin.requests[-1], "l5d-sample") == []


async def test_deadlines_combine_to_the_latest_word_and_the_earliest_end_and_cross_linkers() -> None:
    async with (
        Origin() as origin,
        LinkerProcess(config(origin.port)) as second,
        LinkerProcess(config(second.port())) as first,
    ):
        now, soon = time.time_ns(), time.time_ns() + 60_000_000_000
        for lines, told in [
            ([], []),
            ([f"{now} {soon + 9}"], [f"{now} {soon + 9}"]),
            ([f"{now} {soon + 9}", f"{now + 2} {soon + 7}"], [f"{now + 2} {soon + 7}"]),
            ([f"{now + 2} {soon + 9}", f"{now} {soon + 12}", "soon", "1", f"{now}"], [f"{now + 2} {soon + 9}"]),
            (["soon"], []),
        ]:
            headers = [f"l5d-ctx-deadline: {line}" for line in lines]
            assert status_of(await first.get("web", "/", *headers)) == 200
            assert values_of(origin.requests[-1], "l5d-ctx-deadline") == told


@pytest.mark.parametrize("more", ["service:\n  totalTimeoutMs: 5000", "client:\n  requestAttemptTimeoutMs: 5000"])
async def test_a_timeout_tightens_the_deadline_of_what_comes_after(more: str) -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port, more)) as linker:
        await linker.get("web")
        [told] = values_of(origin.requests[-1], "l5d-ctx-deadline")
        said, until = map(int, told.split(" "))
        assert 4_000_000_000 < until - said <= 5_000_000_000
        early = said + 3_000_000_000
        await linker.get("web", "/", f"l5d-ctx-deadline: {said} {early}")
        [told] = values_of(origin.requests[-1], "l5d-ctx-deadline")
        assert int(told.split(" ")[1]) == early, "the earlier end stays"
        assert int(told.split(" ")[0]) > said


async def test_a_request_whose_deadline_is_over_is_refused_by_the_first_linker_and_counted() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        now = time.time_ns()
        answer = await linker.get("web", "/", f"l5d-ctx-deadline: {now - 9} {now - 5_000_000_000}")
        assert status_of(answer) == 503
        assert origin.requests == []
        metrics = await linker.admin("/admin/metrics.json")
        assert b"/admission_control/deadline/rejected" in metrics


async def test_an_edge_believes_no_context_and_tells_nothing_of_its_own() -> None:
    async with Origin(b"HTTP/1.1 200 OK\r\nl5d-inside: 1\r\nContent-Length: 2\r\n\r\nok") as origin:
        text = config(origin.port).replace("  - port: 0\n", "  - port: 0\n    clearContext: true\n")
        async with LinkerProcess(text) as linker:
            sent = Trace(span=3, parent=2, trace=1, flags=SAMPLED)
            forged = [f"l5d-ctx-trace: {sent}", "l5d-ctx-deadline: 1 2", "l5d-sample: 1", "l5d-reqid: 1", "l5d-mine: 1"]
            answer = await linker.get("web", "/", *forged)
            got = trace_of(origin.requests[0])
            assert (got.trace == 1, got.flags) == (False, 0)
            head = origin.requests[0].decode().lower()
            assert set(re.findall(r"(?m)^(l5d-[a-z-]+):", head)) == {
                *("l5d-ctx-trace", "l5d-reqid", "l5d-dst-service", "l5d-dst-client", "l5d-dst-residual"),
            }
            assert b"l5d-" not in answer
            refused = await linker.get("", "/")
            assert status_of(refused) == 400
            assert b"l5d-" not in refused


async def test_zipkins_headers_are_read_and_written_instead_of_ours() -> None:
    async with (
        Origin() as origin,
        LinkerProcess(config(origin.port, "tracePropagator: {kind: io.l5d.zipkin}")) as linker,
    ):

        def told(name: str) -> str:
            (value,) = values_of(origin.requests[-1], f"x-b3-{name}")
            return value

        await linker.get(
            "web", "/", "X-B3-TraceId: 00ab", "X-B3-SpanId: 2", "x-b3-sampled: true", "l5d-sample: 0", "x-b3-flags: 0"
        )
        assert (told("traceid"), told("sampled"), told("flags")) == ("00000000000000ab", "1", "0")
        assert told("spanid") != told("parentspanid") != "0000000000000002"
        for name in ("l5d-ctx-trace", "l5d-reqid", "l5d-sample"):
            assert values_of(origin.requests[-1], name) == []
        await linker.get("web", "/", "x-b3-traceid: 1")
        assert told("traceid") != "0000000000000001", "without a span there is no trace to go on with"
        assert told("sampled") == "0", "undecided is told as no"


async def test_with_our_own_propagator_zipkins_headers_pass_untouched() -> None:
    async with Origin() as origin, LinkerProcess(config(origin.port)) as linker:
        await linker.get("web", "/", "X-B3-SpanId: 2")
        assert values_of(origin.requests[-1], "x-b3-spanid") == ["2"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("{}", r"by=_\w{6};for=_\w{6};host=web"),
        ("{by: {kind: ip}, for: {kind: 'ip:port'}}", r'by=127\.0\.0\.1;for="127\.0\.0\.1:\d+";host=web'),
        ("{by: {kind: router}, for: {kind: static, label: edge}}", "by=_http;for=_edge;host=web"),
        ("{by: {kind: connectionRandom}, for: {kind: requestRandom}}", r"by=_\w{6};for=_\w{6};host=web"),
    ],
)
async def test_a_forwarded_header_is_added_to_those_that_came(labels: str, expected: str) -> None:
    async with Origin() as origin:
        text = config(origin.port).replace("  - port: 0\n", f"  - port: 0\n    addForwardedHeader: {labels}\n")
        async with LinkerProcess(text) as linker:
            await linker.get("web", "/", "Forwarded: for=them")
            first, added = values_of(origin.requests[-1], "forwarded")
            assert first == "for=them"
            assert re.fullmatch(expected, added), added
