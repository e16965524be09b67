"""What an operator says of how often a registry is asked, and what its instances are: shared by several namers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeGuard
from urllib.parse import urlsplit

from msgspec import Meta

from biandou.clients.retry import Retry

RegistryPort = Annotated[int, Meta(ge=1, le=65535)]

PollMs = Annotated[int, Meta(ge=100, le=2**31 - 1)]
"""How often a registry is asked: ten times a second at most."""

JitterMs = Annotated[int, Meta(ge=0, le=2**31 - 1)]

LEAST_SECONDS: Final = 0.05

RETRY: Final = Retry(0.5, 5.0)
"""After failures: servers that are down are not held down."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One endpoint that a registry tells of; `host` may be a name."""

    host: str
    port: int
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Beat:
    """The wait between two questions, in seconds: `seconds` ± `jitter`; after failures `retry` says, if it is given."""

    seconds: float
    jitter: float
    retry: Retry | None = None

    def wait(self, failures: int) -> float:
        """Give how long to wait after so many failures in a row."""
        if failures and self.retry is not None:
            return self.retry.wait(failures)
        return max(LEAST_SECONDS, self.seconds + random.uniform(-self.jitter, self.jitter))  # noqa: S311 - no secret


def is_port(value: object) -> TypeGuard[int]:
    """Whether a value out of JSON is the number of a port; JSON's `true` is none, though it is a number to Python."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def read_port(text: str) -> int | None:
    """Give the port that a text in decimal is, if it is one."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 5):
        return None
    number = int(text)
    return number if 1 <= number <= 65535 else None


def check_host(host: str | None) -> None:
    """Raise `ValueError` for a host that is none; `None` is one that is not written."""
    if host is None:
        return
    if not host or not host.isprintable() or set(host) & set("/?#@, "):
        raise ValueError("host is a host name or an address")
    # An IPv6 address has two at least.
    if host.count(":") == 1:
        raise ValueError("host is a host name or an address, without a port")


def check_secret(key: str, text: str | None) -> None:
    """Raise `ValueError`, without showing it, for a secret or a user's name that cannot be sent."""
    if text is not None and not (text and text.isprintable()):
        raise ValueError(f"{key}: 1 or more printable characters")


def check_servers(key: str, servers: Sequence[str]) -> None:
    """Raise `ValueError` unless all are URLs of servers."""
    if not servers:
        raise ValueError(f"{key} names one server at least")
    for server in servers:
        try:
            parts = urlsplit(server)
            good = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and parts.port != 0
        except ValueError:
            good = False
        if not good or "?" in server or "#" in server or not server.isprintable() or " " in server:
            raise ValueError(f"{key}: each is http://<host>:<port>/<path>, without a user or a query")
