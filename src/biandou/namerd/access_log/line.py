"""The text of a line of an access log for HTTP/2 (reference/linker.md §6.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final
from urllib.parse import unquote

# `\"`, `\\`, and `\xhh` for what is not printable ASCII: no value ends its field or its line.
_ESCAPED: Final = {code: f"\\x{code:02x}" for code in range(256) if not 0x20 <= code < 0x7F} | {
    ord(mark): f"\\{mark}" for mark in '"\\'
}
_PEER: Final = re.compile(r"ipv[46]:(?:\[(?P<six>.*)\]|(?P<four>[^:]*)):\d+")
_MAPPED: Final = "::ffff:"


def access_line(peer: str, path: str, metadata: Iterable[tuple[str, str | bytes]], moment: datetime) -> bytes:
    """Give the line of a call; `peer` is as gRPC has it (`ipv4:127.0.0.1:5`), and `moment` in the local zone.

    Status, method and version are those of all gRPC. Its library does not tell which `:authority` was asked.
    """
    headers = dict(metadata)
    time = moment.strftime("%d/%m/%Y:%H:%M:%S %z")
    referer, agent = (_escaped(headers.get(name, "")) for name in ("referer", "user-agent"))
    target = _escaped(path).replace(" ", "\\x20")
    return f'- {_address(peer)} - - [{time}] "POST {target} HTTP/2" 200 - "{referer}" "{agent}"\n'.encode()


def _escaped(value: str | bytes) -> str:
    raw = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    return raw.decode("latin-1").translate(_ESCAPED) or "-"


def _address(peer: str) -> str:
    found = _PEER.fullmatch(unquote(peer))
    if found is None:
        return "-"
    address = found["four"] or found["six"].removeprefix(_MAPPED)
    return _escaped(address).replace(" ", "\\x20")
