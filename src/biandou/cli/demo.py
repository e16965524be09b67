"""`biandou demo`: namerd, two linkers, services and two canaries, on loopback."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from biandou.demo.children import ChildFailed
from biandou.demo.hosts import HostsRefused
from biandou.demo.hosts_story import hosts_next, hosts_stage, tell
from biandou.demo.story import CANARY_SECONDS, PHASES, Stage, stage
from biandou.demo.view import View, open_view, summary, what_next

TICK_SECONDS = 0.25
DEFAULT_SECONDS = 30.0
FAILED = 1
INTERRUPTED = 130


def demo(
    forever: Annotated[bool, typer.Option("--forever", help="Stay when the story is told, until Ctrl-C.")] = False,
    seconds: Annotated[
        float, typer.Option(min=5, max=86_400, help="About how long the story takes.")
    ] = DEFAULT_SECONDS,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")] = False,
    hosts: Annotated[
        bool,
        typer.Option("--hosts", help="Three hosts with a linker each, in network namespaces instead (needs root)."),
    ] = False,
) -> None:
    """Show a mesh at work: namerd, two linkers, an instance that dies, a bad version and a good one.

    Everything runs on 127.0.0.1 and ends with the command. The exit status is 0 when no request failed, the canary of
    the bad version was rolled back and that of the good one promoted. With --hosts there are three hosts, one of
    which is lost and comes back.
    """
    console = Console(soft_wrap=True) if plain or hosts else Console()
    try:
        running = _run_hosts(console, forever, seconds) if hosts else _run(console, forever, seconds, plain)
        code = asyncio.run(running)
    except (ChildFailed, HostsRefused) as failure:
        console.print(f"the demonstration could not start: {failure}", style="bold red", markup=False)
        code = FAILED
    raise typer.Exit(code)


async def _run(console: Console, forever: bool, seconds: float, plain: bool) -> int:
    interrupted = _interruption()
    console.print("starting five services, namerd and two linkers on 127.0.0.1 …")
    async with stage(seconds) as running:
        console.print(what_next(running, running=True))
        with open_view(running, console, plain=plain) as view:
            told, broken = await _tell(running, view, interrupted)
            if forever and not interrupted.is_set():
                view.begin(len(PHASES) + 1, "yours now: Ctrl-C ends it")
                await _watch(view, interrupted, None)
        failed = bool(running.traffic.failures or broken)
        console.print(summary(running, told))
        for title in broken:
            console.print(f"this did not happen: {title}", style="bold red", markup=False)
        if not running.traffic.requests:
            console.print("no request was made", style="bold red")
            return FAILED
        console.print(what_next(running, running=False))
    if failed:
        return FAILED
    return INTERRUPTED if interrupted.is_set() and not forever else 0


async def _run_hosts(console: Console, forever: bool, seconds: float) -> int:
    interrupted = _interruption()
    console.print("making three hosts, with a linker and services on each …")
    async with hosts_stage() as stage:
        console.print(hosts_next(stage), markup=False, highlight=False)
        broken = await tell(stage, console, seconds, interrupted)
        if forever and not interrupted.is_set():
            console.print("yours now: Ctrl-C ends it")
            await interrupted.wait()
        traffic = stage.traffic
        failed = sum(traffic.failures.values())
        console.print(
            f"{traffic.requests} requests, {failed} failed",
            style="bold red" if failed else "bold green",
            highlight=False,
        )
        for failure, count in traffic.failures.most_common(5):
            console.print(f"  {count} times: {failure}", style="red", markup=False)
        for title in broken:
            console.print(f"this did not happen: {title}", style="bold red", markup=False)
    if failed or broken:
        return FAILED
    return INTERRUPTED if interrupted.is_set() and not forever else 0


def _interruption() -> asyncio.Event:
    """Give an event that Ctrl-C, SIGTERM or the end of the terminal sets: linkers and hosts don't end by themselves."""
    interrupted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has SIGHUP ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, interrupted.set)
    return interrupted


async def _tell(running: Stage, view: View, interrupted: asyncio.Event) -> tuple[list[str], list[str]]:
    """Play the phases; gives the titles of those that were begun, and of those that did not keep what they promise."""
    told: list[str] = []
    broken: list[str] = []
    for number, phase in enumerate(PHASES, 1):
        if interrupted.is_set():
            break
        running.traffic.phase = phase.title
        told.append(phase.title)
        view.begin(number, phase.title)
        await phase.begin(running)
        end = phase.end
        if end is None:
            await _watch(view, interrupted, running.seconds * phase.share)
        else:
            await _watch(view, interrupted, CANARY_SECONDS, lambda end=end: end(running))  # type: ignore[misc]
        if not interrupted.is_set() and not phase.promise(running):
            broken.append(phase.title)
    return told, broken


async def _watch(
    view: View, interrupted: asyncio.Event, seconds: float | None, done: Callable[[], bool] = lambda: False
) -> None:
    """Keep the view current for so long, until `done`, or until the user has seen enough."""
    loop = asyncio.get_running_loop()
    end = None if seconds is None else loop.time() + seconds
    while not interrupted.is_set() and not done() and (end is None or loop.time() < end):
        await asyncio.sleep(TICK_SECONDS)
        view.tick()
