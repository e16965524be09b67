"""`io.l5d.mesh`: the methods of namerd's gRPC interface (reference/naming.md §5.3), over bytes and without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from enum import IntEnum
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from biandou.dtab import Alt, Dtab, DtabSyntaxError, Leaf, NameTree, Path, Union
from biandou.dtab.explain import Absent, Alternatives, Delegation, Refused, Shares, Vacant
from biandou.dtab.mesh import (
    Asked,
    bound_leaf,
    decode_asked,
    decode_dtab,
    decode_path,
    decode_tree,
    encode_delegation,
    encode_dtab,
    encode_path,
    encode_tree,
    read_path_leaf,
)
from biandou.dtab.mesh_replicas import encode_replicas
from biandou.dtab.protobuf import MalformedMessage, bytes_field, members, text_field
from biandou.dtab.tree import EMPTY, FAIL
from biandou.dtab.wire import check_size, known
from biandou.errors import NamespaceRefused, StoreDown, reason
from biandou.live import PENDING, Failed, Live, Ok, Pending, State
from biandou.namerd.in_force import Linker
from biandou.namerd.interfaces.documents import SHORT
from biandou.namerd.interfaces.mesh_in_force import MeshStanding
from biandou.namerd.linkers import Linkers
from biandou.namerd.names import Names, Resolved
from biandou.namerd.reports import Reports
from biandou.namerd.rollout import Rollout
from biandou.namerd.sight import Sights, View
from biandou.stores.interface import Store, Versioned, check_namespace

T = TypeVar("T")

READ_SECONDS: Final = 30.0
"""How long an answer that is not streamed waits for a registry."""
DELEGATE_SECONDS: Final = 2.0
REPLICAS_SECONDS: Final = 1.0
"""How long `GetReplicas` waits before it says that nothing is known yet."""
MAX_LEAVES: Final = 100
"""So many names of a tree are delegated at once."""


class Status(IntEnum):
    """The codes of gRPC that this interface gives."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    INTERNAL = 13
    UNAVAILABLE = 14


