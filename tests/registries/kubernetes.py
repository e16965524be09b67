"""A small Kubernetes API server on loopback: the published API as far as we use it, and strict about how it is used.

What it does is taken from Kubernetes' documentation ("API concepts": resource versions, efficient detection of
changes, watch bookmarks, 410 Gone; "Labels and selectors", "Field selectors") and "API conventions". Whatever it would
not understand is a mistake of ours: an unknown parameter, path, verb, header or field fails the test when the context
ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from copy import deepcopy
from types import TracebackType
from typing import Any, Final, Literal, Self
from urllib.parse import unquote

from aiohttp import web

from tests.registries.kubernetes_state import Conflict, Event, Exists, KubernetesState, Missing, Object, Selector

HEADERS: Final = {"host", "accept", "user-agent", "content-length", "content-type", "authorization", "connection"}
SELECT: Final = {"labelSelector", "fieldSelector"}
LIST: Final = SELECT | {"resourceVersion"}
WATCH: Final = LIST | {"watch", "allowWatchBookmarks", "timeoutSeconds"}
MAX_BODY: Final = 3 * 1024 * 1024
NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Misused(Exception):
    """A request that Kubernetes' documentation does not provide for."""


class KubernetesServer:
    """An API server that a test changes; a context that listens, and that fails if it was misused.

    With `tokens`, nobody without one of them sees anything. `gone` says how it tells that a watch begins too far back.
    `fail` makes it answer badly; `requests` holds what was asked.
    """

    def __init__(self, *, tokens: set[str] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.state = KubernetesState()
        self.kinds = {
            "/api/v1": {"endpoints": "Endpoints", "services": "Service", "configmaps": "ConfigMap"},
            "/apis/l5d.io/v1alpha1": {"dtabs": "DTab"},
        }
        self.tokens = tokens
        self.gone: Literal["status", "event"] = "event"
        self.port = 0
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.presented: list[str | None] = []
        self.watching = 0
        self.misused: list[str] = []
        self._tls = tls
        self._fault: Fault | None = None
        self._where = ""
        self._times = 0
        self._cut = 0
        self._end = 0
        self.dropping = 0
        self._said: list[bytes] = []
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None:
            assert self.misused == []

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening, and cut every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for site in list(runner.sites):
                await site.stop()
            assert runner.server is not None
            for handler in list(runner.server.connections):
                if handler.transport is not None:
                    handler.transport.abort()
            self.cut()
            await runner.cleanup()

    # ── What a test does with it ─────────────────────────────────────────────────────────────────────────────────────

    def apply(self, resource: str, namespace: str, name: str, **fields: Any) -> int:
        """Add or change an object as somebody else would, and give its resourceVersion."""
        version = self.state.apply(resource, namespace, name, fields)
        self._tell()
        return version

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Remove an object as somebody else would."""
        self.state.remove(resource, namespace, name)
        self._tell()

    def bookmark(self) -> None:
        """Tell every watch that wants to know how far it has got."""
        self._say({"type": "BOOKMARK"})

    def cut(self) -> None:
        """Cut every watch in the middle."""
        self._cut += 1
        self._tell()

    def end(self) -> None:
        """End every watch in order, as after `timeoutSeconds`."""
        self._end += 1
        self._tell()

    def interject(self, event: dict[str, Any] | bytes) -> None:
        """Say something in every watch."""
        self._say(event)

    def restore(self, state: KubernetesState) -> None:
        """Go back to a copy of the state: what was written since is gone, and versions count from there again."""
        self.state = state
        self.cut()

    def fail(self, fault: Fault | None, path: str = "/", times: int = 2**31, *, cut: bool = True) -> None:
        """Answer what begins with `path` by a fault, so many times, and cut the watches; `None` ends that."""
        self._fault, self._where, self._times = fault, path, times
        if cut:
            self.cut()

    async def answered(self, request: web.Request) -> web.StreamResponse:
        """Answer as if nothing were wrong."""
        return await self._route(request)

    def asked(self, path: str, *, watch: bool = False) -> list[dict[str, str]]:
        """Give the parameters of every list, or watch, of a path."""
        return [query for _, asked, query in self.requests if asked == path and ("watch" in query) == watch]

    async def watched(self, count: int = 1) -> None:
        """Wait until so many watches are open."""
        async with asyncio.timeout(5):
            while self.watching != count:
                await asyncio.sleep(0.005)

    def _say(self, event: dict[str, Any] | bytes) -> None:
        self._said.append(event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n")
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        authorization = request.headers.get("Authorization")
        self.presented.append(authorization)
        try:
            self._check_headers(request)
            if self._fault is not None and self._times > 0 and request.path.startswith(self._where):
                self._times -= 1
                return await self._fault(request)
            if self.tokens is not None and authorization not in {f"Bearer {token}" for token in self.tokens}:
                return status(401, "Unauthorized", "Unauthorized")
            return await self._route(request)
        except Misused as error:
            self.misused.append(f"{request.method} {request.path_qs}: {error}")
            return status(400, "BadRequest", str(error))
        except Missing as error:
            return status(404, "NotFound", str(error))
        except Exists as error:
            return status(409, "AlreadyExists", str(error))
        except Conflict as error:
            return status(409, "Conflict", str(error))

    async def _route(self, request: web.Request) -> web.StreamResponse:
        found = re.fullmatch(
            r"(/api/v1|/apis/[^/]+/[^/]+)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?", request.rel_url.raw_path
        )
        if found is None:
            raise Misused("no such path")
        group, namespace, resource = found[1], unquote(found[2]), found[3]
        name = None if found[4] is None else unquote(found[4])
        if resource not in self.kinds.get(group, {}):
            # As for a custom resource that nobody has defined.
            return web.Response(status=404, text="404 page not found\n")
        for part in (namespace, name):
            if part is not None and NAME.fullmatch(part) is None:
                raise Misused(f"the name {part!r}")
        match request.method, name:
            case "GET", None if "watch" in request.query:
                return await self._watch(request, group, namespace, resource)
            case "GET", None:
                self._parameters(request, LIST)
                return self._list(request, group, namespace, resource)
            case "GET", str(name):
                self._parameters(request, set())
                return web.json_response(self._whole(group, self.state.get(resource, namespace, name)))
            case "POST", None:
                self._parameters(request, set())
                body = await self._object(request, group, resource, None)
                made = self.state.create(resource, namespace, body)
                self._tell()
                return web.json_response(self._whole(group, made), status=201)
            case "PUT", str(name):
                self._parameters(request, set())
                body = await self._object(request, group, resource, name)
                if "resourceVersion" not in body["metadata"]:
                    return status(422, "Invalid", "metadata.resourceVersion: must be specified for an update")
                made = self.state.replace(resource, namespace, name, body)
                self._tell()
                return web.json_response(self._whole(group, made))
            case "PATCH", str(name):
                self._parameters(request, set())
                if request.content_type != "application/merge-patch+json":
                    raise Misused(f"a patch of type {request.content_type}")
                made = self.state.patch(resource, namespace, name, await self._json(request))
                self._tell()
                return web.json_response(self._whole(group, made))
            case "DELETE", str(name):
                self._parameters(request, set())
                self.state.remove(resource, namespace, name)
                self._tell()
                return status(200, "", "", success=True)
        raise Misused("no such verb")

    def _check_headers(self, request: web.Request) -> None:
        names = [name.lower() for name in request.headers]
        if {*names} - HEADERS:
            raise Misused(f"the headers {sorted({*names} - HEADERS)}")
        if len(names) != len({*names}):
            raise Misused("a header twice")
        if request.method == "GET" and (request.can_read_body or "content-type" in names):
            raise Misused("a GET with a body")
        if self.tokens is None and "authorization" in names:
            raise Misused("a token that nobody wants")

    def _parameters(self, request: web.Request, allowed: set[str]) -> None:
        for name in {*request.query}:
            if name not in allowed:
                raise Misused(f"the parameter {name}")
            if len(request.query.getall(name)) > 1:
                raise Misused(f"the parameter {name} twice")
        for name in ("watch", "allowWatchBookmarks"):
            if request.query.get(name, "true") != "true":
                raise Misused(f"{name}={request.query[name]}")
        for name in ("resourceVersion", "timeoutSeconds"):
            if not re.fullmatch(r"0|[1-9][0-9]{0,18}", request.query.get(name, "0")):
                raise Misused(f"{name}={request.query[name]}")

    async def _json(self, request: web.Request) -> Any:
        try:
            return json.loads(await request.read())
        except ValueError as error:
            raise Misused(f"no JSON: {error}") from error

    async def _object(self, request: web.Request, group: str, resource: str, name: str | None) -> Object:
        if request.content_type != "application/json":
            raise Misused(f"an object of type {request.content_type}")
        body: Object = await self._json(request)
        wanted = (group.removeprefix("/apis/").removeprefix("/api/"), self.kinds[group][resource])
        if (body.get("apiVersion"), body.get("kind")) != wanted:
            raise Misused(f"an object of {body.get('apiVersion')} {body.get('kind')}, and not of {wanted}")
        named = body.get("metadata", {}).get("name")
        if not isinstance(named, str) or len(named) > 253 or NAME.fullmatch(named) is None:
            raise Misused(f"metadata.name: {named}")
        if name not in (None, named):
            raise Misused("two names")
        return body

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _whole(self, group: str, found: Object) -> Object:
        whole = deepcopy(found)
        resource = whole.pop("resource")
        version = group.removeprefix("/apis/").removeprefix("/api/")
        return {"apiVersion": version, "kind": self.kinds[group][resource], **whole}

    def _list(self, request: web.Request, group: str, namespace: str, resource: str) -> web.Response:
        selector = _selector(request)
        found = [one for one in self.state.below(resource, namespace) if selector.takes(one)]
        return web.json_response(
            {
                "apiVersion": group.removeprefix("/apis/").removeprefix("/api/"),
                "kind": f"{self.kinds[group][resource]}List",
                "metadata": {"resourceVersion": str(self.state.version)},
                # Of built-in kinds, items of a list say neither kind nor version.
                "items": [
                    {name: value for name, value in one.items() if name != "resource"} for one in deepcopy(found)
                ],
            }
        )

    async def _watch(self, request: web.Request, group: str, namespace: str, resource: str) -> web.StreamResponse:
        self._parameters(request, WATCH)
        if "resourceVersion" not in request.query:
            raise Misused("a watch from nowhere")
        since = int(request.query["resourceVersion"])
        if since < self.state.oldest and self.gone == "status":
            return status(410, "Expired", f"too old resource version: {since} ({self.state.oldest})")
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        if since < self.state.oldest:
            gone = status_object(410, "Expired", f"too old resource version: {since}")
            await answer.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return answer
        deadline = asyncio.get_running_loop().time() + int(request.query.get("timeoutSeconds", 1800))
        self.watching += 1
        try:
            await self._stream(request, answer, since, deadline, lambda event: self._shown(event, group))
        finally:
            self.watching -= 1
        return answer

    async def _stream(
        self,
        request: web.Request,
        answer: web.StreamResponse,
        since: int,
        deadline: float,
        shown: Callable[[Event], dict[str, Any]],
    ) -> None:
        match = re.fullmatch(r".*/namespaces/([^/]+)/([^/]+)", request.path)
        assert match is not None
        selector, marks = _selector(request), "allowWatchBookmarks" in request.query
        cut, end, said = self._cut, self._end, len(self._said)
        while True:
            changed = self._changed
            for event in self.state.events(match[2], match[1], since, selector):
                since = event.version
                if self.dropping > 0:
                    # No API server does this.
                    self.dropping -= 1
                    continue
                text = json.dumps(shown(event)).encode() + b"\n"
                # A line comes in pieces.
                for piece in (text[:7], text[7:]):
                    await answer.write(piece)
            for line in self._said[said:]:
                if line == b'{"type": "BOOKMARK"}\n':
                    mark = {"metadata": {"resourceVersion": str(self.state.version), "creationTimestamp": None}}
                    line = json.dumps({"type": "BOOKMARK", "object": mark}).encode() + b"\n"  # noqa: PLW2901
                    if not marks:
                        continue
                await answer.write(line)
            said = len(self._said)
            if self._cut != cut:
                if request.transport is not None:
                    request.transport.abort()
                return
            left = deadline - asyncio.get_running_loop().time()
            if self._end != end or left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await changed.wait()

    def _shown(self, event: Event, group: str) -> dict[str, Any]:
        return {"type": event.type, "object": self._whole(group, event.object)}


def _selector(request: web.Request) -> Selector:
    try:
        return Selector(request.query.get("labelSelector", ""), request.query.get("fieldSelector", ""))
    except ValueError as error:
        raise Misused(str(error)) from error


def status(code: int, reason: str, message: str, *, success: bool = False) -> web.Response:
    """Give Kubernetes' own form of an answer that is no object."""
    return web.json_response(status_object(code, reason, message, success=success), status=code)


def status_object(code: int, reason: str, message: str, *, success: bool = False) -> Object:
    """Give the `Status` that an error is, in an answer or in an event."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success" if success else "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
