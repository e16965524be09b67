"""The documents of the HTTP API: dtabs as JSON or text, trees, addresses, versions (reference/naming.md §5.1, §8)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import Any, Final

from biandou.dtab import EMPTY, FAIL, Alt, Dentry, Dtab, DtabSyntaxError, Leaf, NameTree, Prefix, Union
from biandou.dtab.bound import Addresses, Bound, LocalStatus
from biandou.dtab.wire import address_json
from biandou.live import PENDING, Ok, State
from biandou.namerd.names import Resolved, Settled
from biandou.stores.interface import Version, dtab_text

JSON: Final = "application/json"
DTAB: Final = "application/dtab"
TEXT: Final = "text/plain"
MEDIA_TYPES: Final = (JSON, DTAB, TEXT)

SHORT: Final = 64 * 1024
"""Up to so many bytes, some 60 ms of work, a dtab is read where it is asked for."""


class MalformedDocument(ValueError):
    """A dtab that was sent is none; the message says where."""


def acceptable(accept: str) -> str:
    """Give the first media type of an `Accept` header that we have, whatever its `q`; JSON if there is none."""
    for item in accept.split(","):
        media = item.partition(";")[0].strip().lower()
        if media in MEDIA_TYPES:
            return media
    return JSON


def dump(value: Any) -> bytes:
    """Give JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")


def dtab_document(dtab: Dtab, media: str) -> bytes:
    """Give a dtab in one of `MEDIA_TYPES`, with a line's end."""
    if media != JSON:
        return f"{dtab}\n".encode()
    return dump([{"prefix": str(dentry.prefix), "dst": str(dentry.dst)} for dentry in dtab]) + b"\n"


async def read_sent_dtab(body: bytes, media: str) -> Dtab:
    """Read a dtab that was sent; raises `MalformedDocument`, and `TooLarge` if no store would take it.

    A long one is read in a thread: 4 MiB take seconds, in which linkers want answers.
    """
    if len(body) <= SHORT:
        return read_dtab(body, media)

    def read() -> Dtab:
        dtab = read_dtab(body, media)
        dtab_text(dtab)
        return dtab

    return await asyncio.to_thread(read)


def read_dtab(body: bytes, media: str) -> Dtab:
    """Read a dtab that was sent in one of `MEDIA_TYPES`; raises `MalformedDocument`."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedDocument(f"the dtab is not UTF-8 text (byte {error.start})") from error
    if media == JSON:
        return _read_json(text)
    try:
        return Dtab.read(text)
    except DtabSyntaxError as error:
        raise MalformedDocument(f"line {error.line}, column {error.column}: {error}") from error


def _read_json(text: str) -> Dtab:
    try:
        sent = json.loads(text)
    except json.JSONDecodeError as error:
        raise MalformedDocument(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise MalformedDocument("this JSON is too deep") from error
    except ValueError as error:
        raise MalformedDocument(str(error)) from error
    if not isinstance(sent, list):
        raise MalformedDocument("a dtab is a list of objects with prefix and dst")
    dentries = []
    for index, entry in enumerate(sent):
        if not (
            isinstance(entry, dict)
            and entry.keys() == {"prefix", "dst"}
            and all(isinstance(part, str) for part in entry.values())
        ):
            raise MalformedDocument(
                f"The dtab contains invalid dentries: [{index}] is no object of the texts prefix and dst alone"
            )
        try:
            part = "prefix"
            prefix = Prefix.read(entry["prefix"])
            part = "dst"
            dentries.append(Dentry(prefix, NameTree.read(entry["dst"])))
        except DtabSyntaxError as error:
            raise MalformedDocument(f"[{index}].{part}, column {error.column}: {error}") from error
    return Dtab(dentries)


# ── Versions ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def etag(version: Version) -> str:
    """Give a version as its header shows it: Base64, without quotes."""
    return base64.b64encode(version).decode()


def read_etag(text: str) -> Version:
    """Read what `If-Match` says, quoted or not; raises `ValueError`."""
    bare = text.strip()
    if len(bare) >= 2 and bare[0] == bare[-1] == '"':
        bare = bare[1:-1]
    try:
        return base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"If-Match is no version: {text}") from error


# ── Trees and addresses ──────────────────────────────────────────────────────────────────────────────────────────────


def tree_document(settled: Settled) -> bytes:
    """Give a bound tree with where its client names were, with a line's end; raises `RecursionError` if too deep."""
    return dump(_tree(settled.tree, settled)) + b"\n"


def address_document(resolved: Resolved) -> bytes:
    """Give where a client name is, with a line's end."""
    return dump(address_json(resolved)) + b"\n"


def _tree(tree: NameTree[Bound], settled: Settled) -> dict[str, Any]:
    if isinstance(tree, Leaf):
        bound = tree.value
        state: State[Addresses] = settled.addresses.get(bound.id, PENDING)
        if isinstance(state, Ok) and isinstance(state.value, LocalStatus):
            # An engine would answer by itself; whoever asks here cannot be told how.
            return {"type": "neg"}
        shown = {"addr": address_json(state), "id": str(bound.id), "path": str(bound.residual)}
        return {"type": "leaf", "bound": shown}
    if isinstance(tree, Union):
        branches = [{"weight": branch.weight, "tree": _tree(branch.tree, settled)} for branch in tree.branches]
        return {"type": "union", "union": branches}
    if isinstance(tree, Alt):
        return {"type": "alt", "alt": [_tree(branch, settled) for branch in tree.trees]}
    return {"type": "fail" if tree is FAIL else "empty" if tree is EMPTY else "neg"}
