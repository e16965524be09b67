"""Dtabs as objects of Kubernetes: one watch tells of all of them, and the API server compares and changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from biandou.clients.consul_watch import Pace
from biandou.clients.kubernetes import (
    Json,
    Kubernetes,
    KubernetesAway,
    KubernetesConflict,
    KubernetesError,
    KubernetesForbidden,
    KubernetesMissing,
    segment,
)
from biandou.clients.kubernetes_watch import RETRY, Waits, follow, version_of
from biandou.dtab import Dtab
from biandou.errors import (
    NamespaceExists,
    NamespaceMissing,
    NamespaceRefused,
    StaleVersion,
    StoreDown,
    StoreError,
    StoreForbidden,
)
from biandou.live import Failed, Live
from biandou.stores.chronicle import DEFAULT_SIZE, keeps_history
from biandou.stores.interface import NO_REMARK, Remark, Revision, Version, Versioned, check_namespace
from biandou.stores.kubernetes_dtabs import (
    GROUP,
    PLURAL,
    VERSION,
    dentries,
    namespace_of,
    new_object,
    object_name,
    read_dtab,
)
from biandou.stores.kubernetes_history import read_history, with_entry
from biandou.stores.shelf import Shelf

T = TypeVar("T")

FIRST_SECONDS: Final = 2.0
"""How long a start waits to learn what is there."""

REFUSE_SECONDS: Final = 1.0
"""For so long after a change that failed others are refused at once, if the watch has failed too."""

OWN_SECONDS: Final = 10.0
"""For so long a change of ours outweighs what is told of an earlier version."""

MAX_ATTEMPTS: Final = 10
"""So often `put` begins again since somebody else has changed the object meanwhile."""

UNDEFINED: Final = f"is the custom resource {PLURAL}.{GROUP} defined?"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Own:
    """A change of ours: the version it made, or for a deletion the last one before; `at` on the monotonic clock."""

    version: int
    gone: bool
    at: float


class KubernetesStore:
    """A store in the `dtabs` of a Kubernetes namespace; follows the one watch that tells of them."""

    def __init__(
        self, kubernetes: Kubernetes, namespace: str, retry: Waits = RETRY, *, history_size: int = DEFAULT_SIZE
    ) -> None:
        self._history_size = history_size
        self.trouble: str | None = None
        self._kubernetes = kubernetes
        self._path = f"/apis/{GROUP}/{VERSION}/namespaces/{segment(namespace)}/{PLURAL}"
        self._retry = retry
        self._shelf = Shelf()
        # The version of what is shown.
        self._versions: dict[str, int] = {}
        self._own: dict[str, Own] = {}
        self._stack = contextlib.AsyncExitStack()
        self._following: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._refused_until = 0.0

    # ── Life ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self) -> None:
        """Begin to follow the objects; Kubernetes need not be there yet."""
        await self._stack.enter_async_context(self._kubernetes.opened())
        following = follow(self._kubernetes, self._path, {}, self, retry=self._retry, pace=Pace(20, 10.0))
        self._following = asyncio.get_running_loop().create_task(following, name="kubernetes")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._asked.wait()

    async def stop(self) -> None:
        """Stop following."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self._stack.aclose()

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def namespaces(self) -> Live[frozenset[str]]:
        """Give the names of all namespaces."""
        return self._shelf.names()

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give a namespace's dtab."""
        return self._shelf.watch(namespace)

    def listed(self, objects: Mapping[str, Json], version: int) -> None:
        """Take in all objects; raises `KubernetesError` if one has no version."""
        now = time.monotonic()
        self._own = {name: own for name, own in self._own.items() if now - own.at < OWN_SECONDS}
        found = {namespace_of(name, told): (told, version_of(told)) for name, told in objects.items()}
        for namespace, (told, newer) in found.items():
            own = self._own.get(namespace)
            if own is not None and newer < own.version + own.gone:
                continue
            if self._versions.get(namespace) != newer:
                self._show(namespace, told, newer)
        for namespace in [*self._versions]:
            own = self._own.get(namespace)
            if namespace not in found and (own is None or own.gone or own.version <= version):
                self._show(namespace, None, version)
        if not self._shelf.filled:
            self._shelf.settle()
        self.confirmed()

    def changed(self, name: str, found: Json | None, version: int) -> None:
        """Take in one object, unless a change of ours is newer."""
        for namespace in {namespace_of(name, found)} if found is not None else self._held_by(name):
            own = self._own.get(namespace)
            if own is None or version >= own.version + (own.gone and found is not None):
                self._show(namespace, found, version)
        self.confirmed()

    def confirmed(self) -> None:
        """Hear that what is shown is so."""
        if self.trouble is not None:
            _log.info("kubernetes at %s answers again", self._kubernetes.address)
        self.trouble = None
        self._asked.set()

    def failed(self, error: KubernetesError) -> None:
        """Hear that what is shown may be out of date."""
        _log.log(logging.WARNING if self.trouble is None else logging.DEBUG, "%s", error)
        self.trouble = str(error)
        if isinstance(error, KubernetesMissing):
            self.trouble += f" ({UNDEFINED})"
        self._asked.set()

    def _held_by(self, name: str) -> list[str]:
        """Give the namespace that an object's name stands for, if it is shown."""
        if name in self._versions:
            return [name]
        return [namespace for namespace in self._versions if object_name(namespace) == name]

    def _show(self, namespace: str, found: Json | None, version: int) -> None:
        try:
            check_namespace(namespace)
        except NamespaceRefused:
            return  # no name of Kubernetes' is refused, but who knows what its annotation says
        if found is None:
            self._versions.pop(namespace, None)
        else:
            self._versions[namespace] = version
        try:
            self._shelf.set(namespace, None if found is None else _state(namespace, found, version))
        except Exception:
            # The mistake of one observer must not end the watch of the others.
            _log.exception("an observer of %s failed", namespace)

    # ── Changing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def create(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add a namespace; raises `NamespaceExists`."""
        check_namespace(namespace)
        try:
            made = await self._posted(self._noted(namespace, new_object(namespace, dtab), None, dtab, remark))
        except KubernetesConflict:
            raise NamespaceExists(namespace) from None
        return self._made(namespace, dtab, made)

    async def update(self, namespace: str, dtab: Dtab, version: Version, remark: Remark = NO_REMARK) -> Version:
        """Change a namespace that still has `version`; raises `StaleVersion` if not, `NamespaceMissing`."""
        check_namespace(namespace)
        written = dentries(dtab)
        try:
            found = await self._done(self._kubernetes.get(self._at(namespace)))
            if str(_version(found)).encode() != version:
                raise StaleVersion(namespace)
            # Whatever else is in it stays: labels, annotations, owners.
            changed = self._noted(namespace, {**found, "dentries": written}, found, dtab, remark)
            made = await self._done(self._kubernetes.put(self._at(namespace), changed))
        except KubernetesMissing:
            raise NamespaceMissing(namespace) from None
        except KubernetesConflict:
            raise StaleVersion(namespace) from None
        return self._made(namespace, dtab, made)

    async def put(self, namespace: str, dtab: Dtab, remark: Remark = NO_REMARK) -> Version:
        """Add or change a namespace."""
        check_namespace(namespace)
        written = new_object(namespace, dtab)
        for _ in range(MAX_ATTEMPTS):
            with contextlib.suppress(KubernetesConflict):
                try:
                    found = await self._done(self._kubernetes.get(self._at(namespace)))
                    changed = {**found, "dentries": written["dentries"]}
                    changed = self._noted(namespace, changed, found, dtab, remark)
                    made = await self._done(self._kubernetes.put(self._at(namespace), changed))
                except KubernetesMissing:
                    made = await self._posted(self._noted(namespace, written, None, dtab, remark))
                return self._made(namespace, dtab, made)
        raise StoreDown(f"{namespace} is changed by others all the time")

    async def delete(self, namespace: str, remark: Remark = NO_REMARK) -> None:
        """Remove a namespace; raises `NamespaceMissing`."""
        check_namespace(namespace)
        former = self._versions.get(namespace)
        try:
            await self._done(self._kubernetes.delete(self._at(namespace)))
        except KubernetesMissing:
            raise NamespaceMissing(namespace) from None
        if former is not None and self._versions.get(namespace) == former:
            # Which version this made is not told; whatever comes after it is newer than what was.
            self._own[namespace] = Own(former, True, time.monotonic())
            self._show(namespace, None, former)

    async def history(self, namespace: str, limit: int = 100) -> list[Revision]:
        """Give the last states of a namespace, the newest first; none once it is deleted. Raises `StoreDown`."""
        try:
            found = await self._done(self._kubernetes.get(self._at(namespace)))
        except KubernetesMissing:
            return []
        return read_history(found, str(_version(found)).encode(), limit)

    def _noted(self, namespace: str, document: Json, former: Json | None, dtab: Dtab, remark: Remark) -> Json:
        """Give an object with the entry of the change that makes it what it is."""
        return with_entry(document, former, dtab, remark, self._history_size if keeps_history(namespace) else 0)

    def _at(self, namespace: str) -> str:
        return f"{self._path}/{segment(object_name(namespace))}"

    async def _posted(self, document: Json) -> Json:
        try:
            return await self._done(self._kubernetes.post(self._path, document))
        except KubernetesMissing as error:
            raise StoreDown(f"{error} ({UNDEFINED})") from error

    def _made(self, namespace: str, dtab: Dtab, made: Json) -> Version:
        """Show a change of ours before the watch tells of it."""
        version = _version(made)
        text = str(version).encode()
        if version > self._versions.get(namespace, 0):
            self._own[namespace] = Own(version, False, time.monotonic())
            self._versions[namespace] = version
            self._shelf.set(namespace, Versioned(dtab, text))
        return text

    async def _done(self, change: Awaitable[T]) -> T:
        """Ask; raises `KubernetesConflict` and `KubernetesMissing` as they are, else the errors of a store."""
        if self.trouble is not None and time.monotonic() < self._refused_until:
            # It was asked a moment ago: nobody need wait to be told the same.
            if asyncio.iscoroutine(change):
                change.close()
            raise StoreDown(self.trouble)
        try:
            return await change
        except (KubernetesConflict, KubernetesMissing):
            raise
        except KubernetesForbidden as error:
            raise StoreForbidden(str(error)) from error
        except KubernetesAway as error:
            self._refused_until = time.monotonic() + REFUSE_SECONDS
            raise StoreDown(str(error)) from error
        except KubernetesError as error:
            raise StoreError(str(error)) from error


def _version(found: Json) -> int:
    try:
        return version_of(found)
    except KubernetesError as error:
        raise StoreError(str(error)) from error


def _state(namespace: str, found: Any, version: int) -> Versioned | Failed:
    try:
        return Versioned(read_dtab(found), str(version).encode())
    except ValueError as error:
        _log.error("the dtab of %s in Kubernetes can't be read: %s", namespace, error)
        return Failed(StoreError(f"the dtab of {namespace} can't be read: {error}"))
