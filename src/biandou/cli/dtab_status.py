"""`biandou dtab status`, and `--wait`: which linkers have a dtab in force."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer
from typer.core import TyperCommand

from biandou.cli.dtab_forms import as_json
from biandou.cli.dtab_shared import Json, Name, Url, given, run, tell, write
from biandou.cli.namerd_http import Namerd, NamerdFailed

WAIT_SECONDS: Final = 60.0
"""How long `--wait` waits if it does not say."""

NOT_EVERYWHERE: Final = 1
"""The exit status when the dtab is stored, and a linker does not have it in force in time."""

MOST_NAMED: Final = 20

Wait = Annotated[
    float | None,
    typer.Option(
        "--wait", metavar="[=SECONDS]", min=0, help=f"Wait until all linkers have it in force ({WAIT_SECONDS:g} s)."
    ),
]


class WaitingCommand(TyperCommand):
    """A command whose `--wait` may stand alone, or have seconds after an equals sign."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words after the command."""
        end = args.index("--") if "--" in args else len(args)
        words = [f"--wait={WAIT_SECONDS}" if word == "--wait" else word for word in args[:end]]
        return super().parse_args(ctx, words + args[end:])


def status(
    context: typer.Context, words: Name = None, *, wait: Wait = None, url: Url = None, shown: Json = False
) -> None:
    """Say which linkers have the dtab of NAME in force, and which do not."""
    (name,) = given(words, ("NAME",), "status requires a name argument")
    late: list[Any] = []

    async def work(namerd: Namerd) -> None:
        known = await _now(namerd, name)
        if not (known["version"] or known["linkers"]):
            # Nobody lacks it, but a misspelt name is not in force everywhere.
            raise NamerdFailed(f"there is no namespace {name}, and no linker asks for it")
        if wait is not None:
            known = await _until(namerd, name, None, wait) or await _now(namerd, name)
            late.extend(_late(known))
        write(as_json(known) if shown or context.obj.json else table(known))

    run(context, url, work)
    if late:
        raise typer.Exit(NOT_EVERYWHERE)


async def wait_in_force(context: typer.Context, namerd: Namerd, name: str, version: str, seconds: float | None) -> None:
    """Wait until every linker has a version in force, or a newer one, and say so; ends with status 1 if not in time.

    `None` seconds wait for nothing.
    """
    if seconds is None:
        return
    began = time.monotonic()
    known = await _until(namerd, name, version, seconds)
    # A version that was replaced before we looked is never seen; what replaced it may be everywhere.
    known = known or await _now(namerd, name)
    missing = _late(known)
    took = round(time.monotonic() - began, 3)
    document = {"inForce": known["inForce"], "linkers": len(known["linkers"]), "late": missing, "seconds": took}
    lines = [f"In force in {_count(len(known['linkers']))} after {took:.3f} s"]
    if missing:
        lines = [f"Not in force in {_count(len(missing))} after {seconds:g} s:"]
        lines += [f"  {_who(linker)}" for linker in missing[:MOST_NAMED]]
        if len(missing) > MOST_NAMED:
            lines.append(f"  and {len(missing) - MOST_NAMED} more")
    tell(context, "\n".join(lines), document)
    if missing:
        raise typer.Exit(NOT_EVERYWHERE)


async def _until(namerd: Namerd, name: str, version: str | None, seconds: float) -> Any:
    """Give how it stands when every linker has `version` or a newer one in force, `None` if that takes too long."""
    seen = version is None
    try:
        async with asyncio.timeout(seconds), namerd.watch(_place(name)) as documents:
            async for document in documents:
                known = json.loads(document)
                seen = seen or known["version"] == version
                if seen and not _late(known):
                    return known
    except TimeoutError:
        return None
    raise NamerdFailed("namerd has ended the stream")


async def _now(namerd: Namerd, name: str) -> Any:
    return json.loads((await namerd.ask("GET", _place(name))).body)


def _place(name: str) -> str:
    return f"in-force/{quote(name, safe='')}"


def _late(known: Any) -> list[Any]:
    return [linker for linker in known["linkers"] if not linker["inForce"]]


# ── How it is shown ──────────────────────────────────────────────────────────────────────────────────────────────────


def table(known: Any) -> str:
    """Give how it stands: a line for the whole, then a line a linker, those that do not have it in force first."""
    version, linkers = known["version"], known["linkers"]
    what = f"version {version}" if version else "there is no such namespace"
    lines = [f"# {what}, in force in {known['inForce']} of {_count(len(linkers))}\n"]
    if known.get("rollout") is not None:
        told = known["rollout"]
        # What is over stays to be seen, and may be old news.
        when = f"a trial begun {_seconds(max(0.0, time.time() - told['since']))} ago: " if told["over"] else ""
        lines.append(f"# {when}{describe(told)}\n")
    rows = [
        (
            linker["host"],
            str(linker["pid"]),
            ("tries it" if linker["trying"] else "in force") if linker["inForce"] else "NOT in force",
            _version(linker["version"]),
            f"for {_seconds(linker['seconds'])}",
            "" if linker["connected"] else "as it reports",
        )
        for linker in sorted(linkers, key=lambda linker: bool(linker["inForce"]))
    ]
    return "".join(lines + _aligned(rows))


def describe(rollout: Any) -> str:
    """Give a rollout in a line: where it is, and why."""
    share = f"{rollout['share'] * 100:g}% of the linkers"
    reason = f": {rollout['reason']}" if rollout["reason"] else ""
    match rollout["phase"]:
        case "measuring":
            return f"a new dtab is about to be tried by {share}, when it is known how they do{reason}"
        case "trying":
            left = max(0.0, rollout["since"] + rollout["seconds"] - time.time())
            return f"a new dtab is tried by {share}, and goes to all in {_seconds(left)}{reason}"
        case "applying":
            return f"a new dtab goes to all linkers{reason}"
    return f"the new dtab was {rollout['phase']}{reason}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    ]


def _version(version: str | None) -> str:
    return "(nothing yet)" if version is None else version or "(no namespace)"


def _who(linker: Any) -> str:
    return f"{linker['host']}, process {linker['pid']}: {_version(linker['version'])}"


def _count(number: int) -> str:
    return f"{number} linker" if number == 1 else f"{number} linkers"


def _seconds(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
