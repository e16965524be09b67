"""The routes of the HTTP API for canaries, and for what linkers report to judge them by."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from biandou.dtab import DtabSyntaxError, NameTree, Path
from biandou.errors import NamespaceMissing, NothingUnderWay, StoreDown
from biandou.live import Live, Ok
from biandou.namerd.canary import Canary, Plan, abandon, abort, begin, pause, promote, resume
from biandou.namerd.canary_check import misled
from biandou.namerd.canary_state import CanaryStates, Shown, is_reserved, namespaces_with_canaries
from biandou.namerd.interfaces.documents import JSON, dump
from biandou.namerd.interfaces.message import Answer, Reply, Request, Stream, text
from biandou.namerd.interfaces.rollouts import under_way
from biandou.namerd.linkers import Linkers
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports
from biandou.namerd.rollout_state import RolloutStates
from biandou.stores.interface import Store

KEYS: Final = {
    "steps": "steps",
    "interval": "interval",
    "maxErrorRate": "max_error_rate",
    "maxP99Ratio": "max_p99_ratio",
    "minRequests": "min_requests",
}
"""What may be left out of a plan: its name in JSON, and in `Plan`."""


class CanaryConflict(Exception):
    """What is asked for does not go with what is under way; the message says why."""


class CanaryRoutes:
    """Answers what is below `canaries` and `reports`; `now` gives seconds since 1970."""

    def __init__(
        self, store: Store, names: Names, reports: Reports, now: Callable[[], float], linkers: Linkers
    ) -> None:
        self._store = store
        self._names = names
        self._linkers = linkers
        self._rollouts = RolloutStates(store)
        self._states = CanaryStates(store)
        self._reports = reports
        self._now = now

    # ── Reports ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def report(self, request: Request, namespace: str | None) -> Answer:
        """Take in a linker's report: whoever may bind names may say what became of them."""
        if namespace is None:
            return Reply(status=404)
        if request.method != "POST":
            return Reply(status=405, headers={"Allow": "POST"})
        if "origin" in request.headers:
            return text("this request comes from a page of a browser", 403)
        wanted = self._linkers.hear(namespace, request.body, self._reports.take(namespace, request.body))
        return Reply(dump(wanted) + b"\n", 200, JSON)

    # ── Canaries ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def canaries(self, request: Request, namespace: str | None) -> Answer:
        """List, show, start and change canaries."""
        if request.method in ("GET", "HEAD"):
            return self._show(request, namespace)
        if namespace is None or request.method not in ("POST", "PUT"):
            return Reply(status=405, headers={"Allow": "GET" if namespace is None else "GET, POST, PUT"})
        if not request.may_change:
            return text("this token may only read", 403)
        if "origin" in request.headers:
            return text("this request comes from a page of a browser", 403)
        sent = _object(request.body)
        act = self._start(request, namespace, sent) if request.method == "POST" else self._action(request, sent)
        path = _path(sent.get("path") if request.method == "POST" else request.parameters.get("path"))
        if request.method == "POST":
            stored = self._store.watch(namespace).sample()
            if isinstance(stored, Ok) and stored.value is not None:
                wrong = await misled(self._names, namespace, read_plan(sent), stored.value.dtab)
                if wrong is not None:
                    return text(wrong, 409)
        try:
            canary = await self._states.change(namespace, path, act)
        except CanaryConflict as error:
            return text(str(error), 409)
        return Reply(dump(canary_json(canary)) + b"\n", 200, JSON)

    def _show(self, request: Request, namespace: str | None) -> Answer:
        if namespace is None:
            state = self._store.namespaces().sample()
            if not isinstance(state, Ok):
                raise StoreDown(self._store.trouble or "the store has not been read yet")
            found = {name: _all(self._states.now(name)) for name in namespaces_with_canaries(state.value)}
            return Reply(dump(found) + b"\n", 200, JSON)
        written = request.parameters.get("path")
        path = None if written is None else _path(written)
        if request.method == "GET" and request.parameters.get("watch", "").lower() in ("1", "t", "true"):
            documents: Live[bytes | None] = self._states.watch(namespace).map(
                lambda shown: None if (told := _shown(shown, path)) is None else dump(told) + b"\n"
            )
            return Stream(documents, JSON)
        known = self._states.now(namespace)
        if not known.canaries and self._store.watch(namespace).sample() == Ok(None):
            raise NamespaceMissing(namespace)
        told = _shown(known, path)
        if told is None:
            return text(f"there is no canary of {path} in {namespace}", 404)
        return Reply(dump(told) + b"\n", 200, JSON)

    def _start(
        self, request: Request, namespace: str, sent: Mapping[str, Any]
    ) -> Callable[[Shown, Canary | None], Canary]:
        plan = read_plan(sent)
        if is_reserved(namespace):
            raise ValueError("the name of this namespace is reserved")

        def act(shown: Shown, _present: Canary | None) -> Canary:
            for canary in shown.canaries.values():
                if not canary.status.over or canary.wanted != canary.weight:
                    raise CanaryConflict(f"a canary of {canary.plan.path} is under way in this namespace")
            if under_way(self._rollouts, namespace):
                raise CanaryConflict("a dtab is being tried in this namespace")
            state = self._store.watch(namespace).sample()
            if not isinstance(state, Ok):
                raise StoreDown(self._store.trouble or "the store has not been read yet")
            if state.value is None:
                raise NamespaceMissing(namespace)
            return begin(plan, state.value.dtab, self._now())

        return act

    def _action(self, request: Request, sent: Mapping[str, Any]) -> Callable[[Shown, Canary | None], Canary]:
        action, keep = sent.get("action"), sent.get("keep", False)
        if action not in ("pause", "resume", "promote", "abort") or not isinstance(keep, bool):
            raise ValueError('an action is "pause", "resume", "promote" or "abort", and "keep" true or false')
        by = f"by {request.author}" if request.author else "on request"

        def act(_shown: Shown, canary: Canary | None) -> Canary:
            if canary is None:
                raise NothingUnderWay("there is no such canary")
            try:
                match action:
                    case "pause":
                        return pause(canary, by)
                    case "resume":
                        return resume(canary, self._now())
                    case "promote":
                        return promote(canary, by)
                return abandon(canary, f"{by}, the dtab left as it is") if keep else abort(canary, by)
            except ValueError as error:
                raise CanaryConflict(str(error)) from error

        return act


