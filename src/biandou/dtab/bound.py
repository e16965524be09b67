"""What the end of a delegation is: a client name and where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from biandou.dtab.path import Path
from biandou.live import Live

WEIGHT = "endpoint_addr_weight"
"""The metadata key of an address's weight, a float (reference/naming.md §0.4)."""

NODE = "nodeName"
"""The metadata key of the node of Kubernetes that an endpoint runs on."""

AUTHORITY = "authority"
"""The metadata key of a whole set: the `Host` that its endpoints want to be asked for."""


@dataclass(frozen=True, slots=True)
class Address:
    """One endpoint: `host` is an IP literal, `meta` holds only JSON values."""

    host: str
    port: int
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def weight(self) -> float:
        """The balancer's weight: 1.0 unless the metadata holds a real number."""
        weight = self.meta.get(WEIGHT)
        return weight if isinstance(weight, float) else 1.0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Origin:
    """Where a set of addresses came from and how fresh it is; one that is shared by all who pass the set on.

    It goes on changing after the set was made: the registry confirms the set, or cannot be asked. Times are seconds
    since 1970.
    """

    registry: str
    """What to call the registry: `consul at 127.0.0.1:8500`."""
    version: str | None = None
    """The registry's own index or version of what was told last."""
    changed_at: float | None = None
    confirmed_at: float | None = None
    """When the registry was known to hold the same, at the latest."""
    corrections: int = 0
    """Changes that the registry had not told of, and a reconciliation found."""
    error: str | None = None
    """Why the registry cannot be asked now."""
    error_at: float | None = None
    holds: int = 0
    """How often a set was held since it collapsed in one step (`holdCollapseMs`)."""
    held_until: float | None = None
    """Until when the set is held now."""
    remembered: bool = False
    """Whether the set is what was known before, since the registry has not said anything yet."""

    def age(self, now: float) -> float | None:
        """Give for how many seconds nobody has confirmed the set."""
        return None if self.confirmed_at is None else max(0.0, now - self.confirmed_at)

    def shown(self, now: float) -> dict[str, Any]:
        """Give JSON values, without what is not known; `age` is in seconds."""
        age = self.age(now)
        shown = {
            "registry": self.registry,
            "version": self.version,
            "changed": shown_time(self.changed_at),
            "confirmed": shown_time(self.confirmed_at),
            "age": None if age is None else round(age, 3),
            "corrections": self.corrections,
            "error": self.error,
            "failed": shown_time(self.error_at),
            "heldUntil": shown_time(self.held_until),
            "remembered": self.remembered or None,
        }
        return {key: value for key, value in shown.items() if value is not None}


def shown_time(at: float | None) -> str | None:
    """Give a time in ISO 8601, to the millisecond."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Where a client name is now: known, and perhaps empty.

    `origin` says nothing of where that is, and two sets are equal without it.
    """

    addresses: tuple[Address, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)
    origin: Origin | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Negative:
    """The client name exists in the tree but its source says that nothing is there."""


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """Not an address: the engine itself answers with this HTTP status (`/$/io.buoyant.http.status/<code>`)."""

    code: int


Addresses = AddressSet | Negative | LocalStatus
"""What a client name resolves to; pending and failed are the states of the `Live` around it."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A leaf after binding: `id` is the client name, `residual` what its namer left over.

    Two are equal if id and residual are: the addresses behind one id are one source. Another `generation` of namers,
    those of a reloaded configuration, has another source.
    """

    id: Path
    addresses: Live[Addresses] = field(compare=False, repr=False)
    residual: Path = field(default_factory=lambda: Path(()))
    generation: int = 0
