"""Rules that hold only while the linker takes connections: a linker that is gone must not cut its host off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event
from typing import Final

from biandou.cli.redirect_kernel import Kernel, RedirectError

EVERY_SECONDS: Final = 1.0
_HELD_EVERY: Final = 2
"""A hold lasts for several looks; it is renewed each so many."""
_LISTEN: Final = "0A"
"""The state of a listening socket in `/proc/net/tcp` (Linux, `include/net/tcp_states.h`)."""

_log = logging.getLogger(__name__)


def listens(ports: Iterable[int], proc: Path = Path("/proc/net")) -> bool:
    """Say whether sockets of this network namespace listen on all of these ports."""
    wanted = set(ports)
    for family in ("tcp", "tcp6"):
        try:
            lines = (proc / family).read_text().splitlines()[1:]
        except FileNotFoundError:
            # A kernel without IPv6.
            continue
        for line in lines:
            _, local, _, state, *_ = line.split()
            if state == _LISTEN:
                wanted.discard(int(local.rpartition(":")[2], 16))
    return not wanted


def guard(kernel: Kernel, serves: Callable[[], bool], stop: Event) -> None:
    """Hold the rules while `serves` says so, release them while it does not, and take them out at the end."""
    held, looks = None, 0
    try:
        while True:
            serving = serves()
            try:
                if serving and (held is not True or looks % _HELD_EVERY == 0):
                    kernel.hold()
                elif not serving and held is not False:
                    kernel.release()
            except RedirectError as error:
                # What somebody else changed may be mended; until then the kernel lets the hold expire.
                _log.error("%s", error)
                serving = not serving if held is None else held
            if serving is not held:
                _log.log(
                    logging.INFO if serving else logging.WARNING,
                    "connections come to the linker"
                    if serving
                    else "nothing listens where connections were to come: they go their own way",
                )
            held, looks = serving, looks + 1
            if stop.wait(EVERY_SECONDS):
                return
    finally:
        kernel.remove()
        _log.info("the rules are taken out")
