"""Host names as the system resolves them, kept current while somebody observes them.

`getaddrinfo` in a few threads, not dnspython: it reads `/etc/hosts`, `nsswitch.conf` and search domains, as the JVM
did, and operators of virtual machines live by those. It hides record TTLs, so a name is asked for again every few
seconds; a caching resolver on the host bears that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
import socket
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from biandou.errors import ResolutionError
from biandou.live import Failed, Live, Ok, Source

REFRESH_SECONDS: Final = 5.0
"""How often an observed name is asked for again (reference/naming.md §1.2)."""

UNKNOWN_GRACE_SECONDS: Final = 60.0
"""So long a host that was known and is now unknown keeps its addresses: the JVM's cache had the same effect."""

LOOKUP_SECONDS: Final = 30.0
"""After so long a lookup counts as failed; its thread is the system's to end."""

MAX_THREADS: Final = 16
"""So many lookups of one resolver run at once; the others wait."""

MAX_FOREVER: Final = 16_000
"""So many hosts are kept for ever by a resolver that never asks again."""

MAX_NAME: Final = 255
"""So many characters a name may have (RFC 1035 §2.3.4); longer ones are unknown, and are not looked up."""

LOG_LINES: Final = 20
"""So many lines about hosts that fail, or are resolved again, a resolver logs within `LOG_SECONDS`."""

LOG_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)
_UNKNOWN: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

Lookup = Callable[[str], list[str]]
"""Gives a host's IP literals; raises `socket.gaierror` or `OSError`. Runs in a thread."""


