"""What a response classifier in Python is: it tells successes from failures, and those that a retry may mend."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from zlib import crc32

import msgspec

from biandou.policies import ResponseClassifierKind
from biandou.requests import PluginRequest, PluginResponse


class ResponseClass(Enum):
    """What a response comes to."""

    SUCCESS = "success"
    RETRYABLE_FAILURE = "retryable"
    """A failure that another attempt may mend: made if the request can be sent again and the budget allows it."""
    FAILURE = "failure"


Classify = Callable[[PluginRequest, PluginResponse], ResponseClass | Awaitable[ResponseClass]]
"""Runs on each response: a plain function in a thread, an `async` one on the event loop, which it must not block."""


class PythonClassifierKind(ResponseClassifierKind, frozen=True, kw_only=True):
    """A classifier that Python runs."""

    def make(self) -> Classify:
        """Give what runs on each response; called once when the configuration is taken up."""
        raise NotImplementedError

    @property
    def number(self) -> int:
        """What the engine calls it by: the same for the same keys, whatever else the configuration holds."""
        return crc32(msgspec.msgpack.encode(self))
