"""Who this process is, as others are told: a token of its own, its host and its id."""

from __future__ import annotations

import functools
import os
import secrets
import socket
from typing import Final, NamedTuple

MAX_HOST: Final = 255


class Identity(NamedTuple):
    """A process: `token` is another one after a restart."""

    token: str
    host: str
    pid: int


@functools.cache
def identity() -> Identity:
    """Give who we are; always the same."""
    return Identity(secrets.token_hex(8), socket.gethostname()[:MAX_HOST] or "unknown", os.getpid())
