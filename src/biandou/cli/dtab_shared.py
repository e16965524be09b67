"""What the commands of `biandou dtab` share: their arguments, how namerd is asked, and how they fail."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote

import typer

from biandou.cli.dtab_forms import Sent, as_json, read_input
from biandou.cli.namerd_address import base_url
from biandou.cli.namerd_http import Access, Namerd, NamerdFailed, connected

FAILED: Final = 255
"""The exit status of everything that goes wrong, as namerctl's."""

# What the words after a verb are, for its help; `given` counts them, and complains as namerctl does.
Words = Annotated[list[str] | None, typer.Argument(hidden=True)]
Name = Annotated[list[str] | None, typer.Argument(metavar="NAME", hidden=True)]
NameAndFile = Annotated[list[str] | None, typer.Argument(metavar="NAME FILE", hidden=True)]
Files = Annotated[list[str] | None, typer.Argument(metavar="FILE", hidden=True)]
Url = Annotated[str | None, typer.Option("--base-url", help="namerd's URL ($BIANDOU_NAMERD; default: this machine).")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Message = Annotated[str, typer.Option("--message", "-m", help="What the change is for; kept in the history.")]


class Common(NamedTuple):
    """What stands between `dtab` and the verb."""

    url: str | None
    json: bool
    token: str | None
    cacert: str | None
    cert: str | None
    key: str | None


def common_flags(
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
    """Take in what stands between `dtab` or `canary` and the verb."""
    if url is None and isinstance(context.obj, str):
        # As namerctl takes it: before `dtab`.
        url = context.obj
    token = os.environ.get("BIANDOU_NAMERD_TOKEN") or None
    if token_file is not None:
        try:
            token = Path(token_file).read_text().strip()
        except OSError as error:
            raise failed(f"--token-file: {token_file}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise failed(f"--token-file: {token_file}: byte {error.start + 1} is not UTF-8; a token is text") from None
    if token is not None and not token.isprintable():
        raise failed(
            f"{'$BIANDOU_NAMERD_TOKEN' if token_file is None else '--token-file'}: a token is one line of text"
        )
    context.obj = Common(url, shown, token, cacert, cert, key)


def given(words: Sequence[str] | None, wanted: Sequence[str], complaint: str) -> Sequence[str]:
    """Give the words after a verb, as many as `wanted`; ends with `complaint` if there are more or fewer."""
    if len(words or ()) != len(wanted):
        raise failed(complaint)
    return words or ()


def place(name: str) -> str:
    """Give where a namespace is, below `/api/1/`; ends with a message if it has no name."""
    if not name:
        # The address would be that of the list of all namespaces.
        raise failed("the name of a namespace is not empty")
    return f"dtabs/{quote(name, safe='')}"


def remark(message: str) -> dict[str, str]:
    """Give the header that says what a change is for; ends with a message if it is no line."""
    if not message.isprintable():
        raise failed("--message: a line of text is expected")
    return {"l5d-message": message} if message else {}


def read_file(file: str) -> Sent:
    """Read a dtab from a file, or from standard input for `-`."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return read_input(data.decode())
    except OSError as error:
        raise failed(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise failed(f"{file}: byte {error.start + 1} is not UTF-8; a dtab is text") from None
    except ValueError as error:
        raise failed(f"{'standard input' if file == '-' else file}: {error}") from None


def namerd_access(context: typer.Context, url: str | None) -> Access:
    """Give where namerd is, by flags and environment; raises `ValueError`."""
    common: Common = context.obj
    where = base_url(url or common.url, os.environ, Path.cwd())
    return Access(where, common.token, common.cacert, common.cert, common.key)


def run(context: typer.Context, url: str | None, work: Callable[[Namerd], Awaitable[None]]) -> None:
    """Do something with the namerd that flags and environment name; ends with its message if it fails."""

    async def talk() -> None:
        async with connected(namerd_access(context, url)) as namerd:
            await work(namerd)

    try:
        asyncio.run(talk())
    except (NamerdFailed, ValueError, KeyError, TypeError) as error:
        raise failed(str(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def failed(message: str, status: int = FAILED) -> typer.Exit:
    """Tell what went wrong, and give what has to be raised."""
    sys.stderr.write(f"Error: {message}\n")
    return typer.Exit(status)


def tell(context: typer.Context, line: str, document: Any) -> None:
    """Print what was done: a line, or with `--json` a document."""
    write(as_json(document) if context.obj.json else f"{line}\n")


class OutputFailed(Exception):
    """Standard output takes nothing more; no `OSError`, which would be taken for namerd's connection."""

    def __init__(self, why: OSError) -> None:
        super().__init__(str(why))
        self.why = why


def write(text: str) -> None:
    """Print, at once; raises `OutputFailed`."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        raise OutputFailed(error) from error
