"""`biandou dtab …`: what namerctl does, and watching and history beside it (reference/naming.md §6)."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote

import typer

from biandou.cli.dtab_forms import JSON, Sent, as_json, plain, pretty, read_input
from biandou.cli.namerd_address import base_url
from biandou.cli.namerd_http import Access, Namerd, NamerdFailed, connected

FAILED: Final = 255
"""The exit status of everything that goes wrong, as namerctl's."""

dtab = typer.Typer(
    name="dtab",
    help="Read, change and watch the dtabs that a namerd keeps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Words = Annotated[list[str] | None, typer.Argument(show_default=False)]
Url = Annotated[str | None, typer.Option("--base-url", help="namerd's URL ($BIANDOU_NAMERD; default: this machine).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Message = Annotated[str, typer.Option("--message", "-m", help="What the change is for; kept in the history.")]


class _Common(NamedTuple):
    url: str | None
    json: bool
    token: str | None
    cacert: str | None
    cert: str | None
    key: str | None


@dtab.callback()
def _common(
    context: typer.Context,
    url: Url = None,
    *,
    shown: Json = False,
    token_file: Annotated[
        str | None, typer.Option(help="Holds the token to show; or set $BIANDOU_NAMERD_TOKEN.")
    ] = None,
    cacert: Annotated[str | None, typer.Option(help="A PEM file: whose certificates are trusted.")] = None,
    cert: Annotated[str | None, typer.Option(help="A PEM file: our certificate.")] = None,
    key: Annotated[str | None, typer.Option(help="A PEM file: its key.")] = None,
) -> None:
    token = os.environ.get("BIANDOU_NAMERD_TOKEN") or None
    if token_file is not None:
        try:
            token = Path(token_file).read_text().strip()
        except OSError as error:
            raise _failed(f"--token-file: {error}") from None
    context.obj = _Common(url, shown, token, cacert, cert, key)


# ── Commands ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dtab.command("list")
@dtab.command("ls", hidden=True)
def list_namespaces(context: typer.Context, words: Words = None, *, url: Url = None, shown: Json = False) -> None:
    """List the namespaces."""
    _given(words, (), "list does not take arguments")

    async def work(namerd: Namerd) -> None:
        names = json.loads((await namerd.ask("GET", "dtabs")).body)
        _write(as_json(names) if shown or context.obj.json else "".join(f"{name}\n" for name in names))

    _run(context, url, work)


@dtab.command("get")
@dtab.command("cat", hidden=True)
def get(
    context: typer.Context,
    words: Words = None,
    *,
    aligned: Annotated[str, typer.Option("--pretty", help="false: everything on one line.")] = "true",
    url: Url = None,
    shown: Json = False,
) -> None:
    """Print the dtab of NAME, and its version."""
    (name,) = _given(words, ("NAME",), "get requires a name argument")

    async def work(namerd: Namerd) -> None:
        told = await namerd.ask("GET", _place(name), headers={"Accept": JSON})
        dentries = json.loads(told.body)
        if shown or context.obj.json:
            _write(as_json({"version": told.version, "dtab": dentries}))
        else:
            _write(pretty(dentries, told.version) if aligned.lower() in ("true", "t", "1") else plain(dentries))

    _run(context, url, work)


@dtab.command("create")
@dtab.command("new", hidden=True)
def create(context: typer.Context, words: Words = None, *, message: Message = "", url: Url = None) -> None:
    """Create the namespace NAME from FILE, or from standard input for `-`."""
    name, file = _given(words, ("NAME", "FILE"), "create requires a name and file path")
    sent = _input(file)

    async def work(namerd: Namerd) -> None:
        await namerd.ask("POST", _place(name), sent.body, {"Content-Type": sent.media, **_remark(message)})
        _write(f"Created {name}\n")

    _run(context, url, work)


@dtab.command("update")
@dtab.command("up", hidden=True)
def update(
    context: typer.Context,
    words: Words = None,
    *,
    version: Annotated[str, typer.Option("--version", help="Change this version only, as `get` shows it.")] = "",
    message: Message = "",
    url: Url = None,
) -> None:
    """Replace the dtab of NAME by FILE, or by standard input for `-`."""
    name, file = _given(words, ("NAME", "FILE"), "update requires a name and file path")
    sent = _input(file)
    wanted = sent.version or version

    async def work(namerd: Namerd) -> None:
        headers = {"Content-Type": sent.media, **_remark(message)}
        if wanted:
            headers["If-Match"] = wanted
        await namerd.ask("PUT", _place(name), sent.body, headers)
        _write(f"Updated {name}\n")

    _run(context, url, work)


@dtab.command("delete")
@dtab.command("del", hidden=True)
@dtab.command("rm", hidden=True)
def delete(context: typer.Context, words: Words = None, *, message: Message = "", url: Url = None) -> None:
    """Delete the namespace NAME."""
    (name,) = _given(words, ("NAME",), "delete requires one argument")

    async def work(namerd: Namerd) -> None:
        await namerd.ask("DELETE", _place(name), headers=_remark(message))
        _write(f"Deleted {name}\n")

    _run(context, url, work)


@dtab.command("watch")
def watch(context: typer.Context, words: Words = None, *, url: Url = None, shown: Json = False) -> None:
    """Print the dtab of NAME, and again at each change; of all namespaces without NAME."""
    name = words[0] if words else None
    _given(words, ("NAME",) if words else (), "watch takes one name at most")

    async def work(namerd: Namerd) -> None:
        async with namerd.watch(_place(name) if name is not None else "dtabs") as documents:
            async for document in documents:
                known = json.loads(document)
                if shown or context.obj.json:
                    _write(as_json(known if name is None else {"dtab": known}))
                elif name is None:
                    _write(" ".join(known) + "\n")
                else:
                    _write(f"# {_now()}\n{pretty(known)}")
        raise NamerdFailed("namerd has ended the stream")

    _run(context, url, work)


@dtab.command("history")
def history(
    context: typer.Context,
    words: Words = None,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many versions at most.")] = 20,
    url: Url = None,
    shown: Json = False,
) -> None:
    """List the versions that NAME had, the newest first: when, by whom, what for."""
    (name,) = _given(words, ("NAME",), "history requires a name argument")

    async def work(namerd: Namerd) -> None:
        revisions = json.loads((await namerd.ask("GET", f"history/{quote(name, safe='')}?limit={limit}")).body)
        if shown or context.obj.json:
            _write(as_json(revisions))
            return
        for revision in revisions:
            at = datetime.datetime.fromtimestamp(revision["time"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%SZ")
            what = "deleted" if revision["dtab"] is None else f"{len(revision['dtab'])} bytes"
            said = [revision["author"] or "-", what, revision["message"]]
            _write("  ".join([revision["version"], at, *said]).rstrip() + "\n")

    _run(context, url, work)


# ── What they share ──────────────────────────────────────────────────────────────────────────────────────────────────


def _given(words: Sequence[str] | None, wanted: Sequence[str], complaint: str) -> Sequence[str]:
    if len(words or ()) != len(wanted):
        raise _failed(complaint)
    return words or ()


def _place(name: str) -> str:
    return f"dtabs/{quote(name, safe='')}"


def _remark(message: str) -> dict[str, str]:
    return {"l5d-message": message} if message else {}


def _input(file: str) -> Sent:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return read_input(data.decode())
    except (OSError, ValueError) as error:
        raise _failed(str(error)) from None


def _run(context: typer.Context, url: str | None, work: Callable[[Namerd], Awaitable[None]]) -> None:
    common: _Common = context.obj

    async def talk() -> None:
        access = Access(
            base_url(url or common.url, os.environ, Path.cwd()), common.token, common.cacert, common.cert, common.key
        )
        async with connected(access) as namerd:
            await work(namerd)

    try:
        asyncio.run(talk())
    except (NamerdFailed, ValueError, KeyError, TypeError) as error:
        raise _failed(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # Whoever read our output has read enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(message: str) -> typer.Exit:
    sys.stderr.write(f"Error: {message}\n")
    return typer.Exit(FAILED)


def _write(text: Any) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
