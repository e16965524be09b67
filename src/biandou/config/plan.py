"""What the engine is to do, as plain values: the plan that `boundary.py` hands through the door.

Keys are snake_case here and in `engine/src/plan.rs`; the kinds that the engine runs itself (identifiers, balancers,
failure accrual) travel as the operator wrote them. Times are milliseconds, sizes bytes, and `None` means no limit.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A plain value that crosses the door."""


class SocketOptions(Letter, frozen=True, kw_only=True):
    """Options of a listening or connecting socket (reference/linker.md §2.4)."""

    no_delay: bool = True
    reuse_addr: bool = True
    reuse_port: bool = False
    keep_alive: bool | None = None
    backlog: int | None = None
    read_timeout_ms: int | None = None
    write_timeout_ms: int | None = None


class ServerTlsPlan(Letter, frozen=True, kw_only=True):
    """TLS towards callers: paths of PEM files, which the engine reads again when they change."""

    cert_path: str
    key_path: str
    intermediate_certs_path: str | None = None
    ca_cert_path: str | None = None
    require_client_auth: bool = False
    ciphers: list[str] = []
    protocols: list[str] = []


class ClientAuthPlan(Letter, frozen=True, kw_only=True):
    """The certificate that endpoints are shown."""

    cert_path: str
    key_path: str
    intermediate_certs_path: str | None = None


class ClientTlsPlan(Letter, frozen=True, kw_only=True):
    """TLS towards endpoints; `common_name` has its captures filled in, no `trust_certs` are the system's."""

    common_name: str | None = None
    disable_validation: bool = False
    trust_certs: list[str] = []
    client_auth: ClientAuthPlan | None = None
    protocols: list[str] = []


class RateLimitPlan(Letter, frozen=True, kw_only=True):
    """A token bucket of `burst` requests, or one for each value of the header `by_header`."""

    requests_per_second: float
    burst: int
    by_header: str | None = None


class ForwardedPlan(Letter, frozen=True, kw_only=True):
    """What a `Forwarded` header calls both ends of a connection: msgspec builtins of the labelers."""

    by: dict[str, Any]
    for_: dict[str, Any] = msgspec.field(name="for")


class NotHttpPlan(Letter, frozen=True, kw_only=True):
    """Connections that do not speak HTTP/1, or say nothing for so long, go to the router of this label."""

    router: str
    silence_ms: int


class ServerPlan(Letter, frozen=True, kw_only=True):
    """One listening address of a router.

    `fds` are listening sockets that were handed over (systemd, an earlier process), one a worker at most; without them
    the engine binds `ip`:`port` itself.
    """

    ip: str
    port: int
    fds: list[int] = []
    socket: SocketOptions = SocketOptions()
    clear_context: bool = False
    withhold_errors: bool = False
    max_concurrent_requests: int | None = None
    max_call_depth: int = 1000
    timestamp_header: str | None = None
    head_timeout_ms: int = 10_000
    idle_timeout_ms: int | None = 300_000
    life_timeout_ms: int | None = None
    request_timeout_ms: int | None = None
    max_connections: int = 65_536
    tls: ServerTlsPlan | None = None
    rate_limit: RateLimitPlan | None = None
    forwarded: ForwardedPlan | None = None
    not_http: NotHttpPlan | None = None


class BindingCachePlan(Letter, frozen=True, kw_only=True):
    """Bounds of the caches (reference/linker.md §3.9)."""

    paths: int = 1000
    trees: int = 1000
    bounds: int = 1000
    clients: int = 1000
    idle_ttl_ms: int = 600_000


class HttpLimits(Letter, frozen=True, kw_only=True):
    """Bounds of one HTTP/1 message's head, of the errors we write, and of bodies that are kept to be sent again."""

    max_head_bytes: int = 8 * 1024
    max_line_bytes: int = 4 * 1024
    max_header_count: int = 128
    max_error_body_bytes: int = 5120 * 1024
    replay_body_bytes: int = 5 * 1024


class NeverRoll(Letter, frozen=True, kw_only=True, tag="never"):
    """The file is never rolled."""


class HourlyRoll(Letter, frozen=True, kw_only=True, tag="hourly"):
    """The file is rolled at every whole hour, local time."""


class DailyRoll(Letter, frozen=True, kw_only=True, tag="daily"):
    """The file is rolled at midnight, local time."""


class WeeklyRoll(Letter, frozen=True, kw_only=True, tag="weekly"):
    """The file is rolled when this day of the week begins: 1 is Sunday."""

    day: int