def read_plan(sent: Mapping[str, Any]) -> Plan:
    """Read a plan; raises `ValueError`."""
    unknown = set(sent) - {"path", "from", "to", *KEYS}
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
    keys = {KEYS[key]: sent[key] for key in KEYS if key in sent}
    steps = keys.get("steps", [100])
    if not isinstance(steps, list) or not all(type(step) is int for step in steps):
        raise ValueError("steps are whole percents")
    if "steps" in keys:
        keys["steps"] = tuple(steps)
    for name, value in keys.items():
        if name != "steps" and not (type(value) in (int, float) or (value is None and name == "max_p99_ratio")):
            raise ValueError(f"{name} is a number")
    if type(keys.get("min_requests", 1)) is not int:
        raise ValueError("minRequests is a whole number")
    return Plan(_path(sent.get("path")), _tree(sent.get("from")), _tree(sent.get("to")), **keys)


def canary_json(canary: Canary) -> dict[str, Any]:
    """Show a canary; `settled` says whether the dtab has the weight that it shall have."""
    plan = canary.plan
    return {
        "path": str(plan.path),
        "status": str(canary.status),
        "reason": canary.reason,
        "weight": canary.weight,
        "settled": canary.wanted == canary.weight,
        "step": canary.step + 1,
        "since": canary.since,
        "from": str(plan.old),
        "to": str(plan.new),
        "steps": list(plan.steps),
        "interval": plan.interval,
        "maxErrorRate": plan.max_error_rate,
        "maxP99Ratio": plan.max_p99_ratio,
        "minRequests": plan.min_requests,
        "before": str(canary.before),
    }


def _all(shown: Shown) -> list[dict[str, Any]]:
    return [canary_json(canary) for canary in shown.canaries.values()]


def _shown(shown: Shown, path: Path | None) -> Any:
    if path is None:
        return _all(shown)
    canary = shown.canaries.get(path)
    return None if canary is None else canary_json(canary)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        sent = json.loads(body)
    except RecursionError:
        raise ValueError("this JSON is too deep") from None
    if not isinstance(sent, dict):
        raise ValueError("a JSON object is needed")
    return sent


def _path(written: object) -> Path:
    if not isinstance(written, str):
        raise ValueError("the path is missing")
    try:
        return Path.read(written)
    except DtabSyntaxError as error:
        raise ValueError(f"invalid path: {error}") from error


def _tree(written: object) -> NameTree[Path]:
    if not isinstance(written, str):
        raise ValueError("from and to are names, as in a dtab")
    try:
        return NameTree.read(written)
    except DtabSyntaxError as error:
        raise ValueError(f"invalid name: {error}") from error
