"""What a namespace was, in an annotation of its object: written with the dtab in one request, and gone with the object.

The API server gives an object its version when it is written, so that no entry can hold its own: the newest has that of
the object, and gets it as its own when the next is written.
"""

from __future__ import annotations

import json
from typing import Any, Final

from biandou.clients.kubernetes import Json
from biandou.dtab import Dtab
from biandou.stores.chronicle import decode, encode, with_present
from biandou.stores.interface import Remark, Revision, Version, Versioned
from biandou.stores.kubernetes_dtabs import read_dtab

HISTORY: Final = "biandou.l5d.io/history"
MAX_BYTES: Final = 128 * 1024
"""How much of an object's annotations, which may have 256 KiB, the entries take: the oldest give way."""


def with_entry(document: Json, former: Json | None, dtab: Dtab, remark: Remark, size: int) -> Json:
    """Give an object with the entry of a change that is made now, before those of what is there, `former`."""
    if size == 0:
        return document
    entries = [["", encode(dtab, remark).decode()], *_known(former)][:size]
    while len(text := json.dumps(entries, separators=(",", ":"))) > MAX_BYTES and entries:
        entries.pop()
    metadata: Json = document.get("metadata") or {}
    annotations: Json = metadata.get("annotations") or {}
    return {**document, "metadata": {**metadata, "annotations": {**annotations, HISTORY: text}}}


def read_history(found: Json, version: Version, limit: int) -> list[Revision]:
    """Give what an object says that it was, the newest first, and before that what somebody else has made of it."""
    revisions = []
    for own, entry in _entries(found):
        revision = decode(entry.encode(), own.encode() or version)
        if revision is not None:
            revisions.append(revision)
    try:
        dtab = read_dtab(found)
    except ValueError:
        return revisions[:limit]
    elsewhere = not revisions or revisions[0].dtab != dtab
    return with_present(revisions, Versioned(dtab, version) if elsewhere else None, limit)


def _known(former: Json | None) -> list[list[str]]:
    """Give the entries of what is replaced, the newest with the version that it had."""
    if former is None:
        return []
    version = str(former.get("metadata", {}).get("resourceVersion", ""))
    return [[own or version, entry] for own, entry in _entries(former)]


def _entries(found: Json) -> list[tuple[str, str]]:
    metadata = found.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    text = annotations.get(HISTORY) if isinstance(annotations, dict) else None
    try:
        entries: Any = json.loads(text) if isinstance(text, str) else []
    except ValueError:
        entries = []
    # Anybody may have written there.
    pairs = (
        [entry for entry in entries if isinstance(entry, list) and len(entry) == 2] if isinstance(entries, list) else []
    )
    return [(own, entry) for own, entry in pairs if isinstance(own, str) and isinstance(entry, str)]
