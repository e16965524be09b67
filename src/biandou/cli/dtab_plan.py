"""`biandou dtab plan`: what a new dtab would change for the names that are live in linkers, before it is applied."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from biandou.cli.dtab_forms import Sent, as_json
from biandou.cli.dtab_shared import FAILED, Json, NameAndFile, Url, failed, given, place, read_file, run, write
from biandou.cli.namerd_http import Namerd

CHANGES = 2
"""The exit status of `--exit-code` if there are changes."""
MOST_SHOWN = 50

_SIGNS = {"moved": "~", "unroutable": "-", "routable": "+", "unknown": "?"}


class PlanCommand(TyperCommand):
    """A command that, called wrongly with `--exit-code`, does not end as if there were changes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after the command."""
        status = 1 if "--exit-code" in args else FAILED
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            raise failed(error.format_message(), status) from None


def plan(
    context: typer.Context,
    words: NameAndFile = None,
    *,
    exit_code: Annotated[
        bool,
        typer.Option("--exit-code", help="End with 0 without changes, with 2 if there are any, with 1 if it fails."),
    ] = False,
    url: Url = None,
    shown: Json = False,
) -> None:
    """Say which live names would go elsewhere if NAME had the dtab of FILE; nothing is changed."""
    found: dict[str, Any] = {}

    async def work(namerd: Namerd) -> None:
        found.update(await ask(namerd, name, sent))

    try:
        name, file = given(words, ("NAME", "FILE"), "plan requires a name and file path")
        sent = read_file(file)
        run(context, url, work)
    except typer.Exit as ended:
        raise typer.Exit(1 if exit_code and ended.exit_code == FAILED else ended.exit_code) from None
    write(as_json(found) if shown or context.obj.json else render(name, found))
    if exit_code and not found["same"]:
        raise typer.Exit(CHANGES)


async def ask(namerd: Namerd, name: str, sent: Sent) -> dict[str, Any]:
    """Give namerd's plan; raises `NamerdFailed`."""
    told = await namerd.ask("POST", place(name).replace("dtabs/", "plan/", 1), sent.body, {"Content-Type": sent.media})
    found: dict[str, Any] = json.loads(told.body)
    return found


def render(name: str, found: dict[str, Any]) -> str:
    """Give a plan for people."""
    routers = found["routers"]
    heard = f"{routers['heard']} of {routers['reporting']} routers heard"
    if routers["heard"] == routers["reporting"]:
        heard = _count(routers["heard"], "router")
    present = f"version {found['version']}" if found["version"] else "which does not exist yet"
    traffic = f"{_count(found['requests'], 'request')} in {found['seconds']:.1f} s"
    lines = [f"# {name}, {present}: {_count(found['names'], 'live name')} of {heard}, {traffic}"]
    if found["cut"]:
        lines.append(f"# not looked at, as there are too many: {_count(found['cut'], 'name')}")
    for change in found["changes"][:MOST_SHOWN]:
        part = f"{change['share']:.1%} of requests" if found["requests"] else "no requests now"
        if change["kind"] == "moved" and change["moves"] < 1:
            part += f", {change['moves']:.1%} of them move"
        lines.append(f"{_SIGNS[change['kind']]} {change['name']}  {change['kind']}  ({part})")
        lines += [f"    {_seen(change['before'])}", f" => {_seen(change['after'])}"]
    if len(found["changes"]) > MOST_SHOWN:
        lines.append(f"… and {len(found['changes']) - MOST_SHOWN} more; --json shows all")
    counts = [
        f"{sum(change['kind'] == kind for change in found['changes'])} {words}"
        for kind, words in (("moved", "moved"), ("unroutable", "unroutable"), ("routable", "routable again"))
    ]
    unknown = sum(change["kind"] == "unknown" for change in found["changes"])
    if unknown:
        counts.append(f"{unknown} unknown")
    if not routers["reporting"] and not found["same"]:
        lines.append("No linker reports to this namerd: which names are live is not known.")
    elif found["same"]:
        lines.append("The dtab is the present one.")
    elif found["changes"]:
        lines.append(f"{', '.join(counts)}; {found['moves']:.1%} of requests go elsewhere.")
    else:
        lines.append("The dtab is another one, but no live name goes elsewhere.")
    return "".join(f"{line}\n" for line in lines)


def _seen(seen: dict[str, Any]) -> str:
    note = "   (no endpoint)" if seen["routable"] is False and seen["tree"].startswith("/") else ""
    tree = seen["tree"] if len(seen["tree"]) <= 200 else f"{seen['tree'][:199]}…"
    return tree + note


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
