"""What a name means in Consul: one blocking query a service, whoever asks, for as long as anybody does.

A registry that fails or answers with what can't be read leaves the last good set in use. Only until there was one does
a failure mean that the name is unknown, so that the next alternative of a dtab is tried (reference/naming.md §1.13).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final
from weakref import ReferenceType, WeakValueDictionary

from biandou.clients.consul import Answer, Consul, ConsulError, ConsulForbidden, segment, target_of
from biandou.clients.consul_access import reading
from biandou.clients.consul_catalog import Agent, Changes, Instance, read_agent
from biandou.clients.consul_watch import RETRY, Question, Seats
from biandou.clients.dns import Resolver, ip_literal
from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import AUTHORITY, WEIGHT, Address, Addresses, AddressSet, Bound, Negative, Origin
from biandou.live import FlatMapped, Live, Mapped, Ok, Pending, Source, State
from biandou.namers.followed import Followed, Memory
from biandou.namers.reconciling import Renewable

if TYPE_CHECKING:
    from biandou.namers.consul import ConsulNamerKind

Read = tuple[Instance, "Endpoint | None"]
"""An instance, and the endpoint that it is if it may be used."""

LOCAL: Final = ".local"
"""Stands for the agent's own datacentre."""

_NEGATIVE: Final[Live[NameTree[Path | Bound]]] = Live.ok(NEG)


_PLACE: Final = attrgetter("host", "port")

MAX_QUERIES: Final = 64
"""Of so many datacentres the parameters of a query are kept."""


