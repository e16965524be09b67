"""`io.l5d.httpController`: the routes of namerd's HTTP API (reference/naming.md §5.1).

Where the reference answers 500 to a caller's own mistake, this answers 400 and says what (docs/differences.md).
"""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import unquote
from weakref import WeakValueDictionary

from biandou.dtab import Dtab, DtabSyntaxError, Path
from biandou.dtab.wire import delegation_json, known
from biandou.errors import (
    NamespaceExists,
    NamespaceMissing,
    NamespaceRefused,
    NothingUnderWay,
    StaleVersion,
    StoreDown,
    StoreForbidden,
    TooLarge,
    reason,
)
from biandou.live import Failed, Live, Ok, Pending, Source
from biandou.namerd.canary_state import is_reserved
from biandou.namerd.interfaces.canaries import CanaryRoutes
from biandou.namerd.interfaces.documents import (
    JSON,
    MEDIA_TYPES,
    MalformedDocument,
    acceptable,
    address_document,
    dtab_document,
    dump,
    etag,
    read_etag,
    read_sent_dtab,
    tree_document,
)
from biandou.namerd.interfaces.in_force import InForceRoutes
from biandou.namerd.interfaces.message import Answer, Reply, Request, Stream, text
from biandou.namerd.interfaces.plans import PlanRoutes
from biandou.namerd.interfaces.rollouts import RolloutRoutes
from biandou.namerd.linkers import Linkers
from biandou.namerd.names import Names
from biandou.namerd.reports import Reports
from biandou.namerd.sight import Sights
from biandou.stores.interface import HistoricStore, Remark, Store, Versioned

T = TypeVar("T")

READ_SECONDS: Final = 30.0
"""How long an answer that is not watched waits for a registry."""

DELEGATE_SECONDS: Final = 2.0
MAX_DELEGATION: Final = 512 * 1024
"""How many bytes a posted delegation has at most: whoever may read may send one."""

MAX_HISTORY: Final = 1000
MAX_MESSAGE: Final = 1000
ANY_VERSION_TRIES: Final = 10
BOUND_NAMES_SECONDS: Final = 1.0

STATUSES: Final[Mapping[type[Exception], int]] = {
    NamespaceRefused: 400,
    StoreForbidden: 403,
    NamespaceMissing: 404,
    NothingUnderWay: 404,
    NamespaceExists: 409,
    StaleVersion: 412,
    TooLarge: 413,
    StoreDown: 503,
}

_log = logging.getLogger(__name__)


