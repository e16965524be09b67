"""Which of several namerds drives canaries: the one whose name is in the store and whose beat goes on.

Nobody's clock is compared with another's: who sees the same beat for `LEASE_SECONDS` of its own takes the lease over.
Two that both think they have it do no harm, for everything that they change they compare and set.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Final

from biandou.dtab import Dentry, Dtab, Leaf, Path, Prefix
from biandou.errors import NamespaceExists, NamespaceMissing, StaleVersion
from biandou.live import Ok
from biandou.namerd.canary_state import LEASE
from biandou.stores.interface import Remark, Store, Version

LEASE_SECONDS: Final = 5.0
BEAT_SECONDS: Final = 1.5
_REMARK: Final = Remark("canary")


class Lease:
    """The claim of one namerd, kept in `namespace`; `clock` gives seconds that only rise."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic, namespace: str = LEASE) -> None:
        self._store = store
        self._namespace = namespace
        self._clock = clock
        self._name = secrets.token_hex(8).encode()
        self._seen: tuple[Version | None, float] | None = None
        self._beat = 0
        self._beaten = float("-inf")

    async def held(self) -> bool:
        """Whether we drive, after trying to if nobody does; raises `StoreError` if the store can't be asked."""
        state = self._store.watch(self._namespace).sample()
        if not isinstance(state, Ok):
            return False
        now = self._clock()
        version = None if state.value is None else state.value.version
        owner = None if state.value is None else _owner(state.value.dtab)
        if self._seen is None or self._seen[0] != version:
            self._seen = version, now
        if owner == self._name and now - self._beaten < BEAT_SECONDS:
            return True
        if owner not in (self._name, None) and now - self._seen[1] < LEASE_SECONDS:
            return False
        return await self._write(version, self._name)

    async def release(self) -> None:
        """Let another take it at once; raises `StoreError`."""
        state = self._store.watch(self._namespace).sample()
        if isinstance(state, Ok) and state.value is not None and _owner(state.value.dtab) == self._name:
            await self._write(state.value.version, b"")

    async def _write(self, version: Version | None, owner: bytes) -> bool:
        self._beat += 1
        dentries = [Dentry(Prefix((b"lease",)), Leaf(Path((owner, str(self._beat).encode()))))] if owner else []
        try:
            if version is None:
                await self._store.create(self._namespace, Dtab(dentries), _REMARK)
            else:
                await self._store.update(self._namespace, Dtab(dentries), version, _REMARK)
        except (NamespaceExists, NamespaceMissing, StaleVersion):
            return False
        self._beaten = self._clock()
        return True


def _owner(dtab: Dtab) -> bytes | None:
    for dentry in dtab:
        for path in dentry.dst.leaves():
            return path.segments[0]
    return None