class MeshRefusal(Exception):
    """What was asked for cannot be given; the message says why."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class MeshApi:
    """The methods by the path of their request: `unary` answer once, `streams` at each change.

    `watched` has those of a linker of ours by the field of a wish (`mesh_watch.py`). All raise `MeshRefusal`, and what
    `refusal` knows; a stream ends with its failure.
    """

    def __init__(self, store: Store, names: Names, reports: Reports, linkers: Linkers | None = None) -> None:
        self._store = store
        self._names = names
        self._reports = reports
        self._linkers = linkers or Linkers()
        self._sights = Sights(store, names)
        # A thousand linkers that watch one name are told what was written once.
        self._shared: WeakValueDictionary[tuple[object, ...], Live[bytes]] = WeakValueDictionary()
        self.unary: Mapping[str, Callable[[bytes], Awaitable[bytes]]] = {
            "/io.linkerd.mesh.Interpreter/GetBoundTree": self._get_bound_tree,
            "/io.linkerd.mesh.Resolver/GetReplicas": self._get_replicas,
            "/io.linkerd.mesh.Delegator/GetDtab": self._get_dtab,
            "/io.linkerd.mesh.Delegator/GetDelegateTree": self._get_delegate_tree,
            "/io.linkerd.mesh.Codec/ReadDtab": _answered(_read_dtab),
            "/io.linkerd.mesh.Codec/ShowDtab": _answered(_show_dtab),
            "/io.linkerd.mesh.Codec/ReadPath": _answered(_read_path),
            "/io.linkerd.mesh.Codec/ShowPath": _answered(_show_path),
            "/biandou.mesh.Reports/Report": self._report,
        }
        self.streams: Mapping[str, Callable[[bytes], Live[bytes]]] = {
            "/io.linkerd.mesh.Interpreter/StreamBoundTree": self._bound_tree,
            "/io.linkerd.mesh.Resolver/StreamReplicas": self._replicas,
            "/io.linkerd.mesh.Delegator/StreamDtab": self._dtab,
        }
        self.watched: Mapping[int, Callable[[bytes], Live[bytes]]] = {2: self._bound_tree, 3: self._replicas}
        self.once: Mapping[str, Callable[[bytes], Awaitable[bytes]]] = {
            # Deprecated by the reference: a stream of exactly one message.
            "/io.linkerd.mesh.Delegator/StreamDelegateTree": self._get_delegate_tree,
        }

    # ── Interpreter ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _bound_tree(self, request: bytes) -> Live[bytes]:
        asked = decode_asked(request)
        namespace, name = self._namespace(asked), _name(asked)
        key = "bind", namespace, asked.dtab, name
        told = self._shared.get(key)
        if told is None:
            trees = self._names.bind(namespace, asked.dtab, name)
            told = self._shared[key] = trees.map(lambda tree: bytes_field(1, encode_tree(tree, bound_leaf)))
        return told

    def tried_tree(self, request: bytes, namespace: str, rollout: Rollout) -> Live[bytes]:
        """Give what a name comes to for a linker that tries a rollout of `namespace`."""
        asked = decode_asked(request)
        if self._namespace(asked) != namespace:
            return self._bound_tree(request)
        name = _name(asked)
        key = "tried", namespace, rollout.name, asked.dtab, name
        told = self._shared.get(key)
        if told is None:
            trees = self._names.tried(namespace, rollout.name, rollout.dtab, asked.dtab, name)
            told = trees.map(lambda settled: bytes_field(1, encode_tree(settled.tree, bound_leaf)))
            self._shared[key] = told
        return told

    async def _get_bound_tree(self, request: bytes) -> bytes:
        return await self._now(self._bound_tree(request))

    # ── Resolver ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _replicas(self, request: bytes) -> Live[bytes]:
        """Give where a client name is, once that is known: a linker that comes back goes on with what it knew."""
        client = decode_path(members(request).get(1, b""))
        key = "replicas", client
        told = self._shared.get(key)
        if told is None:
            told = self._shared[key] = self._resolved(client).map(encode_replicas)
        return told

    def _resolved(self, client: Path) -> Live[Resolved]:
        if not len(client):
            return Live.ok(Failed(MeshRefusal(Status.NOT_FOUND, "No ID provided")))
        # A failure is told like any other state: the stream goes on.
        return Live.join([self._names.addresses(client)]).flat_map(_flat)

    async def _get_replicas(self, request: bytes) -> bytes:
        try:
            return await self._now(self._replicas(request), REPLICAS_SECONDS)
        except TimeoutError:
            return encode_replicas(PENDING)

    # ── Delegator ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _dtab(self, request: bytes) -> Live[bytes]:
        asked = decode_asked(request)
        return self._store.watch(self._namespace(asked)).map(_versioned)

    async def _get_dtab(self, request: bytes) -> bytes:
        return await self._now(self._dtab(request))

    async def _get_delegate_tree(self, request: bytes) -> bytes:
        asked = decode_asked(request)
        namespace = self._namespace(asked)
        if not asked.name:
            raise MeshRefusal(Status.NOT_FOUND, "No name given")
        tree = decode_tree(asked.name, read_path_leaf)
        if sum(1 for _ in tree.leaves()) > MAX_LEAVES:
            raise MeshRefusal(Status.INVALID_ARGUMENT, f"a tree of more than {MAX_LEAVES} names")
        delegation = await self._delegate(namespace, asked.dtab, tree)
        check_size(delegation)
        return bytes_field(1, encode_delegation(delegation))

    async def _delegate(self, namespace: str, dtab: Dtab, tree: NameTree[Path]) -> Delegation:
        """Give the delegation of every name of a tree, which is mostly a single one."""
        match tree:
            case Leaf(value=path):
                if not len(path):
                    raise MeshRefusal(Status.NOT_FOUND, "No name given")
                return await self._now(self._names.delegate(namespace, dtab, path), DELEGATE_SECONDS)
            case Alt(trees):
                parts = [await self._delegate(namespace, dtab, branch) for branch in trees]
                return Alternatives(path=Path(), dentry=None, trees=tuple(parts))
            case Union(branches):
                shares = [(share.weight, await self._delegate(namespace, dtab, share.tree)) for share in branches]
                return Shares(path=Path(), dentry=None, branches=tuple(shares))
        end = Refused if tree is FAIL else Vacant if tree is EMPTY else Absent
        return end(path=Path(), dentry=None)

    # ── Reports: Biandou's own ───────────────────────────────────────────────────────────────────────────────────────

    async def _report(self, request: bytes) -> bytes:
        parts = members(request)
        root = decode_path(parts[1]) if 1 in parts else None
        namespace = self._namespace(Asked(root, b"", Dtab()))
        try:
            document = parts.get(2, b"")
            answer = self._linkers.hear(namespace, document, self._reports.take(namespace, document))
        except ValueError as error:
            raise MeshRefusal(Status.INVALID_ARGUMENT, reason(error)) from error
        return bytes_field(1, json.dumps(answer).encode())

    def standing(self, wake: Callable[[], None]) -> MeshStanding:
        """Give what keeps which version a linker has in force that watches here; `wake` says that there is another."""
        return MeshStanding(self._linkers.in_force, self._view, wake)

    def _view(self, namespace: str, linker: Linker) -> Live[View]:
        return self._sights.of(namespace, linker).view

    # ── What they have in common ─────────────────────────────────────────────────────────────────────────────────────

    def _namespace(self, asked: Asked) -> str:
        """Give the namespace that is asked for; raises `StoreDown` if its dtab was never known, and cannot be."""
        root = asked.root
        if root is None:
            raise MeshRefusal(Status.INVALID_ARGUMENT, "No namespace specified")
        if len(root) != 1:
            raise MeshRefusal(Status.INVALID_ARGUMENT, f"Invalid root: `{root}` must have exactly one segment")
        try:
            namespace = root.segments[0].decode()
        except UnicodeDecodeError:
            raise MeshRefusal(Status.INVALID_ARGUMENT, f"Invalid root: `{root}` is not UTF-8 text") from None
        check_namespace(namespace)
        trouble = self._store.trouble
        if trouble is not None and not isinstance(self._store.watch(namespace).sample(), Ok):
            raise StoreDown(trouble)
        return namespace

    async def _now(self, live: Live[T], seconds: float = READ_SECONDS) -> T:
        """Give the first state that is known; raises what made it fail, and `TimeoutError`."""
        with ExitStack() as watches:
            async with asyncio.timeout(seconds):
                state = await known(live, watches)
        if isinstance(state, Ok):
            return state.value
        raise state.error if isinstance(state, Failed) else TimeoutError


def refusal(error: Exception) -> MeshRefusal:
    """Give what an exception is to the caller."""
    match error:
        case MeshRefusal():
            return error
        case MalformedMessage() | DtabSyntaxError() | NamespaceRefused():
            return MeshRefusal(Status.INVALID_ARGUMENT, reason(error))
        case StoreDown():
            return MeshRefusal(Status.UNAVAILABLE, reason(error))
        case TimeoutError():
            return MeshRefusal(Status.DEADLINE_EXCEEDED, "Request timed out.")
    return MeshRefusal(Status.INTERNAL, reason(error))


def _flat(states: tuple[State[Resolved], ...]) -> Live[Resolved]:
    match states[0]:
        case Ok(resolved):
            return Live.ok(resolved)
        case Failed() as failed:
            return Live.ok(failed)
        case Pending():
            return Live()


def _versioned(stored: Versioned | None) -> bytes:
    if stored is None:
        raise MeshRefusal(Status.NOT_FOUND, "Root not found")
    version = bytes_field(1, bytes_field(1, stored.version))
    return bytes_field(1, version + bytes_field(2, encode_dtab(stored.dtab)))


def _name(asked: Asked) -> Path:
    path = decode_path(asked.name)
    if not len(path):
        raise MeshRefusal(Status.NOT_FOUND, "No name given")
    return path


# ── Codec ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _answered(function: Callable[[bytes], bytes]) -> Callable[[bytes], Awaitable[bytes]]:
    async def answer(request: bytes) -> bytes:
        sent = members(request).get(1, b"")
        # A long one takes a second, in which linkers want answers.
        return function(sent) if len(sent) <= SHORT else await asyncio.to_thread(function, sent)

    return answer


def _read_dtab(text: bytes) -> bytes:
    return bytes_field(1, encode_dtab(Dtab.read(_utf8(text))))


def _show_dtab(message: bytes) -> bytes:
    return text_field(1, str(decode_dtab(message)))


def _read_path(text: bytes) -> bytes:
    return bytes_field(1, encode_path(Path.read(_utf8(text) or "/")))


def _show_path(message: bytes) -> bytes:
    return text_field(1, str(decode_path(message)))


def _utf8(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"the text is not UTF-8 (byte {error.start})") from error
