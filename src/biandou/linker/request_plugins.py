"""Runs a router's plugins within a time limit: filters, then identifiers on a request; a classifier on a response."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

from biandou.boundary import Advice, Cancel, Classified, Consult, GoOn, NamedPath, NotNamed, OwnReply, PluginFailed
from biandou.classifiers.interface import ResponseClass
from biandou.config.router import HttpRouter, Router
from biandou.dtab import Path
from biandou.errors import ConfigError, reason
from biandou.filters.interface import Pass, Reply
from biandou.identifiers.interface import PythonIdentifierKind
from biandou.kinds import kind_name
from biandou.linker.threads import Threads
from biandou.requests import Headers, PluginRequest, PluginResponse

THREADS: Final = 16
"""So many plain functions of one router's plugins run at a time."""
LOG_EVERY_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """What is needed of the engine."""

    def advise(self, ticket: int, advice: Advice) -> None:
        """Say what the plugins say of a request."""


class _Failed(Exception):
    """A plugin gave what it may not give, or raised."""


class RouterPlugins:
    """The plugins of one router."""

    def __init__(self, router: HttpRouter) -> None:
        self._timeout = router.plugins.timeout_ms / 1000
        self._filters = [(kind_name(type(kind)), _made(kind)) for kind in router.filters]
        self._identifiers = [
            (kind_name(type(kind)), _made(kind)) for kind in router.identifier if isinstance(kind, PythonIdentifierKind)
        ]
        self._classifiers = {kind.number: (kind_name(type(kind)), _made(kind)) for kind in router.python_classifiers}
        self._threads = Threads(THREADS)
        self._quiet_until = 0.0
        self._unlogged = 0

    async def advise(self, request: PluginRequest) -> Advice:
        """Run filters and identifiers; whatever they do, there is advice in time, unless one blocks the event loop."""
        running = ["the plugins"]
        return await self._bounded(self._run(request, running), running)

    async def classify(self, number: int, request: PluginRequest, response: PluginResponse) -> Advice:
        """Run the classifier with this number; there is advice in time as there is of requests."""
        known = self._classifiers.get(number)
        if known is None:
            return PluginFailed(message="the classifier is not configured any more")
        kind, run = known
        return await self._bounded(self._classify(run, request, response), [kind])

    async def _bounded(self, work: Coroutine[Any, Any, Advice], running: list[str]) -> Advice:
        try:
            async with asyncio.timeout(self._timeout):
                return await work
        except TimeoutError:
            return self._failure(running[0], f"took longer than {self._timeout * 1000:.0f} ms", None)
        except Exception as error:
            return self._failure(running[0], "failed", error)

    def close(self) -> None:
        """Let the threads end when they are done."""
        self._threads.close()

    async def _run(self, request: PluginRequest, running: list[str]) -> Advice:
        removed: set[str] = set()
        added: list[tuple[str, str]] = []
        for running[0], run in self._filters:
            match await self._call(run, request):
                case Reply(status=status, headers=headers, body=body):
                    return OwnReply(status=status, headers=_fields(headers), body=bytes(body).decode("latin-1"))
                case Pass(set=new, remove=remove):
                    fields = _fields(new)
                    gone = frozenset(name.lower() for name in (*remove, *(name for name, _ in fields)))
                    removed |= gone
                    added = [field for field in added if field[0].lower() not in gone] + fields
                    if gone:
                        kept = request.headers.without(gone).fields
                        request = replace(request, headers=Headers((*kept, *fields)))
                case other:
                    raise _Failed(f"a filter gives Pass or Reply, not {type(other).__name__}")
        names: list[NamedPath | NotNamed] = []
        for running[0], run in self._identifiers:
            found = await self._call(run, request)
            if found is None:
                names.append(NotNamed(reason=f"{running[0]} has no name for it"))
                continue
            if not isinstance(found, Path):
                raise _Failed(f"an identifier gives a Path or None, not {type(found).__name__}")
            names.append(NamedPath(path="" if not len(found) else str(found)))
            break
        return GoOn(remove=sorted(removed), add=added, names=names)

    async def _classify(self, run: Callable[..., Any], request: PluginRequest, response: PluginResponse) -> Advice:
        found = await self._call(run, request, response)
        if not isinstance(found, ResponseClass):
            raise _Failed(f"a classifier gives a ResponseClass, not {type(found).__name__}")
        return Classified(class_=found.value)

    async def _call(self, run: Callable[..., Any], *seen: PluginRequest | PluginResponse) -> Any:
        if inspect.iscoroutinefunction(run) or inspect.iscoroutinefunction(type(run).__call__):
            return await run(*seen)
        return await self._threads.run(lambda: run(*seen))

    def _failure(self, kind: str, what: str, error: Exception | None) -> PluginFailed:
        now = time.monotonic()
        if now >= self._quiet_until:
            more = f" ({self._unlogged} more failures were not logged)" if self._unlogged else ""
            detail = "" if error is None else f": {type(error).__name__}: {reason(error)}"
            _log.error("the plugin %s %s%s%s", kind, what, detail, more, exc_info=error)
            self._quiet_until, self._unlogged = now + LOG_EVERY_SECONDS, 0
        else:
            self._unlogged += 1
        return PluginFailed(message=f"the plugin {kind} {what}")


