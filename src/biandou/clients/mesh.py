"""A client of the interface `io.l5d.mesh`: gRPC streams to whichever namerd answers (reference/naming.md §3.1).

All streams of one linker's router share a connection, and come back together when it is lost: at a moment of their own,
so that a thousand linkers do not come back in one. What was told last holds while every namerd is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from biandou.clients.mesh_watch import FIELDS, Ended, Watching, ended
from biandou.clients.namerd_addresses import Address, NamerdChoice
from biandou.clients.namerd_origin import confirm, lose
from biandou.clients.retry import Retry
from biandou.dtab.bound import Origin
from biandou.dtab.protobuf import MalformedMessage
from biandou.errors import BindingError
from biandou.live import Failed, Live, Ok, Source, State

T = TypeVar("T")

MAX_MESSAGE: Final = 16 * 1024 * 1024
CONNECT_MS: Final = 5000
CALL_SECONDS: Final = 30.0
TELL_SECONDS: Final = 5.0
MAX_TOLD: Final = 16
"""So many namerds are sent reports."""
HELD_SECONDS: Final = 15.0
"""For so long a version waits for names that have not been told again since the connection was lost."""
MUTE_SECONDS: Final = 600.0
"""A namerd that does not know reports is not asked again for so long."""
IDLE_SECONDS: Final = 90.0
"""A connection that nobody uses is closed: reports come more often than that."""
CONFIRM_SECONDS: Final = 15.0
"""So often is noted that a connection is there, so that namerd would have told of changes: gRPC's pings watch it."""
LONGEST_NAP: Final = 1.0
"""So often is looked whether `dst` leads somewhere else by now."""

REPORT: Final = "/biandou.mesh.Reports/Report"

Options = tuple[tuple[str, int | str], ...]
_OPTIONS: Final[Options] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    # An environment's http_proxy is for others.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.enable_retries", 0),
    # When to come back is decided here; a channel is used for one connection alone.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

_log = logging.getLogger(__name__)
_closing: Final[set[asyncio.Task[None]]] = set()


class _Link:
    """A connection to one namerd, and who uses it."""

    def __init__(self, address: Address, channel: grpc.aio.Channel) -> None:
        self.address = address
        self.channel = channel
        self.retired = False
        self._watching: Watching | None = None
        self._users = 0
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False

    @contextlib.contextmanager
    def used(self) -> Iterator[grpc.aio.Channel]:
        """Keep it open."""
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            yield self.channel
        finally:
            self._users -= 1
            if self._users == 0:
                wait = 0.0 if self.retired else IDLE_SECONDS
                self._idle = asyncio.get_running_loop().call_later(wait, self.retire)

    def watching(self) -> Watching:
        """Give the one stream for everything, opened anew if it is over and this namerd knows it."""
        watching = self._watching
        if watching is None or (watching.over and not watching.unknown):
            watching = self._watching = Watching(self.channel)
        return watching

    async def stream(self, method: str, request: bytes) -> AsyncGenerator[bytes, None]:
        """Give what a method tells, in the one stream that namerds of ours have; raises `Ended`, `MalformedMessage`."""
        field = FIELDS.get(method)
        if field is not None:
            watching = self.watching()
            if not watching.unknown:
                wish = watching.wish(field, request)
                try:
                    while True:
                        yield await wish.next()
                except Ended as error:
                    if not watching.unknown:
                        raise error from None
                finally:
                    wish.close()
        opened: Any = self.channel.unary_stream(method)
        call = opened(request)
        try:
            # Not `async for`: that makes a cycle, and whoever holds a call holds its connection.
            while (message := await call.read()) is not grpc.aio.EOF:
                yield message
        except grpc.aio.AioRpcError as error:
            raise ended(error) from error
        finally:
            call.cancel()
            del call

    @property
    def users(self) -> int:
        """How many use it now."""
        return self._users

    @property
    def up(self) -> bool:
        """Whether the connection is there."""
        ready: bool = not self.retired and self.channel.get_state() is grpc.ChannelConnectivity.READY
        return ready

    def retire(self) -> None:
        """Use it no more, and close it after its last user."""
        self.retired = True
        if self._users == 0 and not self._closed:
            self._closed = True
            if self._watching is not None:
                self._watching.close()
                self._watching = None
            closing = asyncio.get_running_loop().create_task(self.channel.close(), name="closing a channel")
            # Nobody else keeps it until it is done.
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)


