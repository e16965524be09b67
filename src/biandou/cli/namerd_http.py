"""Talks to namerd's HTTP API for `biandou dtab`."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 60.0
MAX_DOCUMENT: Final = 64 * 1024 * 1024


class NamerdFailed(Exception):
    """namerd cannot be asked or does not do it; the message is for the caller."""


class NamerdRefused(NamerdFailed):
    """namerd has answered that it does not do it, and has not done it."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where namerd is, and what is shown to it."""

    url: str
    token: str | None = None
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext | bool:
        """Give how TLS is spoken; raises `NamerdFailed` for a file that cannot be used."""
        if self.key is not None and self.cert is None:
            raise NamerdFailed("--key goes with --cert")
        if self.cacert is None and self.cert is None:
            return True
        try:
            context = ssl.create_default_context(cafile=self.cacert)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            raise NamerdFailed(f"--cacert, --cert or --key: {error}") from error
        return context


@dataclass(frozen=True, slots=True)
class Told:
    """What namerd answered."""

    body: bytes
    version: str


@dataclass(slots=True)
class Namerd:
    """One connection's worth of questions."""

    access: Access
    session: aiohttp.ClientSession = field(repr=False)

    async def ask(
        self, method: str, place: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Told:
        """Ask once; raises `NamerdFailed` unless it was done."""
        async with self._answer(method, place, body, headers or {}, ANSWER_SECONDS) as answer:
            return Told(await _whole(answer), answer.headers.get("ETag", ""))

    @asynccontextmanager
    async def watch(self, place: str, more: str = "") -> AsyncIterator[AsyncIterator[bytes]]:
        """Give the documents of a stream, a line each; `more` are further parameters, each after an `&`."""
        async with self._answer("GET", f"{place}?watch=true{more}", None, {}, None) as answer:
            yield _lines(answer)

    @asynccontextmanager
    async def _answer(
        self, method: str, place: str, body: bytes | None, headers: Mapping[str, str], seconds: float | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp  # noqa: PLC0415 - not for those who only ask for help

        from biandou.clients.http_trouble import unconnected  # noqa: PLC0415

        named = dict(headers)
        if self.access.token is not None:
            named["Authorization"] = f"Bearer {self.access.token}"
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=CONNECT_SECONDS)
        url = f"{self.access.url}/api/1/{place}"
        try:
            async with self.session.request(method, url, data=body, headers=named, timeout=timeout) as answer:
                if (warning := answer.headers.get("Warning")) is not None:
                    os.write(2, f"warning: {warning}\n".encode())
                if answer.status not in (200, 201, 204):
                    refused = NamerdRefused if 400 <= answer.status < 500 else NamerdFailed
                    raise refused(await _refusal(answer, method, place))
                yield answer
        except aiohttp.ClientConnectorError as error:
            raise NamerdFailed(f"{self.access.url}: {unconnected(error.os_error)}") from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            # Since TLS 1.3 a server says only after the handshake that it wants a certificate.
            hint = (
                "; it may want a certificate: --cert and --key"
                if url.startswith("https:") and not self.access.cert
                else ""
            )
            raise NamerdFailed(f"{url}: {error}{hint}") from error
        except aiohttp.ClientResponseError as error:
            raise NamerdFailed(f"{url}: what answers there is no HTTP API ({error.status})") from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NamerdFailed(f"{url}: {str(error) or 'no answer in time'}") from error


@asynccontextmanager
async def connected(access: Access) -> AsyncIterator[Namerd]:
    """Give what asks a namerd; raises `NamerdFailed`."""
    import aiohttp  # noqa: PLC0415 - not for those who only ask for help

    connector = aiohttp.TCPConnector(ssl=access.context())
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield Namerd(access, session)


async def _refusal(answer: aiohttp.ClientResponse, method: str, place: str) -> str:
    """Give namerctl's words, and namerd's own if it said any."""
    said = (await answer.content.read(4096)).decode(errors="replace").strip()
    if answer.status == HTTPStatus.NOT_FOUND and method != "POST":
        if place.startswith("dtabs/"):
            return "resource was not found by ID or name"
        if said and answer.content_type == "text/plain":
            return said
    words = f"unexpected response: {answer.status} {answer.reason}"
    return f"{words}\n{said}" if said else words


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > MAX_DOCUMENT:
            raise NamerdFailed(f"an answer of more than {MAX_DOCUMENT} bytes")
    return bytes(body)


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in answer.content.iter_any():
        rest += chunk
        *whole, last = bytes(rest).split(b"\n") if b"\n" in chunk else [bytes(rest)]
        rest = bytearray(last)
        if len(rest) > MAX_DOCUMENT:
            raise NamerdFailed(f"a document of more than {MAX_DOCUMENT} bytes")
        for line in whole:
            yield line
