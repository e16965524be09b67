"""Which of a router's announcers a path of `announce` means."""

from __future__ import annotations

from collections.abc import Iterable

from biandou.announcers.interface import AnnouncerKind
from biandou.dtab import Path


def matching(kinds: Iterable[AnnouncerKind], path: Path) -> list[tuple[AnnouncerKind, Path]]:
    """Give every announcer whose prefix begins the path, with the name that is left for it."""
    return [(kind, path.drop(len(kind.full_prefix))) for kind in kinds if path.starts_with(kind.full_prefix)]
