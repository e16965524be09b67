"""What Consul's catalogue says of a service: its instances and how they are, from either of its two endpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import msgspec

from biandou.clients.consul import Answer, ConsulError
from biandou.clients.consul_access import Health

DOMAIN: Final = "consul"
WORTH_KEEPING: Final = 64 * 1024
"""Of a service whose answer has fewer bytes nothing is kept: reading all of it is cheaper."""

_WORST_FIRST: Final[tuple[Health, ...]] = ("maintenance", "critical", "warning")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a service; addresses may be host names, or empty, and the port 0."""

    node_address: str
    service_address: str
    port: int
    tags: tuple[str, ...] = ()
    health: Health = "passing"
    meta: dict[str, str] = field(default_factory=dict)
    node_meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agent:
    """What the agent says of itself; the datacentre is `None` if it does not say."""

    datacenter: str | None
    domain: str


class _Entry(msgspec.Struct, rename="pascal"):
    address: str | None = None
    node_meta: dict[str, str] | None = None
    service_address: str | None = None
    service_port: int | None = None
    service_tags: list[str] | None = None
    service_meta: dict[str, str] | None = None


class _Node(msgspec.Struct, rename="pascal"):
    address: str | None = None
    meta: dict[str, str] | None = None


class _Service(msgspec.Struct, rename="pascal"):
    address: str | None = None
    port: int | None = None
    tags: list[str] | None = None
    meta: dict[str, str] | None = None


class _Check(msgspec.Struct):
    status: str = msgspec.field(default="", name="Status")
    id: str = msgspec.field(default="", name="CheckID")


class _Checked(msgspec.Struct, rename="pascal"):
    node: _Node
    service: _Service
    checks: list[_Check] | None = None


class _Config(msgspec.Struct, rename="pascal"):
    datacenter: str | None = None
    domain: str | None = None


class _DebugConfig(msgspec.Struct):
    domain: str | None = msgspec.field(default=None, name="DNSDomain")


class _Self(msgspec.Struct, rename="pascal"):
    config: _Config
    debug_config: _DebugConfig | None = None


def read_catalog(answer: Answer) -> list[Instance]:
    """Read `/v1/catalog/service/…`; raises `ConsulError`."""
    return [_catalogued(entry) for entry in decoded(answer, list[_Entry])]


def read_health(answer: Answer) -> list[Instance]:
    """Read `/v1/health/service/…`; raises `ConsulError`."""
    return [_checked(entry) for entry in decoded(answer, list[_Checked])]


class Changes(Generic[T]):
    """Reads answers about one service, each instance once as long as nothing in it changes.

    Consul always sends all instances. What is kept of each is a hash of its JSON, which nobody can foresee, and what
    `made` makes of it.
    """

    __slots__ = ("_health", "_known", "_made")

    def __init__(self, made: Callable[[Instance], T], *, health: bool) -> None:
        self._made = made
        self._health = health
        self._known: dict[int, T] = {}

    def read(self, answer: Answer) -> list[T]:
        """Read an answer of `/v1/health/service/…`, or `/v1/catalog/service/…`; raises `ConsulError`."""
        if len(answer.body) < WORTH_KEEPING:
            self._known = {}
            instances = read_health(answer) if self._health else read_catalog(answer)
            return [self._made(instance) for instance in instances]
        before, self._known = self._known, {}
        now = self._known
        for entry in decoded(answer, list[msgspec.Raw]):
            place = hash(bytes(entry))
            known = before.get(place)
            now[place] = self._made(self._instance(entry)) if known is None else known
        return list(now.values())

    def _instance(self, entry: msgspec.Raw) -> Instance:
        one = Answer(200, b"[" + bytes(entry) + b"]")
        return (read_health(one) if self._health else read_catalog(one))[0]


def _catalogued(entry: _Entry) -> Instance:
    return Instance(
        entry.address or "",
        entry.service_address or "",
        entry.service_port or 0,
        tuple(entry.service_tags or ()),
        meta=entry.service_meta or {},
        node_meta=entry.node_meta or {},
    )


def _checked(entry: _Checked) -> Instance:
    return Instance(
        entry.node.address or "",
        entry.service.address or "",
        entry.service.port or 0,
        tuple(entry.service.tags or ()),
        _worst(entry.checks or ()),
        entry.service.meta or {},
        entry.node.meta or {},
    )


def read_agent(answer: Answer) -> Agent:
    """Read `/v1/agent/self`; raises `ConsulError`. Newer ones tell the domain only for debugging."""
    told = decoded(answer, _Self)
    domain = told.config.domain or (told.debug_config.domain if told.debug_config is not None else None) or DOMAIN
    return Agent(told.config.datacenter or None, domain.strip(".") or DOMAIN)


def decoded(answer: Answer, shape: type[T]) -> T:
    """Read an answer's JSON; raises `ConsulError` for one that is none, or of another shape."""
    if answer.status != 200:
        raise ConsulError(f"consul: unexpected status {answer.status}")
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConsulError(f"consul: an answer that can't be read: {error}") from error


def _worst(checks: Iterable[_Check]) -> Health:
    """Give how an instance is; Consul marks maintenance by a check of its own, as its own client reads it."""
    found = {_health(check) for check in checks}
    return next((health for health in _WORST_FIRST if health in found), "passing")


def _health(check: _Check) -> str:
    if check.id == "_node_maintenance" or check.id.startswith("_service_maintenance:"):
        return "maintenance"
    return check.status
