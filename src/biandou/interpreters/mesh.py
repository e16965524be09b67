"""`io.l5d.mesh`: namerd binds, and tells each change over gRPC (reference/naming.md §3.1, §5.3).

Several namerds are the several addresses of `dst`. While all are away, what they told last holds.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from weakref import WeakValueDictionary

import msgspec
from msgspec import Meta

from biandou.clients.grpc_log import hush_grpc
from biandou.clients.mesh_tls import channel_credentials, check_mesh_tls
from biandou.clients.namerd_addresses import NamerdRetry, namerd_addresses
from biandou.clients.namerd_origin import Told
from biandou.clients.retry import Retry
from biandou.clients.tls import ClientTls
from biandou.dtab import Dtab, NameTree, Path
from biandou.dtab.bound import Addresses, AddressSet, Bound
from biandou.dtab.explain import Delegation
from biandou.dtab.mesh import (
    bound_leaf_reader,
    decode_delegation,
    decode_tree,
    encode_asked,
    encode_path,
    path_leaf,
)
from biandou.dtab.mesh_replicas import decode_replicas
from biandou.dtab.protobuf import bytes_field, members
from biandou.interpreters.interface import Interpreter, InterpreterKind
from biandou.interpreters.shown import shown
from biandou.kinds import Keys
from biandou.live import PENDING, Live, Ok, Source, State
from biandou.namers.interface import Lookup

if TYPE_CHECKING:
    from biandou.clients.mesh import MeshClient

PositiveMs = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Kilobytes = Annotated[int, Meta(ge=64, le=2**21 - 1)]

_log = logging.getLogger(__name__)


class FailureThreshold(Keys, frozen=True, kw_only=True):
    """How often namerd is asked whether it is still there, and how long it may take to say so."""

    min_period_ms: PositiveMs = 5000
    close_timeout_ms: PositiveMs = 6000


class MeshInterpreterKind(InterpreterKind, frozen=True, kw_only=True, tag="io.l5d.mesh"):
    """Binds with the dtab that the namerd at `dst` has in the namespace `root`, after which comes the router's own."""

    dst: str
    root: str = "/default"
    retry: NamerdRetry = NamerdRetry(base_seconds=1, max_seconds=600)
    tls: ClientTls | None = None
    failure_threshold: FailureThreshold | None = None
    initial_stream_window_size_kb: Kilobytes | None = msgspec.field(default=None, name="initialStreamWindowSizeKB")

    def __post_init__(self) -> None:
        """Raise `ValueError` unless `dst` and `root` are paths that can be used, or for what TLS here cannot do."""
        if len(Path.read(self.dst)) == 0:
            raise ValueError("dst says which namerd: /$/inet/namerd.example.com/4321")
        if len(Path.read(self.root)) != 1:
            raise ValueError(f"root is a namespace, so that it has one element: /default, and not {self.root}")
        check_mesh_tls(self.tls)

    def interpreter(self, base: Live[Dtab], namers: Lookup) -> Interpreter:
        """Make the interpreter; raises `ConfigError` for a TLS file that can't be used."""
        hush_grpc()
        credentials = channel_credentials(self.tls)
        # Not above: gRPC's library costs memory and threads, which other linkers do without.
        from biandou.clients.mesh import MeshClient  # noqa: PLC0415

        options: list[tuple[str, int | str]] = []
        if self.tls is not None and self.tls.common_name is not None:
            options.append(("grpc.ssl_target_name_override", self.tls.common_name))
        if self.failure_threshold is not None:
            options.append(("grpc.keepalive_time_ms", self.failure_threshold.min_period_ms))
            options.append(("grpc.keepalive_timeout_ms", self.failure_threshold.close_timeout_ms))
        if self.initial_stream_window_size_kb is not None:
            options.append(("grpc.http2.lookahead_bytes", self.initial_stream_window_size_kb * 1024))
        retry = Retry(self.retry.base_seconds, self.retry.max_seconds)
        addresses = namerd_addresses(Path.read(self.dst), namers.lookup)
        client = MeshClient(addresses, retry, credentials, tuple(options))
        return MeshInterpreter(base, client, Path.read(self.root), f"namerd at {self.dst}")


