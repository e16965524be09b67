"""All that a linker watches at a namerd of ours, in one stream: `biandou.mesh.Names/Watch` (`mesh.proto`)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from typing import Any, Final

import grpc
import grpc.aio

from biandou.clients.identity import identity
from biandou.dtab.protobuf import (
    MalformedMessage,
    as_bytes,
    as_number,
    as_text,
    bytes_field,
    fields,
    number_field,
    text_field,
)

WATCH: Final = "/biandou.mesh.Names/Watch"
FIELDS: Final = {
    "/io.linkerd.mesh.Interpreter/StreamBoundTree": 2,
    "/io.linkerd.mesh.Resolver/StreamReplicas": 3,
}
"""The methods whose streams can be had together, with the field of a wish that holds the request."""
MAX_WISHES: Final = 100
MAX_REQUEST: Final = 256 * 1024
"""So many wishes, or bytes of them, are sent together."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class Ended(Exception):
    """A stream has ended; the message says why."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def ended(error: grpc.aio.AioRpcError) -> Ended:
    """Give how a stream ended by gRPC's own exception."""
    return Ended(error.code(), error.details() or error.code().name)


class Wish:
    """One thing that is watched: what was told of it last, and whether it has ended."""

    def __init__(self, watching: Watching, number: int) -> None:
        self._watching = watching
        self._number = number
        self._told: bytes | None = None
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    def take(self, told: bytes) -> None:
        """Take in what is told now."""
        self._told = told
        self._changed.set()

    def end(self, error: Exception) -> None:
        """Take in that nothing more will be told."""
        self._error = error
        self._changed.set()

    @property
    def taken(self) -> bool:
        """Whether nothing was told that nobody has looked at yet."""
        return self._told is None

    async def next(self) -> bytes:
        """Wait for what is told next and give it; raises `Ended` or `MalformedMessage`."""
        while self._told is None:
            if self._error is not None:
                raise self._error
            self._changed.clear()
            await self._changed.wait()
        told, self._told = self._told, None
        return told

    def close(self) -> None:
        """Watch it no more."""
        self._watching.drop(self._number)


class Watching:
    """The stream; `over` says that it has ended. A namerd that does not have it ends every wish as UNIMPLEMENTED."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        opened: Any = channel.stream_stream(WATCH)
        self._call: Any = opened()
        self._numbers = itertools.count(1)
        self._wishes: dict[int, Wish] = {}
        self._waiting: list[bytes] = []
        self._wanted = asyncio.Event()
        self.over = False
        self.unknown = False
        # The version that everything which was told comes from, and how often one was told.
        self._version = ""
        self._versions = 0
        self._newer = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read(), name=WATCH), loop.create_task(self._write(), name=WATCH)]

    def wish(self, field: int, request: bytes) -> Wish:
        """Begin to watch what a request names."""
        number = next(self._numbers)
        wish = self._wishes[number] = Wish(self, number)
        self._send(number_field(1, number) + bytes_field(field, request))
        return wish

    def drop(self, number: int) -> None:
        """Watch something no more."""
        if self._wishes.pop(number, None) is not None:
            self._send(number_field(1, number))

    @property
    def taken(self) -> bool:
        """Whether all that was told has been looked at."""
        return all(wish.taken for wish in self._wishes.values())

    def introduce(self, root: bytes) -> None:
        """Say who we are, and which namespace (a message `Path`) it is whose version we want to be told."""
        who = identity()
        parts = bytes_field(1, root) + text_field(2, who.token) + text_field(3, who.host) + number_field(4, who.pid)
        self._say(bytes_field(2, parts))

    def acknowledge(self, version: str) -> None:
        """Say that a version is in force."""
        self._say(bytes_field(3, version.encode()))

    async def versions(self) -> AsyncGenerator[str, None]:
        """Give the latest version again and again, until the stream is over."""
        seen = 0
        while not self.over:
            if self._versions == seen:
                self._newer.clear()
                await self._newer.wait()
                continue
            seen = self._versions
            yield self._version

    def close(self) -> None:
        """End the stream."""
        self.over = True
        self._newer.set()
        call, self._call = self._call, None
        if call is not None:
            for task in self._tasks:
                task.cancel()
            call.cancel()

    def _send(self, wish: bytes) -> None:
        self._say(bytes_field(1, wish))

    def _say(self, field: bytes) -> None:
        self._waiting.append(field)
        self._wanted.set()

    async def _write(self) -> None:
        while True:
            await self._wanted.wait()
            parts: list[bytes] = []
            size = 0
            for wish in self._waiting[:MAX_WISHES]:
                if parts and size + len(wish) > MAX_REQUEST:
                    break
                parts.append(wish)
                size += len(wish)
            del self._waiting[: len(parts)]
            if not self._waiting:
                self._wanted.clear()
            try:
                await self._call.write(b"".join(parts))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The reading side hears why.
                return

    async def _read(self) -> None:
        error: Exception = Ended(grpc.StatusCode.CANCELLED, "the stream has ended")
        try:
            # Not `async for`: that makes a cycle, and whoever holds a call holds its connection.
            while (message := await self._call.read()) is not grpc.aio.EOF:
                for number, value in fields(message):
                    if number == 1:
                        self._take(as_bytes(number, value))
                    elif number == 2:
                        self._version = as_text(number, value)
                        self._versions += 1
                        self._newer.set()
        except grpc.aio.AioRpcError as failure:
            error = ended(failure)
            self.unknown = failure.code() is grpc.StatusCode.UNIMPLEMENTED
        except MalformedMessage as failure:
            error = failure
        finally:
            wishes, self._wishes = self._wishes, {}
            for wish in wishes.values():
                wish.end(error)
            self.close()

    def _take(self, message: bytes) -> None:
        number, told, failure = 0, None, None
        for part, value in fields(message):
            if part == 1:
                number = as_number(part, value)
            elif part == 2:
                told = as_bytes(part, value)
            elif part == 3:
                failure = _failure(as_bytes(part, value))
        wish = self._wishes.get(number)
        if wish is None:
            # It was dropped while this was on its way.
            return
        if told is not None:
            wish.take(told)
        if failure is not None:
            del self._wishes[number]
            wish.end(failure)


def _failure(message: bytes) -> Ended:
    code, text = grpc.StatusCode.UNKNOWN, ""
    for number, value in fields(message):
        if number == 1:
            code = _CODES.get(as_number(number, value), code)
        elif number == 2:
            text = as_text(number, value)
    return Ended(code, text or code.name)
