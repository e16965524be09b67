"""A small Consul on loopback: the published HTTP API as far as we use it, and strict about how it is used.

What each answer says is taken from Consul's API documentation (agent, catalog, health, kv, txn, features/blocking,
features/consistency, "HTTP API structure"). Whatever it would not understand is a mistake of ours: an unknown
parameter, path, verb or header makes the test fail when the context ends.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from tests.registries.consul_agent import Agent, NotAService
from tests.registries.consul_state import MAX_VALUE, ConsulState, Instance, Key

HEADERS: Final = {"host", "accept", "user-agent", "content-length", "content-type", "x-consul-token", "connection"}
READ: Final = {"dc", "index", "wait", "stale", "consistent"}
MAX_TXN: Final = 512 * 1024
PATIENCE: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST_WAIT: Final = 600.0

Fault = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = tuple[int, web.Response]


class Misused(Exception):
    """A request that Consul's documentation does not provide for."""


class ConsulServer:
    """A Consul agent and its servers in one; a context that listens, and that fails if it was misused.

    With `token`, nobody without it sees anything. `fail` makes it answer badly; `requests` holds what was asked.
    """

    def __init__(self, *, token: str | None = None, dc: str = "dc1", tls: ssl.SSLContext | None = None) -> None:
        self.state = ConsulState()
        self.token = token
        self.dc = dc
        self.agent: dict[str, Any] = {"Config": {"Datacenter": dc, "NodeName": "here", "Server": True}}
        self.announced = Agent(lambda: self.state, self._tell)
        self.port = 0
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.tokens: list[str | None] = []
        self.waiting = 0
        self.misused: list[str] = []
        self._tls = tls
        self._fault: Fault | None = None
        self._where = ""
        self._times = 0
        self._changed = asyncio.Event()
        self._abandoned = 0
        self.silence = asyncio.Event()
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
        self.silence = asyncio.Event()
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app[SERVER] = self
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.2, auto_decompress=False, handler_cancellation=True
        )
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
            # Whoever waits learns that nobody is there any more.
            self._abandoned += 1
            self._tell()
            self.silence.set()
            await runner.cleanup()

    # ── What a test does with it ─────────────────────────────────────────────────────────────────────────────────────

    def register(self, *instances: Instance) -> None:
        """Add or change instances."""
        self.state.register(*instances)
        self._tell()

    def deregister(self, *instances: Instance) -> None:
        """Remove instances."""
        self.state.deregister(*instances)
        self._tell()

    def put(self, key: str, value: bytes) -> int:
        """Set a key as somebody else would, and give its index."""
        made = self.state.put(key, value)
        self._tell()
        assert made is not None
        return made.modified

    def delete(self, key: str) -> None:
        """Remove a key as somebody else would."""
        self.state.delete(key)
        self._tell()

    def restore(self, snapshot: ConsulState) -> None:
        """Go back to a snapshot: every index is what it was then, and blocked queries are answered at once."""
        self.state = snapshot
        self._abandoned += 1
        self._tell()

    def fail(self, fault: Fault | None, path: str = "/v1/", times: int = 2**31) -> None:
        """Answer what begins with `path` by a fault, so many times; `None` ends that. Blocked queries are answered."""
        self._fault, self._where, self._times = fault, path, times
        self._abandoned += 1
        self._tell()

    def well(self) -> None:
        """End a fault; who waits goes on waiting."""
        self._fault = None

    async def answered(self, request: web.Request) -> web.Response:
        """Answer as if nothing were wrong."""
        answer = await self._route(request)
        assert isinstance(answer, web.Response)
        return answer

    def asked(self, path: str) -> list[dict[str, str]]:
        """Give the parameters of every request for a path."""
        return [query for _, asked, query in self.requests if asked == path]

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # ── Requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, dict(request.query)))
        self.tokens.append(request.headers.get("X-Consul-Token"))
        try:
            self._check_headers(request)
            faulty = await self._faulty(request)
            if faulty is not None:
                return faulty
            if request.headers.get("X-Consul-Token") not in (None, self.token):
                return web.Response(status=403, text="ACL not found")
            return await self._route(request)
        except Misused as error:
            self.misused.append(f"{request.method} {request.path_qs}: {error}")
            return web.Response(status=400, text=f"Bad request: {error}")

    async def _faulty(self, request: web.Request) -> web.StreamResponse | None:
        if self._fault is None or self._times == 0 or not request.path.startswith(self._where):
            return None
        self._times -= 1
        return await self._fault(request)

    async def _route(self, request: web.Request) -> web.StreamResponse:
        match [*request.path.split("/", 4)[1:]], request.method:
            case ["v1", "agent", "self"], "GET":
                self._parameters(request, set())
                return self._forbidden("agent:read") if self._anonymous(request) else web.json_response(self.agent)
            case ["v1", "agent", "service" | "check" as what, action], "PUT":
                return await self._announced(request, what, action)
            case ["v1", "catalog", "datacenters"], "GET":
                self._parameters(request, set())
                return web.json_response([self.dc])
            case ["v1", "catalog", "services"], "GET":
                return await self._blocking(request, READ, lambda: self._services(request))
            case ["v1", "catalog", "service", str(name)], "GET" if name:
                return await self._blocking(request, READ | {"tag"}, lambda: self._service(request, name))
            case ["v1", "health", "service", str(name)], "GET" if name:
                return await self._blocking(request, READ | {"tag", "passing"}, lambda: self._health(request, name))
            case ["v1", "kv", *rest], method if rest and rest[0]:
                return await self._key(request, method, "/".join(rest))
            case ["v1", "txn"], "PUT":
                return await self._transaction(request)
        raise Misused("no such endpoint")

    def _check_headers(self, request: web.Request) -> None:
        names = [name.lower() for name in request.headers]
        unknown = {*names} - HEADERS
        if unknown:
            raise Misused(f"the headers {sorted(unknown)}")
        if len(names) != len({*names}):
            raise Misused("a header twice")
        if request.method == "GET" and (request.can_read_body or "content-type" in names):
            raise Misused("a GET with a body")

    def _parameters(self, request: web.Request, allowed: set[str]) -> None:
        for name in {*request.query}:
            if name not in allowed:
                raise Misused(f"the parameter {name}")
            if len(request.query.getall(name)) > 1:
                raise Misused(f"the parameter {name} twice")
        if {"stale", "consistent"} <= {*request.query}:
            raise Misused("stale and consistent")
        for name in ("stale", "consistent", "recurse", "raw", "keys", "passing"):
            if request.query.get(name, "true") not in ("", "1", "true"):
                raise Misused(f"{name}={request.query[name]}")
        for name in ("index", "cas"):
            if not re.fullmatch(r"0|[1-9][0-9]{0,18}", request.query.get(name, "0")):
                raise Misused(f"{name}={request.query[name]}")
        if "wait" in request.query and "index" not in request.query:
            raise Misused("wait without index")

    def _anonymous(self, request: web.Request) -> bool:
        return self.token is not None and request.headers.get("X-Consul-Token") != self.token

    async def _blocking(self, request: web.Request, allowed: set[str], read: Callable[[], Answer]) -> web.Response:
        """Answer when the index is above what the caller knows, or it has waited long enough."""
        self._parameters(request, allowed)
        if request.query.get("dc", self.dc) != self.dc:
            return web.Response(status=500, text="No path to datacenter")
        known = int(request.query.get("index", 0))
        deadline = asyncio.get_running_loop().time() + _seconds(request.query.get("wait", "5m"))
        abandoned = self._abandoned
        while True:
            changed = self._changed
            index, answer = read()
            left = deadline - asyncio.get_running_loop().time()
            if known == 0 or index > known or left <= 0 or abandoned != self._abandoned:
                break
            self.waiting += 1
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                continue
            finally:
                self.waiting -= 1
        if abandoned != self._abandoned:
            faulty = await self._faulty(request)
            if faulty is not None:
                return faulty  # type: ignore[return-value] # aiohttp takes any
        answer.headers["X-Consul-Index"] = str(index)
        answer.headers["X-Consul-KnownLeader"] = "true"
        answer.headers["X-Consul-LastContact"] = "0"
        return answer

    # ── Services that register themselves ────────────────────────────────────────────────────────────────────────────

    async def _announced(self, request: web.Request, what: str, action: str) -> web.Response:
        verb, _, id = action.partition("/")
        self._parameters(request, {"replace-existing-checks"} if verb == "register" else set())
        if self._anonymous(request):
            return self._forbidden("service:write")
        body = await request.read()
        if verb == "register" and what == "service" and not id:
            try:
                self.announced.register(body)
            except NotAService as error:
                raise Misused(str(error)) from error
            return web.Response()
        if body or not id or (what, verb) not in (("service", "deregister"), ("check", "pass")):
            raise Misused(f"{what}/{action}")
        known = self.announced.deregister(id) if verb == "deregister" else self.announced.passed(id)
        return web.Response() if known else web.Response(status=404, text=f'Unknown {what} ID "{id}"')

    # ── Catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _services(self, request: web.Request) -> Answer:
        tags = {
            service: sorted({tag for instance in found.values() for tag in instance.tags})
            for service, found in self.state.instances.items()
        }
        return self.state.index, self._filtered(request, {} if self._anonymous(request) else tags, bool(tags))

    def _service(self, request: web.Request, name: str) -> Answer:
        index, found = self.state.service(name, request.query.get("tag"))
        shown = [] if self._anonymous(request) else [instance.catalogued(self.dc) for instance in found]
        return index, self._filtered(request, shown, bool(found))

    def _health(self, request: web.Request, name: str) -> Answer:
        index, found = self.state.service(name, request.query.get("tag"))
        if "passing" in request.query:
            found = [one for one in found if all(status == "passing" for _, status in one.checks)]
        shown = [] if self._anonymous(request) else [instance.checked(self.dc) for instance in found]
        return index, self._filtered(request, shown, bool(found))

    def _filtered(self, request: web.Request, shown: Any, something: bool, status: int = 200) -> web.Response:
        answer = web.json_response(shown, status=status)
        if self._anonymous(request) and something:
            answer.headers["X-Consul-Results-Filtered-By-ACLs"] = "true"
        return answer

    def _forbidden(self, what: str) -> web.Response:
        text = f"Permission denied: token with AccessorID '00000000-0000-0000-0000-000000000002' lacks '{what}'"
        return web.Response(status=403, text=text)

    # ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _key(self, request: web.Request, method: str, key: str) -> web.StreamResponse:
        match method:
            case "GET":
                several = {"recurse", "keys"} & {*request.query}
                if "raw" in request.query and several:
                    raise Misused("raw of several keys")
                allowed = READ | {"recurse", "raw", "keys"} | ({"separator"} if "keys" in request.query else set())
                if not several and self._anonymous(request):
                    return self._forbidden("key:read")
                return await self._blocking(request, allowed, lambda: self._read(request, key))
            case "PUT":
                self._parameters(request, {"dc", "cas", "flags"})
                if self._anonymous(request):
                    return self._forbidden("key:write")
                value = await request.read()
                if len(value) > MAX_VALUE:
                    return web.Response(status=413, text="Request body too large")
                cas = int(request.query["cas"]) if "cas" in request.query else None
                done = self.state.put(key, value, cas) is not None
                self._tell()
                return web.json_response(done)
            case "DELETE":
                self._parameters(request, {"dc"})
                if self._anonymous(request):
                    return self._forbidden("key:write")
                self.delete(key)
                return web.json_response(True)
        raise Misused("no such method")

    def _read(self, request: web.Request, key: str) -> Answer:
        if "recurse" in request.query or "keys" in request.query:
            index, found = self.state.below(key)
            visible = {} if self._anonymous(request) else found
            if not visible:
                return index, self._filtered(request, None, bool(found), 404)
            if "keys" not in request.query:
                return index, web.json_response([_entry(name, entry) for name, entry in visible.items()])
            separator = request.query.get("separator", "")
            return index, web.json_response(sorted({_until(name, key, separator) for name in visible}))
        index, entry = self.state.key(key)
        if entry is None:
            return index, web.Response(status=404)
        if "raw" in request.query:
            return index, web.Response(body=entry.value)
        return index, web.json_response([_entry(key, entry)])

    async def _transaction(self, request: web.Request) -> web.Response:
        """All of it is done, or nothing."""
        self._parameters(request, {"dc"})
        body = await request.read()
        if len(body) > MAX_TXN:
            return web.Response(status=413, text=f"Request body({len(body)} bytes) too large, max size: {MAX_TXN}")
        operations = json.loads(body)
        if not isinstance(operations, list) or not 0 < len(operations) <= 64:
            raise Misused("a transaction has 1 to 64 operations")
        after = self.state.begun()
        results: list[Any] = []
        errors = []
        for number, operation in enumerate(operations):
            if {*operation} != {"KV"}:
                raise Misused(f"the operation {operation}")
            if self._anonymous(request):
                errors.append({"OpIndex": number, "What": "Permission denied"})
                continue
            found = _operate(after, operation["KV"])
            if isinstance(found, str):
                errors.append({"OpIndex": number, "What": found})
            elif found is not None:
                results.append({"KV": found})
        if errors:
            return web.json_response({"Results": None, "Errors": errors}, status=409)
        after.end()
        self.state = after
        self._tell()
        return web.json_response({"Results": results or None, "Errors": None})


