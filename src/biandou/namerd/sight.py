"""What linkers are shown of a namespace: names through its dtab, addresses, and the version that these come from."""

from __future__ import annotations

from biandou.dtab import Dtab, Path
from biandou.live import Live
from biandou.namerd.in_force import Linker
from biandou.namerd.interfaces.documents import address_document, etag, tree_document
from biandou.namerd.names import Names, SettledName
from biandou.namerd.told import Told, ToldNames
from biandou.stores.interface import Store, Versioned

NO_VERSION = ""
"""The version of a namespace that does not exist."""


class Sights:
    """Every namespace as linkers are shown it."""

    def __init__(self, store: Store, names: Names) -> None:
        self._store = store
        self._names = names
        self._told = ToldNames()

    def of(self, namespace: str, linker: Linker) -> NamespaceSight:
        """Give what a linker is shown of a namespace."""
        return NamespaceSight(self._names, self._told, namespace, self.version(namespace))

    def version(self, namespace: str) -> Live[str]:
        """Give the version of a namespace's dtab as linkers and callers are told it."""
        return self._store.watch(namespace).map(shown_version).stabilize()


def shown_version(stored: Versioned | None) -> str:
    """Give a version as `ETag` shows it, `NO_VERSION` for a namespace that does not exist."""
    return NO_VERSION if stored is None else etag(stored.version)


class NamespaceSight:
    """One namespace."""

    def __init__(self, names: Names, told: ToldNames, namespace: str, version: Live[str]) -> None:
        self.version = version
        self._names = names
        self._told = told
        self._namespace = namespace

    def name(self, path: Path, local: Dtab) -> Told:
        """Give what a name means."""

        def make() -> tuple[Live[bytes], SettledName]:
            name = self._names.settled(self._namespace, local, path)
            return name.map(tree_document), name

        return self._told.get(("bind", self._namespace, local, path), make)

    def address(self, client: Path) -> Told:
        """Give where a client name is."""
        return self._told.get(("addr", client), lambda: (self._names.addresses(client).map(address_document), None))
