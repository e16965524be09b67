"""Canaries as they are stored: in a namespace of the store that stands beside the one whose dtab they change.

Its dtab has an entry a canary, whose destination's last segment is the state as JSON. So every store keeps canaries,
compares and sets them, and tells other namerds of them, as it does dtabs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from biandou.dtab import Dentry, Dtab, Leaf, NameTree, Path, Prefix
from biandou.errors import NamespaceExists, NamespaceMissing, StaleVersion, StoreDown, StoreError
from biandou.live import Live, Ok
from biandou.namerd.canary import Canary, Plan, Status
from biandou.stores.interface import INTERNAL, Remark, Store, Version, Versioned

RESERVED: Final = INTERNAL[0]
"""What the names of these namespaces begin with."""

ROLLOUTS: Final = INTERNAL[1]
"""And those of rollouts (rollout_state.py)."""

LEASE: Final = f"{RESERVED}~lease"
MAX_CANARIES: Final = 100
"""How many paths of a namespace are remembered; beyond it those that ended are forgotten, the first first."""

TRIES: Final = 10
_REMARK: Final = Remark("canary")


@dataclass(frozen=True, slots=True)
class Shown:
    """All canaries of a namespace by their paths; `version` is `None` if there never was one."""

    canaries: Mapping[Path, Canary]
    version: Version | None


def is_reserved(namespace: str) -> bool:
    """Whether a namespace is no operator's."""
    return namespace.startswith((RESERVED, ROLLOUTS))


def namespaces_with_canaries(names: frozenset[str]) -> list[str]:
    """Give the operators' namespaces that have canaries, of all names in a store."""
    return sorted(name.removeprefix(RESERVED) for name in names if name.startswith(RESERVED) and name != LEASE)


class CanaryStates:
    """The canaries in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def watch(self, namespace: str) -> Live[Shown]:
        """Give the canaries of a namespace, again at each change."""
        return self._store.watch(RESERVED + namespace).map(_read)

    def now(self, namespace: str) -> Shown:
        """Give the canaries as they are known now; raises `StoreDown` if nothing is, `ValueError` if unreadable."""
        state = self._store.watch(RESERVED + namespace).sample()
        if not isinstance(state, Ok):
            raise StoreDown(self._store.trouble or "the store has not been read yet")
        return _read(state.value)

    async def save(self, namespace: str, shown: Shown, canary: Canary) -> None:
        """Write one canary over what `shown` was; raises `StaleVersion` if it is that no longer."""
        canaries = {path: known for path, known in shown.canaries.items() if path != canary.plan.path}
        ended = [path for path, known in canaries.items() if known.status.over]
        for path in ended[: max(0, len(canaries) + 1 - MAX_CANARIES)]:
            del canaries[path]
        canaries[canary.plan.path] = canary
        dtab = Dtab([_dentry(known) for known in canaries.values()])
        name = RESERVED + namespace
        try:
            if shown.version is None:
                await self._store.create(name, dtab, _REMARK)
            else:
                await self._store.update(name, dtab, shown.version, _REMARK)
        except (NamespaceExists, NamespaceMissing) as error:
            raise StaleVersion(str(error)) from error

    async def change(self, namespace: str, path: Path, act: Callable[[Shown, Canary | None], Canary]) -> Canary:
        """Write what `act` makes of the present canary, trying again while others write too.

        What `act` raises is raised.
        """
        for attempt in range(TRIES):
            shown = self.now(namespace)
            canary = act(shown, shown.canaries.get(path))
            try:
                await self.save(namespace, shown, canary)
            except StaleVersion:
                if attempt == TRIES - 1:
                    raise
                continue
            return canary
        raise AssertionError("the last try returns or raises")


class UnreadableCanary(StoreError):
    """What is stored is no canary that this version knows."""


# ── As JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _dentry(canary: Canary) -> Dentry:
    plan = canary.plan
    written = {
        "path": str(plan.path),
        "old": str(plan.old),
        "new": str(plan.new),
        "steps": plan.steps,
        "interval": plan.interval,
        "maxErrorRate": plan.max_error_rate,
        "maxP99Ratio": plan.max_p99_ratio,
        "minRequests": plan.min_requests,
        "before": str(canary.before),
        "status": str(canary.status),
        "reason": canary.reason,
        "step": canary.step,
        "since": canary.since,
        "weight": canary.weight,
        "wanted": canary.wanted,
    }
    text = json.dumps(written, separators=(",", ":")).encode()
    return Dentry(Prefix(plan.path.segments), Leaf(Path((b"canary", text))))


def _read(stored: Versioned | None) -> Shown:
    if stored is None:
        return Shown({}, None)
    canaries = {}
    for dentry in stored.dtab:
        canary = _canary(dentry)
        canaries[canary.plan.path] = canary
    return Shown(canaries, stored.version)


def _canary(dentry: Dentry) -> Canary:
    try:
        (path,) = dentry.dst.leaves()
        written: dict[str, Any] = json.loads(path.segments[1])
        plan = Plan(
            Path.read(written["path"]),
            NameTree.read(written["old"]),
            NameTree.read(written["new"]),
            tuple(written["steps"]),
            written["interval"],
            written["maxErrorRate"],
            written["maxP99Ratio"],
            written["minRequests"],
        )
        return Canary(
            plan,
            Dtab.read(written["before"]),
            Status(written["status"]),
            written["reason"],
            written["step"],
            written["since"],
            written["weight"],
            written["wanted"],
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise UnreadableCanary(f"the state of the canary {dentry.prefix} cannot be read: {error}") from error
