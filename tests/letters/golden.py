"""The letters that the golden files hold: every kind, state and outcome, each key once with no default value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from biandou.boundary import (
    Advice,
    Answer,
    Answered,
    Ask,
    BadOverride,
    BindFailure,
    BoundTree,
    Branch,
    Cancel,
    Classified,
    ClientsView,
    ClientView,
    Consult,
    Drained,
    Endpoints,
    EndpointsFailed,
    EndpointsKnown,
    EndpointsNegative,
    EndpointsPending,
    EndpointsStatus,
    EndpointView,
    GoOn,
    Mail,
    NamedPath,
    NegativeTree,
    Note,
    NotNamed,
    OwnReply,
    PluginFailed,
    Release,
    Scope,
    Stat,
    Tally,
    Withheld,
    encode,
)
from biandou.config.plan import (
    AccessLogPlan,
    BindingCachePlan,
    BudgetPlan,
    ClientPolicy,
    DailyRoll,
    HourlyRoll,
    HttpLimits,
    Letter,
    NeverRoll,
    NotHttpPlan,
    OutlierPlan,
    Plan,
    PluginPlan,
    PoolPlan,
    RateLimitPlan,
    RouterPlan,
    ServerPlan,
    ServerTlsPlan,
    ServicePolicy,
    SizeRoll,
    SocketOptions,
    WeeklyRoll,
)
from biandou.telemeters.window import Summary

HERE: Final = Path(__file__).parent

PLANS: Final = {
    "full": Plan(
        workers=4,
        routers=[
            RouterPlan(
                label="outgoing",
                protocol="http",
                dst_prefix="/svc",
                identifiers=[
                    {"kind": "io.l5d.methodAndHost", "httpUriInDst": True},
                    {"kind": "io.l5d.path", "segments": 2, "consume": True},
                    {"kind": "io.l5d.header", "header": "X-Name"},
                    {"kind": "io.l5d.header.token", "header": "Host"},
                    {"kind": "io.l5d.static", "path": "web/v1"},
                ],
                servers=[
                    ServerPlan(
                        ip="0.0.0.0",
                        port=4140,
                        fds=[3, 4],
                        socket=SocketOptions(
                            no_delay=False,
                            reuse_addr=False,
                            reuse_port=True,
                            keep_alive=True,
                            backlog=128,
                            read_timeout_ms=1_000,
                            write_timeout_ms=2_000,
                        ),
                        clear_context=True,
                        max_concurrent_requests=300,
                        max_call_depth=7,
                        timestamp_header="X-Request-Start",
                        head_timeout_ms=5_000,
                        idle_timeout_ms=60_000,
                        life_timeout_ms=3_600_000,
                        request_timeout_ms=15_000,
                        max_connections=100,
                        tls=ServerTlsPlan(
                            cert_path="/tls/cert.pem",
                            key_path="/tls/key.pem",
                            ca_cert_path="/tls/ca.pem",
                            require_client_auth=True,
                            protocols=["TLSv1.3"],
                        ),
                        rate_limit=RateLimitPlan(requests_per_second=0.5, burst=3, by_header="X-Api-Key"),
                    ),
                    ServerPlan(
                        ip="::1", port=0, idle_timeout_ms=None, not_http=NotHttpPlan(router="others", silence_ms=700)
                    ),
                ],
                base_dentries=["/svc => /#/io.l5d.fs", "/svc/* => /$/inet/127.0.0.1/8080 | ~"],
                plugins=PluginPlan(timeout_ms=700, max_waiting=9, sees_requests=False),
                binding_timeout_ms=2_500,
                binding_cache=BindingCachePlan(paths=10, trees=20, bounds=30, clients=40, idle_ttl_ms=50_000),
                http=HttpLimits(
                    max_head_bytes=65_536,
                    max_line_bytes=16_384,
                    max_header_count=64,
                    max_error_body_bytes=1_024,
                    replay_body_bytes=100,
                ),
                originator=True,
                access_log=AccessLogPlan(
                    path="/var/log/access.log", roll=WeeklyRoll(day=2), append=False, rotate_count=5
                ),
            ),
            RouterPlan(
                label="incoming",
                protocol="http",
                dst_prefix="/in",
                identifiers=[{"kind": "io.l5d.header.token"}],
                servers=[ServerPlan(ip="127.0.0.1", port=4141)],
            ),
            RouterPlan(
                label="others",
                protocol="tcp",
                dst_prefix="/svc",
                identifiers=[{"kind": "io.biandou.sni"}, {"kind": "io.biandou.originalDst"}],
                servers=[ServerPlan(ip="127.0.0.1", port=4145)],
            ),
        ],
    ),
    "empty": Plan(workers=1, routers=[]),
    "access logs": Plan(
        workers=1,
        routers=[
            RouterPlan(
                label=type(roll).__name__,
                protocol="http",
                dst_prefix="/svc",
                identifiers=[],
                servers=[],
                access_log=AccessLogPlan(path="a.log", roll=roll),
            )
            for roll in (NeverRoll(), HourlyRoll(), DailyRoll(), SizeRoll(bytes=3 * 1024**3))
        ],
    ),
}

ANSWERS: Final = {
    "bound": Answer(
        outcome=BoundTree(branches=[Branch(weight=1.0, client="/#/io.l5d.fs/web")]),
    ),
    "bound, every key": Answer(
        outcome=BoundTree(
            branches=[
                Branch(weight=0.9, client="/#/io.l5d.fs/web-v1", residual="/a/b"),
                Branch(weight=0.0625, client="/%/io.l5d.port/80/#/io.l5d.fs/web-v2"),
                Branch(weight=0.0375, client=None),
            ]
        ),
        context="/svc/web=>/svc/web-v2;/a=>/b",
        override_dentries=["/svc/web => /svc/web-v2", "/a => /b"],
        policy=ServicePolicy(
            total_timeout_ms=500,
            rate_limit=RateLimitPlan(requests_per_second=1000.0, burst=1),
            classifier={"kind": "io.l5d.http.retryableRead5XX"},
            retry_backoff={"kind": "jittered", "minMs": 10, "maxMs": 200},
            retry_budget=BudgetPlan(min_retries_per_sec=5, percent_can_retry=0.5, ttl_ms=15_000),
        ),
    ),
    **{
        f"classified by {name}": Answer(
            outcome=NegativeTree(), policy=ServicePolicy(classifier={"kind": f"io.l5d.http.{name}"})
        )
        for name in ("nonRetryable5XX", "retryableIdempotent5XX", "retryableAll5XX", "allSuccessful")
    },
    "classified in Python": Answer(
        outcome=NegativeTree(), policy=ServicePolicy(classifier={"kind": "plugin", "number": 4_000_000_000})
    ),
    "negative": Answer(outcome=NegativeTree()),
    "failed": Answer(outcome=BindFailure(message="Unknown namer: böse for path: /$/böse")),
    "invalid": Answer(outcome=BadOverride(message="'=>' expected at line 1, column 3")),
}


def _endpoints(state: Any, **policy: Any) -> Endpoints:
    return Endpoints(router="outgoing", client="/#/io.l5d.fs/web", state=state, policy=ClientPolicy(**policy))


ENDPOINTS: Final = {
    "bound": _endpoints(EndpointsKnown(addresses=[("127.0.0.1", 8080, 1.0)])),
    "bound, every key, p2c, constant backoff": _endpoints(
        EndpointsKnown(addresses=[("10.0.0.1", 65535, 2.5), ("2001:db8::1", 1, 0.0)], authority="web.example:443"),
        balancer={"kind": "p2c", "maxEffort": 7, "enableProbation": True},
        failure_accrual={
            "kind": "io.l5d.consecutiveFailures",
            "failures": 3,
            "backoff": {"kind": "constant", "ms": 250},
        },
        pool=PoolPlan(min_size=1, max_size=32, idle_time_ms=30_000, max_waiters=100),
        socket=SocketOptions(no_delay=False, keep_alive=False, read_timeout_ms=10, write_timeout_ms=20),
        connect_timeout_ms=200,
        request_attempt_timeout_ms=300,
        requeue_budget=BudgetPlan(min_retries_per_sec=1, percent_can_retry=2, ttl_ms=1_000),
        idle_timeout_ms=400,
        life_timeout_ms=500,
    ),
    "negative, ewma, jittered backoff": _endpoints(
        EndpointsNegative(),
        balancer={"kind": "ewma", "maxEffort": 2, "decayTimeMs": 5_000, "enableProbation": False},
        failure_accrual={
            "kind": "io.l5d.successRate",
            "successRate": 0.5,
            "requests": 20,
            "backoff": {"kind": "jittered", "minMs": 10, "maxMs": 20_000},
        },
    ),
    "failed, round robin, no backoff": _endpoints(
        EndpointsFailed(message="malformed address: 127.0.0.1"),
        balancer={"kind": "roundRobin", "maxEffort": 9, "enableProbation": True},
        failure_accrual={"kind": "io.l5d.successRateWindowed", "successRate": 0.9, "window": 60},
    ),
    "pending, never dead": _endpoints(EndpointsPending(), failure_accrual={"kind": "none"}),
    "negative, aperture, outliers": _endpoints(
        EndpointsNegative(),
        balancer={
            "kind": "aperture",
            "smoothWindowMs": 1_000,
            "maxEffort": 3,
            "lowLoad": 0.25,
            "highLoad": 4.0,
            "minAperture": 2,
            "enableProbation": True,
        },
        outliers=OutlierPlan(fail_fast=True, max_ejected_percent=50, panic_threshold_percent=20, warm_up_ms=30_000),
    ),
    "negative, heap": _endpoints(EndpointsNegative(), balancer={"kind": "heap", "enableProbation": False}),
    "status": _endpoints(EndpointsStatus(code=404)),
}

ADVICE: Final[dict[str, Advice]] = {
    "go on": GoOn(
        remove=["x-old"],
        add=[("X-New", "\xe9")],
        names=[NotNamed(reason="no tenant"), NamedPath(path="/acme/web")],
    ),
    "go on unchanged": GoOn(),
    "reply": OwnReply(status=401, headers=[("WWW-Authenticate", "Bearer")], body="who\xff"),
    **{f"class {name}": Classified(class_=name) for name in ("success", "retryable", "failure")},
    "failed": PluginFailed(message="the plugin com.example.bad failed"),
}

MAIL: Final[dict[str, list[Mail]]] = {
    "ask": [Ask(ticket=1, router="outgoing", path="/svc/web", dtab=[])],
    "ask, large ticket, with a dtab": [
        Ask(ticket=(3 << 48) + 70_000, router="incoming", path=r"/svc/\xff", dtab=["/a => /b", "/svc=>/$/nil ; # ü"])
    ],
    "release": [Release(ticket=4_294_967_296)],
    "notes of every level": [
        Note(level=level, room="resolution", message=f"a message of level {level}")
        for level in ("error", "warning", "info", "debug")
    ],
    "consult": [
        Consult(
            ticket=(1 << 40) + 7,
            router="outgoing",
            method="GET",
            target="/a?b",
            headers=[("Host", "web"), ("X-A", "\xe9")],
            peer="127.0.0.1:5000",
            local="127.0.0.1:4140",
        )
    ],
    "consult about a response": [
        Consult(
            ticket=8,
            router="outgoing",
            method="PUT",
            target="/a",
            headers=[],
            peer="127.0.0.1:5000",
            local="127.0.0.1:4140",
            answered=Answered(classifier=4_000_000_000, status=503, headers=[("X-B", "1")]),
        )
    ],
    "cancel": [Cancel(ticket=7)],
    "withheld": [Withheld(id="00000000000000ab", router="http", room="binding", status=502, message="no namer")],
    "drained": [Drained(unfinished=0)],
    "drained, some cut off": [Drained(unfinished=3)],
    "nothing": [],
    "several": [Release(ticket=1), Ask(ticket=2, router="outgoing", path="/svc", dtab=[]), Drained(unfinished=300)],
}

LATENCY: Final = Stat(count=3, sum=7.5, buckets=[(0.5, 1), (3.5, 2)])

TALLIES: Final = {
    "full": Tally(
        scopes=[
            Scope(
                scope=["rt", "http", "server", "127.0.0.1/4140"],
                counters={"requests": 300, "status/200": 5_000_000_000},
                gauges={"connections": 2.0, "load": 1.5},
                # A tally's distributions stay as they came until somebody reads one.
                stats={"request_latency_ms": msgspec.Raw(encode(LATENCY))},
            ),
            Scope(
                scope=["rt", "http", "service", "svc/web"],
                windows={
                    "request_latency_ms": Summary(300, 70_000, 233.5, 1, 7_000, (5, 90, 950, 990, 6_990, 7_000)),
                    "retries/per_request": None,
                },
            ),
            Scope(scope=["rt", "http", "bindcache"]),
        ],
    ),
    "empty": Tally(scopes=[]),
}

CLIENTS: Final = {
    "full": ClientsView(
        clients=[
            ClientView(
                router="http",
                client="/#/io.l5d.fs/web",
                state="bound",
                balancer="ewma",
                panic=True,
                endpoints=[
                    EndpointView(
                        address="[::1]:80",
                        weight=0.5,
                        pending=2,
                        state="ejected",
                        failures_in_a_row=5,
                        ejected_for_ms=100_000,
                        next_probe_ms=2_500,
                        times_ejected=3,
                        latency_ms=1.5,
                        connections=4,
                        idle=3,
                        waiting=1,
                    ),
                    EndpointView(address="127.0.0.1:8080", weight=1.0, pending=0, state="in use", success_rate=0.75),
                ],
                left_out=70_000,
            ),
            ClientView(
                router="http", client="/$/inet/nowhere/80", state="pending", balancer="p2c", panic=False, endpoints=[]
            ),
        ]
    ),
    "empty": ClientsView(clients=[]),
}

FAMILIES: Final[Mapping[str, Mapping[str, Letter | Sequence[Letter]]]] = {
    "plans": PLANS,
    "answers": ANSWERS,
    "endpoints": ENDPOINTS,
    "advice": ADVICE,
    "mail": MAIL,
    "tallies": TALLIES,
    "clients": CLIENTS,
}
"""Every golden letter, by the file that holds it and its name there; mail comes in lists."""


def encoded(letter: Letter | Sequence[Letter]) -> bytes:
    """Give a golden letter as msgpack."""
    return encode(letter) if isinstance(letter, Letter) else msgspec.msgpack.encode(letter)


def shown(family: str) -> str:
    """Give the text of the file of a family."""
    entries = [
        {"name": name, "letter": msgspec.msgpack.decode(encoded(letter)), "msgpack": encoded(letter).hex()}
        for name, letter in FAMILIES[family].items()
    ]
    return json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def file(family: str) -> Path:
    """Give the file of a family."""
    return HERE / f"{family}.json"


def stored(family: str) -> dict[str, bytes]:
    """Give the bytes of the golden letters in a family's file, by name."""
    return {entry["name"]: bytes.fromhex(entry["msgpack"]) for entry in json.loads(file(family).read_text())}
