"""`biandou demo`: two linkers, three services and a weight that moves, on loopback."""

from __future__ import annotations

import asyncio
import signal
from typing import Annotated

import typer
from rich.console import Console

from biandou.demo.children import ChildFailed
from biandou.demo.story import PHASES, Stage, stage
from biandou.demo.view import View, open_view, summary, what_next

TICK_SECONDS = 0.25
DEFAULT_SECONDS = 30.0
FAILED = 1
INTERRUPTED = 130


def demo(
    forever: Annotated[bool, typer.Option("--forever", help="Stay when the story is told, until Ctrl-C.")] = False,
    seconds: Annotated[float, typer.Option(min=5, max=86_400, help="How long the story takes.")] = DEFAULT_SECONDS,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")] = False,
) -> None:
    """Show a mesh at work: two linkers, three services, a weight that moves and an instance that dies.

    Everything runs on 127.0.0.1 and ends with the command. The exit status is 0 when no request failed.
    """
    console = Console(soft_wrap=True) if plain else Console()
    try:
        code = asyncio.run(_run(console, forever=forever, seconds=seconds, plain=plain))
    except ChildFailed as failure:
        console.print(f"the demonstration could not start: {failure}", style="bold red", markup=False)
        code = FAILED
    raise typer.Exit(code)


async def _run(console: Console, *, forever: bool, seconds: float, plain: bool) -> int:
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    console.print("starting four services and two linkers on 127.0.0.1 …")
    async with stage() as running:
        console.print(what_next(running, running=True))
        with open_view(running, console, plain=plain) as view:
            told = await _tell(running, view, seconds, interrupted)
            if forever and not interrupted.is_set():
                view.begin(len(PHASES) + 1, "yours now: Ctrl-C ends it")
                await _watch(view, interrupted, None)
        failed = bool(running.traffic.failures)
        console.print(summary(running, told))
        if not running.traffic.requests:
            console.print("no request was made", style="bold red")
            return FAILED
        console.print(what_next(running, running=False))
    if failed:
        return FAILED
    return INTERRUPTED if interrupted.is_set() and not forever else 0


async def _tell(running: Stage, view: View, seconds: float, interrupted: asyncio.Event) -> list[str]:
    """Play the phases; gives the titles of those that were begun."""
    told: list[str] = []
    for number, phase in enumerate(PHASES, 1):
        if interrupted.is_set():
            break
        await phase.begin(running)
        running.traffic.phase = phase.title
        told.append(phase.title)
        view.begin(number, phase.title)
        await _watch(view, interrupted, seconds * phase.share)
    return told


async def _watch(view: View, interrupted: asyncio.Event, seconds: float | None) -> None:
    """Keep the view current for so long, or until the user has seen enough."""
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    while not interrupted.is_set() and (end is None or loop.time() < end):
        await asyncio.sleep(TICK_SECONDS)
        view.tick()
