"""What a linker knew of names and clients, for when who is to bind or resolve them can't say.

What is in use is known by the engine and by whoever observes it; here is the rest: what was read from the state file,
and what the engine has let go of. The first word about a name or client, be it that there is nothing, ends what is
remembered of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from biandou.boundary import BoundTree, Branch, EndpointsKnown
from biandou.clients.kept import KEPT
from biandou.clients.records import Records
from biandou.config.state_file import StateFile
from biandou.dtab.bound import Origin
from biandou.errors import ResolutionError

MAX_NAMES: Final = 10_000
MAX_CLIENTS: Final = 10_000
MAX_ADDRESSES: Final = 200_000
"""How many addresses all clients together may have."""

Key = tuple[str, str]
"""A router's label, and a service's or client's name."""


class KnownName(msgspec.Struct, frozen=True, kw_only=True, tag="name"):
    """What a service name came to: `branches` are a weight each, a client name or nothing (`$`), and its residual."""

    router: str
    path: str
    branches: list[tuple[float, str | None, str]]
    at: float
    """When that was so, at the latest: seconds since 1970."""

    @property
    def key(self) -> Key:
        """What it is kept by."""
        return self.router, self.path

    @property
    def size(self) -> int:
        """One name."""
        return 1

    @property
    def tree(self) -> BoundTree:
        """What the engine is told."""
        return BoundTree(
            branches=[
                Branch(weight=weight, client=client, residual=residual) for weight, client, residual in self.branches
            ]
        )


class KnownClient(msgspec.Struct, frozen=True, kw_only=True, tag="client"):
    """Where a client name was: (IP literal, port, weight) each, and which registry said so."""

    router: str
    client: str
    addresses: list[tuple[str, int, float]]
    authority: str | None = None
    registry: str
    version: str | None = None
    changed: float | None = None
    at: float
    """When the registry was known to hold the same, at the latest: seconds since 1970."""

    @property
    def key(self) -> Key:
        """What it is kept by."""
        return self.router, self.client

    @property
    def size(self) -> int:
        """How many addresses it has."""
        return len(self.addresses)

    @property
    def endpoints(self) -> EndpointsKnown:
        """What the engine is told."""
        return EndpointsKnown(addresses=self.addresses, authority=self.authority)

    def origin(self, error: str) -> Origin:
        """Give where the addresses came from, and why they are not from there now."""
        return Origin(
            registry=self.registry,
            version=self.version,
            changed_at=self.changed,
            confirmed_at=self.at,
            error=error,
            remembered=True,
        )


class Knowledge:
    """What was known and is not in use; used only by a router of the same configuration as when it was known.

    `configurations` tell for each router's label what its names' meaning depends on.
    """

    def __init__(
        self,
        configurations: Mapping[str, str] | None = None,
        settings: StateFile = StateFile(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.names: Records[Key, KnownName] = Records(MAX_NAMES, MAX_NAMES, clock)
        self.clients: Records[Key, KnownClient] = Records(MAX_CLIENTS, MAX_ADDRESSES, clock)
        self.changes = 0
        """Goes up whenever the engine is told what is known now."""
        self.configurations: dict[str, str] = {}
        self.now = clock
        self._patience_ms = 0
        self.replan(configurations or {}, settings)

    def replan(self, configurations: Mapping[str, str], settings: StateFile) -> None:
        """Go by other routers from now on: what was known of one that is configured otherwise is forgotten."""
        former, self.configurations = self.configurations, dict(configurations)
        others = {label for label in former if former[label] != self.configurations.get(label)}
        self.names.forget_all(lambda key: key[0] in others)
        self.clients.forget_all(lambda key: key[0] in others)
        self.names.max_age_secs = self.clients.max_age_secs = KEPT.records.max_age_secs = settings.max_age_secs
        self._patience_ms = settings.patience_ms
        KEPT.patience_seconds = settings.patience_ms / 1000

    def wait(self, impatient: Callable[[], None]) -> asyncio.TimerHandle:
        """Have `impatient` called when whoever is asked has had time enough to say something."""
        return asyncio.get_running_loop().call_later(self._patience_ms / 1000, impatient)

    def late(self) -> ResolutionError:
        """Give what is wrong with one who had time enough."""
        return ResolutionError(f"nothing was heard within {self._patience_ms} ms")
