"""What the programs that stay have in common: logging begins, the loop runs, and a start that fails is explained."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Final, Protocol

from biandou.cli.linker_flags import LinkerFlags
from biandou.linker.log import start_logging

_log = logging.getLogger(__name__)

EX_USAGE: Final = 64
EX_CONFIG: Final = 78
EXIT_FAILED: Final = 1


class Daemon(Protocol):
    """A program that stays, from its start to its end."""

    @property
    def started(self) -> bool:
        """Whether it has come up."""

    async def run(self) -> int:
        """Start, serve until told to stop, stop; gives the exit status. Raises what kept a part from starting."""


def run_daemon(program: str, flags: LinkerFlags, hello: str, make: Callable[[], Daemon]) -> int:
    """Log as `flags` say, beginning with `hello` and their warnings, and run what `make` gives; gives the exit status.

    `make` is called in the loop.
    """
    import uvloop  # noqa: PLC0415 - the loop of a program that runs; --validate and --help need none

    try:
        handler = start_logging(flags.log)
    except OSError as error:
        sys.stderr.write(f"biandou {program}: cannot log to {flags.log.output}: {error.strerror or error}\n")
        return EXIT_FAILED
    _log.info("%s", hello)
    for warning in flags.warnings:
        _log.warning("%s", warning)
    daemon: Daemon | None = None

    async def live() -> int:
        nonlocal daemon
        daemon = make()
        return await daemon.run()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(live())
    except Exception as error:
        if daemon is not None and daemon.started:
            _log.exception("failed while it ran")
        else:
            # A start that fails is explained in one line; `--log-level DEBUG` adds the traceback.
            _log.error("cannot start: %s", error, exc_info=_log.isEnabledFor(logging.DEBUG))
        return EXIT_FAILED
    finally:
        handler.close()
