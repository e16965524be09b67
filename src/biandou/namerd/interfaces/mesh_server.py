"""The mesh interface over sockets: gRPC, streams whose readers must keep up, and TLS.

Of a stream only the latest state waits to be sent. gRPC's own library opens the socket and speaks TLS, so that of the
keys of a server only those count that it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NoReturn

import grpc
import grpc.aio

from biandou.config.followed_files import FollowedFiles
from biandou.config.listening import show_address
from biandou.config.server_tls import server_context, tls_files
from biandou.dtab.protobuf import MalformedMessage
from biandou.errors import ConfigError, reason
from biandou.live import PENDING, Failed, Ok, State
from biandou.namerd.access_log.writer import AccessLog
from biandou.namerd.interfaces.mesh import MeshApi, MeshRefusal, Status, refusal
from biandou.namerd.interfaces.mesh_access_log import logged
from biandou.namerd.interfaces.mesh_watch import Wishes
from biandou.policies import ServerTls
from biandou.telemeters.registry import ScopeRegistry

MAX_REQUEST: Final = 1024 * 1024
MAX_CONNECTIONS: Final = 20_000
MAX_STREAMS: Final = 10_000
"""How many streams one connection may have: a linker has two for each name."""
MAX_OPENING: Final = 100_000
"""How many streams may wait to be taken up: 1,000 linkers come back in one moment."""
WRITE_SECONDS: Final = 30.0
"""How long a caller may take to make room for the next state of a stream."""
CLOSE_SECONDS: Final = 2.0

Close = Callable[[], Awaitable[None]]
_Context = grpc.aio.ServicerContext[bytes, bytes]

WATCH: Final = "/biandou.mesh.Names/Watch"

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_REQUEST),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),
    ("grpc.server.max_pending_requests", MAX_OPENING),
    ("grpc.server.max_pending_requests_hard_limit", MAX_OPENING),
    # A linker whose host has gone says nothing any more.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
)

_log = logging.getLogger(__name__)


class MeshServer:
    """Serves one address; calls from now on have their lines in `access_log`, which may be replaced."""

    def __init__(self, api: MeshApi, metrics: ScopeRegistry, access_log: AccessLog | None = None) -> None:
        self._api = api
        self.access_log = access_log
        self._requests, self._success, self._failures, self._dropped = (
            metrics.counter(name) for name in ("requests", "success", "failures", "dropped_streams")
        )
        self._closing = False
        self._streams: set[asyncio.Event] = set()
        metrics.gauge("streams", lambda: float(len(self._streams)))

    async def start(self, ip: str, port: int, tls: ServerTls | None, *, reuse_port: bool = False) -> tuple[int, Close]:
        """Serve, and give the real port and what ends that; raises `ConfigError`."""
        server = grpc.aio.server(options=[*_OPTIONS, ("grpc.so_reuseport", int(reuse_port))])
        server.add_generic_rpc_handlers((_Methods(self._handler),))
        address = show_address(ip, port)
        try:
            if tls is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, _credentials(tls))
        except RuntimeError as error:
            raise ConfigError(
                f"the interface io.l5d.mesh can't listen on {address}: {reason(error).partition(';')[0]}"
            ) from error
        await server.start()

        async def close() -> None:
            self._closing = True
            for changed in self._streams:
                changed.set()
            await server.stop(CLOSE_SECONDS)

        return port, close

    def _handler(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        handler = self._method(call.method)
        return handler if self.access_log is None else logged(self.access_log, call, handler)

    def _method(self, path: str) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Give what handles requests to a path; gRPC itself answers UNIMPLEMENTED where there is nothing."""
        answer = self._api.unary.get(path)
        if answer is not None:
            return _unary(self._answering(answer))
        follow = self._api.streams.get(path)
        if follow is not None:
            return _stream(self._streaming(follow))
        once = self._api.once.get(path)
        if once is not None:
            return _stream(self._telling_once(once))
        return grpc.stream_stream_rpc_method_handler(self._watch) if path == WATCH and self._api.watched else None

    def _answering(self, answer: Callable[[bytes], Awaitable[bytes]]) -> Callable[[bytes, _Context], Awaitable[bytes]]:
        async def handle(request: bytes, context: _Context) -> bytes:
            self._requests.add()
            try:
                reply = await answer(request)
            except Exception as error:
                await self._refuse(context, error)
            self._success.add()
            return reply

        return handle

    def _telling_once(self, answer: Callable[[bytes], Awaitable[bytes]]) -> Callable[[bytes, _Context], Any]:
        once = self._answering(answer)

        async def handle(request: bytes, context: _Context) -> None:
            await context.write(await once(request, context))

        return handle

    def _streaming(self, follow: Callable[[bytes], Any]) -> Callable[[bytes, _Context], Awaitable[None]]:
        async def handle(request: bytes, context: _Context) -> None:
            """Send each state that is still true when the caller has room for it."""
            self._requests.add()
            latest: State[bytes] = PENDING
            changed = asyncio.Event()

            def look(state: State[bytes]) -> None:
                nonlocal latest
                latest = state
                changed.set()

            try:
                watch = follow(request).observe(look)
            except Exception as error:
                await self._refuse(context, error)
            self._streams.add(changed)
            former: bytes | None = None
            try:
                while not self._closing:
                    await changed.wait()
                    changed.clear()
                    state = latest
                    if isinstance(state, Ok) and state.value != former:
                        former = state.value
                        async with asyncio.timeout(WRITE_SECONDS):
                            await context.write(former)
                    elif isinstance(state, Failed):
                        await self._refuse(context, state.error)
            except TimeoutError:
                self._dropped.add()
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the caller does not read")
            finally:
                watch.close()
                self._streams.discard(changed)
            self._success.add()
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this namerd is stopping")

        return handle

    async def _watch(self, requests: AsyncIterator[bytes], context: _Context) -> None:
        """Tell one linker all that it watches."""
        self._requests.add()
        wishes = Wishes(self._api.watched, self._api.standing, self._api.tried_tree)

        async def read() -> None:
            async for request in requests:
                await wishes.take(request)

        reading = asyncio.get_running_loop().create_task(read(), name=WATCH)
        reading.add_done_callback(lambda _: wishes.changed.set())
        self._streams.add(wishes.changed)
        try:
            while not self._closing and not reading.done():
                await wishes.changed.wait()
                news = wishes.news()
                if news:
                    async with asyncio.timeout(WRITE_SECONDS):
                        await context.write(news)
            if reading.done():
                reading.result()
        except TimeoutError:
            self._dropped.add()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "the caller does not read")
        except MalformedMessage as error:
            await self._refuse(context, error)
        finally:
            reading.cancel()
            wishes.close()
            self._streams.discard(wishes.changed)
        self._success.add()
        if self._closing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this namerd is stopping")

    async def _refuse(self, context: _Context, error: Exception) -> NoReturn:
        """End a request with what went wrong."""
        refused = refusal(error)
        if refused.status is Status.INTERNAL and not isinstance(error, MeshRefusal):
            _log.debug("a request failed", exc_info=error)
        (self._failures if refused.status in (Status.INTERNAL, Status.UNAVAILABLE) else self._success).add()
        await context.abort(_CODES[refused.status], str(refused))


