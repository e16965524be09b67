"""`io.l5d.fs`: a file a name, a line an endpoint; changes are noticed by inotify (reference/naming.md §1.1)."""

from __future__ import annotations

import os

from biandou.namers.interface import NamerKind


class FsNamerKind(NamerKind, frozen=True, kw_only=True, tag="io.l5d.fs"):
    """Endpoints in the files below `rootDir`, which must exist; relative to the working directory."""

    root_dir: str

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `rootDir` is a directory."""
        super().__post_init__()
        if not os.path.isdir(self.root_dir):
            raise ValueError(f"{self.root_dir} is not a directory")