SERVER: Final = web.AppKey("server", ConsulServer)


def _operate(state: ConsulState, operation: dict[str, Any]) -> dict[str, Any] | str | None:
    """Do one operation of a transaction, and give its result or why there is none."""
    unknown = {*operation} - {"Verb", "Key", "Value", "Index", "Flags"}
    if unknown or not isinstance(operation.get("Key"), str) or not operation["Key"]:
        raise Misused(f"the operation {operation}")
    key = operation["Key"]
    match operation["Verb"]:
        case "get":
            _, entry = state.key(key)
            return f'key "{key}" doesn\'t exist' if entry is None else _entry(key, entry)
        case "set" | "cas" as verb:
            if verb == "set" and "Index" in operation:
                raise Misused("set with an index")
            value = base64.b64decode(operation["Value"], validate=True)
            made = state.put(key, value, int(operation["Index"]) if verb == "cas" else None)
            if made is None:
                return f'failed to set key "{key}", index is stale'
            return {**_entry(key, made), "Value": None}
        case "delete":
            state.delete(key)
            return None
    raise Misused(f"the verb {operation['Verb']}")


def _entry(name: str, entry: Key) -> dict[str, Any]:
    return {
        "LockIndex": 0,
        "Key": name,
        "Flags": 0,
        "Value": base64.b64encode(entry.value).decode() if entry.value else None,
        "CreateIndex": entry.created,
        "ModifyIndex": entry.modified,
    }


