"""The engine is told what the file says, and a name gets the policies that its prefix asks for."""

from __future__ import annotations

import msgspec
import pytest

from biandou.config.linker import parse
from biandou.config.plan import BudgetPlan, ClientPolicy, NotHttpPlan, Plan, RouterPlan, ServerPlan, ServicePolicy
from biandou.config.planning import client_policy, plan, router_plan, service_policy
from biandou.config.router import HttpRouter

HEAD = "routers:\n- protocol: http\n  servers: [{}]\n"


def router(lines: str) -> HttpRouter:
    (found,) = parse(HEAD + "".join(f"  {line}\n" for line in lines.splitlines())).routers
    assert isinstance(found, HttpRouter)
    return found


def test_a_file_without_settings_gives_the_engines_defaults() -> None:
    expected = RouterPlan(
        label="http",
        protocol="http",
        dst_prefix="/svc",
        identifiers=[{"kind": "io.l5d.header.token", "header": "Host"}],
        servers=[ServerPlan(ip="127.0.0.1", port=4140)],
    )
    assert plan(parse(HEAD), workers=2) == Plan(workers=2, routers=[expected])
    assert client_policy(router(""), "/#/io.l5d.fs/web") == ClientPolicy()
    assert service_policy(router(""), "/svc/web") == ServicePolicy()


def test_every_setting_of_a_router_reaches_the_plan() -> None:
    text = """
routers:
- protocol: http
  label: out
  dstPrefix: /http
  dtab: /http => /#/a | /#/b ; /x/* => 0.125 * /c & 2 * /d
  identifier: [{kind: io.l5d.path, segments: 2, consume: true}, {kind: io.l5d.methodAndHost}]
  bindingTimeoutMs: 7
  bindingCache: {paths: 1, trees: 2, bounds: 3, clients: 4, idleTtlSecs: 5}
  maxHeadersKB: 16
  maxInitialLineKB: 2
  maxErrResponseKB: 1
  maxHeaderCount: 14
  originator: true
  tracePropagator: {kind: io.l5d.zipkin}
  servers:
  - port: 1
    ip: 0.0.0.0
    socketOptions:
      {noDelay: false, reuseAddr: false, reusePort: true, keepAlive: true, backlog: 9,
       readTimeoutMs: 3, writeTimeoutMs: 4}
    trust: none
    addForwardedHeader: {for: {kind: static, label: edge}}
    maxConcurrentRequests: 5
    maxCallDepth: 6
    headTimeoutMs: 12
    maxConnections: 13
    rateLimit: {requestsPerSecond: 2.5, byHeader: x-key}
    timestampHeader: x-time
    timeoutMs: 8
    tls: {certPath: c, keyPath: k, intermediateCertsPath: i, caCertPath: a, requireClientAuth: true,
      ciphers: [TLS_AES_128_GCM_SHA256], protocols: [TLSv1.3]}
    serverSession: {lifeTimeMs: 10, idleTimeMs: 11}
"""
    (made,) = plan(parse(text), workers=1).routers
    assert (made.label, made.dst_prefix, made.binding_timeout_ms, made.originator) == ("out", "/http", 7, True)
    assert made.trace_propagator == {"kind": "io.l5d.zipkin"}
    assert made.identifiers == [
        {"kind": "io.l5d.path", "segments": 2, "consume": True},
        {"kind": "io.l5d.methodAndHost", "httpUriInDst": False},
    ]
    assert made.base_dentries == ["/http => /#/a | /#/b", "/x/* => 0.125*/c & 2*/d"]
    assert msgspec.to_builtins(made.binding_cache) == {
        "paths": 1,
        "trees": 2,
        "bounds": 3,
        "clients": 4,
        "idle_ttl_ms": 5000,
    }
    assert (made.http.max_head_bytes, made.http.max_line_bytes, made.http.max_error_body_bytes) == (16384, 2048, 1024)
    assert made.http.max_header_count == 14
    assert msgspec.to_builtins(made.servers[0]) == {
        "ip": "0.0.0.0",
        "port": 1,
        "fds": [],
        "socket": {
            "no_delay": False,
            "reuse_addr": False,
            "reuse_port": True,
            "keep_alive": True,
            "backlog": 9,
            "read_timeout_ms": 3,
            "write_timeout_ms": 4,
        },
        "clear_context": True,
        "withhold_errors": True,
        "max_concurrent_requests": 5,
        "max_call_depth": 6,
        "timestamp_header": "x-time",
        "head_timeout_ms": 12,
        "idle_timeout_ms": 11,
        "life_timeout_ms": 10,
        "request_timeout_ms": 8,
        "max_connections": 13,
        "tls": {
            "cert_path": "c",
            "key_path": "k",
            "intermediate_certs_path": "i",
            "ca_cert_path": "a",
            "require_client_auth": True,
            "ciphers": ["TLS_AES_128_GCM_SHA256"],
            "protocols": ["TLSv1.3"],
        },
        "rate_limit": {"requests_per_second": 2.5, "burst": 3, "by_header": "x-key"},
        "forwarded": {"by": {"kind": "requestRandom"}, "for": {"kind": "static", "label": "edge"}},
        "not_http": None,
    }


