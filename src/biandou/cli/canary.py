"""`biandou canary …`: move traffic to a new version step by step, and watch namerd judge it."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any
from urllib.parse import quote

import typer

from biandou.cli.dtab_forms import as_json
from biandou.cli.dtab_shared import Json, Url, common_flags, failed, run, write
from biandou.cli.namerd_http import Namerd, NamerdFailed
from biandou.cli.verbs import Verbs

canary = typer.Typer(
    name="canary",
    cls=Verbs,
    help="Move traffic to a new version step by step, judged by its errors and latencies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
canary.callback()(common_flags)

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_OVER = ("promoted", "rolled back", "aborted")

Namespace = Annotated[str, typer.Argument(metavar="NS", help="The namespace of the dtab.")]
Path = Annotated[str, typer.Argument(metavar="PATH", help="The name whose traffic moves: /svc/web.")]


@canary.command("start")
def start(
    context: typer.Context,
    namespace: Namespace,
    path: Path,
    *,
    old: Annotated[str, typer.Option("--from", help="Where the name leads now.")],
    new: Annotated[str, typer.Option("--to", help="Where it shall lead.")],
    steps: Annotated[str, typer.Option(help="The new version's percents.")] = "1,5,25,50,100",
    interval: Annotated[str, typer.Option(help="How long a step lasts at least: 500ms, 30s, 5m, 1h.")] = "30s",
    max_error_rate: Annotated[str, typer.Option(help="More of the new version's requests must not fail.")] = "1%",
    max_p99_ratio: Annotated[
        float, typer.Option(help="Its 99th percentile against the old version's; 0: it is not compared.")
    ] = 1.2,
    min_requests: Annotated[int, typer.Option(help="No step is judged by fewer requests.")] = 100,
    url: Url = None,
    shown: Json = False,
) -> None:
    """Start moving PATH of NS to a new version."""
    try:
        sent = {
            "path": path,
            "from": old,
            "to": new,
            "steps": _read_steps(steps),
            "interval": read_seconds(interval),
            "maxErrorRate": read_share(max_error_rate),
            "maxP99Ratio": max_p99_ratio or None,
            "minRequests": min_requests,
        }
    except ValueError as error:
        raise failed(str(error)) from None

    async def work(namerd: Namerd) -> None:
        told = await namerd.ask("POST", _place(namespace), json.dumps(sent).encode())
        _show(json.loads(told.body), as_it_is=shown or context.obj.json)

    run(context, url, work)


@canary.command("list")
def list_canaries(
    context: typer.Context,
    namespace: Annotated[str | None, typer.Argument(metavar="[NS]", show_default=False)] = None,
    *,
    url: Url = None,
    shown: Json = False,
) -> None:
    """List the canaries of NS, or of all namespaces."""

    async def work(namerd: Namerd) -> None:
        told = json.loads((await namerd.ask("GET", "canaries" if namespace is None else _place(namespace))).body)
        if shown or context.obj.json:
            write(as_json(told))
            return
        for name, found in told.items() if isinstance(told, dict) else [(namespace, told)]:
            for known in found:
                write(f"{name}  {known['path']}  {line(known)}\n")

    run(context, url, work)


@canary.command("status")
def status(
    context: typer.Context,
    namespace: Namespace,
    path: Path,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until it is over: exit status 0 if promoted.")] = False,
    url: Url = None,
    shown: Json = False,
) -> None:
    """Say how it stands: running, paused, promoted, rolled back or aborted, and why."""
    ended: list[str] = []

    async def work(namerd: Namerd) -> None:
        if not watch:
            _show(await _now(namerd, namespace, path), as_it_is=shown or context.obj.json)
            return
        # The stream tells nothing of a canary that is not there.
        await _now(namerd, namespace, path)
        ended.append(await _follow(namerd, namespace, path, as_it_is=shown or context.obj.json))

    run(context, url, work)
    if ended and ended != ["promoted"]:
        raise typer.Exit(1)


@canary.command("pause")
def pause(context: typer.Context, namespace: Namespace, path: Path, *, url: Url = None, shown: Json = False) -> None:
    """Keep the weights as they are, and judge no more."""
    _act(context, namespace, path, {"action": "pause"}, url, shown=shown)


@canary.command("resume")
def resume(context: typer.Context, namespace: Namespace, path: Path, *, url: Url = None, shown: Json = False) -> None:
    """Go on with the present step, from its beginning."""
    _act(context, namespace, path, {"action": "resume"}, url, shown=shown)


@canary.command("promote")
def promote(context: typer.Context, namespace: Namespace, path: Path, *, url: Url = None, shown: Json = False) -> None:
    """Give everything to the new version at once."""
    _act(context, namespace, path, {"action": "promote"}, url, shown=shown)


@canary.command("abort")
def abort(
    context: typer.Context,
    namespace: Namespace,
    path: Path,
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the dtab as it is.")] = False,
    url: Url = None,
    shown: Json = False,
) -> None:
    """End it, and restore exactly the dtab that was before."""
    _act(context, namespace, path, {"action": "abort", "keep": keep}, url, shown=shown)


def _act(
    context: typer.Context, namespace: str, path: str, sent: dict[str, Any], url: str | None, *, shown: bool
) -> None:
    async def work(namerd: Namerd) -> None:
        place = f"{_place(namespace)}?path={quote(path, safe='/')}"
        told = await namerd.ask("PUT", place, json.dumps(sent).encode())
        _show(json.loads(told.body), as_it_is=shown or context.obj.json)

    run(context, url, work)


async def _now(namerd: Namerd, namespace: str, path: str) -> Any:
    return json.loads((await namerd.ask("GET", f"{_place(namespace)}?path={quote(path, safe='/')}")).body)


async def _follow(namerd: Namerd, namespace: str, path: str, *, as_it_is: bool) -> str:
    """Show each state until it is over, and give the last one's status."""
    last = None
    async with namerd.watch(_place(namespace), f"&path={quote(path, safe='/')}") as documents:
        async for document in documents:
            known = json.loads(document)
            if known != last:
                _show(known, as_it_is=as_it_is)
            last = known
            if known["status"] in _OVER and known["settled"]:
                return str(known["status"])
    raise NamerdFailed("namerd has ended the stream")


def _place(namespace: str) -> str:
    return f"canaries/{quote(namespace, safe='')}"


def _show(known: Any, *, as_it_is: bool) -> None:
    write(as_json(known) if as_it_is else f"{line(known)}\n")


def line(known: Any) -> str:
    """Give a canary in a line: its status, the new version's share, and why."""
    weight = f"{known['weight']}%" if known["settled"] else f"{known['weight']}% (changing)"
    return f"{known['status']}  {weight} to {known['to']}  {known['reason']}"


def read_seconds(written: str) -> float:
    """Read `500ms`, `30s`, `5m` or `1h` as seconds; raises `ValueError`."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", written.strip())
    if found is None:
        raise ValueError(f"{written} is no time: 500ms, 30s, 5m, 1h")
    return float(found[1]) * _SECONDS[found[2]]


def _read_steps(written: str) -> list[int]:
    try:
        return [int(step) for step in written.split(",")]
    except ValueError:
        raise ValueError(f"{written} are no steps: whole percents with commas between them, as 1,5,25,50,100") from None


def read_share(written: str) -> float:
    """Read `1%` or `0.01` as 0.01; raises `ValueError`."""
    number = written.strip()
    try:
        return float(number.removesuffix("%")) / 100 if number.endswith("%") else float(number)
    except ValueError:
        raise ValueError(f"{written} is no share: 1%, 0.01") from None
