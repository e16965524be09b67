"""Rollouts as they are stored: in a namespace of the store that stands beside the one that they change.

Its dtab has one entry, whose destination's last segment is the state as JSON, as canaries have (canary_state.py).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from biandou.dtab import Dentry, Dtab, Leaf, Path, Prefix
from biandou.errors import NamespaceExists, NamespaceMissing, StaleVersion, StoreDown, StoreError
from biandou.live import Live, Ok
from biandou.namerd.canary import Counts
from biandou.namerd.canary_state import ROLLOUTS, TRIES
from biandou.namerd.rollout import Phase, Rollout, Terms
from biandou.stores.interface import Remark, Store, Version, Versioned

LEASE: Final = f"{ROLLOUTS}~lease"
_REMARK: Final = Remark("rollout")


@dataclass(frozen=True, slots=True)
class Shown:
    """The latest rollout of a namespace; `version` is `None` if there never was one."""

    rollout: Rollout | None
    version: Version | None


class UnreadableRollout(StoreError):
    """What is stored is no rollout that this version knows."""


def namespaces_with_rollouts(names: frozenset[str]) -> list[str]:
    """Give the operators' namespaces that have rollouts, of all names in a store."""
    return sorted(name.removeprefix(ROLLOUTS) for name in names if name.startswith(ROLLOUTS) and name != LEASE)


class RolloutStates:
    """The rollouts in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # A dtab may be long, and the driver looks several times a second.
        self._read: dict[str, Shown] = {}

    def watch(self, namespace: str) -> Live[Shown]:
        """Give the rollout of a namespace, again at each change."""
        return self._store.watch(ROLLOUTS + namespace).map(lambda stored: self._known(namespace, stored))

    def now(self, namespace: str) -> Shown:
        """Give the rollout as it is known now; raises `StoreDown` if nothing is, `UnreadableRollout`."""
        state = self._store.watch(ROLLOUTS + namespace).sample()
        if not isinstance(state, Ok):
            raise StoreDown(self._store.trouble or "the store has not been read yet")
        return self._known(namespace, state.value)

    def _known(self, namespace: str, stored: Versioned | None) -> Shown:
        known = self._read.get(namespace)
        if stored is None:
            self._read.pop(namespace, None)
            return _read(None)
        if known is None or known.version != stored.version:
            known = self._read[namespace] = _read(stored)
        return known

    async def save(self, namespace: str, shown: Shown, rollout: Rollout) -> None:
        """Write a rollout over what `shown` was; raises `StaleVersion` if it is that no longer."""
        dtab = Dtab([Dentry(Prefix((b"rollout",)), Leaf(Path((b"rollout", _written(rollout)))))])
        try:
            if shown.version is None:
                await self._store.create(ROLLOUTS + namespace, dtab, _REMARK)
            else:
                await self._store.update(ROLLOUTS + namespace, dtab, shown.version, _REMARK)
        except (NamespaceExists, NamespaceMissing) as error:
            raise StaleVersion(str(error)) from error

    async def change(self, namespace: str, act: Callable[[Rollout | None], Rollout]) -> Rollout:
        """Write what `act` makes of the present rollout, trying again while others write too; raises what it raises."""
        for attempt in range(TRIES):
            shown = self.now(namespace)
            rollout = act(shown.rollout)
            try:
                await self.save(namespace, shown, rollout)
            except StaleVersion:
                if attempt == TRIES - 1:
                    raise
                continue
            return rollout
        raise AssertionError("the last try returns or raises")


def _written(rollout: Rollout) -> bytes:
    terms = rollout.terms
    written = {
        "name": rollout.name,
        "dtab": str(rollout.dtab),
        "base": base64.b64encode(rollout.base).decode(),
        "share": terms.share,
        "seconds": terms.seconds,
        "maxErrorRise": terms.max_error_rise,
        "minRequests": terms.min_requests,
        "author": rollout.remark.author,
        "message": rollout.remark.message,
        "phase": str(rollout.phase),
        "reason": rollout.reason,
        "since": rollout.since,
        "below": rollout.below,
        "before": [rollout.before.requests, rollout.before.failures],
    }
    return json.dumps(written, separators=(",", ":")).encode()


def _read(stored: Versioned | None) -> Shown:
    if stored is None:
        return Shown(None, None)
    try:
        (dentry,) = stored.dtab
        (path,) = dentry.dst.leaves()
        written: dict[str, Any] = json.loads(path.segments[1])
        rollout = Rollout(
            written["name"],
            Dtab.read(written["dtab"]),
            base64.b64decode(written["base"]),
            Terms(written["share"], written["seconds"], written["maxErrorRise"], written["minRequests"]),
            Remark(written["author"], written["message"]),
            Phase(written["phase"]),
            written["reason"],
            written["since"],
            written["below"],
            Counts(*written["before"]),
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UnreadableRollout(f"the state of the rollout cannot be read: {error}") from error
    return Shown(rollout, stored.version)