class _Refusal(Exception):
    """The request cannot be done as it is; `reply` says why."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class HttpApi:
    """Answers requests; `bound_names` gives the names of the namers that can be enumerated, and may read files."""

    def __init__(
        self,
        store: Store,
        names: Names,
        bound_names: Callable[[], list[str]],
        reports: Reports | None = None,
        linkers: Linkers | None = None,
    ) -> None:
        self._store = store
        self._names = names
        self._bound_names = bound_names
        # A thousand linkers that watch one name are told what was written once.
        self._shared: WeakValueDictionary[tuple[Any, ...], Live[bytes]] = WeakValueDictionary()
        linkers = linkers or Linkers()
        reports = Reports() if reports is None else reports
        canaries = CanaryRoutes(store, reports, time.time, linkers)
        in_force = InForceRoutes(Sights(store, names), linkers.in_force)
        self._routes: Mapping[str, Callable[[Request, str | None], Awaitable[Answer]]] = {
            "dtabs": self._dtabs,
            "bind": self._bind,
            "addr": self._addr,
            "resolve": self._resolve,
            "delegate": self._delegate,
            "bound-names": self._show_bound_names,
            "history": self._history,
            "canaries": canaries.canaries,
            "reports": canaries.report,
            "follow": in_force.follow,
            "in-force": in_force.in_force,
            "namers": self._served,
            "plan": PlanRoutes(store, names, reports, linkers).plan,
            "rollouts": RolloutRoutes(store, time.time).rollouts,
            "openapi.json": self._describe,
        }

    async def answer(self, request: Request) -> Answer:
        """Answer one request; whatever goes wrong becomes a status."""
        answer = await self._answer(request)
        trouble = self._store.trouble
        if trouble is None or (isinstance(answer, Reply) and answer.status >= 400 and answer.status != 404):
            return answer
        # The store is away: what it said last is told, and that it may be old.
        warning = "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in trouble[:200])
        headers = {**answer.headers, "Warning": f'110 biandou "the store is away: {warning}"'}
        if isinstance(answer, Reply):
            return Reply(answer.body, answer.status, answer.media, headers)
        return replace(answer, headers=headers)

    async def _answer(self, request: Request) -> Answer:
        kind, slash, rest = request.path.removeprefix("/api/1/").partition("/")
        route = self._routes.get(kind)
        if route is None or not request.path.startswith("/api/1/") or "/" in rest:
            return Reply(status=404)
        try:
            try:
                namespace = unquote(rest, errors="strict") if slash and rest else None
                return await route(request, namespace)
            except UnicodeDecodeError as error:
                return text(f"{rest} is not UTF-8 (byte {error.start})", 400)
            except ValueError as error:
                return text(str(error), 400)
        except _Refusal as refusal:
            return refusal.reply
        except TimeoutError:
            return text("Request timed out.", 503)
        except tuple(STATUSES) as error:
            headers = {"Retry-After": "1"} if isinstance(error, StoreDown) else {}
            status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
            reply = text(reason(error), status)
            return Reply(reply.body, reply.status, reply.media, headers)
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path)
            return text(reason(error), 500)

    # ── Dtabs ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _dtabs(self, request: Request, namespace: str | None) -> Answer:
        if namespace is None:
            names = self._store.namespaces()
            return await self._told(request, names.map(_listed))
        match request.method:
            case "GET" | "HEAD":
                return await self._get(request, namespace)
            case "POST" | "PUT" | "DELETE" if not request.may_change:
                return text("this token may only read", 403)
            case "POST" | "PUT" | "DELETE" if "origin" in request.headers:
                # A page in somebody's browser can send a POST to a loopback address, and has no business here.
                return text("this request comes from a page of a browser", 403)
            case "POST" | "PUT" | "DELETE" if is_reserved(namespace):
                return text("this namespace holds the states of canaries or rollouts", 403)
            case "POST":
                return await self._create(request, namespace)
            case "PUT":
                return await self._put(request, namespace)
            case "DELETE":
                await self._store.delete(namespace, _remark(request))
                return Reply(status=204)
        return Reply(status=404)

    async def _get(self, request: Request, namespace: str) -> Answer:
        media = acceptable(request.headers.get("accept", ""))
        stored = self._store.watch(namespace)
        if _watches(request):
            documents: Live[bytes | None] = stored.map(
                lambda found: None if found is None else dtab_document(found.dtab, media)
            )
            return Stream(documents, media)
        versioned = await self._now(stored)
        if versioned is None:
            return Reply(status=404)
        return Reply(dtab_document(versioned.dtab, media), 200, media, {"ETag": etag(versioned.version)})

    async def _create(self, request: Request, namespace: str) -> Answer:
        media = _media(request)
        if media is None:
            return Reply(status=400)
        try:
            dtab = await read_sent_dtab(request.body, media)
        except MalformedDocument as error:
            return text(str(error), 400)
        version = await self._store.create(namespace, dtab, _remark(request))
        return Reply(status=204, headers={"ETag": etag(version)})

    async def _put(self, request: Request, namespace: str) -> Answer:
        media = _media(request)
        if media is None:
            return text(f'Invalid Content-Type "{request.headers.get("content-type", "")}". ', 400)
        try:
            dtab = await read_sent_dtab(request.body, media)
        except MalformedDocument as error:
            return text(str(error), 400)
        condition = request.headers.get("if-match")
        remark = _remark(request)
        if condition is None:
            version = await self._store.put(namespace, dtab, remark)
        elif condition.strip() == "*":
            version = await self._replace(namespace, dtab, remark)
        else:
            version = await self._store.update(namespace, dtab, read_etag(condition), remark)
        return Reply(status=204, headers={"ETag": etag(version)})

    async def _replace(self, namespace: str, dtab: Dtab, remark: Remark) -> bytes:
        """Change a namespace, whatever its version, if it is there."""
        for _ in range(ANY_VERSION_TRIES):
            stored = await self._now(self._store.watch(namespace))
            if stored is None:
                raise NamespaceMissing(namespace)
            try:
                return await self._store.update(namespace, dtab, stored.version, remark)
            except StaleVersion:
                await asyncio.sleep(0)
        raise StaleVersion(namespace)

    async def _history(self, request: Request, namespace: str | None) -> Answer:
        if namespace is None:
            return Reply(status=404)
        if not isinstance(self._store, HistoricStore):
            return text("this store keeps no history", 501)
        limit = request.parameters.get("limit", "100")
        if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= MAX_HISTORY):
            return text(f"limit is a number from 1 to {MAX_HISTORY}", 400)
        revisions = await self._store.history(namespace, int(limit))
        if not revisions:
            return Reply(status=404)
        shown = [
            {
                "version": etag(revision.version),
                "time": revision.time,
                "author": revision.remark.author,
                "message": revision.remark.message,
                "dtab": None if revision.dtab is None else str(revision.dtab),
            }
            for revision in revisions
        ]
        return Reply(dump(shown) + b"\n", 200, JSON)

    # ── Names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _bind(self, request: Request, namespace: str | None) -> Answer:
        self._ready(namespace)
        wanted = _namespace(namespace), _dtab(request), _path(request)
        documents = self._shared.get(("bind", *wanted))
        if documents is None:
            documents = self._shared["bind", *wanted] = self._names.settled(*wanted).map(tree_document)
        return await self._told(request, documents)

    async def _addr(self, request: Request, namespace: str | None) -> Answer:
        _namespace(namespace)
        path = _path(request)
        documents = self._shared.get(("addr", path))
        if documents is None:
            documents = self._shared["addr", path] = self._names.addresses(path).map(address_document)
        return await self._told(request, documents)

    async def _resolve(self, request: Request, namespace: str | None) -> Answer:
        self._ready(namespace)
        addresses = self._names.resolve(_namespace(namespace), _dtab(request), _path(request))
        return await self._told(request, addresses.map(address_document))

    async def _delegate(self, request: Request, namespace: str | None) -> Answer:
        dtab, path = Dtab(), ""
        if namespace is not None:
            dtab, path = _dtab(request), str(_path(request))
        elif request.method == "POST":
            if len(request.body) > MAX_DELEGATION:
                return text(f"a delegation has at most {MAX_DELEGATION} bytes", 413)
            namespace, dtab, path = await asyncio.to_thread(_delegation, request)
        elif request.method in ("GET", "HEAD"):
            dtab, path = _dtab(request), str(_path(request))
            namespace = request.parameters.get("namespace")
        else:
            return Reply(status=405, headers={"Allow": "GET, POST"})
        self._ready(namespace)
        delegation = self._names.delegate(namespace, dtab, Path.read(path))
        return Reply(dump(await delegation_json(delegation, DELEGATE_SECONDS)), 200, JSON)

    async def _served(self, _request: Request, _namespace: str | None) -> Answer:
        served = self._names.served
        shown = {
            "configured": sorted(str(prefix) for prefix in served.configured or ()),
            "system": sorted(str(Path.of("$", name)) for name in served.system),
        }
        return Reply(dump(shown) + b"\n", 200, JSON)

    async def _show_bound_names(self, request: Request, _namespace: str | None) -> Answer:
        if request.method not in ("GET", "HEAD"):
            return Reply(status=404)

        def show() -> bytes:
            return dump(self._bound_names()) + b"\n"

        return Stream(_polled(show), JSON) if _watches(request) else Reply(show(), 200, JSON)

    async def _describe(self, _request: Request, _namespace: str | None) -> Answer:
        page = importlib.resources.files("biandou.namerd.interfaces") / "openapi.json"
        return Reply(page.read_bytes(), 200, JSON)

    # ── How it is told ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _told(self, request: Request, documents: Live[bytes]) -> Answer:
        """Tell JSON once or, if the request says so, at each change."""
        if _watches(request):
            return Stream(documents, JSON)
        try:
            return Reply(await self._now(documents), 200, JSON)
        except (TimeoutError, StoreDown):
            raise
        except Exception as error:
            # A value that failed is no mistake of the caller's, whatever its class.
            return text(reason(error), 500)

    async def _now(self, live: Live[T]) -> T:
        """Give the first state; raises what made it fail, `TimeoutError`, and `StoreDown` if nothing was ever known."""
        trouble = self._store.trouble
        if trouble is not None and isinstance(live.sample(), Pending):
            raise StoreDown(trouble)
        with ExitStack() as watches:
            async with asyncio.timeout(READ_SECONDS):
                state = await known(live, watches)
        if isinstance(state, Ok):
            return state.value
        raise state.error if isinstance(state, Failed) else TimeoutError

    def _ready(self, namespace: str | None) -> None:
        """Raise `StoreDown` if the namespace's dtab was never known, and cannot be."""
        if namespace is not None and self._store.trouble is not None:
            stored: Live[Versioned | None] = self._store.watch(namespace)
            if not isinstance(stored.sample(), Ok):
                raise StoreDown(self._store.trouble)


