"""Stands in for the compiled `biandou._engine`: keeps what it is given, and posts the letters that a test says."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from biandou.boundary import Answer, ClientsView, Drained, Tally, encode
from biandou.config.plan import Letter


class CompiledEngine:
    """What Python sees of the engine, without an engine; `drains` says whether a stop is answered at once."""

    def __init__(self, plan: bytes, bell: int) -> None:
        self.plan: dict[str, Any] = msgspec.msgpack.decode(plan)
        self.answers: list[tuple[int, Answer]] = []
        self.stopped: list[int] = []
        self.started = False
        self.drains = True
        self.refusal = ""
        self.reopened = 0
        self._bell = bell
        self._letters: list[Letter] = []

    def start(self) -> list[tuple[str, str, int]]:
        """Give the servers of the plan, as if each had got the port that it asks for."""
        self.started = True
        return self._serving()

    def replan(self, plan: bytes) -> list[tuple[str, str, int]]:
        """Take on another plan; raises `OSError` if a test has put a message into `refusal`."""
        if self.refusal:
            raise OSError(self.refusal)
        self.plan = msgspec.msgpack.decode(plan)
        return self._serving()

    def reopen_logs(self) -> None:
        """Count how often the access logs were to be opened anew."""
        self.reopened += 1

    def _serving(self) -> list[tuple[str, str, int]]:
        return [
            (router["label"], server["ip"], server["port"])
            for router in self.plan["routers"]
            for server in router["servers"]
        ]

    def post(self, *letters: Letter) -> None:
        """Post letters and ring the bell."""
        self._letters += letters
        os.eventfd_write(self._bell, 1)

    def mail(self) -> bytes:
        """Give the letters that were posted, once."""
        letters, self._letters = self._letters, []
        return msgspec.msgpack.encode(letters)

    def answer(self, ticket: int, answer: bytes) -> None:
        """Keep an answer."""
        self.answers.append((ticket, msgspec.msgpack.decode(answer, type=Answer)))

    def tally(self) -> bytes:
        """Give a tally of nothing."""
        return encode(Tally(scopes=[]))

    def last_windows(self) -> bytes:
        """Give a tally of nothing."""
        return self.tally()

    def end_windows(self) -> None:
        """End the windows of nothing."""

    def clients(self, _router: str, _client: str) -> bytes:
        """Give no clients."""
        return encode(ClientsView(clients=[]))

    def stop(self, grace_ms: int) -> None:
        """Note the grace, and say that the last request is done unless `drains` forbids it."""
        self.stopped.append(grace_ms)
        if self.drains:
            self.post(Drained())


@contextmanager
def compiled_engines() -> Iterator[list[CompiledEngine]]:
    """Put the stand-in in the compiled module's place, and give the engines that are made meanwhile."""
    made: list[CompiledEngine] = []

    def make(plan: bytes, bell: int) -> CompiledEngine:
        made.append(CompiledEngine(plan, bell))
        return made[-1]

    name = "biandou._engine"
    former = sys.modules.get(name)
    sys.modules[name] = types.SimpleNamespace(Engine=make)  # type: ignore[assignment] # a module in all that matters
    try:
        yield made
    finally:
        if former is None:
            del sys.modules[name]
        else:
            sys.modules[name] = former