class Resolver:
    """Host names to IP literals; `None` stands for a host that is not known.

    With `forever` the first good answer is kept and never asked for again.
    """

    def __init__(
        self, *, forever: bool = False, refresh: float = REFRESH_SECONDS, lookup: Lookup | None = None
    ) -> None:
        self.forever = forever
        self._refresh = refresh
        self._lookup = lookup or system_lookup
        self._hosts: WeakValueDictionary[str, Source[tuple[str, ...] | None]] = WeakValueDictionary()
        self._kept: dict[str, tuple[str, ...]] = {}
        self._free = asyncio.Semaphore(MAX_THREADS)
        self._lines = 0
        self._lines_since = 0.0

    def addresses(self, host: str) -> Live[tuple[str, ...] | None]:
        """Give the addresses of a host: an IP literal or `localhost` at once, a name as soon as it is resolved."""
        literal = ip_literal(host)
        if literal is not None:
            return Live.ok((literal,))
        if host == "localhost":
            return Live.ok(("127.0.0.1",))
        kept = self._kept.get(host)
        if kept is not None:
            return Live.ok(kept)
        source = self._hosts.get(host)
        if source is None:
            source = self._hosts[host] = Source(follow=lambda source: self._follow(host, source))
        return source

    def _follow(self, host: str, source: Source[tuple[str, ...] | None]) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(self._keep_current(host, source), name=f"resolve {host}")

        def unfollow() -> None:
            task.cancel()

        return unfollow

    async def _keep_current(self, host: str, source: Source[tuple[str, ...] | None]) -> None:
        known_at = time.monotonic() if isinstance(source.state, Ok) else None
        complaint = ""
        shown = host if len(host) <= MAX_NAME else f"{host[:MAX_NAME]}…"
        while True:
            reason = ""
            try:
                found = await self._ask(host)
            except socket.gaierror as error:
                reason = error.strerror or str(error)
                known = isinstance(source.state, Ok) and source.state.value is not None
                if error.errno not in _UNKNOWN:
                    if not isinstance(source.state, Ok):
                        _tell(source, Failed(ResolutionError(f"cannot resolve {shown}: {reason}")))
                elif not known or known_at is None or time.monotonic() - known_at >= UNKNOWN_GRACE_SECONDS:
                    _tell(source, Ok(None))
            except Exception as error:
                # A name out of a request may hold anything: a null byte is a ValueError, a long label a UnicodeError.
                reason = str(error) or type(error).__name__
                if not isinstance(source.state, Ok):
                    _tell(source, Failed(ResolutionError(f"cannot resolve {shown}: {reason}")))
            else:
                known_at = time.monotonic()
                _tell(source, Ok(found))
                if self.forever and len(self._kept) < MAX_FOREVER:
                    self._kept[host] = found
                    return
            if reason and reason != complaint:
                self._tell_operator(logging.WARNING, "cannot resolve %s: %s", shown, reason)
            elif complaint and not reason:
                self._tell_operator(logging.INFO, "%s is resolved again", host)
            complaint = reason
            await asyncio.sleep(self._refresh * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load, no secret

    def _tell_operator(self, level: int, message: str, *values: str) -> None:
        """Log a change; when the name server is away for thousands of hosts, all but the first few at level DEBUG."""
        now = time.monotonic()
        if now - self._lines_since >= LOG_SECONDS:
            self._lines, self._lines_since = 0, now
        self._lines += 1
        _log.log(level if self._lines <= LOG_LINES else logging.DEBUG, message, *values)
        if self._lines == LOG_LINES:
            seconds = LOG_SECONDS - (now - self._lines_since)
            _log.warning("further hosts that fail, or are resolved again, have level DEBUG for %.0f s", seconds)

    async def _ask(self, host: str) -> tuple[str, ...]:
        if len(host) > MAX_NAME:
            raise socket.gaierror(socket.EAI_NONAME, f"a name has {MAX_NAME} characters at most")
        async with asyncio.timeout(LOOKUP_SECONDS):
            await self._free.acquire()
            loop = asyncio.get_running_loop()
            found: asyncio.Future[list[str]] = loop.create_future()

            def finished(literals: list[str], error: Exception | None) -> None:
                self._free.release()
                if found.done():
                    return  # nobody waits any more
                if error is None:
                    found.set_result(literals)
                else:
                    found.set_exception(error)

            def run() -> None:
                literals: list[str] = []
                failure: Exception | None = None
                try:
                    literals = self._lookup(host)
                except Exception as error:
                    failure = error
                # The loop may have ended in the meantime: then nobody waits.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(finished, literals, failure)

            # A pool's threads would be waited for when the process ends, and a lookup may take half a minute.
            try:
                threading.Thread(target=run, name=f"resolve {host}", daemon=True).start()
            except RuntimeError:
                self._free.release()
                raise
            return tuple(dict.fromkeys(await found))


def _tell(source: Source[tuple[str, ...] | None], state: Ok[tuple[str, ...] | None] | Failed) -> None:
    """Tell the observers; the mistake of one of them must not end the watch of the others."""
    try:
        if isinstance(state, Failed):
            source.fail(state.error)
        else:
            source.set(state.value)
    except Exception:
        _log.exception("an observer of a host failed")


@lru_cache(maxsize=16_384)
def ip_literal(host: str) -> str | None:
    """Give the canonical form of an IP literal, or `None`.

    `127.1` means `127.0.0.1`, as the JVM and C read it, with decimal parts only; IPv6 may stand in brackets. One with
    a zone (`fe80::1%eth0`) is none: a zone means something on one host only, and the engine connects without.
    """
    parts = host.split(".")
    if len(parts) <= 4 and all(part.isascii() and part.isdigit() and len(part) <= 10 for part in parts):
        *first, last = (int(part) for part in parts)
        room = 256 ** (4 - len(first))
        if all(part < 256 for part in first) and last < room:
            value = sum(part << (24 - 8 * index) for index, part in enumerate(first)) + last
            return str(ipaddress.IPv4Address(value))
        return None
    if ":" in host and "%" not in host:
        inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            return str(ipaddress.IPv6Address(inner))
        except ValueError:
            return None
    return None


def system_lookup(host: str) -> list[str]:
    """Give a host's IP literals, IPv4 alone if it has one; blocks. Raises `socket.gaierror` (an `OSError`)."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    usable = [(family, str(address[0])) for family, _, _, _, address in found if "%" not in str(address[0])]
    # Both families mostly lead to one endpoint, which would then count twice; Linkerd's launcher asks for IPv4 alone.
    four = [address for family, address in usable if family == socket.AF_INET]
    if not usable:
        raise OSError(f"{host} has only addresses with a zone, which can't be used")
    return four or [address for _, address in usable]
