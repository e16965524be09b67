"""What was known and is not in use, for when nobody else can say: bounded in number, size and age."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Record(Protocol):
    """Something that was known; it was so at `at` at the latest, in seconds since 1970."""

    @property
    def at(self) -> float:
        """When."""

    @property
    def size(self) -> int:
        """How much room it takes."""


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Record)


class Records(Generic[K, R]):
    """Records by key; those that were kept first go when there are more than `most`, or they take more than `room`."""

    def __init__(self, most: int, room: int, clock: Callable[[], float] = time.time) -> None:
        self.max_age_secs = float("inf")
        self._most = most
        self._room = room
        self.now = clock
        self._records: OrderedDict[K, R] = OrderedDict()
        self._size = 0

    def get(self, key: K) -> R | None:
        """Give a record, unless it is too old."""
        record = self._records.get(key)
        return record if record is not None and self.now() - record.at <= self.max_age_secs else None

    def keep(self, key: K, record: R) -> None:
        """Keep a record in the place of what was kept for the key."""
        self.forget(key)
        self._records[key] = record
        self._size += record.size
        while len(self._records) > self._most or self._size > self._room:
            _, gone = self._records.popitem(last=False)
            self._size -= gone.size

    def forget(self, key: K) -> None:
        """Keep nothing for a key."""
        gone = self._records.pop(key, None)
        if gone is not None:
            self._size -= gone.size

    def forget_all(self, unwanted: Callable[[K], bool]) -> None:
        """Keep nothing for the keys that are unwanted."""
        for key in [key for key in self._records if unwanted(key)]:
            self.forget(key)

    def latest(self) -> Iterator[R]:
        """Give all that are not too old, those that were kept last first."""
        for record in reversed(tuple(self._records.values())):
            if self.now() - record.at <= self.max_age_secs:
                yield record
