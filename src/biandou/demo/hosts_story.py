"""What happens in `biandou demo --hosts`: three hosts with a linker each, one of which is lost and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from biandou.demo.children import Child, start_linker, start_service
from biandou.demo.hosts import Host, hosts
from biandou.demo.hosts_scene import ADMIN_PORT, LINKER, OUTGOING_PORT
from biandou.demo.scene import Scene
from biandou.demo.traffic import Traffic

BACK_SECONDS: Final = 60.0
"""Longer no host takes to be used again: a linker asks one that has failed ever more rarely."""

LINE_SECONDS: Final = 2.0
TICK_SECONDS: Final = 0.25
INSTANCES: Final = {"a": (), "b": ("web-b1", "web-b2"), "c": ("web-c", "users-c")}


@dataclass(slots=True)
class HostsStage:
    """Everything that runs, by the name of its host; the traffic comes from host a."""

    hosts: dict[str, Host]
    scene: Scene
    config: Path
    linkers: dict[str, Child]
    services: dict[str, dict[str, Child]]
    traffic: Traffic

    async def lose(self, name: str) -> None:
        """Kill everything on a host."""
        for child in (self.linkers[name], *self.services[name].values()):
            await child.kill()

    async def bring_back(self, name: str) -> None:
        """Start a host's services, at other ports, and its linker; raises `ChildFailed`."""
        host = self.hosts[name]
        for instance in INSTANCES[name]:
            self.services[name][instance] = await start_service(
                instance.partition("-")[0], "v1", instance, ip=host.ip, within=host.within
            )
        self.discover()
        self.linkers[name] = await start_linker(f"on {name}", self.config, host.within)

    def discover(self) -> None:
        """Say where all services are."""
        for service in ("web", "users"):
            self.scene.discover(
                service,
                [
                    (self.hosts[name].ip, child.port)
                    for name, services in self.services.items()
                    for instance, child in services.items()
                    if instance.startswith(service)
                ],
            )

    def share(self, name: str) -> float:
        """Give the share of a host's instances in the latest answers."""
        instances = self.traffic.recent().instances
        return sum(instances[one] for one in INSTANCES[name]) / (instances.total() or 1)


@contextlib.asynccontextmanager
async def hosts_stage() -> AsyncIterator[HostsStage]:
    """Make three hosts, and start what runs on them; all is gone at the end. Raises `HostsRefused`, `ChildFailed`."""
    async with contextlib.AsyncExitStack() as ending:
        made = {host.name: host for host in ending.enter_context(hosts(*INSTANCES))}
        scene = Scene()
        ending.callback(scene.remove)
        config = scene.configure("linker.yaml", LINKER)
        services: dict[str, dict[str, Child]] = {name: {} for name in made}
        stage = HostsStage(made, scene, config, {}, services, Traffic(OUTGOING_PORT, made["a"]))
        ending.push_async_callback(_end, stage)
        for name in made:
            await stage.bring_back(name)
        running = asyncio.create_task(stage.traffic.run())
        ending.push_async_callback(_cancel, running)
        yield stage


async def _end(stage: HostsStage) -> None:
    children = [*stage.linkers.values(), *(child for one in stage.services.values() for child in one.values())]
    await asyncio.gather(*(child.end() for child in children))


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def tell(stage: HostsStage, console: Console, seconds: float, interrupted: asyncio.Event) -> list[str]:
    """Play the story, which takes about so long; gives what did not happen that should have."""
    titles = ("a linker on each of three hosts", "host b is lost, with all that runs on it", "host b is back")
    watch = _Watch(stage, console, interrupted)
    await watch.phase(titles[0], seconds * 0.3)
    both = stage.share("b") > 0 and stage.share("c") > 0
    broken = [] if both or interrupted.is_set() else [titles[0]]
    if not interrupted.is_set():
        await watch.phase(titles[1], seconds * 0.35, lambda: stage.lose("b"))
        broken += [titles[1]] if stage.share("b") > 0 and not interrupted.is_set() else []
    if not interrupted.is_set():
        await watch.phase(titles[2], seconds * 0.35, lambda: stage.bring_back("b"))
        # It is asked again when its time has come.
        await watch.until(lambda: stage.share("b") > 0, BACK_SECONDS)
        stage.traffic.phase = "host b is used again"
        await watch.until(lambda: False, seconds * 0.1)
        broken += [titles[2]] if stage.share("b") == 0 and not interrupted.is_set() else []
    console.print(_summary(stage.traffic))
    return broken


class _Watch:
    """Prints how it goes, a line every two seconds."""

    def __init__(self, stage: HostsStage, console: Console, interrupted: asyncio.Event) -> None:
        self._stage = stage
        self._console = console
        self._interrupted = interrupted
        self._number = 0

    async def phase(self, title: str, seconds: float, begin: Callable[[], Awaitable[None]] | None = None) -> None:
        """Begin a phase and watch it for so long."""
        self._number += 1
        self._stage.traffic.phase = title
        self._console.print(f"{self._number}. {title}", style="bold yellow", markup=False)
        if begin is not None:
            await begin()
        await self.until(lambda: False, seconds)

    async def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Watch until something is so, or for so long."""
        loop = asyncio.get_running_loop()
        end, line = loop.time() + seconds, loop.time() + LINE_SECONDS
        while not self._interrupted.is_set() and not done() and loop.time() < end:
            await asyncio.sleep(TICK_SECONDS)
            if loop.time() >= line:
                line += LINE_SECONDS
                recent = self._stage.traffic.recent()
                shares = ", ".join(f"{name} {self._stage.share(name):.0%}" for name in ("b", "c"))
                self._console.print(
                    f"   success {recent.success:.2%}, {recent.requests_per_second:.0f} requests/s, "
                    f"p50 {recent.p50_ms:.1f} ms, p99 {recent.p99_ms:.1f} ms; answered by hosts: {shares}"
                )


def _summary(traffic: Traffic) -> Table:
    instances = [one for services in INSTANCES.values() for one in services]
    table = Table("phase", *instances, box=None, pad_edge=False)
    for title, counts in traffic.by_phase.items():
        counted = Counter(counts)
        table.add_row(title, *(f"{counted[one] / counted.total():.0%}" for one in instances))
    return table


def hosts_next(stage: HostsStage) -> str:
    """Give what the user can try on the hosts while they run."""
    lines = [f"host {host.name} is {host.ip}, the network namespace {host.namespace}" for host in stage.hosts.values()]
    first = stage.hosts["a"].namespace
    return "\n".join(
        (
            *lines,
            f"Try: ip netns exec {first} curl -H 'Host: web' http://127.0.0.1:{OUTGOING_PORT}/",
            f"     ip netns exec {first} curl http://127.0.0.1:{ADMIN_PORT}/admin/endpoints.json",
        )
    )
