"""Names at a registry that is asked again and again: one watch a name, for as long as anybody observes it.

A registry that fails leaves what was known in use. What a failure means as long as nothing was ever known is the
namer's to say: `Failed` with `fails_at_first`, else nothing is told (reference/naming.md §1.13).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

from biandou.clients.dns import Resolver, ip_literal
from biandou.clients.registry_access import Instance
from biandou.clients.registry_http import RegistryError
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Address, Addresses, AddressSet, Bound, Negative, Origin
from biandou.errors import ResolutionError, reason
from biandou.live import Failed, Live, Ok, Pending, Source, State
from biandou.namers.followed import Followed, Memory, Registry, endpoints_in

T = TypeVar("T")

Instances = tuple[Instance, ...]
Tree = NameTree[Path | Bound]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """What a registry says of a name, and by which version of its own.

    `corrected` says that it had not told of the change when it came; `again` in how many seconds it is to be asked
    again, if it says so itself.
    """

    value: T
    version: str | None = None
    corrected: bool = False
    again: float | None = None


class Client(Protocol):
    """What keeps connections to a registry while somebody asks it."""

    name: str

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Keep them while the context is open."""


class Waits(Protocol):
    """Says how long to wait before the next question."""

    def wait(self, failures: int) -> float:
        """Give seconds after so many failures in a row."""


Ask = Callable[[], Awaitable[Told[T] | None]]
"""Asks once; `None` says that what was told last still holds. Raises `RegistryError`."""


class Polled(Generic[T]):
    """All names of one sort at one registry.

    `begin` gives, for a name that is observed from now on, what the registry is asked (shown on `/namer_state`) and
    how; `shown` gives the JSON of what it said, `size` how many endpoints that is, and `form` is its type. Until
    anything was known,
    `presumed` holds if it is not `None`.
    """

    def __init__(
        self,
        client: Client,
        begin: Callable[[str], tuple[str, Ask[T]]],
        waits: Waits,
        shown: Callable[[T], Any],
        registry: Registry,
        *,
        form: Any = Instances,
        size: Callable[[T], int | None] = endpoints_in,
        fails_at_first: bool = False,
        presumed: T | None = None,
    ) -> None:
        self._client = client
        self._registry = registry
        self._form = form
        self._size = size
        self._begin = begin
        self._waits = waits
        self._shown = shown
        self._fails_at_first = fails_at_first
        self._presumed = presumed
        self._sources: WeakValueDictionary[str, Source[T]] = WeakValueDictionary()
        self._followed: dict[str, Followed[T]] = {}

    def get(self, name: str) -> Live[T]:
        """Give what the registry says of a name; nothing is asked before it is observed."""
        source = self._sources.get(name)
        if source is None:
            memory: Memory[T] = Memory(self._form)
            source = self._sources[name] = Source(follow=lambda source: self._follow(name, source, memory))
        return source

    def origin(self, name: str) -> Origin | None:
        """Give where what is known of a name that is observed came from."""
        followed = self._followed.get(name)
        return None if followed is None else followed.origin

    def state(self) -> dict[str, Any]:
        """Give what is followed now, as JSON values."""
        return {name: followed.state(self._shown) for name, followed in list(self._followed.items())}

    def _follow(self, name: str, source: Source[T], memory: Memory[T]) -> Callable[[], None]:
        request, ask = self._begin(name)
        followed = self._followed[name] = Followed(self._registry, name, request, source, memory, self._size)
        polling = asyncio.get_running_loop().create_task(
            self._poll(followed, source, ask), name=f"{self._registry.name} {name}"
        )

        def stop() -> None:
            polling.cancel()
            followed.close()
            if self._followed.get(name) is followed:
                del self._followed[name]

        return stop

    async def _poll(self, followed: Followed[T], source: Source[T], ask: Ask[T]) -> None:
        failures = 0
        async with self._client.opened():
            while True:
                try:
                    told = await ask()
                except RegistryError as error:
                    failures += 1
                    self._failed(followed, source, error)
                except Exception as error:
                    # A mistake of ours: it is told, and must not leave the name stale for ever.
                    _log.exception("%s", self._registry.name)
                    failures += 1
                    self._failed(followed, source, error)
                else:
                    failures = 0
                    if told is None:
                        followed.confirm()
                    else:
                        followed.tell(told.value, told.version, corrected=told.corrected)
                        if told.again is not None:
                            await asyncio.sleep(told.again)
                            continue
                await asyncio.sleep(self._waits.wait(failures))

    def _failed(self, followed: Followed[T], source: Source[T], error: Exception) -> None:
        if followed.fail(error):
            return
        if self._presumed is not None:
            followed.presume(self._presumed)
        if not self._fails_at_first:
            return
        failed = ResolutionError(reason(error))
        if isinstance(source.state, Failed) and str(source.state.error) == str(failed):
            return
        try:
            source.fail(failed)
        except Exception:
            # The mistake of one observer must not end the watch of the others.
            _log.exception("an observer at %s failed", self._registry.name)


class Endpoints:
    """Makes trees and addresses of instances; hosts that are names are resolved and kept current."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        self._resolver = resolver or Resolver()

    def tree(
        self, instances: Live[Instances], origin: Callable[[], Origin | None], client: Path, residual: Path
    ) -> Live[Tree]:
        """Give a leaf while there are instances, else a negative tree; `origin` is asked at each change."""
        addresses = instances.flat_map(lambda known: self._resolve(known, origin()))
        leaf: Tree = Leaf(Bound(client, addresses, residual))
        return instances.map(lambda known: leaf if known else NEG)

    def _resolve(self, instances: Instances, origin: Origin | None) -> Live[Addresses]:
        if not instances:
            return Live.ok(Negative())
        known: dict[str, tuple[str, ...]] = {}
        names: dict[str, None] = {}
        for one in instances:
            literal = ip_literal(one.host)
            if literal is None:
                names[one.host] = None
            else:
                known[one.host] = (literal,)
        if not names:
            return Live.ok(_addresses(instances, known, origin))
        hosts = Live.join([self._resolver.addresses(name) for name in names])

        def merge(states: tuple[State[tuple[str, ...] | None], ...]) -> Live[Addresses]:
            """Leave out hosts that are not known; wait while nothing is."""
            found = {
                name: state.value
                for name, state in zip(names, states, strict=True)
                if isinstance(state, Ok) and state.value is not None
            }
            if not known and not found and any(isinstance(state, Pending) for state in states):
                return Live()
            return Live.ok(_addresses(instances, {**known, **found}, origin))

        return hosts.flat_map(merge)


def _addresses(instances: Instances, hosts: dict[str, tuple[str, ...]], origin: Origin | None) -> AddressSet:
    found = (Address(literal, one.port, one.meta) for one in instances for literal in hosts.get(one.host, ()))
    return AddressSet(tuple(dict.fromkeys(found)), origin=origin)


def shown_instances(instances: Instances) -> list[str]:
    """Give instances as JSON."""
    return [f"{one.host}:{one.port}" for one in instances]


def in_order(instances: list[Instance]) -> Instances:
    """Give instances in an order of their own: a registry's may change without a reason."""
    return tuple(sorted(instances, key=lambda one: (one.host, one.port)))


def texts(path: Path, count: int) -> list[str] | None:
    """Give the first segments of a path as text; `None` if there are fewer, or they are none."""
    try:
        found = [part.decode() for part in path.take(count).segments]
    except UnicodeDecodeError:
        return None
    return found if len(found) == count else None
