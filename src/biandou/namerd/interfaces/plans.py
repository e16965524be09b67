"""The route of the HTTP API that says what a new dtab would change, before it is one."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Final

from biandou.dtab import Dtab
from biandou.errors import StoreDown
from biandou.live import Ok
from biandou.namerd.canary_state import is_reserved
from biandou.namerd.interfaces.documents import JSON, MEDIA_TYPES, dump, etag, read_sent_dtab
from biandou.namerd.interfaces.message import Answer, Reply, Request, text
from biandou.namerd.linkers import Linkers
from biandou.namerd.names import Names
from biandou.namerd.plan import Change, Seen, changes
from biandou.namerd.reports import MOST_A_SECOND, Reports
from biandou.stores.interface import Store

LISTEN_SECONDS: Final = 8.0
"""So long linkers have to report twice; an idle one reports every two seconds."""
MOST_LISTEN_SECONDS: Final = 45.0
BIND_SECONDS: Final = 5.0
AT_ONCE: Final = 2
"""How many plans are made at once."""


class PlanRoutes:
    """Answers what is below `plan`."""

    def __init__(self, store: Store, names: Names, reports: Reports, linkers: Linkers) -> None:
        self._store = store
        self._names = names
        self._reports = reports
        self._linkers = linkers
        self._under_way = 0

    async def plan(self, request: Request, namespace: str | None) -> Answer:
        """Say which live names go elsewhere by the dtab that was sent."""
        if namespace is None or is_reserved(namespace):
            return Reply(status=404)
        if request.method != "POST":
            return Reply(status=405, headers={"Allow": "POST"})
        if "origin" in request.headers:
            return text("this request comes from a page of a browser", 403)
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in MEDIA_TYPES:
            return text(f"a dtab comes as one of {', '.join(MEDIA_TYPES)}", 400)
        dtab = await read_sent_dtab(request.body, media)
        if self._under_way == AT_ONCE:
            return text(f"{AT_ONCE} plans are being made already", 503, {"Retry-After": "10"})
        self._under_way += 1
        try:
            return await self._plan(namespace, dtab)
        finally:
            self._under_way -= 1

    async def _plan(self, namespace: str, dtab: Dtab) -> Answer:
        stored = self._store.watch(namespace)
        with ExitStack() as watches:
            watches.callback(stored.observe(lambda _: None).close)
            live = self._linkers.names
            routers = self._reports.reporting(namespace)
            began = time.monotonic()
            with live.wanted(namespace):
                wait = min(LISTEN_SECONDS + 2 * routers / MOST_A_SECOND, MOST_LISTEN_SECONDS)
                await live.until(namespace, routers, 2, wait)
                heard = await live.heard(namespace)
            seconds = time.monotonic() - began
            found = await changes(self._names, namespace, dtab, heard.requests, BIND_SECONDS)
            state = stored.sample()
        if not isinstance(state, Ok):
            raise StoreDown(self._store.trouble or "the store has not been read yet")
        before = state.value
        document = {
            "version": "" if before is None else etag(before.version),
            "same": before is not None and before.dtab == dtab,
            "routers": {"reporting": routers, "heard": heard.routers},
            "names": len(heard.requests),
            "cut": heard.cut,
            "requests": sum(heard.requests.values()),
            "seconds": round(seconds, 3),
            "moves": round(sum(change.share * change.moves for change in found), 6),
            "changes": [_change_json(change) for change in found],
        }
        return Reply(dump(document) + b"\n", 200, JSON)


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "name": str(change.name),
        "kind": change.kind,
        "requests": change.requests,
        "share": round(change.share, 6),
        "moves": change.moves,
        "before": _seen_json(change.before),
        "after": _seen_json(change.after),
    }


def _seen_json(seen: Seen) -> dict[str, Any]:
    return {"tree": seen.tree, "routable": seen.routable}
