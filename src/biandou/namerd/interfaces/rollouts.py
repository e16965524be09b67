"""The routes of the HTTP API for dtabs that some linkers try before all get them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from biandou.dtab import Dtab
from biandou.errors import NamespaceMissing, NothingUnderWay, StaleVersion, StoreDown
from biandou.live import Ok
from biandou.namerd.canary_state import CanaryStates, is_reserved
from biandou.namerd.interfaces.documents import DTAB, JSON, dump, etag, read_etag, read_sent_dtab
from biandou.namerd.interfaces.message import Answer, Reply, Request, text
from biandou.namerd.rollout import Rollout, Terms, abort, apply
from biandou.namerd.rollout_state import RolloutStates
from biandou.stores.interface import Remark, Store, Versioned, dtab_text

KEYS: Final = {"seconds": "seconds", "maxErrorRise": "max_error_rise", "minRequests": "min_requests"}
"""What may be left out of the terms: its name in JSON, and in `Terms`."""

MAX_MESSAGE: Final = 1000


class RolloutConflict(Exception):
    """What is asked for does not go with what is under way; the message says why."""


class RolloutRoutes:
    """Answers what is below `rollouts`; `now` gives seconds since 1970."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._states = RolloutStates(store)
        self._canaries = CanaryStates(store)
        self._now = now

    async def rollouts(self, request: Request, namespace: str | None) -> Answer:
        """Show, start and change the rollout of a namespace."""
        if namespace is None or is_reserved(namespace):
            return Reply(status=404)
        if request.method in ("GET", "HEAD"):
            rollout = self._states.now(namespace).rollout
            return Reply(status=404) if rollout is None else _shown(rollout)
        if request.method not in ("POST", "PUT"):
            return Reply(status=405, headers={"Allow": "GET, POST, PUT"})
        if not request.may_change:
            return text("this token may only read", 403)
        if "origin" in request.headers:
            return text("this request comes from a page of a browser", 403)
        sent = _object(request.body)
        act = await self._start(request, namespace, sent) if request.method == "POST" else _action(request, sent)
        try:
            return _shown(await self._states.change(namespace, act))
        except RolloutConflict as error:
            return text(str(error), 409)

    async def _start(
        self, request: Request, namespace: str, sent: Mapping[str, Any]
    ) -> Callable[[Rollout | None], Rollout]:
        terms, dtab = read_terms(sent), await _dtab(sent.get("dtab"))
        # Now, and not when all shall get it, is the time to refuse what the store does not take.
        dtab_text(dtab)
        remark = Remark(request.author, request.headers.get("l5d-message", "")[:MAX_MESSAGE])
        condition = request.headers.get("if-match")

        def act(present: Rollout | None) -> Rollout:
            if present is not None and not present.phase.over:
                raise RolloutConflict("another dtab is being tried in this namespace")
            for canary in self._canaries.now(namespace).canaries.values():
                if not canary.status.over or canary.wanted != canary.weight:
                    raise RolloutConflict(f"a canary of {canary.plan.path} is under way in this namespace")
            stored = self._stored(namespace)
            if condition is not None and condition.strip() != "*" and stored.version != read_etag(condition):
                raise StaleVersion(namespace)
            return Rollout(secrets.token_hex(4), dtab, stored.version, terms, remark, since=self._now())

        return act

    def _stored(self, namespace: str) -> Versioned:
        state = self._store.watch(namespace).sample()
        if not isinstance(state, Ok):
            raise StoreDown(self._store.trouble or "the store has not been read yet")
        if state.value is None:
            raise NamespaceMissing(namespace)
        return state.value


def under_way(states: RolloutStates, namespace: str) -> bool:
    """Whether a dtab is being tried in a namespace; raises `StoreDown`."""
    rollout = states.now(namespace).rollout
    return rollout is not None and not rollout.phase.over


def _action(request: Request, sent: Mapping[str, Any]) -> Callable[[Rollout | None], Rollout]:
    action = sent.get("action")
    if action not in ("abort", "promote"):
        raise ValueError('an action is "abort" or "promote"')
    by = f"by {request.author}" if request.author else "on request"

    def act(present: Rollout | None) -> Rollout:
        if present is None:
            raise NothingUnderWay("no new dtab was ever tried here")
        try:
            return abort(present, by) if action == "abort" else apply(present, by)
        except ValueError as error:
            raise RolloutConflict(str(error)) from error

    return act


def read_terms(sent: Mapping[str, Any]) -> Terms:
    """Read the terms; raises `ValueError`."""
    unknown = set(sent) - {"dtab", "share", *KEYS}
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
    keys = {KEYS[key]: sent[key] for key in KEYS if key in sent}
    for name, value in {"share": sent.get("share"), **keys}.items():
        if type(value) not in (int, float):
            raise ValueError(f"{name} is a number")
    if type(keys.get("min_requests", 1)) is not int:
        raise ValueError("minRequests is a whole number")
    return Terms(sent["share"], **keys)


def rollout_json(rollout: Rollout) -> dict[str, Any]:
    """Show a rollout, but for its dtab."""
    terms, before = rollout.terms, rollout.before
    return {
        "name": rollout.name,
        "phase": str(rollout.phase),
        "reason": rollout.reason,
        "over": rollout.phase.over,
        "since": rollout.since,
        "base": etag(rollout.base),
        "share": terms.share,
        "seconds": terms.seconds,
        "maxErrorRise": terms.max_error_rise,
        "minRequests": terms.min_requests,
        "before": {"requests": before.requests, "failures": before.failures},
    }


def _shown(rollout: Rollout) -> Reply:
    return Reply(dump({**rollout_json(rollout), "dtab": str(rollout.dtab)}) + b"\n", 200, JSON)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        sent = json.loads(body)
    except RecursionError:
        raise ValueError("this JSON is too deep") from None
    if not isinstance(sent, dict):
        raise ValueError("a JSON object is needed")
    return sent


async def _dtab(written: object) -> Dtab:
    """Read a dtab as text, or as a list of entries."""
    if isinstance(written, str):
        return await read_sent_dtab(written.encode(errors="replace"), DTAB)
    return await read_sent_dtab(dump(written), JSON)