class RequestPlugins:
    """The plugins of all routers; takes the engine's letters."""

    def __init__(self, routers: Iterable[Router], engine: Engine) -> None:
        self._engine = engine
        self._routers = make_plugins(routers)
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def take(self, letter: Consult | Cancel) -> None:
        """Begin to run the plugins on a request, or stop."""
        if isinstance(letter, Cancel):
            if task := self._tasks.get(letter.ticket):
                task.cancel()
            return
        plugins = self._routers.get(letter.router)
        if plugins is None:
            self._engine.advise(letter.ticket, PluginFailed(message=f"{letter.router} has no plugins any more"))
            return
        task = asyncio.get_running_loop().create_task(self._advise(plugins, letter), name="plugins")
        self._tasks[letter.ticket] = task
        task.add_done_callback(lambda _: self._tasks.pop(letter.ticket, None))

    def replan(self, routers: dict[str, RouterPlugins]) -> None:
        """Go on with others."""
        for plugins in self._routers.values():
            plugins.close()
        self._routers = routers

    async def _advise(self, plugins: RouterPlugins, letter: Consult) -> None:
        request = PluginRequest(
            router=letter.router,
            method=letter.method,
            target=letter.target,
            headers=Headers(tuple(letter.headers)),
            peer=letter.peer,
            local=letter.local,
        )
        if letter.answered is None:
            advice = await plugins.advise(request)
        else:
            answered = letter.answered
            response = PluginResponse(answered.status, Headers(tuple(answered.headers)))
            advice = await plugins.classify(answered.classifier, request, response)
        try:
            self._engine.advise(letter.ticket, advice)
        except ValueError as error:
            # Not every string can be written: a lone surrogate, for one.
            _log.error("what the plugins of %s gave can't be used: %s", letter.router, reason(error))
            self._engine.advise(letter.ticket, PluginFailed(message="the plugins gave what can't be used"))


def make_plugins(routers: Iterable[Router]) -> dict[str, RouterPlugins]:
    """Make the plugins of the routers that have some; raises `ConfigError` if one can't be made."""
    return {
        router.name: RouterPlugins(router)
        for router in routers
        if isinstance(router, HttpRouter) and router.has_python_plugins
    }


def _made(kind: Any) -> Callable[..., Any]:
    try:
        made = kind.make()
    except Exception as error:
        raise ConfigError(f"the plugin {kind_name(type(kind))} can't be made: {reason(error)}") from error
    if not callable(made):
        raise ConfigError(f"the plugin {kind_name(type(kind))} can't be called")
    return made  # type: ignore[no-any-return]  # callable is all that can be known of it


def _fields(fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    checked = []
    for name, value in fields:
        if not isinstance(name, str) or not isinstance(value, str):
            raise _Failed("a header's name and value are str")
        checked.append((name, value))
    return checked
