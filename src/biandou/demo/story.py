"""What happens in the demonstration: the phases, in order, and how long each lasts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from biandou.demo.children import Child, start_linker, start_service
from biandou.demo.scene import INCOMING, OUTGOING, Scene
from biandou.demo.traffic import Traffic


@dataclass(slots=True)
class Stage:
    """Everything that runs."""

    scene: Scene
    services: dict[str, Child]
    incoming: Child
    outgoing: Child
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the story: its share of the whole time, what the user reads, and what is done when it begins."""

    share: float
    title: str
    begin: Callable[[Stage], Awaitable[None]]


@contextlib.asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Start services, linkers and traffic; end them all in the opposite order. Raises `ChildFailed`."""
    async with contextlib.AsyncExitStack() as ending:
        scene = Scene()
        ending.callback(scene.remove)
        services = await _start_services(ending)
        scene.discover("web-v1", [services["web-v1-a"].port, services["web-v1-b"].port])
        scene.discover("web-v2", [services["web-v2"].port])
        scene.discover("users", [services["users"].port])
        scene.share(1, 0)
        incoming = await start_linker("incoming", scene.configure("incoming.yaml", INCOMING))
        ending.push_async_callback(incoming.end)
        outgoing = await start_linker("outgoing", scene.configure("outgoing.yaml", OUTGOING, incoming.port))
        ending.push_async_callback(outgoing.end)
        traffic = Traffic(outgoing.port)
        running = asyncio.create_task(traffic.run())
        ending.push_async_callback(_cancel, running)
        yield Stage(scene, services, incoming, outgoing, traffic)


async def _start_services(ending: contextlib.AsyncExitStack) -> dict[str, Child]:
    starting = [
        asyncio.create_task(start_service(*program))
        for program in (
            ("web", "v1", "web-v1-a"),
            ("web", "v1", "web-v1-b"),
            ("web", "v2", "web-v2"),
            ("users", "v1", "users"),
        )
    ]
    started = await asyncio.gather(*starting, return_exceptions=True)
    for child in started:
        if isinstance(child, Child):
            ending.push_async_callback(child.end)
    for child in started:
        if isinstance(child, BaseException):
            raise child
    return {child.name: child for child in started if isinstance(child, Child)}


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _shared(v1: int, v2: int) -> Callable[[Stage], Awaitable[None]]:
    async def begin(stage: Stage) -> None:
        stage.scene.share(v1, v2)

    return begin


async def _kill_instance(stage: Stage) -> None:
    # Requests that it holds are lost with it; the linker sends those that may be repeated to the other instance.
    await stage.services["web-v1-b"].kill()


PHASES = (
    Phase(0.15, "every request for web goes to v1", _shared(1, 0)),
    Phase(0.20, "the dtab is edited: 10 % of web to v2", _shared(9, 1)),
    Phase(0.20, "the dtab is edited: half of web to v2", _shared(1, 1)),
    Phase(0.25, "web-v1-b is killed: web-v1-a takes over", _kill_instance),
    Phase(0.20, "the dtab is edited: all of web to v2", _shared(0, 1)),
)
