"""What happens in the demonstration: the phases, in order, and how long each lasts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from biandou.demo.children import Child, start_linker, start_namerd, start_service
from biandou.demo.control import Control
from biandou.demo.scene import DTAB, INCOMING, NAMERD, OUTGOING, Scene
from biandou.demo.traffic import Traffic

CANARY_SECONDS: Final = 40.0
"""Longer no canary takes, whatever the machine has to do besides."""


@dataclass(slots=True)
class Stage:
    """Everything that runs; `seconds` is how long the story shall take."""

    scene: Scene
    services: dict[str, Child]
    namerd: Child
    control: Control
    incoming: Child
    outgoing: Child
    traffic: Traffic
    seconds: float


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the story: its share of the whole time, what the user reads, and what is done when it begins.

    One with `end` lasts until that is so, and `promise` has to be so then.
    """

    share: float
    title: str
    begin: Callable[[Stage], Awaitable[None]]
    end: Callable[[Stage], bool] | None = None
    promise: Callable[[Stage], bool] = lambda _stage: True


@contextlib.asynccontextmanager
async def stage(seconds: float) -> AsyncIterator[Stage]:
    """Start services, namerd, linkers and traffic; end them all in the opposite order. Raises `ChildFailed`."""
    async with contextlib.AsyncExitStack() as ending:
        scene = Scene()
        ending.callback(scene.remove)
        services = await _start_services(ending)
        scene.discover("web-v1", [("127.0.0.1", services[name].port) for name in ("web-v1-a", "web-v1-b")])
        for name in ("web-v2", "web-v3", "users"):
            scene.discover(name, [("127.0.0.1", services[name].port)])
        namerd = await start_namerd(scene.configure("namerd.yaml", NAMERD))
        ending.push_async_callback(namerd.end)
        control = Control(namerd.port)
        await control.create(DTAB)
        incoming = await start_linker("incoming", scene.configure("incoming.yaml", INCOMING))
        ending.push_async_callback(incoming.end)
        config = scene.configure("outgoing.yaml", OUTGOING, incoming.port, namerd.port)
        outgoing = await start_linker("outgoing", config)
        ending.push_async_callback(outgoing.end)
        traffic = Traffic(outgoing.port)
        for running in (asyncio.create_task(control.run()), asyncio.create_task(traffic.run())):
            ending.push_async_callback(_cancel, running)
        await control.known()
        yield Stage(scene, services, namerd, control, incoming, outgoing, traffic, seconds)


async def _start_services(ending: contextlib.AsyncExitStack) -> dict[str, Child]:
    starting = [
        asyncio.create_task(start_service(*program))
        for program in (
            ("web", "v1", "web-v1-a"),
            ("web", "v1", "web-v1-b"),
            ("web", "v2", "web-v2", "failing"),
            ("web", "v3", "web-v3"),
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


async def _nothing(_stage: Stage) -> None:
    pass


async def _kill_instance(stage: Stage) -> None:
    # Requests that it holds are lost with it; the linker sends those that may be repeated to the other instance.
    await stage.services["web-v1-b"].kill()


def _canary(new: str) -> Callable[[Stage], Awaitable[None]]:
    async def begin(stage: Stage) -> None:
        await stage.control.start_canary("web-v1", new, stage.seconds / 15)

    return begin


def _ended(new: str) -> Callable[[Stage], bool]:
    return lambda stage: stage.control.ended(new)


def _became(status: str) -> Callable[[Stage], bool]:
    return lambda stage: stage.control.canary.get("status") == status


PHASES: Final = (
    Phase(0.12, "v1 has all of web", _nothing),
    Phase(0.15, "an instance of v1 is killed", _kill_instance),
    Phase(0.15, "a canary of v2, which fails", _canary("web-v2"), _ended("web-v2"), _became("rolled back")),
    Phase(0.10, "v1 has all of web again", _nothing),
    Phase(0.33, "a canary of v3, which is good", _canary("web-v3"), _ended("web-v3"), _became("promoted")),
    Phase(0.15, "v3 has all of web", _nothing),
)
