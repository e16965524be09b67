"""A service account's files: the token that we show and the authority that we trust, read again when they change.

Kubernetes renews a projected token long before it ends, and an authority may be replaced while we run; both arrive as
new files behind the same names (Kubernetes' "Configure Service Accounts for Pods").
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

MAX_FILE: Final = 1024 * 1024

_Seen = tuple[int, int, int]


class AccountUnreadable(Exception):
    """A file is missing or holds nothing that can be used; the message shows nothing of it."""


class ServiceAccount:
    """`token` and `ca.crt` below a directory, as in `/var/run/secrets/kubernetes.io/serviceaccount`."""

    def __init__(self, directory: str) -> None:
        self._token_file = Path(directory) / "token"
        self._ca_file = Path(directory) / "ca.crt"
        self._token = ""
        self._token_seen: _Seen | None = None
        self._context: ssl.SSLContext | None = None
        self._context_seen: _Seen | None = None

    def token(self) -> str:
        """Give the token of this moment; raises `AccountUnreadable`."""
        seen = _seen(self._token_file)
        if seen != self._token_seen:
            text = _read(self._token_file).strip()
            if not (text and text.isascii() and text.isprintable() and " " not in text):
                raise AccountUnreadable(f"{self._token_file} holds no token")
            self._token, self._token_seen = text, seen
        return self._token

    def context(self) -> ssl.SSLContext:
        """Give what a connection of this moment needs; raises `AccountUnreadable`."""
        seen = _seen(self._ca_file)
        if self._context is None or seen != self._context_seen:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            try:
                context.load_verify_locations(cadata=_read(self._ca_file))
            except (ssl.SSLError, ValueError) as error:
                raise AccountUnreadable(f"{self._ca_file} holds no certificates: {error}") from None
            self._context, self._context_seen = context, seen
        return self._context


def _seen(file: Path) -> _Seen:
    try:
        status = os.stat(file)
    except OSError as error:
        raise AccountUnreadable(str(error)) from None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_FILE).decode("ascii", errors="replace")
    except OSError as error:
        raise AccountUnreadable(str(error)) from None