class MeshClient:
    """One namerd, at whichever of `addresses` it answers; `options` are gRPC's, besides those that we need."""

    def __init__(
        self,
        addresses: Live[tuple[Address, ...]],
        retry: Retry,
        credentials: grpc.ChannelCredentials | None = None,
        options: Options = (),
    ) -> None:
        self._choice = NamerdChoice(addresses, retry)
        self._retry = retry
        self._credentials = credentials
        self._options = (*_OPTIONS, *options)
        self._link: _Link | None = None
        self._others: dict[Address, _Link] = {}
        self._connected_before = False
        self._failures: dict[Address, int] = {}
        self._mute: dict[Address, float] = {}
        self._linking = asyncio.Lock()
        # Sources that hold what another connection has told.
        self._behind: set[Source[Any]] = set()
        # Of the sources that are followed, what is noted of their freshness.
        self._origins: dict[Source[Any], Origin] = {}
        self._confirming: asyncio.TimerHandle | None = None

    def stream(
        self, method: str, request: bytes, read: Callable[[bytes], State[T]], origin: Origin | None = None
    ) -> Live[T]:
        """Give what `read` makes of each message of a stream; what it calls pending says nothing.

        What namerd refuses, and what `read` calls failed, is a failure only while nothing is known. `origin` is told
        while the connection is there that nothing has changed, and when it is lost.
        """

        def follow(source: Source[T]) -> Callable[[], None]:
            if origin is not None:
                self._origins[source] = origin
                self._confirm_later()
            return self._follow(method, request, read, source)

        return Source(follow=follow)

    @property
    def several(self) -> bool:
        """Whether more than one namerd is known."""
        return len(self._choice.known()) > 1

    def in_force(self, root: bytes) -> Live[str]:
        """Give the version of the namespace `root` (a message `Path`) that all streams come from, acknowledged.

        Nothing is known of it while namerd does not say it. Observing it keeps a connection open.
        """
        return Source(follow=lambda source: attend(self, root, source))

    async def attend_once(self, root: bytes, source: Source[str]) -> None:
        """Take in and acknowledge versions until the connection is lost, or changed for another."""
        link = await self._current()
        with link.used():
            watching = link.watching()
            if not watching.over:
                watching.introduce(root)
            async for version in watching.versions():
                if await self._caught_up(watching):
                    source.set(version)
                    watching.acknowledge(version)
            if watching.unknown:
                while not link.retired:  # noqa: ASYNC110 - whoever retires it tells nobody
                    await asyncio.sleep(LONGEST_NAP)
            elif link.users == 1:
                # Nobody else would notice.
                self._lose(link, "the stream has ended")
        await asyncio.sleep(self._retry.wait(0))

    async def _caught_up(self, watching: Watching) -> bool:
        """Wait until all sources have what was told; says whether they have, and the connection is still there."""
        end = time.monotonic() + HELD_SECONDS
        pause = 0.0
        while not watching.over:
            behind = self._behind and time.monotonic() < end
            if watching.taken and not behind:
                return True
            await asyncio.sleep(pause)
            pause = min(0.05, pause + 0.001)
        return False

    async def call(self, method: str, request: bytes) -> bytes:
        """Give the answer to a request, asked once; raises `BindingError`."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                link = await self._current()
                with link.used() as channel:
                    return await _ask(channel, method, request, CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise BindingError(f"namerd: {ended(error)}") from error
        except TimeoutError:
            raise BindingError("namerd does not answer") from None

    async def tell(self, request: bytes) -> list[bytes]:
        """Send a report to every namerd, and give the answer of each that took it."""
        addresses = self._choice.known()[:MAX_TOLD]
        for address in self._others.keys() - set(addresses):
            self._others.pop(address).retire()
        answers = await asyncio.gather(*[self._tell(address, request) for address in addresses])
        return [answer for answer in answers if answer is not None]

    async def _tell(self, address: Address, request: bytes) -> bytes | None:
        if self._mute.get(address, 0.0) > time.monotonic() or self._choice.rests(address):
            return None
        link = self._link
        if link is None or link.retired or link.address != address:
            link = self._others.get(address)
            if link is None or link.retired:
                link = self._others[address] = self._open(address)
        try:
            with link.used() as channel:
                return await _ask(channel, REPORT, request, TELL_SECONDS)
        except grpc.aio.AioRpcError as error:
            _log.debug("a report to %s:%d: %s", *address, ended(error))
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                self._mute[address] = time.monotonic() + MUTE_SECONDS
            if link is self._others.get(address):
                self._others.pop(address).retire()
            return None

    # ── Streams ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _follow(
        self, method: str, request: bytes, read: Callable[[bytes], State[T]], source: Source[T]
    ) -> Callable[[], None]:
        keeping = self._keep(method, request, read, source)
        following = asyncio.get_running_loop().create_task(keeping, name=f"namerd {method}")

        def stop() -> None:
            following.cancel()
            self._behind.discard(source)
            self._origins.pop(source, None)
            if not self._origins and self._confirming is not None:
                self._confirming.cancel()
                self._confirming = None

        return stop

    def _confirm_later(self) -> None:
        if self._confirming is None:
            self._confirming = asyncio.get_running_loop().call_later(CONFIRM_SECONDS, self._confirm)

    def _confirm(self) -> None:
        self._confirming = None
        if self._link is not None and self._link.up:
            for source, origin in self._origins.items():
                if isinstance(source.state, Ok) and source not in self._behind:
                    confirm(origin)
        if self._origins:
            self._confirm_later()

    async def _keep(self, method: str, request: bytes, read: Callable[[bytes], State[T]], source: Source[T]) -> None:
        """Keep `source` true for ever."""
        failures = 0
        while True:
            if isinstance(source.state, Ok):
                self._behind.add(source)
            link = await self._current()
            problem = "the stream has ended"
            try:
                with link.used():
                    async with contextlib.aclosing(link.stream(method, request)) as messages:
                        async for message in messages:
                            self._behind.discard(source)
                            _take(read(message), source)
                            failures = 0
                            self._well(link)
            except Ended as error:
                problem = str(error)
                if error.code is grpc.StatusCode.UNAVAILABLE:
                    # Whoever asks next waits as long as that namerd rests; another one is asked sooner.
                    self._lose(link, problem)
                    continue
                failures += 1
                if error.code not in (grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED):
                    _take(Failed(BindingError(f"namerd: {problem}")), source)
            except (MalformedMessage, RecursionError) as error:
                failures += 1
                problem = f"what namerd says can't be read: {error}"
                _take(Failed(BindingError(f"namerd: {problem}")), source)
            self._behind.discard(source)
            seconds = self._retry.wait(failures)
            _log.debug("%s at %s:%d: %s; again in %.1f s", method, *link.address, problem, seconds)
            await asyncio.sleep(seconds)

    # ── Connections ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _current(self) -> _Link:
        """Give the connection that is in use, or make another when it is time for that."""
        async with self._linking:
            if self._link is not None and not self._link.retired:
                return self._link
            if self._connected_before:
                self._connected_before = False
                await asyncio.sleep(self._retry.wait(0))
            while True:
                address = await self._choice.choose()
                rests = self._choice.rests(address)
                if not rests:
                    break
                await asyncio.sleep(min(rests, LONGEST_NAP))
            self._link = self._open(address)
            return self._link

    def _open(self, address: Address) -> _Link:
        host, port = address
        target = f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
        if self._credentials is None:
            return _Link(address, grpc.aio.insecure_channel(target, options=self._options))
        return _Link(address, grpc.aio.secure_channel(target, self._credentials, options=self._options))

    def _well(self, link: _Link) -> None:
        """Take note that a namerd has told something."""
        self._failures.pop(link.address, None)
        if link is self._link:
            self._connected_before = True

    def _lose(self, link: _Link, problem: str) -> None:
        """Use a connection no more that has failed; its other streams may go on."""
        if link.retired:
            return
        link.retire()
        if link is self._link:
            self._link = None
            for origin in self._origins.values():
                lose(origin, problem)
        failures = self._failures[link.address] = self._failures.get(link.address, 0) + 1
        known = self._choice.known()
        self._failures = {address: count for address, count in self._failures.items() if address in known}
        self._choice.rest(link.address, failures, problem)


def attend(client: MeshClient, root: bytes, source: Source[str]) -> Callable[[], None]:
    """Keep `source` the version that is in force until the result is called."""

    async def keep() -> None:
        while True:
            try:
                await client.attend_once(root, source)
            except Exception:
                _log.exception("which version is in force is not known")
                await asyncio.sleep(MUTE_SECONDS)

    keeping = asyncio.get_running_loop().create_task(keep(), name="namerd's version")

    def stop() -> None:
        keeping.cancel()

    return stop


def _take(state: State[T], source: Source[T]) -> None:
    if isinstance(state, Ok):
        source.set(state.value)
    elif isinstance(state, Failed) and not isinstance(source.state, Ok):
        source.fail(state.error)


async def _ask(channel: grpc.aio.Channel, method: str, request: bytes, seconds: float) -> bytes:
    call: Any = channel.unary_unary(method)
    answer: bytes = await call(request, timeout=seconds)
    return answer
