"""Around the steps ② to ⑤: when an endpoint is given a rest, what is tried again, what counts as a success, and TLS.

The engine runs these; here they are only declared. What the engine does not do yet is refused where `config/` reads it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from biandou.clients.backoff import Backoff as Backoff  # noqa: PLC0414 - has its place here for those above
from biandou.clients.backoff import ConstantBackoff as ConstantBackoff  # noqa: PLC0414 - as above
from biandou.clients.backoff import JitteredBackoff as JitteredBackoff  # noqa: PLC0414 - as above
from biandou.clients.backoff import Milliseconds as Milliseconds  # noqa: PLC0414 - as above
from biandou.clients.tls import PROTOCOLS, check_known
from biandou.clients.tls import ClientAuth as ClientAuth  # noqa: PLC0414 - has its place here for those above
from biandou.clients.tls import ClientTls as ClientTls  # noqa: PLC0414 - has its place here for those above
from biandou.kinds import Keys as Keys  # noqa: PLC0414 - has its place here for those above
from biandou.kinds import Kind

# ── Failure accrual ──────────────────────────────────────────────────────────────────────────────────────────────────


class FailureAccrualKind(Kind, frozen=True, kw_only=True):
    """When an endpoint is taken for dead, and how long it rests (reference/linker.md §2.9).

    Without `backoff` the rests grow from 5 s to 300 s, with jitter.
    """

    backoff: Backoff | None = None


class ConsecutiveFailures(FailureAccrualKind, frozen=True, kw_only=True, tag="io.l5d.consecutiveFailures"):
    """Dead after `failures` failures in a row; 0, or nothing, means after the first, as in Linkerd."""

    failures: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0


SuccessShare = Annotated[float, Meta(ge=0, le=1)]
"""The least share of requests that must succeed: 0.9 is 90 %."""


class SuccessRate(FailureAccrualKind, frozen=True, kw_only=True, tag="io.l5d.successRate"):
    """Dead when less than `successRate` of about the last `requests` requests succeeded."""

    success_rate: SuccessShare
    requests: Annotated[int, Meta(ge=1, le=2**31 - 1)]


class SuccessRateWindowed(FailureAccrualKind, frozen=True, kw_only=True, tag="io.l5d.successRateWindowed"):
    """Dead when less than `successRate` of the requests of the last `window` seconds succeeded, and there were five."""

    success_rate: SuccessShare
    window: Annotated[int, Meta(ge=1, le=2**31 - 1)]


class NoFailureAccrual(FailureAccrualKind, frozen=True, kw_only=True, tag="none"):
    """Never dead."""


# ── Retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Budget(Keys, frozen=True, kw_only=True):
    """How many requests may be sent again (reference/linker.md §2.7); `percentCanRetry` is a fraction, 0.2 is 20 %."""

    min_retries_per_sec: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 10
    percent_can_retry: Annotated[float, Meta(ge=0, le=1000)] = 0.2
    ttl_secs: Annotated[int, Meta(ge=1, le=60)] = 10


class Retries(Keys, frozen=True, kw_only=True):
    """How a request is tried again when its response says that it may be."""

    backoff: Backoff | None = None
    budget: Budget | None = None


# ── Response classifiers ─────────────────────────────────────────────────────────────────────────────────────────────


class ResponseClassifierKind(Kind, frozen=True, kw_only=True):
    """What counts as a success, and what may be tried again (reference/linker.md §2.10)."""


class NonRetryable5xx(ResponseClassifierKind, frozen=True, kw_only=True, tag="io.l5d.http.nonRetryable5XX"):
    """A 5xx is a failure and is not tried again unless the response asks for it: what holds anyway."""


class RetryableRead5xx(ResponseClassifierKind, frozen=True, kw_only=True, tag="io.l5d.http.retryableRead5XX"):
    """A 5xx is a failure; requests that only read are tried again: GET, HEAD, OPTIONS, TRACE."""


class RetryableIdempotent5xx(
    ResponseClassifierKind, frozen=True, kw_only=True, tag="io.l5d.http.retryableIdempotent5XX"
):
    """A 5xx is a failure; requests that may be acted on twice are tried again: those that read, PUT and DELETE."""


class RetryableAll5xx(ResponseClassifierKind, frozen=True, kw_only=True, tag="io.l5d.http.retryableAll5XX"):
    """A 5xx is a failure; requests are tried again, also POST and PATCH, but not those of unknown methods."""


class AllSuccessful(ResponseClassifierKind, frozen=True, kw_only=True, tag="io.l5d.http.allSuccessful"):
    """Every response is a success, whatever its status; only to get none is a failure."""


# ── Trace propagators ────────────────────────────────────────────────────────────────────────────────────────────────


class TracePropagatorKind(Kind, frozen=True, kw_only=True):
    """How a trace's ids travel in headers (reference/linker.md §5.3)."""


class DefaultTracePropagator(TracePropagatorKind, frozen=True, kw_only=True, tag="io.l5d.default"):
    """In `l5d-ctx-trace` and `l5d-sample`: what holds anyway."""


class ZipkinTracePropagator(TracePropagatorKind, frozen=True, kw_only=True, tag="io.l5d.zipkin"):
    """In Zipkin's `x-b3-*` headers, and not in ours (reference/linker.md §5.4)."""


# ── Labelers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class LabelerKind(Kind, frozen=True, kw_only=True):
    """What the `Forwarded` header calls one side of a connection (reference/linker.md §5.6)."""


class IpLabeler(LabelerKind, frozen=True, kw_only=True, tag="ip"):
    """Its IP address."""


class IpPortLabeler(LabelerKind, frozen=True, kw_only=True, tag="ip:port"):
    """Its IP address and port."""


class ConnectionRandomLabeler(LabelerKind, frozen=True, kw_only=True, tag="connectionRandom"):
    """A random word that the connection keeps."""


class RequestRandomLabeler(LabelerKind, frozen=True, kw_only=True, tag="requestRandom"):
    """A random word for each request: what holds if nothing is written."""


class RouterLabeler(LabelerKind, frozen=True, kw_only=True, tag="router"):
    """The router's label."""


class StaticLabeler(LabelerKind, frozen=True, kw_only=True, tag="static"):
    """The name that is written."""

    label: Annotated[str, Meta(min_length=1, max_length=255)]


# ── What only has kinds that are not built yet ───────────────────────────────────────────────────────────────────────


class RequestAuthorizerKind(Kind, frozen=True, kw_only=True):
    """Who may send a request (reference/linker.md §2.8)."""


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


_CIPHERS = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)


class ServerTls(Keys, frozen=True, kw_only=True):
    """TLS towards callers (reference/linker.md §2.5); PEM files, the key as PKCS#8, PKCS#1 or SEC1."""

    cert_path: str
    key_path: str
    intermediate_certs_path: str | None = None
    ca_cert_path: str | None = None
    require_client_auth: bool = False
    ciphers: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise `ValueError` for a protocol or cipher suite that we do not speak."""
        check_known("protocols", self.protocols, PROTOCOLS)
        check_known("ciphers", self.ciphers, _CIPHERS)