@dataclass(frozen=True, slots=True)
class Name:
    """What Consul is asked for; service and tag in lower case."""

    dc: str
    service: str
    tag: str | None

    def __str__(self) -> str:
        return "/".join(part for part in (self.dc, self.tag, self.service) if part is not None)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An instance that may be used; the host may be a name, and then there is no address."""

    host: str
    port: int
    meta: dict[str, Any]
    address: Address | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Service:
    """The instances of a service, and the metadata of all of them."""

    endpoints: tuple[Endpoint, ...] = ()
    meta: dict[str, Any] | None = None


class ConsulNamer:
    """Names of the form `/<dc>/<service>`, or `/<dc>/<tag>/<service>` with `includeTag`."""

    def __init__(self, kind: ConsulNamerKind, consul: Consul) -> None:
        self.prefix = kind.full_prefix
        self._kind = kind
        self.consul = consul
        self._resolver = Resolver()
        self._services: WeakValueDictionary[Name, _ServiceSource] = WeakValueDictionary()
        self._queries: dict[str, str] = {}
        # The names that are followed.
        self._followed: dict[Name, _ServiceSource] = {}
        self._made = self._make
        # Most instances have no other metadata than a weight, and few weights there are.
        self._weighted: dict[float, dict[str, Any]] = {}
        self._registry = kind.registry(f"consul at {consul.address}")
        self.seats = Seats(kind.max_blocking_queries)
        self._agent: Live[Agent | None] = Source(follow=self._ask_agent)

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give a leaf while the service has instances, a negative tree while it has none."""
        taken = 3 if self._kind.include_tag else 2
        try:
            names = [part.decode() for part in path.take(taken).segments]
        except UnicodeDecodeError:
            return _NEGATIVE
        if len(names) < taken or names[-1] in (".", ".."):
            return _NEGATIVE
        dc, tag = names[0], names[1].lower() if taken == 3 else None
        name = Name(dc, names[-1].lower(), tag)
        client, residual = self.prefix + path.take(taken), path.drop(taken)
        if dc != LOCAL and not self._kind.set_host:
            return self._tree(name, None, client, residual)

        def known(agent: Agent | None) -> Live[NameTree[Path | Bound]]:
            if agent is None:
                return _NEGATIVE
            asked = replace(name, dc=agent.datacenter or dc) if dc == LOCAL else name
            return self._tree(asked, agent, client, residual)

        return self._agent.flat_map(known)

    def state(self) -> dict[str, Any]:
        """Give what is followed now, by what Consul is asked for."""
        followed = {str(name): source.followed for name, source in list(self._followed.items())}
        return {name: one.state(_shown, "poll") for name, one in followed.items() if one is not None}

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"consul at {self.consul.address}: {names}"

    # ── A service ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tree(self, name: Name, agent: Agent | None, client: Path, residual: Path) -> Live[NameTree[Path | Bound]]:
        service = self._services.get(name)
        if service is None:
            service = self._services[name] = _ServiceSource(self, name)
        addresses = service.addresses
        if self._kind.set_host and agent is not None:
            parts = (name.tag, name.service, "service", name.dc, agent.domain)
            addresses = _with_authority(addresses, ".".join(part for part in parts if part is not None))
        return _Tree(service, Leaf(Bound(client, addresses, residual)))

    def follow(self, source: _ServiceSource) -> ServiceWatch:
        """Begin to follow a service."""
        name, kind = source.name, self._kind
        path = f"/v1/{'health' if kind.use_health_check else 'catalog'}/service/{segment(name.service)}"
        followed = Followed(self._registry, str(name), path, source, source.memory, _size)
        watch = ServiceWatch(self, followed, path + self._query(name))
        self._followed[name] = source
        # One name for all: thousands of texts would be as many bytes as some of what they name.
        watch.start("consul service")
        followed.reconcile(watch)
        return watch

    def leave(self, source: _ServiceSource) -> None:
        """Follow a service no more."""
        if self._followed.get(source.name) is source:
            del self._followed[source.name]

    @property
    def may_be_stale(self) -> bool:
        """Whether a server may answer that is behind."""
        return self._kind.consistency_mode == "stale"

    def _query(self, name: Name) -> str:
        """Give what follows the path of a question; of some datacentres it is kept."""
        query = self._queries.get(name.dc)
        if query is None:
            asked = reading(self._kind.consistency_mode, name.dc)
            if self._kind.use_health_check and set(self._kind.health_statuses) == {"passing"}:
                asked["passing"] = "true"
            query = target_of("", asked)
            if len(self._queries) < MAX_QUERIES:
                self._queries[name.dc] = query
        return query if name.tag is None else f"{query}&tag={segment(name.tag)}"

    def changes(self) -> Changes[Read]:
        """Give what reads the answers about one service."""
        return Changes(self._made, health=self._kind.use_health_check)

    def _make(self, instance: Instance) -> Read:
        return instance, self._endpoint(instance)

    def read(self, answer: Answer, changes: Changes[Read]) -> Service:
        """Give the instances that may be used; raises `ConsulError`."""
        kind = self._kind
        instances = changes.read(answer)
        if answer.filtered and not instances:
            # None that we may see is not none.
            raise ConsulForbidden(f"consul at {self.consul.address}: the token does not let us see the instances")
        if kind.use_health_check:
            instances = [read for read in instances if read[0].health in kind.health_statuses]
        found = [endpoint for _, endpoint in instances if endpoint is not None]
        found.sort(key=_PLACE)
        meta = dict(instances[0][0].meta) if kind.transfer_metadata and instances else None
        return Service(tuple(found), meta)

    def _endpoint(self, instance: Instance) -> Endpoint | None:
        host = instance.service_address if self._kind.prefer_service_address else ""
        host = host or instance.node_address
        if not host or not 1 <= instance.port <= 65535:
            return None
        weights = [entry.weight for entry in self._kind.weights if entry.tag in instance.tags]
        weight = float(max(weights, default=1.0))
        if self._kind.transfer_metadata and instance.node_meta:
            meta: dict[str, Any] = {**instance.node_meta, WEIGHT: weight}
        else:
            meta = self._weighted.setdefault(weight, {WEIGHT: weight})
        literal = ip_literal(host)
        address = None if literal is None else Address(literal, instance.port, meta)
        return Endpoint(host, instance.port, meta, address)

    # ── Addresses ────────────────────────────────────────────────────────────────────────────────────────────────────

    def resolve(self, service: Service, origin: Origin | None) -> Live[Addresses]:
        """Give where the instances are; those whose hosts are names as far as these can be resolved."""
        names = [*dict.fromkeys(endpoint.host for endpoint in service.endpoints if endpoint.address is None)]
        if not names:
            return Live.ok(_addresses(service, {}, origin))
        literals = any(endpoint.address is not None for endpoint in service.endpoints)
        hosts = Live.join([self._resolver.addresses(name) for name in names])

        def merge(states: tuple[State[tuple[str, ...] | None], ...]) -> Live[Addresses]:
            """Leave out hosts that are not known; wait while nothing is."""
            found = {
                name: state.value
                for name, state in zip(names, states, strict=True)
                if isinstance(state, Ok) and state.value is not None
            }
            if not literals and not found and any(isinstance(state, Pending) for state in states):
                return Live()
            return Live.ok(_addresses(service, found, origin))

        return hosts.flat_map(merge)

    # ── The agent ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask_agent(self, source: Source[Agent | None]) -> Callable[[], None]:
        """Learn what the agent says of itself; `None` while it does not say. Once known, it stays."""
        if isinstance(source.state, Ok) and source.state.value is not None:
            return _nothing_to_stop

        path = "/v1/agent/self"
        memory: Memory[Agent | None] = Memory(Agent)
        followed = Followed(self._registry, "agent", path, source, memory, lambda _: None)

        async def ask() -> None:
            failures = 0
            async with self.consul.opened():
                while True:
                    try:
                        agent = read_agent(await self.consul.get(path, {}))
                    except ConsulError as error:
                        failures += 1
                        if not followed.fail(error):
                            followed.presume(None)
                        await asyncio.sleep(RETRY.wait(failures))
                    else:
                        followed.tell(agent)
                        return

        asking = asyncio.get_running_loop().create_task(ask(), name="consul agent")

        def stop() -> None:
            asking.cancel()
            followed.close()

        return stop


