"""How an API server goes wrong, and the certificates of one that does not."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from pathlib import Path

from aiohttp import web

from tests.registries.consul import answers, never_ends
from tests.registries.kubernetes import Fault, status_object

__all__ = ["answers", "authority", "cuts", "gone_events", "never_ends", "serving", "stays_silent"]


def cuts(body: bytes) -> Fault:
    """Begin an answer, and cut the connection."""

    async def fault(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(body)
        if request.transport is not None:
            request.transport.abort()
        return answer

    return fault


def gone_events() -> Fault:
    """List nothing, and tell every watch at once that it begins too far back."""

    async def fault(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": [], "metadata": {"resourceVersion": "5"}})
        event = {"type": "ERROR", "object": status_object(410, "Expired", "too old resource version")}
        return web.Response(text=json.dumps(event) + "\n")

    return fault


def stays_silent() -> Fault:
    """Take a request and say nothing, until whoever asked has gone."""

    async def fault(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        return web.Response(status=500)

    return fault


def authority(directory: Path) -> Path:
    """Make a certificate for 127.0.0.1, `ca.crt` with `key.pem`, and give the directory."""
    files = ("-out", directory / "ca.crt", "-keyout", directory / "key.pem")
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1", *files),
    )
    subprocess.run(command, check=True, capture_output=True)
    return directory


def serving(directory: Path) -> ssl.SSLContext:
    """Give what a server with this certificate needs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "ca.crt", directory / "key.pem")
    return context
