"""What a namespace was: entries of its history, as stores in registries keep them beside the dtab itself.

An entry is written by the same transaction as the dtab, and has the version that this gives: it holds the rest. Where a
namerd of Linkerd 1.x, or a tool of the registry's own, has changed the dtab, nobody has written an entry: what is there
then stands before the entries, without author and time.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from biandou.dtab import Dtab, DtabSyntaxError
from biandou.stores.interface import INTERNAL, MAX_TEXT, Remark, Revision, Version, Versioned

HistorySize = Annotated[int, Meta(ge=0, le=10_000)]
"""How many versions of a namespace are kept; 0 for none."""

DEFAULT_SIZE: Final = 100
PRUNE_EVERY: Final = 16
"""After so many changes of a namespace old entries are looked for: there may be so many more than are wanted."""

ELSEWHERE: Final = Remark(message="made elsewhere")


def keeps_history(namespace: str) -> bool:
    """Whether a namespace is an operator's: namerd's own state changes every second, and nobody asks what it was."""
    return not namespace.startswith(INTERNAL)


def encode(dtab: Dtab | None, remark: Remark) -> bytes:
    """Give the entry of a change that is made now; `None` is a deletion."""
    entry = {
        "time": time.time(),
        "author": remark.author,
        "message": remark.message,
        "dtab": None if dtab is None else str(dtab),
    }
    # A dtab's entries are much alike: it takes a tenth of the room.
    return base64.b64encode(zlib.compress(json.dumps(entry).encode()))


def decode(data: bytes, version: Version) -> Revision | None:
    """Give what an entry says; `None` if it can't be read."""
    try:
        unpacking = zlib.decompressobj()
        # Who can write here could write a bomb.
        text = unpacking.decompress(base64.b64decode(data, validate=True), 2 * MAX_TEXT)
        entry: Any = json.loads(text)
        dtab = entry["dtab"]
        remark = Remark(str(entry["author"]), str(entry["message"]))
        return Revision(version, None if dtab is None else Dtab.read(dtab), float(entry["time"]), remark)
    except (ValueError, KeyError, TypeError, zlib.error, DtabSyntaxError):
        return None


def with_present(revisions: Sequence[Revision], present: Versioned | None, limit: int) -> list[Revision]:
    """Give `revisions`, newest first, and before them what somebody else has made of it since: `present`, if any."""
    told = list(revisions)
    if present is not None:
        told.insert(0, Revision(present.version, present.dtab, None, ELSEWHERE))
    return told[:limit]


class Pruning:
    """When to look for old entries of a namespace."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._changes: dict[str, int] = {}

    def is_due(self, namespace: str) -> bool:
        """Count a change; the first of a process is due too, for there may have been others before."""
        count = self._changes.get(namespace, 0)
        self._changes[namespace] = (count + 1) % PRUNE_EVERY
        return count == 0