def test_a_router_of_connections_takes_what_does_not_speak_http() -> None:
    made = plan(
        parse(
            "routers:\n"
            "- protocol: http\n  servers: [{notHttp: {router: others, silenceMs: 7}}]\n"
            "- protocol: tcp\n  label: others\n  identifier: [{kind: io.biandou.sni}, {kind: io.biandou.originalDst}]\n"
            "  servers: [{headTimeoutMs: 9, maxConcurrentRequests: 3, serverSession: {idleTimeMs: 4}}]\n"
        ),
        workers=1,
    )
    web, others = made.routers
    assert web.servers[0].not_http == NotHttpPlan(router="others", silence_ms=7)
    assert others == RouterPlan(
        label="others",
        protocol="tcp",
        dst_prefix="/svc",
        identifiers=[{"kind": "io.biandou.sni"}, {"kind": "io.biandou.originalDst"}],
        servers=[
            ServerPlan(ip="127.0.0.1", port=4145, head_timeout_ms=9, max_concurrent_requests=3, idle_timeout_ms=4)
        ],
    )


def test_a_plan_can_be_sent() -> None:
    made = plan(parse(HEAD), workers=1)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Plan) == made


def test_every_setting_of_a_client_reaches_its_policy() -> None:
    policy = client_policy(
        router(
            """client:
  loadBalancer: {kind: ewma, decayTimeMs: 1}
  hostConnectionPool: {minSize: 1, maxSize: 2, idleTimeMs: 3, maxWaiters: 4}
  failureAccrual: {kind: io.l5d.consecutiveFailures, failures: 3, backoff: {kind: constant, ms: 5}}
  requestAttemptTimeoutMs: 6
  requeueBudget: {percentCanRetry: 0.5}
  clientSession: {lifeTimeMs: 7, idleTimeMs: 8}
  socketOptions: {keepAlive: false, writeTimeoutMs: 9}
  forwardClientCert: true
  tls: {commonName: n, trustCertsBundle: b, clientAuth: {certPath: c, keyPath: k}}
  maxEjectedPercent: 40
  panicThresholdPercent: 30
  warmUpMs: 20000
  failFast: true
  connectTimeoutMs: 10"""
        ),
        "/#/a",
    )
    assert msgspec.to_builtins(policy) == {
        "balancer": {"kind": "ewma", "enableProbation": False, "maxEffort": 5, "decayTimeMs": 1},
        "failure_accrual": {
            "kind": "io.l5d.consecutiveFailures",
            "backoff": {"kind": "constant", "ms": 5},
            "failures": 3,
        },
        "outliers": {
            "fail_fast": True,
            "max_ejected_percent": 40,
            "panic_threshold_percent": 30,
            "warm_up_ms": 20_000,
        },
        "pool": {"min_size": 1, "max_size": 2, "idle_time_ms": 3, "max_waiters": 4},
        "socket": {
            "no_delay": True,
            "reuse_addr": True,
            "reuse_port": False,
            "keep_alive": False,
            "backlog": None,
            "read_timeout_ms": None,
            "write_timeout_ms": 9,
        },
        "connect_timeout_ms": 10,
        "request_attempt_timeout_ms": 6,
        "requeue_budget": {"min_retries_per_sec": 10, "percent_can_retry": 0.5, "ttl_ms": 10_000},
        "forward_client_cert": True,
        "tls": {
            "common_name": "n",
            "disable_validation": False,
            "trust_certs": ["b"],
            "client_auth": {"cert_path": "c", "key_path": "k", "intermediate_certs_path": None},
            "protocols": [],
        },
        "idle_timeout_ms": 8,
        "life_timeout_ms": 7,
    }