class SizeRoll(Letter, frozen=True, kw_only=True, tag="size"):
    """The file is rolled before it would become larger than this."""

    bytes: int


Roll = NeverRoll | HourlyRoll | DailyRoll | WeeklyRoll | SizeRoll
"""When the file of a log is moved away and a new one begun."""


class AccessLogPlan(Letter, frozen=True, kw_only=True):
    """The file that gets a line for each response (reference/linker.md §6.4).

    `append` is whether what it holds at the start stays, and `rotate_count` how many rolled files are kept; `None` for
    all.
    """

    path: str
    roll: Roll = NeverRoll()
    append: bool = True
    rotate_count: int | None = None


class PluginPlan(Letter, frozen=True, kw_only=True):
    """How long a router's Python plugins may take for a request, and how many requests may wait for them.

    `sees_requests` says that there are filters or identifiers among them, not just classifiers of responses.
    """

    timeout_ms: int = 1000
    max_waiting: int = 256
    sees_requests: bool = True


class RouterPlan(Letter, frozen=True, kw_only=True):
    """One router: its servers, how it identifies, and what its errors show.

    `identifiers` are msgspec builtins of the identifier kinds, tried in order. `base_dentries` are the lines
    `prefix => tree` of the router's dtab, for the text of a 502.
    """

    label: str
    protocol: str
    dst_prefix: str
    identifiers: list[dict[str, Any]]
    servers: list[ServerPlan]
    base_dentries: list[str] = []
    binding_timeout_ms: int = 10_000
    binding_cache: BindingCachePlan = BindingCachePlan()
    http: HttpLimits = HttpLimits()
    originator: bool = False
    trace_propagator: dict[str, Any] = msgspec.field(default_factory=lambda: {"kind": "io.l5d.default"})
    access_log: AccessLogPlan | None = None
    plugins: PluginPlan | None = None


class Plan(Letter, frozen=True, kw_only=True):
    """All that the engine runs; `workers` is the number of its threads."""

    workers: int
    routers: list[RouterPlan]


class BudgetPlan(Letter, frozen=True, kw_only=True):
    """How many requests may be sent again (reference/linker.md §2.7); `percent_can_retry` is a fraction."""

    min_retries_per_sec: int = 10
    percent_can_retry: float = 0.2
    ttl_ms: int = 10_000


class ServicePolicy(Letter, frozen=True, kw_only=True):
    """What holds for one service name; sent with its answer.

    `classifier` and `retry_backoff` are msgspec builtins of the kinds, as a client's `balancer` is.
    """

    total_timeout_ms: int | None = None
    rate_limit: RateLimitPlan | None = None
    classifier: dict[str, Any] = msgspec.field(default_factory=lambda: {"kind": "io.l5d.http.nonRetryable5XX"})
    retry_backoff: dict[str, Any] = msgspec.field(default_factory=lambda: {"kind": "constant", "ms": 0})
    retry_budget: BudgetPlan = BudgetPlan()


class PoolPlan(Letter, frozen=True, kw_only=True):
    """Connections kept per endpoint (`hostConnectionPool`)."""

    min_size: int = 0
    max_size: int | None = None
    idle_time_ms: int | None = None
    max_waiters: int | None = None


class OutlierPlan(Letter, frozen=True, kw_only=True):
    """How endpoints that fail are treated, beyond what the failure accrual says of each."""

    fail_fast: bool = False
    max_ejected_percent: int = 90
    panic_threshold_percent: int = 10
    warm_up_ms: int = 0


class ClientPolicy(Letter, frozen=True, kw_only=True):
    """What holds for one client name; sent with its endpoints.

    `balancer` and `failure_accrual` are msgspec builtins of the kinds, camelCase as written, `kind` included.
    """

    balancer: dict[str, Any] = msgspec.field(default_factory=lambda: {"kind": "p2c", "maxEffort": 5})
    failure_accrual: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"kind": "io.l5d.consecutiveFailures", "failures": 5}
    )
    outliers: OutlierPlan = OutlierPlan()
    pool: PoolPlan = PoolPlan()
    socket: SocketOptions = SocketOptions()
    connect_timeout_ms: int = 1000
    request_attempt_timeout_ms: int | None = None
    requeue_budget: BudgetPlan = BudgetPlan()
    forward_client_cert: bool = False
    tls: ClientTlsPlan | None = None
    idle_timeout_ms: int | None = None
    life_timeout_ms: int | None = None