class _ServiceSource(Source[Service]):
    """What Consul says of one service, followed while somebody observes it."""

    __slots__ = ("_addresses", "_namer", "memory", "name", "watch")

    def __init__(self, namer: ConsulNamer, name: Name) -> None:
        super().__init__()
        self.name = name
        self.memory: Memory[Service] = Memory(Service)
        self.watch: ServiceWatch | None = None
        self._namer = namer
        self._addresses: ReferenceType[_ServiceAddresses] | None = None

    @property
    def followed(self) -> Followed[Service] | None:
        """How following it goes."""
        return None if self.watch is None else self.watch.followed

    @property
    def addresses(self) -> Live[Addresses]:
        """Where its instances are; the same for all who ask."""
        addresses = None if self._addresses is None else self._addresses()
        if addresses is None:
            addresses = _ServiceAddresses(self, self._namer)
            self._addresses = ReferenceType(addresses)
        return addresses

    def _open(self) -> None:
        self.watch = self._namer.follow(self)

    def _shut(self) -> None:
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.stop()
            watch.followed.close()
            self._namer.leave(self)


class _ServiceAddresses(FlatMapped[Service, Addresses]):
    __slots__ = ("_namer",)

    def __init__(self, source: _ServiceSource, namer: ConsulNamer) -> None:
        super().__init__(source)
        self._namer = namer

    def _function(self, service: Service) -> Live[Addresses]:
        source = self._source
        followed = source.followed if isinstance(source, _ServiceSource) else None
        return self._namer.resolve(service, None if followed is None else followed.origin)


class _Tree(Mapped[Service, NameTree[Path | Bound]]):
    __slots__ = ("_leaf",)

    def __init__(self, source: _ServiceSource, leaf: NameTree[Path | Bound]) -> None:
        super().__init__(source)
        self._leaf = leaf

    def _function(self, service: Service) -> NameTree[Path | Bound]:
        return self._leaf if service.endpoints else NEG


