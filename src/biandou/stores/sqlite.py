"""`io.biandou.sqlite`: dtabs in a file on this machine, every version kept; the store of a namerd that names none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from biandou.clients.state_directory import state_directory
from biandou.stores.interface import StoreKind

if TYPE_CHECKING:
    from biandou.stores.sqlite_file import SqliteStore

FILE: Final = "namerd.db"


class SqliteStoreKind(StoreKind, frozen=True, kw_only=True, tag="io.biandou.sqlite"):
    """Dtabs in the SQLite file `path`, made if need be; without `path` it is `namerd.db` in the state directory."""

    path: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for a path that can be no file."""
        if self.path is not None and (not self.path or "\0" in self.path or os.path.isdir(self.path)):
            raise ValueError(f"{self.path!r} is no file")

    def store(self) -> SqliteStore:
        """Make the store."""
        # Not above: every linker knows this kind, and none needs SQLite.
        from biandou.stores.sqlite_file import SqliteStore  # noqa: PLC0415

        return SqliteStore(self.path or os.path.join(state_directory(), FILE))
