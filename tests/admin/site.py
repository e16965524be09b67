"""A real admin server on loopback for the tests of its pages."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from biandou.admin.server import serve
from biandou.admin.sources import AdminSources
from biandou.telemeters.metrics import ProcessTelemetry
from biandou.telemeters.model import Scopes

LEVELS = {
    "OFF": 51,
    "FATAL": 50,
    "CRITICAL": 50,
    "ERROR": 40,
    "WARNING": 30,
    "INFO": 20,
    "DEBUG": 10,
    "TRACE": 10,
    "ALL": 1,
}


def nothing() -> Scopes:
    """Give no metrics."""
    return ()


def ignore(_grace: int | None) -> None:
    """Go on."""


@asynccontextmanager
async def serving(read: Callable[[], Scopes] = nothing, **sources: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve on a free port; gives a client whose requests go there."""
    telemetry = sources.pop("telemetry", None) or ProcessTelemetry(read)
    made = AdminSources(**{"product": "test", "telemetry": telemetry, "stop": ignore, "log_levels": LEVELS, **sources})
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    port = listener.getsockname()[1]
    close = (await serve(made, listener)).close
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await close()
        telemetry.stop()


def port_of(client: aiohttp.ClientSession) -> int:
    """Give the port that a client of `serving` talks to."""
    url = client._base_url
    assert url is not None
    assert url.port is not None
    return url.port
