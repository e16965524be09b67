"""Rules that hold only while the linker takes connections: a linker that is gone must not cut its host off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event
from typing import Final

from biandou.cli.redirect_kernel import Kernel, RedirectError
from biandou.cli.redirect_rules import Rules

EVERY_SECONDS: Final = 1.0
_HELD_EVERY: Final = 2
"""A hold lasts for several looks; it is renewed each so many."""

_log = logging.getLogger(__name__)


def guard(kernel: Kernel, rules: Rules, hindrance: Callable[[], str], stop: Event) -> None:
    """Hold installed rules while there is no hindrance, release them while there is one, and take them out at the end.

    `hindrance` says what it is, or nothing. Rules that somebody else takes out, with the whole of a firewall for one,
    are put in again.
    """
    held: bool | None = None
    looks, said = 0, ""
    try:
        while True:
            reason = hindrance()
            level, line = logging.INFO, "connections come to the linker"
            try:
                if reason:
                    level, line = logging.WARNING, f"{reason}: connections go their own way"
                    if held is not False:
                        kernel.release()
                elif held is not True or looks % _HELD_EVERY == 0:
                    _hold(kernel, rules)
                held = not reason
            except RedirectError as error:
                # It may be mended; until then the kernel lets a hold expire.
                held, level, line = None, logging.ERROR, str(error)
            if line != said:
                _log.log(level, "%s", line)
            looks, said = looks + 1, line
            if stop.wait(EVERY_SECONDS):
                return
    finally:
        kernel.remove()
        _log.info("the rules are taken out")


def _hold(kernel: Kernel, rules: Rules) -> None:
    try:
        kernel.hold()
    except RedirectError:
        kernel.install(rules)
        kernel.hold()
        _log.warning("somebody had taken the rules out: they are put in again")