class _Methods(grpc.GenericRpcHandler):
    """Finds what handles a request."""

    def __init__(self, find: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[bytes, bytes] | None]) -> None:
        self._find = find

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Give it, or `None`."""
        return self._find(handler_call_details)


def _unary(handle: Callable[[bytes, _Context], Awaitable[bytes]]) -> grpc.RpcMethodHandler[bytes, bytes]:
    return grpc.unary_unary_rpc_method_handler(handle)


def _stream(handle: Callable[[bytes, _Context], Awaitable[None]]) -> grpc.RpcMethodHandler[bytes, bytes]:
    return grpc.unary_stream_rpc_method_handler(handle)


def _credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Give what a listening socket needs: each handshake goes by what the files hold then.

    Raises `ConfigError`, which names the file that cannot be used.
    """
    files = FollowedFiles("tls of the interface io.l5d.mesh", tls_files(tls), lambda: _certificates(tls))
    # gRPC asks before each handshake, in a thread of its own.
    return grpc.dynamic_ssl_server_credentials(files.get(), files.get, tls.require_client_auth)


def _certificates(tls: ServerTls) -> Any:
    # Only to find what is wrong with a file: gRPC would not say.
    server_context(tls, ("h2",))
    try:
        chain = _bytes(tls.cert_path)
        if tls.intermediate_certs_path is not None:
            chain = chain.rstrip(b"\n") + b"\n" + _bytes(tls.intermediate_certs_path)
        authorities = None if tls.ca_cert_path is None else _bytes(tls.ca_cert_path)
        return grpc.ssl_server_certificate_configuration([(_bytes(tls.key_path), chain)], authorities)
    except OSError as error:
        raise ConfigError(f"tls: {error.filename} cannot be read: {error.strerror}") from error


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
