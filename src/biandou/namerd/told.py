"""What is told of a name or an address, made once for all sessions that follow it."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from typing import Any, Final, Protocol

from biandou.errors import reason
from biandou.live import Failed, Live, Ok, State, Watch
from biandou.namerd.names import SettledName

_FAILED: Final = b'"failed":'
_IS: Final = b'"is":'


class Follower(Protocol):
    """Who follows: `number` is what it calls the name."""

    def changed(self, number: int) -> None:
        """Tell soon what the name means now."""


class Told:
    """One name or address: `part` is the member of a line that says what it means now, `None` before that is known."""

    __slots__ = ("_documents", "_followers", "_forget", "_name", "_watch", "part")

    def __init__(self, documents: Live[bytes], name: SettledName | None, forget: Callable[[], None]) -> None:
        self.part: bytes | None = None
        self._documents = documents
        self._name = name
        self._forget = forget
        self._followers: dict[tuple[Follower, int], None] = {}
        self._watch: Watch | None = None

    @property
    def waiting(self) -> bool:
        """Whether something newer is known than what is told, and cannot be told yet."""
        return self._name is not None and self._name.waiting

    def follow(self, follower: Follower, number: int) -> None:
        """Tell a follower, from now on."""
        self._followers[follower, number] = None
        if self._watch is None:
            self._watch = self._documents.observe(self._changed)
        elif self.part is not None:
            follower.changed(number)

    def leave(self, follower: Follower, number: int) -> None:
        """Tell a follower no more; with the last this is forgotten."""
        self._followers.pop((follower, number), None)
        if not self._followers:
            self._forget()
            if self._watch is not None:
                self._watch.close()

    def _changed(self, state: State[bytes]) -> None:
        if isinstance(state, Ok):
            part = _IS + state.value.rstrip(b"\n")
        elif isinstance(state, Failed):
            part = _FAILED + json.dumps(reason(state.error)).encode()
        else:
            return
        if part != self.part:
            self.part = part
            for follower, number in tuple(self._followers):
                follower.changed(number)


class ToldNames:
    """Everything that is followed now, by what it is."""

    def __init__(self) -> None:
        self._told: dict[Hashable, Told] = {}

    def __len__(self) -> int:
        return len(self._told)

    def get(self, key: Hashable, make: Callable[[], tuple[Live[bytes], SettledName | None]]) -> Told:
        """Give what is told of `key`; `make` gives its documents, and the name if it is one."""
        told = self._told.get(key)
        if told is None:
            documents, name = make()
            told = self._told[key] = Told(documents, name, lambda: self._forget(key))
        return told

    def _forget(self, key: Any) -> None:
        self._told.pop(key, None)
