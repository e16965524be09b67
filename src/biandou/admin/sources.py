"""What an admin server shows, as functions that its process gives it: the same server serves linkers and namerd."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from biandou.boundary import ClientView, Withheld
from biandou.config.admin import AdminSecurity
from biandou.dtab import Dtab, Path
from biandou.dtab.bound import Origin
from biandou.dtab.explain import Delegation
from biandou.live import Live
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.prometheus import PrometheusTelemeter


class Delegate(Protocol):
    """Shows how names resolve, for `/delegator.json`."""

    def __call__(self, namespace: str | None, dtab: Dtab, path: Path, /) -> Live[Delegation]:
        """Give every branch of the delegation of `path` through `dtab`, by the interpreter of a namespace.

        The namespace is a router's label; `None` means an interpreter without configured namers. Raises
        `NotImplementedError` if there is no such namespace, or its interpreter cannot show delegations.
        """


Clients: TypeAlias = Callable[[str, str], Sequence[ClientView]]
"""Gives a client of a router as the engine sees it now; of what is empty, all."""

Origins: TypeAlias = Callable[[], Iterable[tuple[tuple[str, str], Origin]]]
"""Gives where each client's endpoints come from, by router and client name."""

State: TypeAlias = Callable[[], Any]
"""Gives JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSources:
    """Everything that an admin server needs of its process.

    `stop` ends the process, its grace in milliseconds or as configured; `reload` reads the configuration anew, gives
    what has changed by that, and raises `ConfigError`, `OSError` or `ValueError` if it stays as it was; `health` adds
    to `/admin/health`, e.g. how old the knowledge of a registry is; `namer_states` are by the path
    below `/namer_state/`, without `.json`, and `states` by the whole path of their page; `namespaces` and
    `stored_dtab`, which gives a namespace's text or `None`, are those of a process that keeps dtabs.
    A source that is `None` has no page.
    """

    product: str
    telemetry: ProcessTelemetry
    stop: Callable[[int | None], None]
    log_levels: Mapping[str, int]
    reload: Callable[[], Awaitable[str]] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    security: AdminSecurity | None = None
    prometheus: Sequence[PrometheusTelemeter] = ()
    delegate: Delegate | None = None
    bound_names: Callable[[], Sequence[str]] | None = None
    clients: Clients | None = None
    origins: Origins | None = None
    withheld: Callable[[], Iterable[Withheld]] | None = None
    namer_states: Mapping[str, State] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)
    health: Callable[[], Mapping[str, Any]] | None = None
    namespaces: Callable[[], Sequence[str]] | None = None
    stored_dtab: Callable[[str], str | None] | None = None
