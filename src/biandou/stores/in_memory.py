"""`io.l5d.inMemory`: dtabs that end with the process (reference/naming.md §4.3).

Unlike the reference, a namespace that is deleted and created again goes on counting: an old version must not match it.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

from biandou.dtab import Dtab, DtabSyntaxError
from biandou.errors import NamespaceExists, NamespaceMissing, StaleVersion
from biandou.live import Live
from biandou.stores.chronicle import DEFAULT_SIZE, HistorySize, keeps_history
from biandou.stores.interface import (
    NO_REMARK,
    Remark,
    Revision,
    StoreKind,
    Version,
    Versioned,
    check_namespace,
    dtab_text,
)
from biandou.stores.shelf import Shelf

BEGINNING: Final = Remark(message="from the configuration")

MAX_GONE: Final = 10_000
"""Of so many deleted namespaces the count is kept."""


class InMemoryStoreKind(StoreKind, frozen=True, kw_only=True, tag="io.l5d.inMemory"):
    """Starts with `namespaces`, dtabs by name."""

    namespaces: dict[str, str] = {}
    history_size: HistorySize = DEFAULT_SIZE

    def __post_init__(self) -> None:
        """Raise `ValueError` unless each namespace has a name and a dtab."""
        for namespace, text in self.namespaces.items():
            check_namespace(namespace)
            try:
                Dtab.read(text)
            except DtabSyntaxError as error:
                raise ValueError(f"the dtab of {namespace}: {error}") from error

    def store(self) -> InMemoryStore:
        """Make the store."""
        dtabs = {namespace: Dtab.read(text) for namespace, text in self.namespaces.items()}
        return InMemoryStore(dtabs, self.history_size)


class InMemoryStore:
    """Dtabs in this process."""

    trouble: str | None = None

    def __init__(self, namespaces: Mapping[str, Dtab] | None = None, history_size: int = DEFAULT_SIZE) -> None:
        self._shelf = Shelf()
        self._counts: dict[str, int] = dict.fromkeys(namespaces or {}, 1)
        self._history_size = history_size
        self._revisions: dict[str, deque[Revision]] = {}
        for name, dtab in (namespaces or {}).items():
            self._note(name, Revision(_version(1), dtab, time.time(), BEGINNING))
        self._shelf.fill({name: Versioned(dtab, _version(1)) for name, dtab in (namespaces or {}).items()})

    async def start(self) -> None:
        """Nothing is opened."""

    async def stop(self) -> None:
        """Nothing is closed."""

    def namespaces(self) -> Live[frozenset[str]]:
        """Give the names of all namespaces."""
        return self._shelf.names()

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give a namespace's dtab."""
        return self._shelf.watch(namespace)

    async def create(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add a namespace; raises `NamespaceExists`."""
        check_namespace(namespace)
        if self._shelf.get(namespace) is not None:
            raise NamespaceExists(namespace)
        return self._write(namespace, dtab, remark)

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        """Change a namespace that still has `version`; raises `StaleVersion` if not, `NamespaceMissing`."""
        known = self._shelf.get(namespace)
        if known is None:
            raise NamespaceMissing(namespace)
        if known.version != version:
            raise StaleVersion(namespace)
        return self._write(namespace, dtab, remark)

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add or change a namespace."""
        check_namespace(namespace)
        return self._write(namespace, dtab, remark)

    async def delete(self, namespace: str, remark: Remark = NO_REMARK) -> None:
        """Remove a namespace; raises `NamespaceMissing`."""
        if self._shelf.get(namespace) is None:
            raise NamespaceMissing(namespace)
        self._shelf.set(namespace, None)
        # A deletion is a version too, which nothing will ever match.
        self._counts[namespace] = count = self._counts.pop(namespace, 0) + 1
        self._note(namespace, Revision(_version(count), None, time.time(), remark))
        gone = [name for name in self._counts if self._shelf.get(name) is None]
        for name in gone[:-MAX_GONE]:
            del self._counts[name]
            self._revisions.pop(name, None)

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        """Give the last states of a namespace, the newest first."""
        return list(self._revisions.get(namespace, ()))[::-1][:limit]

    def _note(self, namespace: str, revision: Revision) -> None:
        if keeps_history(namespace) and self._history_size > 0:
            self._revisions.setdefault(namespace, deque(maxlen=self._history_size)).append(revision)

    def _write(self, namespace: str, dtab: Dtab, remark: Remark) -> Version:
        dtab_text(dtab)
        # Counted anew, the last to be forgotten.
        count = self._counts.pop(namespace, 0) + 1
        self._counts[namespace] = count
        version = _version(count)
        self._shelf.set(namespace, Versioned(dtab, version))
        self._note(namespace, Revision(version, dtab, time.time(), remark))
        return version


def _version(count: int) -> Version:
    return struct.pack(">q", count)
