"""What the end of a delegation is: a client name and where it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from biandou.dtab.path import Path
from biandou.live import Live

WEIGHT = "endpoint_addr_weight"
"""The metadata key of an address's weight, a float (reference/naming.md §0.4)."""

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


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Where a client name is now: known, and perhaps empty."""

    addresses: tuple[Address, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)


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

    Two are equal if id and residual are: the addresses behind one id are one source.
    """

    id: Path
    addresses: Live[Addresses] = field(compare=False, repr=False)
    residual: Path = field(default_factory=lambda: Path(()))
