"""How the demonstration shows itself: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from biandou.demo.story import Stage

BAR_WIDTH = 40
MAX_DTAB_LINES = 8
_COLOURS = {"web-v1-a": "cyan", "web-v1-b": "blue", "web-v2": "red", "web-v3": "magenta", "users": "green"}


class View(Protocol):
    """What the story tells as it goes on."""

    def begin(self, number: int, title: str) -> None:
        """Show that a phase begins."""

    def tick(self) -> None:
        """Show the numbers of this moment; called four times a second."""


class LiveView:
    """Redraws one panel in place."""

    def __init__(self, stage: Stage, live: Live) -> None:
        self._stage = stage
        self._live = live
        self._title = ""

    def begin(self, number: int, title: str) -> None:
        """Show that a phase begins."""
        self._title = f"{number}. {title}"
        self.tick()

    def tick(self) -> None:
        """Draw again."""
        self._live.update(self._draw(), refresh=True)

    def _draw(self) -> RenderableType:
        stage = self._stage
        traffic = stage.traffic
        recent = traffic.recent()
        failed = sum(traffic.failures.values())
        numbers = Table.grid(padding=(0, 2))
        numbers.add_row(
            Text(f"success {recent.success:7.2%}", style="bold green" if recent.success == 1 else "bold red"),
            f"{recent.requests_per_second:4.0f} requests/s",
            f"p50 {recent.p50_ms:.1f} ms, p99 {recent.p99_ms:.1f} ms",
        )
        total_text = Text(
            f"since the start: {traffic.requests} requests, {failed} failed", style="red" if failed else ""
        )
        shares = Table.grid(padding=(0, 1))
        total = sum(recent.instances.values())
        for name, child in stage.services.items():
            share = recent.instances[name] / total if total else 0.0
            width = round(share * BAR_WIDTH)
            bar = Text("█" * width, style=_COLOURS[name]) + Text("·" * (BAR_WIDTH - width), style="dim")
            shares.add_row(name, bar, f"{share:5.1%}", "" if child.running else Text("killed", style="bold red"))
        return Panel(
            Group(
                Text(self._title, style="bold yellow"),
                *(Text(line, style="dim") for line in stage.control.dtab[:MAX_DTAB_LINES]),
                Text(canary_text(stage), style="cyan"),
                Text(),
                numbers,
                Text(),
                shares,
                Text(),
                total_text,
            ),
            title="Biandou: client → outgoing linker → incoming linker → service; namerd keeps the dtab",
            subtitle="the last two seconds",
        )


class PlainView:
    """Prints a line when a phase begins and one every two seconds."""

    TICKS_A_LINE = 8

    def __init__(self, stage: Stage, console: Console) -> None:
        self._stage = stage
        self._console = console
        self._ticks = 0
        self._canary = ""

    def begin(self, number: int, title: str) -> None:
        """Print that a phase begins."""
        dtab = " ; ".join(self._stage.control.dtab)
        self._console.print(f"{number}. {title}   ({dtab})", markup=False, highlight=False)
        self._ticks = 0

    def tick(self) -> None:
        """Print the numbers of this moment, now and then, and what the canary does when it does it."""
        if (canary := canary_text(self._stage)) != self._canary:
            self._canary = canary
            if canary:
                self._console.print(f"   {canary}", markup=False, highlight=False)
        self._ticks += 1
        if self._ticks % self.TICKS_A_LINE == 0:
            recent = self._stage.traffic.recent()
            self._console.print(
                f"   success {recent.success:.2%}, {recent.requests_per_second:.0f} requests/s, "
                f"p50 {recent.p50_ms:.1f} ms, p99 {recent.p99_ms:.1f} ms; {shares_text(recent.instances)}"
            )


@contextmanager
def open_view(stage: Stage, console: Console, *, plain: bool) -> Iterator[View]:
    """Give the live view, or the plain one when asked for or when nobody could see it redrawn."""
    if plain or not console.is_terminal:
        yield PlainView(stage, console)
    else:
        with Live(console=console, auto_refresh=False) as live:
            yield LiveView(stage, live)


def canary_text(stage: Stage) -> str:
    """Give how the present canary stands: its share and the reason; empty if there is none."""
    known = stage.control.canary
    if not known:
        return ""
    return f"canary: {known['status']}, {known['weight']}% to {known['to'].rpartition('/')[2]}: {known['reason']}"


def shares_text(instances: Counter[str]) -> str:
    """Give `web-v1-a 50 %, web-v2 50 %`."""
    total = sum(instances.values())
    return ", ".join(f"{name} {count / total:.0%}" for name, count in sorted(instances.items())) or "nothing yet"


def summary(stage: Stage, titles: list[str]) -> RenderableType:
    """Give what happened: a line a phase, and the failures if there were any."""
    traffic = stage.traffic
    table = Table("phase", *stage.services, box=None, pad_edge=False)
    for title in titles:
        counts = traffic.by_phase.get(title, Counter())
        total = sum(counts.values())
        table.add_row(title, *(f"{counts[name] / total:.0%}" if total else "-" for name in stage.services))
    failed = sum(traffic.failures.values())
    lines: list[RenderableType] = [
        Text(),
        table,
        Text(),
        Text(f"{traffic.requests} requests, {failed} failed", style="bold red" if failed else "bold green"),
    ]
    lines += [Text(f"  {count} times: {failure}", style="red") for failure, count in traffic.failures.most_common(5)]
    return Group(*lines)


def what_next(stage: Stage, *, running: bool) -> Text:
    """Give what the user can try: on what runs, or after the end."""
    if not running:
        return Text(
            "\nNext: biandou demo --forever keeps it running to play with;"
            "\n      biandou linker --example > linkerd.yaml gives a first configuration;"
            "\n      biandou linker linkerd.yaml runs it."
        )
    outgoing, incoming = stage.outgoing, stage.incoming
    return Text(
        no_wrap=True,
        overflow="ignore",
        text=f"\nTry: curl -H 'Host: web' http://127.0.0.1:{outgoing.port}/"
        f"\n     curl -H 'Host: users' http://127.0.0.1:{outgoing.port}/"
        f"\n     curl http://127.0.0.1:{outgoing.admin_port}/admin/metrics.json  # the outgoing linker"
        f"\n     curl http://127.0.0.1:{incoming.admin_port}/admin/metrics.json  # the incoming linker"
        f"\n     export BIANDOU_NAMERD=http://127.0.0.1:{stage.control.port}                # namerd"
        "\n     biandou dtab get default; biandou dtab status default; biandou canary status default /svc/web\n",
    )