class ServiceWatch(Renewable):
    """Tells a followed name what its blocking query comes to."""

    __slots__ = ("_changes", "_namer", "_question", "_target", "followed")

    def __init__(self, namer: ConsulNamer, followed: Followed[Service], target: str) -> None:
        self.followed = followed
        self._namer = namer
        self._changes = namer.changes()
        self._target = target

    def start(self, name: str) -> None:
        """Begin to ask."""
        namer = self._namer
        namer.consul.hold()
        self._question = Question(namer.consul, self._target, self, namer.seats)
        super().start(name)

    def stop(self) -> None:
        """Ask no more."""
        super().stop()
        # It knows us.
        del self._question
        self._namer.consul.release()

    async def watch(self) -> None:
        """Ask as long as there is a seat to wait in; who stands until the next time needs no task."""
        await self._question.ask()
        if self._running is asyncio.current_task():
            self._running = self._namer.seats.stand(self, useful=self.useful)

    def ask_again(self) -> None:
        """Ask without waiting."""
        super().start(self._name)

    @property
    def slack(self) -> float:
        """How many seconds it may take until a query that has no seat is asked again."""
        return self._namer.seats.longest_stand

    async def read(self) -> tuple[Service, str]:
        """Ask without waiting for a change; raises `ConsulError`, also for what a server says that is behind."""
        consul, known = self._namer.consul, self.followed.origin.version
        async with consul.beginning:
            answer = await consul.fetch(self._target)
        if answer.index is None or (self._namer.may_be_stale and known is not None and answer.index < int(known)):
            raise ConsulError(f"consul at {consul.address}: {self._target}: an answer that says nothing of now")
        return self._namer.read(answer, self._changes), str(answer.index)

    @property
    def useful(self) -> bool:
        """Whether the service has instances."""
        known = self.followed.known
        return known is not None and bool(known.endpoints)

    def changed(self, answer: Answer) -> None:
        """Take in what Consul says."""
        index = str(answer.index)
        # Another state under the same index is one that the query has not told of when it came.
        self.followed.tell(
            self._namer.read(answer, self._changes), index, corrected=index == self.followed.origin.version
        )

    def confirmed(self) -> None:
        """Note that what is known still holds."""
        self.followed.confirm()

    def failed(self, error: ConsulError) -> None:
        """Stay with what is known, from an earlier time if need be."""
        if not self.followed.fail(error):
            self.followed.presume(Service())


def _with_authority(addresses: Live[Addresses], authority: str) -> Live[Addresses]:
    def add(known: Addresses) -> Addresses:
        if isinstance(known, AddressSet):
            return replace(known, meta={**known.meta, AUTHORITY: authority})
        return known

    return addresses.map(add)


def _addresses(service: Service, hosts: dict[str, tuple[str, ...]], origin: Origin | None) -> Addresses:
    if not service.endpoints:
        return Negative()
    found: list[Address] = []
    last: Address | None = None
    in_order = not hosts
    for endpoint in service.endpoints:
        address = endpoint.address
        if address is None:
            found += [Address(literal, endpoint.port, endpoint.meta) for literal in hosts.get(endpoint.host, ())]
        # They are in the order of their hosts: of thousands no hash need be made to find two that are the same.
        elif last is None or address.port != last.port or address.host != last.host or address != last:
            in_order = in_order and address.host == endpoint.host
            found.append(address)
            last = address
    return AddressSet(tuple(found if in_order else dict.fromkeys(found)), service.meta or {}, origin)


def _size(service: Service) -> int:
    return len(service.endpoints)


def _shown(service: Service) -> list[str]:
    return [f"{one.host}:{one.port}" for one in service.endpoints]


def _nothing_to_stop() -> None:
    pass