STATIC = """client:
  kind: io.l5d.static
  configs:
  - {prefix: /, connectTimeoutMs: 1, loadBalancer: {kind: ewma, maxEffort: 2}}
  - {prefix: /#/io.l5d.fs, connectTimeoutMs: 2, hostConnectionPool: {minSize: 1, maxSize: 5}}
  - {prefix: "/#/*/{name}-db", hostConnectionPool: {minSize: 3}}
  - {prefix: /#/io.l5d.fs/web, loadBalancer: {kind: p2c}}
service:
  kind: io.l5d.static
  configs:
  - {prefix: /svc, totalTimeoutMs: 100}
  - {prefix: /svc/web, responseClassifier: {kind: io.l5d.http.nonRetryable5XX}}
  - {prefix: /svc/api, totalTimeoutMs: 200}
  - {prefix: /svc/slow, totalTimeoutMs: -1}"""


@pytest.mark.parametrize(
    ("client", "connect", "balancer", "pool"),
    [
        ("/$/inet/127.1/80", 1, {"kind": "ewma", "maxEffort": 2}, (0, None)),
        ("/#/io.l5d.fs/api", 2, {"kind": "ewma", "maxEffort": 2}, (1, 5)),
        ("/#/io.l5d.fs/my-db", 2, {"kind": "ewma", "maxEffort": 2}, (3, None)),
        ("/#/io.l5d.fs/web/v1", 2, {"kind": "p2c", "maxEffort": 5}, (1, 5)),
        ("/%/io.l5d.port/4140/#/io.l5d.fs/web", 1, {"kind": "ewma", "maxEffort": 2}, (0, None)),
        ("not a path", 1, {"kind": "ewma", "maxEffort": 2}, (0, None)),
    ],
)
def test_the_last_entry_that_matches_and_has_a_key_gives_it_whole(
    client: str, connect: int, balancer: dict[str, object], pool: tuple[int, int | None]
) -> None:
    policy = client_policy(router(STATIC), client)
    assert policy.connect_timeout_ms == connect
    assert {key: policy.balancer[key] for key in balancer} == balancer
    assert (policy.pool.min_size, policy.pool.max_size) == pool


@pytest.mark.parametrize(
    ("service", "timeout"),
    [("/svc/web", 100), ("/svc/api", 200), ("/svc/slow", None), ("/http/web", None), ("/", None), ("junk", None)],
)
def test_a_service_gets_the_timeout_of_the_last_entry_that_has_one(service: str, timeout: int | None) -> None:
    assert service_policy(router(STATIC), service).total_timeout_ms == timeout


def test_a_pattern_longer_than_the_name_does_not_match() -> None:
    made = router("service: {kind: io.l5d.static, configs: [{prefix: /svc/*/*, totalTimeoutMs: 1}]}")
    assert service_policy(made, "/svc/web").total_timeout_ms is None


