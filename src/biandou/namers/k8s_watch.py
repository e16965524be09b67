"""One watch of one object of Kubernetes, whoever asks, for as long as anybody does.

A server that fails or answers with what can't be read leaves what was known last in use. As long as nothing was ever
known, nothing is told: what is not known is not "none" (reference/naming.md §1.13).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar
from weakref import WeakValueDictionary

from biandou.clients.kubernetes import Json, Kubernetes, KubernetesError, segment
from biandou.clients.kubernetes_watch import follow, version_of
from biandou.live import Live, Ok, Source

T = TypeVar("T")

LOG_NAMES: Final = 5
"""Of so many objects that fail at one time each is logged as a warning."""

_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_VALUE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_log = logging.getLogger(__name__)


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
    if _NAME.fullmatch(namespace) is None or _NAME.fullmatch(name) is None:
        return None
    if key is None:
        return Name(namespace, name)
    return Name(namespace, name, f"{key}={value}") if _VALUE.fullmatch(value) else None


class Objects(Generic[T]):
    """All objects of one kind that somebody asks for; `None` stands for one that is not there."""

    def __init__(self, kubernetes: Kubernetes, resource: str, read: Callable[[Json], T]) -> None:
        self._kubernetes = kubernetes
        self._resource = resource
        self._read = read
        self._known: WeakValueDictionary[Name, Source[T | None]] = WeakValueDictionary()
        self._watches: dict[Name, ObjectWatch[T]] = {}
        self._failing: set[Name] = set()

    def get(self, name: Name) -> Live[T | None]:
        """Give one object; nothing is asked before it is observed."""
        known = self._known.get(name)
        if known is None:
            memory: list[T | None] = []
            known = self._known[name] = Source(follow=lambda source: self._follow(name, source, memory))
        return known

    def state(self) -> dict[str, Any]:
        """Give what is watched now, as JSON values, in the reference's shape."""
        return {str(name): watch.state() for name, watch in list(self._watches.items())}

    def _follow(self, name: Name, source: Source[T | None], memory: list[T | None]) -> Callable[[], None]:
        # What was known long ago may not be told as if it were known now.
        source.forget()
        path = f"/api/v1/namespaces/{segment(name.namespace)}/{self._resource}"
        query = {"fieldSelector": f"metadata.name={name.name}"}
        if name.label is not None:
            query["labelSelector"] = name.label
        watch = self._watches[name] = ObjectWatch(name, path, self._read, (source, memory, self._failing))
        following = asyncio.get_running_loop().create_task(
            follow(self._kubernetes, path, query, watch), name=f"kubernetes {name}"
        )

        def stop() -> None:
            following.cancel()
            self._failing.discard(name)
            if self._watches.get(name) is watch:
                del self._watches[name]

        return stop


class ObjectWatch(Generic[T]):
    """Tells the source, and keeps how it goes for `/namer_state`.

    `ends` are the source, what it knew last, and all names whose watch fails now.
    """

    def __init__(
        self,
        name: Name,
        path: str,
        read: Callable[[Json], T],
        ends: tuple[Source[T | None], list[T | None], set[Name]],
    ) -> None:
        self._name = name
        self._path = path
        self._read = read
        self._source, self._memory, self._failing = ends
        self._began = _now()
        self._version = 0
        self._listed: str | None = None
        self._updated: str | None = None
        self._confirmed: str | None = None
        self._corrections = 0
        self._error: str | None = None
        self._error_at: str | None = None

    def listed(self, objects: Mapping[str, Json], version: int) -> None:
        """Take in what is there now; raises `KubernetesError` if it can't be read."""
        found = objects.get(self._name.name)
        value = None if found is None else self._read(found)
        known = self._source.state
        if found is not None and version_of(found) <= self._version <= version and isinstance(known, Ok):
            # The watch has told of later versions than this object's, and not of this.
            self._corrections += known.value != value
        self._listed = _now()
        self._tell(value, version)

    def changed(self, name: str, found: Json | None, version: int) -> None:
        """Take in a change; raises `KubernetesError` if it can't be read."""
        if name == self._name.name:
            self._tell(None if found is None else self._read(found), version)

    def confirmed(self) -> None:
        """Note that what is known still holds."""
        self._confirmed = _now()
        self._mended()

    def failed(self, error: KubernetesError) -> None:
        """Stay with what is known, from an earlier time if need be."""
        new = self._name not in self._failing
        self._failing.add(self._name)
        # When Kubernetes is away for thousands of names, a few of them say enough.
        level = logging.WARNING if new and len(self._failing) <= LOG_NAMES else logging.DEBUG
        _log.log(level, "%s: %s", self._name, error)
        self._error, self._error_at = str(error), _now()
        if not isinstance(self._source.state, Ok) and self._memory:
            self._set(self._memory[0])

    def _tell(self, value: T | None, version: int) -> None:
        self._version = version
        self._updated = self._confirmed = _now()
        self._memory[:] = [value]
        self._mended()
        self._set(value)

    def _set(self, value: T | None) -> None:
        try:
            self._source.set(value)
        except Exception:
            # The mistake of one observer must not end the watch of the others.
            _log.exception("an observer of %s failed", self._name)

    def _mended(self) -> None:
        if self._error is None:
            return
        self._failing.discard(self._name)
        _log.log(logging.INFO if not self._failing else logging.DEBUG, "%s: Kubernetes answers again", self._name)
        self._error = self._error_at = None

    def state(self) -> dict[str, Any]:
        """Give JSON values."""
        known = self._source.state
        return {
            "state": {
                "running": True,
                "lastStartedAt": self._began,
                "lastUpdatedAt": self._updated,
                "lastConfirmedAt": self._confirmed,
                "value": str(known.value) if isinstance(known, Ok) and known.value is not None else None,
            },
            "watch": {
                "request": self._path,
                "resourceVersion": str(self._version) if self._version else None,
                "lastListedAt": self._listed,
                "corrections": self._corrections,
                "error": self._error,
                "lastErrorAt": self._error_at,
            },
        }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
