"""One watch of one object of Kubernetes, whoever asks, for as long as anybody does.

A server that fails or answers with what can't be read leaves what was known last in use. As long as nothing was ever
known, nothing is told: what is not known is not "none" (reference/naming.md §1.13).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

from biandou.clients.kubernetes import Json, Kubernetes, KubernetesError, segment
from biandou.clients.kubernetes_access import is_name
from biandou.clients.kubernetes_objects import Endpoints
from biandou.clients.kubernetes_watch import follow, read_list, version_of
from biandou.dtab.bound import Origin
from biandou.live import Live, Source
from biandou.namers.followed import Followed, Memory, Registry
from biandou.namers.reconciling import Renewable

T = TypeVar("T")

_VALUE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Name:
    """An object's namespace and name; `label` is what it must be labelled with, `key=value`."""

    namespace: str
    name: str
    label: str | None = None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" + ("" if self.label is None else f":{self.label}")


def name_in(namespace: str, name: str, key: str | None, value: str) -> Name | None:
    """Give a name that Kubernetes may have; `None` for others. `value` counts only with a label's `key`."""
    if not (is_name(namespace) and is_name(name)):
        return None
    if key is None:
        return Name(namespace, name)
    return Name(namespace, name, f"{key}={value}") if _VALUE.fullmatch(value) else None


class Objects(Generic[T]):
    """All objects of one kind that somebody asks for; `None` stands for one that is not there.

    `form` is the type of what `read` gives.
    """

    def __init__(
        self,
        kubernetes: Kubernetes,
        resource: str,
        read: Callable[[Json], T],
        registry: Registry | None = None,
        *,
        form: Any,
    ) -> None:
        self._form = form | None
        self._kubernetes = kubernetes
        self._registry = registry or Registry(f"kubernetes at {kubernetes.address}")
        self._resource = resource
        self._read = read
        self._known: WeakValueDictionary[Name, Source[T | None]] = WeakValueDictionary()
        self._watches: dict[Name, ObjectWatch[T]] = {}

    def get(self, name: Name) -> Live[T | None]:
        """Give one object; nothing is asked before it is observed."""
        known = self._known.get(name)
        if known is None:
            memory = Memory[T | None](self._form)
            known = self._known[name] = Source(follow=lambda source: self._follow(name, source, memory))
        return known

    def state(self) -> dict[str, Any]:
        """Give what is watched now, as JSON values, in the reference's shape."""
        return {str(name): watch.followed.state(_shown) for name, watch in list(self._watches.items())}

    def origin(self, name: Name) -> Origin | None:
        """Give where what is known of an object comes from, while it is watched."""
        watch = self._watches.get(name)
        return None if watch is None else watch.followed.origin

    def _follow(self, name: Name, source: Source[T | None], memory: Memory[T | None]) -> Callable[[], None]:
        path = f"/api/v1/namespaces/{segment(name.namespace)}/{self._resource}"
        query = {"fieldSelector": f"metadata.name={name.name}"}
        if name.label is not None:
            query["labelSelector"] = name.label
        followed = Followed(self._registry, f"{self._resource} {name}", path, source, memory, _size)
        watch = self._watches[name] = ObjectWatch(self._kubernetes, name.name, self._read, followed, (path, query))
        watch.start(f"kubernetes {name}")
        followed.reconcile(watch)

        def stop() -> None:
            watch.stop()
            followed.close()
            if self._watches.get(name) is watch:
                del self._watches[name]

        return stop


class ObjectWatch(Renewable, Generic[T]):
    """Tells a followed name what the watch of one object comes to; `name` is the object's, `asked` path and query."""

    __slots__ = ("_asked", "_kubernetes", "_object", "_reader", "_version", "followed")

    def __init__(
        self,
        kubernetes: Kubernetes,
        name: str,
        read: Callable[[Json], T],
        followed: Followed[T | None],
        asked: tuple[str, dict[str, str]],
    ) -> None:
        self.followed = followed
        self._kubernetes = kubernetes
        self._object = name
        self._reader = read
        self._asked = asked
        self._version = 0

    async def watch(self) -> None:
        """List and watch for ever."""
        await follow(self._kubernetes, *self._asked, self)

    async def read(self) -> tuple[T | None, str]:
        """List without watching; raises `KubernetesError`."""
        async with self._kubernetes.beginning:
            objects, version = read_list(await self._kubernetes.get(*self._asked))
        return self._value(objects.get(self._object)), str(version)

    def listed(self, objects: Mapping[str, Json], version: int) -> None:
        """Take in what is there now; raises `KubernetesError` if it can't be read."""
        found = objects.get(self._object)
        # The watch has told of later versions than this object's: if not of this, it has missed it.
        told = found is not None and version_of(found) <= self._version <= version
        self._tell(found, version, corrected=told)

    def changed(self, name: str, found: Json | None, version: int) -> None:
        """Take in a change; raises `KubernetesError` if it can't be read."""
        if name == self._object:
            self._tell(found, version, corrected=False)

    def confirmed(self) -> None:
        """Note that what is known still holds."""
        self.followed.confirm()

    def failed(self, error: KubernetesError) -> None:
        """Stay with what is known, from an earlier time if need be."""
        self.followed.fail(error)

    def _tell(self, found: Json | None, version: int, *, corrected: bool) -> None:
        value = self._value(found)
        self._version = version
        self.followed.tell(value, str(version), corrected=corrected)

    def _value(self, found: Json | None) -> T | None:
        return None if found is None else self._reader(found)


def _size(value: object) -> int | None:
    if isinstance(value, Endpoints):
        return value.size
    return 0 if value is None else None


def _shown(value: object) -> str | None:
    return None if value is None else str(value)
