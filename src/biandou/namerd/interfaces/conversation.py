"""A request whose body goes on while it is answered: lines come and go on one connection until either side ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Final

from aiohttp.http_exceptions import PayloadEncodingError
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import StreamResponse

from biandou.errors import reason
from biandou.namerd.interfaces.message import Conversation

REPLY_SECONDS: Final = 30.0
"""How long a caller may take to read what it asked for, or the next document of a stream."""

MAX_LINE: Final = 1024 * 1024


async def converse(conversation: Conversation, sent: BaseRequest, closing: asyncio.Event) -> StreamResponse:
    """Have a conversation until it, the caller or the server ends; one that does not read is cut off."""
    response = StreamResponse(headers={"Server": "biandou", "Content-Type": conversation.media, **conversation.headers})
    response.enable_chunked_encoding()
    await response.prepare(sent)

    async def write(lines: bytes) -> None:
        await read_in_time(response.write(lines), sent)

    async def run() -> None:
        try:
            await conversation.run(_lines(sent), write)
        except (ValueError, TimeoutError, PayloadEncodingError) as error:
            await write(f"{reason(error)}\n".encode())

    running = asyncio.create_task(run())
    ending = asyncio.create_task(closing.wait())
    try:
        await asyncio.wait((running, ending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        ending.cancel()
        running.cancel()
        # That the caller goes away is how most of them end.
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await running
    response.force_close()
    with contextlib.suppress(ConnectionError):
        await read_in_time(response.write_eof(), sent)
    return response


async def _lines(sent: BaseRequest) -> AsyncIterator[list[bytes]]:
    """Give the lines of a body as they come, several at once; raises `ValueError` for one that is too long."""
    rest = b""
    while chunk := await sent.content.readany():
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield lines
        if len(rest) > MAX_LINE:
            raise ValueError(f"a line of more than {MAX_LINE} bytes")


async def read_in_time(writing: Awaitable[None], sent: BaseRequest | None) -> None:
    """Wait until the caller has room for what is written; cuts the connection of one that has none for too long."""
    transport = sent.transport if sent is not None else None
    try:
        async with asyncio.timeout(REPLY_SECONDS):
            await writing
    except TimeoutError as error:
        if transport is not None:
            transport.abort()
        raise ConnectionResetError("the caller does not read") from error