def _until(name: str, prefix: str, separator: str) -> str:
    end = name.find(separator, len(prefix)) if separator else -1
    return name if end < 0 else name[: end + len(separator)]


def _seconds(wait: str) -> float:
    found = re.fullmatch(r"([0-9]+)(ms|s|m|h)", wait)
    if found is None:
        raise Misused(f"wait={wait}")
    return min(LONGEST_WAIT, int(found[1]) * PATIENCE[found[2]])


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def answers(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Answer with this; underscores in the names of headers stand for hyphens."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=body, headers=named)

    return fault


def cuts(request_body: bytes = b"[{") -> Fault:
    """Begin an answer, and cut the connection."""

    async def fault(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"X-Consul-Index": "99", "Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(request_body)
        if request.transport is not None:
            request.transport.abort()
        return answer

    return fault


def late(seconds: float) -> Fault:
    """Answer with what was so then, after so many seconds."""

    async def fault(request: web.Request) -> web.StreamResponse:
        answer = await request.app[SERVER].answered(request)
        await asyncio.sleep(seconds)
        return answer

    return fault


def mixed_up(choose: Callable[[int], int]) -> Fault:
    """Answer with what was said earlier, as `choose` says of so many answers; the others come later, or never."""
    past: dict[str, list[tuple[int, bytes, str | None]]] = {}

    async def fault(request: web.Request) -> web.StreamResponse:
        answer = await request.app[SERVER].answered(request)
        assert isinstance(answer.body, bytes)
        said = past.setdefault(request.path, [])
        said.append((answer.status, answer.body, answer.headers.get("X-Consul-Index")))
        status, body, index = said[choose(len(said))]
        return web.Response(status=status, body=body, headers={} if index is None else {"X-Consul-Index": index})

    return fault


def never_ends(piece: bytes = b" " * 65536) -> Fault:
    """Answer without an end, as fast as the other side reads."""

    async def fault(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"X-Consul-Index": "99"})
        await answer.prepare(request)
        while True:
            await answer.write(piece)

    return fault


def trickles(seconds: float = 0.05) -> Fault:
    """Begin an answer, and go on byte by byte."""

    async def fault(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"X-Consul-Index": "99"})
        await answer.prepare(request)
        while True:
            await answer.write(b" ")
            await asyncio.sleep(seconds)

    return fault


def stays_silent(seconds: float = 3600) -> Fault:
    """Take the request and say nothing for so long, then something useless."""

    async def fault(request: web.Request) -> web.StreamResponse:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await request.app[SERVER].silence.wait()
        return web.Response(status=500)

    return fault
