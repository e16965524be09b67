"""A namerd's API on loopback, and `biandou dtab …` run in a thread so that it answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from typer.testing import CliRunner

from biandou.cli.commands import application
from biandou.config.namerd import AccessToken
from biandou.namerd.interfaces.http import HttpApi
from biandou.namerd.interfaces.http_server import Doorkeeper, HttpServer
from biandou.telemeters.registry import ScopeRegistry

SESAME = "open sesame"
READING = "only look"


@dataclass
class Ran:
    status: int
    output: str
    errors: str


@asynccontextmanager
async def served(api: HttpApi) -> AsyncIterator[str]:
    """Serve an API; `SESAME` is the token of one who may change, `READING` that of one who may read."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    tokens = Doorkeeper([AccessToken(name="ann", token=SESAME), AccessToken(name="bob", token=READING, read_only=True)])
    close = await HttpServer(api.answer, tokens, ScopeRegistry(("http",))).start(listener, None)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await close()


async def run(*words: str, stdin: str = "") -> Ran:
    result = await asyncio.to_thread(CliRunner().invoke, application, ["dtab", *words], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)
