"""The bodies of a registry's answers: each bounded in size and in time, and few large ones at once.

Without the last, thousands of names at a registry that answers without an end would take thousands of times what one
answer may have.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # `http1.py` keeps the same bounds without it.
    import aiohttp

BODY_SECONDS: Final = 4.0
"""So long a body may take once its head is there, however long the head was waited for."""

LARGE: Final = 1024 * 1024
"""A body of more bytes is large."""

MAX_LARGE: Final = 2
"""So many large bodies of one registry are read at once; others wait, unread."""


class TooLarge(Exception):
    """A body has more bytes than it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"an answer of more than {most} bytes")


class Bodies:
    """Reads the bodies of one registry, each of at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._large = asyncio.Semaphore(MAX_LARGE)

    async def read(self, response: aiohttp.ClientResponse) -> bytes:
        """Give a body; raises `TooLarge`, `TimeoutError` and what aiohttp raises."""
        body = bytearray()
        chunks = response.content.iter_any()
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in chunks:
                body += chunk
                if len(body) > min(LARGE, self._most):
                    break
            else:
                return bytes(body)
            async with self._large:
                while len(body) <= self._most:
                    chunk = await response.content.readany()
                    if not chunk:
                        return bytes(body)
                    body += chunk
        raise TooLarge(self._most)
