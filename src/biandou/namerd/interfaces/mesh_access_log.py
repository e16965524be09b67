"""The line of a call of the mesh interface in its access log, while gRPC handles the call.

A call that is answered once has its line when it is answered, a stream when it is opened: it may last for days.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import grpc
import grpc.aio

from biandou.namerd.access_log.line import access_line
from biandou.namerd.access_log.writer import AccessLog

_Context = grpc.aio.ServicerContext[bytes, bytes]


def logged(
    log: AccessLog, call: grpc.HandlerCallDetails, handler: grpc.RpcMethodHandler[bytes, bytes] | None
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Give a handler that also writes the call's line; without one it refuses the call as gRPC does."""

    def note(context: _Context) -> None:
        moment = datetime.now().astimezone()
        log.add(access_line(context.peer(), call.method, call.invocation_metadata or (), moment))

    # `grpc` has types only for handlers that run in threads.
    found: Any = handler
    if found is None:
        return grpc.stream_stream_rpc_method_handler(_opened(_unknown, note))
    if found.unary_unary is not None:
        return grpc.unary_unary_rpc_method_handler(_answered(found.unary_unary, note))
    if found.unary_stream is not None:
        return grpc.unary_stream_rpc_method_handler(_opened(found.unary_stream, note))
    return grpc.stream_stream_rpc_method_handler(_opened(found.stream_stream, note))


def _answered(handle: Callable[..., Awaitable[bytes]], note: Callable[[_Context], None]) -> Any:
    async def answer(request: bytes, context: _Context) -> bytes:
        try:
            reply = await handle(request, context)
        except asyncio.CancelledError:
            # Nobody is there any more to be answered.
            raise
        except Exception:
            # gRPC's way to refuse a call: a response, too.
            note(context)
            raise
        note(context)
        return reply

    return answer


def _opened(handle: Callable[..., Awaitable[None]], note: Callable[[_Context], None]) -> Any:
    async def follow(request: Any, context: _Context) -> None:
        note(context)
        await handle(request, context)

    return follow


async def _unknown(_requests: Any, context: _Context) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