class MeshInterpreter:
    """Names as a namerd binds them in one namespace; `registry` is what to call it."""

    def __init__(self, base: Live[Dtab], client: MeshClient, root: Path, registry: str = "namerd") -> None:
        self._base = base
        self._registry = registry
        self._client = client
        self._root = root
        self.in_force = client.in_force(encode_path(root))
        self._trees: WeakValueDictionary[tuple[Path, Dtab], Live[NameTree[Bound]]] = WeakValueDictionary()
        self._addresses: WeakValueDictionary[Path, Live[Addresses]] = WeakValueDictionary()

    def bind(self, local: Dtab, path: Path) -> Live[NameTree[Bound]]:
        """Give what `path` comes to through namerd's dtab, the router's own and `local`."""
        return self._base.flat_map(lambda own: self._tree(path, own + local))

    def delegate(self, dtab: Dtab, path: Path) -> Live[Delegation]:
        """Give every branch of the delegation of `path` through namerd's dtab and `dtab`, as it is now."""

        def follow(source: Source[Delegation]) -> Callable[[], None]:
            async def ask() -> None:
                tree = bytes_field(6, path_leaf(path))
                try:
                    request = encode_asked(self._root, tree, dtab)
                    told = await self._client.call("/io.linkerd.mesh.Delegator/GetDelegateTree", request)
                    source.set(decode_delegation(members(told).get(1, b""), self._bound))
                except Exception as error:
                    source.fail(error)

            asking = asyncio.get_running_loop().create_task(ask(), name=f"namerd {path}")

            def stop() -> None:
                asking.cancel()

            return stop

        return Source(follow=follow)

    async def report(self, document: bytes) -> list[Any]:
        """Send a report to every namerd: any of them may be the one that judges by it."""
        request = bytes_field(1, encode_path(self._root)) + bytes_field(2, document)
        answers = []
        for told in await self._client.tell(request):
            try:
                answers.append(json.loads(members(told).get(1, b"")))
            except (ValueError, RecursionError) as error:
                _log.debug("namerd's answer to a report can't be read: %s", error)
        return answers

    @property
    def told_elsewhere(self) -> bool:
        """Whether there are namerds which learn only from reports what is in force."""
        return self._client.several

    @property
    def may_try(self) -> bool:
        """Whether namerd can have this linker go by a dtab that others do not have yet."""
        return True

    @property
    def state_page(self) -> str:
        """Where `state` is shown."""
        return f"io.l5d.mesh/{self._root}".replace("//", "/")

    def state(self) -> dict[str, Any]:
        """Give every name and client name that namerd is asked for now, with what it told last."""
        asked = {"registry": self._registry}
        bound = {f"{path}{f'?dtab={dtab}' if dtab else ''}": tree for (path, dtab), tree in list(self._trees.items())}
        return {
            "bind": {name: {"state": shown(tree, str), "poll": asked} for name, tree in bound.items()},
            "resolve": {
                str(client): {"state": shown(known, _shown_addresses), "poll": asked}
                for client, known in list(self._addresses.items())
            },
        }

    def _tree(self, path: Path, dtab: Dtab) -> Live[NameTree[Bound]]:
        tree = self._trees.get((path, dtab))
        if tree is None:
            request = encode_asked(self._root, encode_path(path), dtab)
            method = "/io.linkerd.mesh.Interpreter/StreamBoundTree"
            tree = self._trees[path, dtab] = self._client.stream(method, request, self._read_tree)
        return tree

    def _read_tree(self, message: bytes) -> State[NameTree[Bound]]:
        told = members(message).get(1)
        return PENDING if told is None else Ok(decode_tree(told, bound_leaf_reader(self._bound)))

    def _bound(self, client: Path, residual: Path) -> Bound:
        addresses = self._addresses.get(client)
        if addresses is None:
            request = bytes_field(1, encode_path(client))
            here = Told(self._registry)

            def read(message: bytes) -> State[Addresses]:
                state = _read_replicas(message)
                return Ok(here.take(state.value)) if isinstance(state, Ok) else state

            method = "/io.linkerd.mesh.Resolver/StreamReplicas"
            addresses = self._client.stream(method, request, read, here.origin)
            self._addresses[client] = addresses
        return Bound(client, addresses, residual)


def _shown_addresses(known: Addresses) -> list[str]:
    return [str(address) for address in known.addresses] if isinstance(known, AddressSet) else []


def _read_replicas(message: bytes) -> State[Addresses]:
    """Read where a client name is, in an order of our own: another namerd may tell the same in another one."""
    state = decode_replicas(message)
    if isinstance(state, Ok) and isinstance(state.value, AddressSet):
        addresses = sorted(state.value.addresses, key=lambda address: (address.host, address.port, str(address.meta)))
        return Ok(AddressSet(tuple(addresses), state.value.meta))
    return state
