"""Watching a `Live` from a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from biandou.live import PENDING, Live, State, Watch

T = TypeVar("T")


class Observed(Generic[T]):
    """Everything that a `Live` has said since the `with` block began."""

    def __init__(self, live: Live[T]) -> None:
        self._live = live
        self._watch: Watch | None = None
        self._changed = asyncio.Event()
        self.states: list[State[T]] = []

    def __enter__(self) -> Observed[T]:
        self._watch = self._live.observe(self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.close()

    @property
    def now(self) -> State[T]:
        """The latest state."""
        return self.states[-1] if self.states else PENDING

    async def until(self, wanted: Callable[[State[T]], bool], seconds: float = 5.0) -> State[T]:
        """Wait until the latest state is as wanted; raises `AssertionError` with all states if it never is."""
        try:
            async with asyncio.timeout(seconds):
                while not wanted(self.now):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not so within {seconds} s; seen: {self.states}") from None
        return self.now

    def _take(self, state: State[T]) -> None:
        self.states.append(state)
        self._changed.set()
