"""Which pages are served, and to whom (reference/linker.md §1.7)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from biandou.admin.page import Request
from biandou.config.admin import AdminSecurity

MAX_PATH: Final = 2048
"""Longer paths are not looked at, so that an operator's pattern has an end to its work."""

_UI: Final = re.compile(
    r"/|/files/.*|/admin/files/.*|/config\.json|/metrics\.json|/admin/metrics\.json|/admin/metrics|/delegator"
    r"|/delegator\.json|/logging|/help"
)
_CONTROL: Final = re.compile(r"/admin/shutdown|/admin/reload|/logging\.json")
_READING: Final = ("GET", "HEAD")


class Gate:
    """Says whether a path is served: what is black-listed never, else by its category or the white list."""

    def __init__(self, security: AdminSecurity | None) -> None:
        self._security = security or AdminSecurity()
        self._white = [re.compile(pattern) for pattern in self._security.path_whitelist]
        self._black = [re.compile(pattern) for pattern in self._security.path_blacklist]

    def serves(self, path: str) -> bool:
        """Whether there is anything at this path, for all that the caller may know."""
        if len(path) > MAX_PATH or any(pattern.fullmatch(path) for pattern in self._black):
            return False
        return self._enabled(path) or any(pattern.fullmatch(path) for pattern in self._white)

    def _enabled(self, path: str) -> bool:
        if _UI.fullmatch(path):
            return self._security.ui_enabled
        if _CONTROL.fullmatch(path):
            return self._security.control_enabled
        return self._security.diagnostics_enabled


def from_elsewhere(request: Request, *, loopback: bool) -> bool:
    """Whether a browser sends this on behalf of a page that isn't ours, and it may change something.

    A name that was made to point here is no cover either: on a loopback address (`loopback`) only an IP literal or
    `localhost` may stand in `Host`.
    """
    origin = request.headers.get("origin")
    if request.method in _READING:
        return False
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    host = request.headers.get("host", "").lower()
    try:
        parts = urlsplit(origin)
        same = parts.scheme in ("http", "https") and parts.netloc.lower() == host and bool(host)
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return True
    return not same or (loopback and not _is_here(name))


def _is_here(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
