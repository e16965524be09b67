"""A client of namerd's HTTP API: JSON streams that stay open, from whichever namerd answers (reference/naming.md §3.1).

What was told last holds while every namerd is away. A stream that ends is opened again after a time that differs from
caller to caller, so that a thousand linkers do not come back in one moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import aiohttp
from yarl import URL

from biandou.clients.http_trouble import trouble
from biandou.clients.namerd_addresses import Address, NamerdChoice
from biandou.clients.namerd_token import NamerdToken
from biandou.clients.retry import Retry
from biandou.clients.sockets import lasting_socket
from biandou.errors import BindingError, ResolutionError
from biandou.live import Live, Ok, Source

T = TypeVar("T")

CONNECT_SECONDS: Final = 5.0
HEAD_SECONDS: Final = 30.0
"""How long a namerd may take to begin to answer."""
SILENCE_SECONDS: Final = 45.0
"""A namerd that says nothing for so long on a connection on which it should, not even an empty line, is gone."""
MAX_DOCUMENT: Final = 16 * 1024 * 1024
TELL_SECONDS: Final = 5.0
"""How long sending a report may take altogether."""
MAX_ANSWER: Final = 1024 * 1024
MAX_TOLD: Final = 16
"""So many namerds are sent reports."""
MAX_CONNECTING: Final = 32
"""So many streams of one client are opened at once."""

_log = logging.getLogger(__name__)


def _ignore(_problem: str) -> None:
    pass


class Refused(Exception):
    """namerd answered, and not with what was asked for; `status` is that of its answer, 0 if it began well."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NamerdHttp:
    """One namerd, at whichever of `addresses` it answers; `name` is what its certificate must be for."""

    def __init__(
        self,
        addresses: Live[tuple[Address, ...]],
        retry: Retry,
        tls: ssl.SSLContext | None = None,
        name: str | None = None,
        token: NamerdToken | None = None,
    ) -> None:
        self._token = token or NamerdToken()
        self._choice = NamerdChoice(addresses, retry)
        self._retry = retry
        self._tls = tls
        self._name = name
        self._connecting = asyncio.Semaphore(MAX_CONNECTING)

    async def get(self, target: str) -> Any:
        """Give the JSON of `GET target`, asked once; raises `BindingError`."""
        address = await self._choice.choose()
        try:
            async with self._opened(address, target) as response:
                return json.loads(await response.content.read(MAX_DOCUMENT))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, Refused) as error:
            raise BindingError(f"namerd: {trouble(error)}") from error

    async def tell(self, target: str, document: bytes) -> list[Any]:
        """Send a JSON document to every namerd, and give the JSON of each that took it."""
        addresses = self._choice.known()[:MAX_TOLD]
        answers = await asyncio.gather(*[self._tell(address, target, document) for address in addresses])
        return [answer for answer in answers if answer is not None]

    async def _tell(self, address: Address, target: str, document: bytes) -> Any:
        try:
            async with asyncio.timeout(TELL_SECONDS), self._opened(address, target, document) as response:
                return json.loads(await response.content.read(MAX_ANSWER))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError, Refused) as error:
            _log.debug("%s at %s: %s", target, address, trouble(error))
            return None

    @property
    def several(self) -> bool:
        """Whether more than one namerd is known."""
        return len(self._choice.known()) > 1

    def follow(
        self, target: str, read: Callable[[Any], T], source: Source[T], lost: Callable[[str], None] = _ignore
    ) -> Callable[[], None]:
        """Set `source` to what `read` makes of each JSON document of `GET target`, until the result is called.

        `read` raises `ValueError`, or `ResolutionError` for a failure that it was told. What namerd refuses is a
        failure only while nothing is known. `lost` is told why namerd cannot be heard.
        """
        keeping = self._keep(target, read, source, lost)
        following = asyncio.get_running_loop().create_task(keeping, name=f"namerd {target}")

        def stop() -> None:
            following.cancel()

        return stop

    async def _keep(
        self, target: str, read: Callable[[Any], T], source: Source[T], lost: Callable[[str], None]
    ) -> None:
        """Keep `source` true for ever."""

        async def once(address: Address, well: Callable[[], None]) -> None:
            async with self._opened(address, target) as response:
                async for line in lines_of(response):
                    _take(line, read, source)
                    well()

        def refused(error: Refused) -> None:
            if not isinstance(source.state, Ok):
                source.fail(BindingError(f"namerd: {error}"))

        await self._always(target, once, refused, lost)

    async def converse(
        self,
        target: str,
        say: Callable[[], AsyncIterator[bytes]],
        hear: Callable[[bytes], None],
        refused: Callable[[Refused], None],
        lost: Callable[[str], None] = _ignore,
    ) -> None:
        """Say lines to a namerd and hear lines from it on one connection, for ever, and anew after each end.

        `hear` gets empty lines, too, which say that namerd is there; it raises `Refused` for what cannot be read. What
        `refused` raises is raised; `lost` is told why namerd cannot be heard.
        """

        async def once(address: Address, well: Callable[[], None]) -> None:
            async with self._opened(address, target, say(), SILENCE_SECONDS) as response:
                async for line in lines_of(response):
                    hear(line)
                    if line.strip():
                        well()

        await self._always(target, once, refused, lost)

    async def _always(
        self,
        target: str,
        once: Callable[[Address, Callable[[], None]], Awaitable[None]],
        refused: Callable[[Refused], None],
        lost: Callable[[str], None],
    ) -> None:
        """Do `once` for ever with whichever namerd answers; it calls what it is given when that goes well."""
        failures = 0

        def well() -> None:
            nonlocal failures
            failures = 0

        while True:
            address = await self._choice.choose()
            try:
                await once(address, well)
                problem = "the stream has ended"
            except Refused as error:
                failures += 1
                problem = str(error)
                refused(error)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                failures += 1
                problem = trouble(error)
                self._choice.rest(address, failures, problem)
            lost(problem)
            seconds = self._retry.wait(failures)
            if failures and await self._choice.another(address):
                seconds = self._retry.wait(0)
            _log.debug("%s at %s: %s; again in %.1f s", target, address, problem, seconds)
            await asyncio.sleep(seconds)

    # ── One request ──────────────────────────────────────────────────────────────────────────────────────────────────

    @contextlib.asynccontextmanager
    async def _opened(
        self,
        address: Address,
        target: str,
        document: bytes | AsyncIterator[bytes] | None = None,
        silence: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the answer to a GET, or to a POST of JSON, which may go on; it is cut after so much `silence`."""
        host, port = address
        host = f"[{host}]" if ":" in host else host
        url = URL(f"{'http' if self._tls is None else 'https'}://{host}:{port}{target}", encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=silence)
        # A connection is a stream's own, and ends with it.
        connector = aiohttp.TCPConnector(
            ssl=True if self._tls is None else self._tls, force_close=True, socket_factory=lasting_socket
        )
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            async with self._connecting, asyncio.timeout(HEAD_SECONDS):
                method, headers = ("GET", {}) if document is None else ("POST", {"Content-Type": "application/json"})
                if (secret := self._token.secret()) is not None:
                    headers["Authorization"] = f"Bearer {secret}"
                response = await session.request(
                    method, url, data=document, headers=headers, server_hostname=self._name, allow_redirects=False
                )
            async with response:
                if response.status != 200:
                    said = (await response.content.read(4096)).decode(errors="replace").strip()
                    if response.status >= 500:
                        # Another namerd may be better off.
                        raise OSError(f"{response.status} {said}")
                    raise Refused(f"{response.status} {said}", response.status)
                yield response


def take(document: Any, read: Callable[[Any], T], source: Source[T]) -> None:
    """Take in what a namerd says; raises `Refused` for what can't be read."""
    try:
        source.set(read(document))
    except ResolutionError as error:
        if not isinstance(source.state, Ok):
            source.fail(error)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(f"what namerd says can't be read: {error}") from error


def _take(line: bytes, read: Callable[[Any], T], source: Source[T]) -> None:
    """Take in one line of a stream: what is no JSON is namerd telling why it goes no further."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused(line[:4096].decode(errors="replace")) from None
    take(document, read, source)


async def lines_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Give the lines of a body as they come."""
    rest = bytearray()
    async for chunk in response.content.iter_any():
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            yield bytes(rest[:end])
            del rest[: end + 1]
        if len(rest) > MAX_DOCUMENT:
            raise Refused(f"a document of more than {MAX_DOCUMENT} bytes")
