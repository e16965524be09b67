"""`biandou dtab …`: what namerctl does, and watching beside it (reference/naming.md §6)."""

from __future__ import annotations

import datetime
import json
from typing import Annotated

import typer

from biandou.cli.dtab_apply import apply
from biandou.cli.dtab_forms import JSON, as_json, plain, pretty
from biandou.cli.dtab_history import diff, history, rollback
from biandou.cli.dtab_import import import_etcd
from biandou.cli.dtab_lint import lint
from biandou.cli.dtab_plan import PlanCommand, plan
from biandou.cli.dtab_shared import (
    Json,
    Message,
    Name,
    NameAndFile,
    Url,
    Words,
    common_flags,
    failed,
    given,
    place,
    read_file,
    remark,
    run,
    tell,
    write,
)
from biandou.cli.dtab_status import Wait, WaitingCommand, status, wait_in_force
from biandou.cli.dtab_test import try_tests
from biandou.cli.dtab_trial import For, MaxErrorRise, MinRequests, To, Trial, abort, promote
from biandou.cli.namerd_http import Namerd, NamerdFailed
from biandou.cli.verbs import Verbs

dtab = typer.Typer(
    name="dtab",
    cls=Verbs,
    help="Read, change and watch the dtabs that a namerd keeps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


dtab.callback()(common_flags)


# ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dtab.command("list")
@dtab.command("ls", hidden=True)
def list_namespaces(context: typer.Context, words: Words = None, *, url: Url = None, shown: Json = False) -> None:
    """List the namespaces."""
    given(words, (), "list does not take arguments")

    async def work(namerd: Namerd) -> None:
        names = json.loads((await namerd.ask("GET", "dtabs")).body)
        write(as_json(names) if shown or context.obj.json else "".join(f"{name}\n" for name in names))

    run(context, url, work)


@dtab.command("get")
@dtab.command("cat", hidden=True)
def get(
    context: typer.Context,
    words: Name = None,
    *,
    aligned: Annotated[str, typer.Option("--pretty", help="false: everything on one line.")] = "true",
    url: Url = None,
    shown: Json = False,
) -> None:
    """Print the dtab of NAME, and its version."""
    (name,) = given(words, ("NAME",), "get requires a name argument")

    async def work(namerd: Namerd) -> None:
        told = await namerd.ask("GET", place(name), headers={"Accept": JSON})
        dentries = json.loads(told.body)
        if shown or context.obj.json:
            write(as_json({"version": told.version, "dtab": dentries}))
        else:
            write(pretty(dentries, told.version) if aligned.lower() in ("true", "t", "1") else plain(dentries))

    run(context, url, work)


@dtab.command("create", cls=WaitingCommand)
@dtab.command("new", cls=WaitingCommand, hidden=True)
def create(
    context: typer.Context, words: NameAndFile = None, *, message: Message = "", wait: Wait = None, url: Url = None
) -> None:
    """Create the namespace NAME from FILE, or from standard input for `-`."""
    name, file = given(words, ("NAME", "FILE"), "create requires a name and file path")
    sent = read_file(file)

    async def work(namerd: Namerd) -> None:
        told = await namerd.ask("POST", place(name), sent.body, {"Content-Type": sent.media, **remark(message)})
        tell(context, f"Created {name}", {"namespace": name, "version": told.version})
        await wait_in_force(context, namerd, name, told.version, wait)

    run(context, url, work)


@dtab.command("update", cls=WaitingCommand)
@dtab.command("up", cls=WaitingCommand, hidden=True)
def update(
    context: typer.Context,
    words: NameAndFile = None,
    *,
    version: Annotated[str, typer.Option("--version", help="Change this version only, as `get` shows it.")] = "",
    message: Message = "",
    wait: Wait = None,
    to: To = "",
    seconds: For = "",
    max_error_rise: MaxErrorRise = "1%",
    min_requests: MinRequests = 100,
    url: Url = None,
) -> None:
    """Replace the dtab of NAME by FILE, or by standard input for `-`."""
    name, file = given(words, ("NAME", "FILE"), "update requires a name and file path")
    sent = read_file(file)
    wanted = sent.version or version
    if seconds and not to:
        raise failed("--for goes with --to")
    trial = Trial(to, seconds or "5m", max_error_rise, min_requests) if to else None

    async def work(namerd: Namerd) -> None:
        headers = {"Content-Type": sent.media, **remark(message)}
        if wanted:
            headers["If-Match"] = wanted
        if trial is not None:
            await trial.start(context, namerd, name, sent, headers=headers, wait=wait)
            return
        told = await namerd.ask("PUT", place(name), sent.body, headers)
        tell(context, f"Updated {name}", {"namespace": name, "version": told.version})
        await wait_in_force(context, namerd, name, told.version, wait)

    run(context, url, work)


@dtab.command("delete")
@dtab.command("del", hidden=True)
@dtab.command("rm", hidden=True)
def delete(context: typer.Context, words: Name = None, *, message: Message = "", url: Url = None) -> None:
    """Delete the namespace NAME."""
    (name,) = given(words, ("NAME",), "delete requires one argument")

    async def work(namerd: Namerd) -> None:
        await namerd.ask("DELETE", place(name), headers=remark(message))
        tell(context, f"Deleted {name}", {"namespace": name})

    run(context, url, work)


@dtab.command("watch")
def watch(context: typer.Context, words: Name = None, *, url: Url = None, shown: Json = False) -> None:
    """Print the dtab of NAME, and again at each change; of all namespaces without NAME."""
    name = words[0] if words else None
    given(words, ("NAME",) if words else (), "watch takes one name at most")

    async def work(namerd: Namerd) -> None:
        async with namerd.watch(place(name) if name is not None else "dtabs") as documents:
            async for document in documents:
                known = json.loads(document)
                if shown or context.obj.json:
                    write(as_json(known if name is None else {"dtab": known}))
                elif name is None:
                    write(" ".join(known) + "\n")
                else:
                    write(f"# {_now()}\n{pretty(known)}")
        raise NamerdFailed("namerd has ended the stream")

    run(context, url, work)


dtab.command("history")(history)
dtab.command("diff")(diff)
dtab.command("rollback", cls=WaitingCommand)(rollback)
dtab.command("abort")(abort)
dtab.command("promote")(promote)
dtab.command("status", cls=WaitingCommand)(status)
dtab.command("apply")(apply)
dtab.command("import")(import_etcd)
dtab.command("lint")(lint)
dtab.command("plan", cls=PlanCommand)(plan)
dtab.command("test")(try_tests)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
