"""A slow comparison of what is known with what a registry says when it is asked afresh, whatever its watches tell.

A watch that has missed a change says nothing, so that nobody else would notice. What is found is expected to be
nothing: it is counted and told in the log.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any, Final, Protocol

MAX_SUSPECTS: Final = 32
"""So many names at once are waited for whose watch may still tell what was found."""

_log = logging.getLogger(__name__)


class Cancellable(Protocol):
    """What goes on until it is cancelled."""

    def cancel(self) -> object:
        """End it."""


class Renewable:
    """A watch that runs from `start` until `stop`, and that can be begun anew."""

    __slots__ = ("_name", "_running")

    _running: Cancellable | None

    def start(self, name: str) -> None:
        """Begin to watch, in a task of this name."""
        self._name = name
        self._running = asyncio.get_running_loop().create_task(self.watch(), name=name)

    def watch(self) -> Coroutine[Any, Any, None]:
        """Give what watches for ever."""
        raise NotImplementedError

    @property
    def slack(self) -> float:
        """How many seconds more than usual it may take until the watch tells of a change."""
        return 0.0

    def anew(self) -> None:
        """End the watch and begin another."""
        self.stop()
        self.start(self._name)

    def stop(self) -> None:
        """End the watch."""
        # Not kept: what ends a task knows its frames, and those know us.
        running, self._running = self._running, None
        if running is not None:
            running.cancel()


class Subject(Protocol):
    """What is known of a name, or of several, and how to ask the registry."""

    @property
    def turn(self) -> int | None:
        """A number that changes whenever the watch tells something; `None` while there is nothing to compare."""

    @property
    def patience(self) -> float:
        """How many seconds the watch may take to tell what has changed."""

    async def ask(self) -> Any:
        """Ask the registry afresh; may raise anything."""

    def holds(self, truth: Any, /) -> bool:
        """Whether that is what is known."""

    def mend(self, truth: Any, /) -> None:
        """Take in what the watch had missed."""


class Reconciler:
    """Compares each subject about once in `seconds`, one after the other and never in step; 0 is never."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._subjects: dict[Subject, None] = {}
        self._running: asyncio.Task[None] | None = None
        self._suspects: set[asyncio.Task[None]] = set()

    def add(self, subject: Subject) -> None:
        """Compare a subject from now on."""
        if not self._seconds:
            return
        self._subjects[subject] = None
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run(), name="reconciliation")

    def remove(self, subject: Subject) -> None:
        """Compare a subject no more."""
        self._subjects.pop(subject, None)
        if not self._subjects and self._running is not None:
            self._running.cancel()
            self._running = None
            for suspect in self._suspects:
                suspect.cancel()

    async def _run(self) -> None:
        while True:
            pause = self._seconds / len(self._subjects)
            for subject in list(self._subjects):
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
                if subject in self._subjects:
                    try:
                        await self.compare(subject)
                    except Exception as error:
                        # The watch says when a registry fails.
                        _log.debug("not compared: %s", error)

    async def compare(self, subject: Subject) -> None:
        """Ask once; what is found to be otherwise is looked at again by and by. Raises what asking raises."""
        turn = subject.turn
        if turn is None:
            return
        truth = await subject.ask()
        if subject.turn != turn or subject.holds(truth) or len(self._suspects) >= MAX_SUSPECTS:
            return
        suspect = asyncio.get_running_loop().create_task(self._suspect(subject, turn), name="reconciliation again")
        self._suspects.add(suspect)
        suspect.add_done_callback(self._suspects.discard)

    async def _suspect(self, subject: Subject, turn: int) -> None:
        """Mend what the watch does not tell in time, and what is still so."""
        await asyncio.sleep(subject.patience)
        try:
            if subject in self._subjects and subject.turn == turn:
                truth = await subject.ask()
                if subject in self._subjects and subject.turn == turn and not subject.holds(truth):
                    subject.mend(truth)
        except Exception as error:
            _log.debug("not compared again: %s", error)
