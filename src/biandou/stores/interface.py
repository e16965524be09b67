"""What every store of dtabs is: configuration that an operator writes, and namespaces that are watched and changed.

A store keeps one dtab a namespace. Reading is watching: what is known now comes at once, and a store that is away goes
on giving what it knew, with `trouble` saying so. Every change is acknowledged by its new version, and is then durable
(but for `io.l5d.inMemory`) and seen by whoever reads here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from biandou.dtab import Dtab
from biandou.errors import NamespaceRefused, TooLarge
from biandou.kinds import Kind
from biandou.live import Live

MAX_DENTRIES: Final = 10_000
"""How many entries a dtab may have."""

MAX_TEXT: Final = 4 * 1024 * 1024
"""How many bytes a dtab's text may have."""

MAX_NAMESPACE: Final = 255
"""How many bytes a namespace's name may have."""

INTERNAL: Final = ("~canary~", "~rollout~")
"""How the names of namespaces begin in which namerd keeps its own state: of its canaries, and of its rollouts."""

Version = bytes
"""Which state of a namespace this is: opaque, equal only for the same state of the same namespace."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A dtab as it is stored, and its version."""

    dtab: Dtab
    version: Version


@dataclass(frozen=True, slots=True)
class Remark:
    """Who made a change and what for; kept by stores that have a history."""

    author: str = ""
    message: str = ""


NO_REMARK: Final = Remark()


@dataclass(frozen=True, slots=True)
class Revision:
    """One state that a namespace had: `dtab` is `None` if it was deleted.

    `time` is in seconds since 1970, `None` if it is not known: somebody has changed the registry without us.
    """

    version: Version
    dtab: Dtab | None
    time: float | None
    remark: Remark


class Store(Protocol):
    """Namespaces of dtabs.

    Every change raises `StoreDown` if the store is away, `TooLarge` and `NamespaceRefused` for what it does not take,
    and `StoreForbidden` if it refuses us. After an error other than `StoreDown` nothing has changed.
    """

    async def start(self) -> None:
        """Open the store; a remote one need not be reachable. Raises `StoreDown` if it can never be used like this."""

    async def stop(self) -> None:
        """Let running changes end, and close everything."""

    @property
    def trouble(self) -> str | None:
        """Why what is read may be out of date or changes fail; `None` while all is well."""

    def namespaces(self) -> Live[frozenset[str]]:
        """Give the names of all namespaces."""

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give a namespace's dtab, `None` while there is no such namespace; states in between may be left out."""

    async def create(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add a namespace; raises `NamespaceExists`."""

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        """Change a namespace that still has `version`; raises `StaleVersion` if not, `NamespaceMissing`."""

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add or change a namespace, whatever it was before."""

    async def delete(self, namespace: str, remark: Remark = NO_REMARK) -> None:
        """Remove a namespace; raises `NamespaceMissing`."""


@runtime_checkable
class HistoricStore(Store, Protocol):
    """A store that keeps what its namespaces were."""

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        """Give the last states of a namespace, the newest first; none if there never was one. Raises `StoreDown`."""


class StoreKind(Kind, frozen=True, kw_only=True):
    """The key that all stores have (reference/naming.md §4.2)."""

    experimental: bool | None = None

    def store(self) -> Store:
        """Make the store; it opens nothing before it is started."""
        raise NotImplementedError


def check_namespace(namespace: str) -> None:
    """Raise `NamespaceRefused` for a name that no store takes."""
    try:
        size = len(namespace.encode())
    except UnicodeEncodeError:
        raise NamespaceRefused("a namespace's name is UTF-8 text") from None
    if not 0 < size <= MAX_NAMESPACE:
        raise NamespaceRefused(f"a namespace's name has 1 to {MAX_NAMESPACE} bytes, not {size}")
    if "/" in namespace or not namespace.isprintable():
        raise NamespaceRefused("a namespace's name has no slash and nothing that cannot be printed")


def dtab_text(dtab: Dtab, most: int = MAX_TEXT) -> str:
    """Give a dtab as it is stored; raises `TooLarge` beyond `MAX_DENTRIES` or `most` bytes."""
    if len(dtab) > MAX_DENTRIES:
        raise TooLarge(f"a dtab has at most {MAX_DENTRIES} entries, not {len(dtab)}")
    text = str(dtab)
    size = len(text.encode())
    if size > most:
        raise TooLarge(f"a dtab has at most {most} bytes of text here, not {size}")
    return text