def test_zero_failures_in_a_row_means_one() -> None:
    made = router("client: {failureAccrual: {kind: io.l5d.consecutiveFailures}}")
    assert client_policy(made, "/#/a").failure_accrual == {"kind": "io.l5d.consecutiveFailures", "failures": 1}


def test_no_failure_accrual_has_no_rests() -> None:
    made = router("client: {failureAccrual: {kind: none, backoff: {kind: constant, ms: 5}}}")
    assert client_policy(made, "/#/a").failure_accrual == {"kind": "none"}


def test_a_time_limit_of_zero_is_none() -> None:
    made = router("client: {requestAttemptTimeoutMs: 0}\nservice: {totalTimeoutMs: 0}")
    assert client_policy(made, "/#/a").request_attempt_timeout_ms is None
    assert service_policy(made, "/svc/a").total_timeout_ms is None


RETRIES = """service:
  kind: io.l5d.static
  configs:
  - prefix: /
    responseClassifier: {kind: io.l5d.http.retryableRead5XX}
    retries: {budget: {minRetriesPerSec: 1, percentCanRetry: 0.5, ttlSecs: 2}, backoff: {kind: constant, ms: 3}}
  - {prefix: "/svc/{app}-db", retries: {backoff: {kind: jittered, minMs: 4, maxMs: 5}}}
  - {prefix: /svc/*/v2, retries: {budget: {ttlSecs: 6}}}
  - {prefix: /svc/my-db, responseClassifier: {kind: io.l5d.http.allSuccessful}}"""

READ = {"kind": "io.l5d.http.retryableRead5XX"}
THREE_MS = {"kind": "constant", "ms": 3}
JITTERED = {"kind": "jittered", "minMs": 4, "maxMs": 5}
SMALL = BudgetPlan(min_retries_per_sec=1, percent_can_retry=0.5, ttl_ms=2000)


@pytest.mark.parametrize(
    ("service", "classifier", "backoff", "budget"),
    [
        ("/svc/web", READ, THREE_MS, SMALL),
        ("/svc/your-db", READ, JITTERED, SMALL),
        ("/svc/my-db", {"kind": "io.l5d.http.allSuccessful"}, JITTERED, SMALL),
        ("/svc/your-db/v2", READ, JITTERED, BudgetPlan(ttl_ms=6000)),
        ("/svc/web/v2", READ, THREE_MS, BudgetPlan(ttl_ms=6000)),
        ("/svc/a-dbs", READ, THREE_MS, SMALL),
    ],
)
def test_backoff_budget_and_classifier_override_each_other_one_by_one(
    service: str, classifier: dict[str, object], backoff: dict[str, object], budget: BudgetPlan
) -> None:
    policy = service_policy(router(RETRIES), service)
    assert (policy.classifier, policy.retry_backoff, policy.retry_budget) == (classifier, backoff, budget)


def test_a_service_of_which_nothing_is_said_has_linkerds_defaults() -> None:
    policy = service_policy(router("service: {retries: {}}"), "/svc/web")
    assert policy == ServicePolicy()
    assert policy.classifier == {"kind": "io.l5d.http.nonRetryable5XX"}
    assert policy.retry_backoff == {"kind": "constant", "ms": 0}
    assert policy.retry_budget == BudgetPlan(min_retries_per_sec=10, percent_can_retry=0.2, ttl_ms=10_000)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("", 5 * 1024),
        ("streamAfterContentLengthKB: 3", 3 * 1024),
        ("streamAfterContentLengthKB: 0", 0),
        ("streamingEnabled: false", 2**31 - 1),
    ],
)
def test_a_body_is_kept_to_be_sent_again_as_long_as_linkerd_would_hold_it(line: str, kept: int) -> None:
    assert router_plan(router(line)).http.replay_body_bytes == kept