# ── What a request says ──────────────────────────────────────────────────────────────────────────────────────────────


def _listed(found: frozenset[str]) -> bytes:
    return dump(sorted(name for name in found if not is_reserved(name))) + b"\n"


def _namespace(namespace: str | None) -> str:
    if namespace is None:
        raise _Refusal(Reply(status=404))
    return namespace


def _watches(request: Request) -> bool:
    # HEAD asks for a head, which has an end.
    return request.method != "HEAD" and request.parameters.get("watch", "").lower() in ("1", "t", "true")


def _path(request: Request) -> Path:
    written = request.parameters.get("path")
    if written is None:
        raise _Refusal(text("Invalid path: the parameter path is missing", 400))
    try:
        return Path.read(written)
    except DtabSyntaxError as error:
        raise _Refusal(text(f"Invalid path: {written} / {error}", 400)) from error


def _dtab(request: Request) -> Dtab:
    try:
        return Dtab.read(request.parameters.get("dtab", ""))
    except DtabSyntaxError as error:
        raise _Refusal(text(f"Invalid dtab: {error}", 400)) from error


def _media(request: Request) -> str | None:
    """Give the body's media type if it is one of ours."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media if media in MEDIA_TYPES else None


def _remark(request: Request) -> Remark:
    return Remark(request.author, request.headers.get("l5d-message", "")[:MAX_MESSAGE])


def _delegation(request: Request) -> tuple[str | None, Dtab, str]:
    """Read `{"namespace"?, "dtab", "path"}`."""
    if request.headers.get("content-type") != JSON:
        raise _Refusal(Reply(status=415))
    try:
        sent = json.loads(request.body)
        namespace, dtab, path = sent.get("namespace"), sent["dtab"], sent["path"]
        if not all(isinstance(value, str) for value in (namespace or "", dtab, path)):
            raise TypeError("the members are strings")
        return namespace, Dtab.read(dtab), str(Path.read(path))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        sent_text = request.body[:4096].decode(errors="replace")
        raise _Refusal(text(f"Malformed delegation request: {sent_text}", 400)) from error


def _polled(show: Callable[[], bytes]) -> Live[bytes]:
    """Look again and again while somebody watches: what a namer lists is not a `Live`."""

    def follow(source: Source[bytes]) -> Callable[[], None]:
        async def look() -> None:
            while True:
                source.set(show())
                await asyncio.sleep(BOUND_NAMES_SECONDS)

        looking = asyncio.get_running_loop().create_task(look(), name="bound names")

        def stop() -> None:
            looking.cancel()

        return stop

    return Source(follow=follow)
