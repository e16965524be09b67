"""What a failed HTTP request is said to be: aiohttp's own text names a setting of its own, and ends with a tuple."""

from __future__ import annotations

import os
import ssl
from typing import Final

_MAX_SAID: Final = 200


def trouble(error: BaseException) -> str:
    """Give what went wrong, for people; never an empty text."""
    why, host = getattr(error, "os_error", None), getattr(error, "host", None)
    if isinstance(why, OSError) and host is not None:
        where = f"[{host}]" if ":" in host else host
        return f"cannot connect to {where}:{getattr(error, 'port', None)}: {unconnected(why)}"
    if type(error).__name__ == "ClientPayloadError":
        return "the connection has ended in the middle of an answer"
    if type(error).__name__ == "ClientResponseError":
        # Its text would have the whole URL, which may hold a token.
        return f"an answer that is no HTTP: {' '.join(str(getattr(error, 'message', '')).split())[:_MAX_SAID]}"
    return str(error) or "no answer in time"


def unconnected(why: OSError) -> str:
    """Give the system's words for a connection that was not made."""
    if isinstance(why, ssl.SSLError) or why.errno is None:
        return str(why)
    # A name that is not found has a number below 0, which `strerror` doesn't know, and words of its own.
    return os.strerror(why.errno) if why.errno > 0 else str(why.strerror)
