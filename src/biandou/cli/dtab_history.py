"""`biandou dtab history`, `diff` and `rollback`: what a namespace was, and back to it."""

from __future__ import annotations

import datetime
import difflib
import json
from typing import Annotated, Any
from urllib.parse import quote

import typer

from biandou.cli.dtab_forms import DTAB, as_json, pretty
from biandou.cli.dtab_shared import Json, Message, Name, Url, given, place, remark, run, tell, write
from biandou.cli.dtab_status import Wait, wait_in_force
from biandou.cli.namerd_http import Namerd, NamerdFailed
from biandou.dtab import Dtab

MOST = 1000
"""How many versions are looked through."""


def history(
    context: typer.Context,
    words: Name = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many versions at most.")] = 20,
    url: Url = None,
    shown: Json = False,
) -> None:
    """List the versions that NAME had, the newest first: when, by whom, what for."""
    (name,) = given(words, ("NAME",), "history requires a name argument")

    async def work(namerd: Namerd) -> None:
        revisions = json.loads((await namerd.ask("GET", f"history/{quote(name, safe='')}?limit={limit}")).body)
        if shown or context.obj.json:
            write(as_json(revisions))
            return
        for revision in revisions:
            what = "deleted" if revision["dtab"] is None else f"{len(revision['dtab'])} bytes"
            said = [revision["author"] or "-", what, revision["message"]]
            write("  ".join([revision["version"], _time(revision), *said]).rstrip() + "\n")

    run(context, url, work)


def diff(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="NAME VERSION VERSION", hidden=True)] = None,
    *,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 1 if they differ.")] = False,
    url: Url = None,
) -> None:
    """Compare two versions of NAME: the last two, or VERSION and now, or VERSION and VERSION."""
    name, *versions = given(
        words,
        ("NAME", *["VERSION"] * min(max(len(words or ()) - 1, 0), 2)),
        "diff takes a name and two versions at most",
    )

    async def work(namerd: Namerd) -> None:
        revisions = await _revisions(namerd, name)
        if not versions and len(revisions) < 2:
            raise NamerdFailed(f"{name} has had one version only")
        old = _find(revisions, versions[0]) if versions else revisions[1]
        new = _find(revisions, versions[1]) if len(versions) > 1 else revisions[0]
        lines = difflib.unified_diff(
            _lines(old), _lines(new), old["version"], new["version"], _time(old), _time(new), n=10_000
        )
        told = "".join(lines)
        write(as_json({"same": not told, "before": old, "after": new}) if context.obj.json else told)
        if told and exit_code:
            raise typer.Exit(1)

    run(context, url, work)


def rollback(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="NAME VERSION", hidden=True)] = None,
    *,
    message: Message = "",
    wait: Wait = None,
    url: Url = None,
) -> None:
    """Make NAME what it was in VERSION, or before its last change, unless somebody changes it meanwhile."""
    name, *versions = given(
        words, ("NAME", *["VERSION"] * min(max(len(words or ()) - 1, 0), 1)), "rollback takes a name and a version"
    )

    async def work(namerd: Namerd) -> None:
        revisions = await _revisions(namerd, name)
        if not versions and len(revisions) < 2:
            raise NamerdFailed(f"{name} has had one version only")
        wanted, present = _find(revisions, versions[0]) if versions else revisions[1], revisions[0]
        why = remark(message or f"rollback to {wanted['version']}")
        if wanted["dtab"] is None:
            raise NamerdFailed(f"{name} was deleted in {wanted['version']}: say biandou dtab delete {name}")
        headers = {"Content-Type": DTAB, **why}
        if present["dtab"] is not None:
            headers["If-Match"] = present["version"]
        method = "POST" if present["dtab"] is None else "PUT"
        told = await namerd.ask(method, place(name), wanted["dtab"].encode(), headers)
        line = f"Rolled back {name} to {wanted['version']} as {told.version}"
        tell(context, line, {"namespace": name, "version": told.version, "restored": wanted["version"]})
        await wait_in_force(context, namerd, name, told.version, wait)

    run(context, url, work)


async def _revisions(namerd: Namerd, name: str) -> list[dict[str, Any]]:
    told = await namerd.ask("GET", f"history/{quote(name, safe='')}?limit={MOST}")
    revisions: list[dict[str, Any]] = json.loads(told.body)
    return revisions


def _find(revisions: list[dict[str, Any]], version: str) -> dict[str, Any]:
    for revision in revisions:
        if revision["version"] == version:
            return revision
    raise NamerdFailed(f"the history knows no version {version}")


def _lines(revision: dict[str, Any]) -> list[str]:
    if revision["dtab"] is None:
        return []
    dentries = [{"prefix": str(dentry.prefix), "dst": str(dentry.dst)} for dentry in Dtab.read(revision["dtab"])]
    return pretty(dentries).splitlines(keepends=True)


def _time(revision: dict[str, Any]) -> str:
    if revision["time"] is None:
        return "at some time"
    return datetime.datetime.fromtimestamp(revision["time"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
