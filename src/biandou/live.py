"""A value that changes over time: not known yet, known, or failed.

Everything that discovery learns is a `Live`. "Not known yet" differs from "known to be empty", and a change is pushed
from where it is noticed; nobody polls a neighbour. Observation is counted: the source behind a `Live` opens with the
first observer and closes after the last, so one watch serves any number of routers.

All of it runs on one event loop and is synchronous: `observe` calls back at once with what is known, then at every
change. Every observer is told even if one raises; the first such exception then reaches whoever made the change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from biandou.few import Few, with_member, without_member

T = TypeVar("T")
U = TypeVar("U")


class Pending:
    """Nothing is known yet."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Pending"


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """The value that holds now."""

    value: T


@dataclass(frozen=True, slots=True)
class Failed:
    """The source could not say; `error` is why."""

    error: Exception


PENDING: Final = Pending()
State: TypeAlias = Pending | Ok[T] | Failed
Notify: TypeAlias = Callable[[State[T]], None]


class Watch:
    """One observation; `close` ends it, and may be called twice."""

    __slots__ = ()

    def close(self) -> None:
        """End the observation: no further call comes after this."""
        raise NotImplementedError


class Ending(Watch):
    """An observation that `end` ends."""

    __slots__ = ("_end",)

    def __init__(self, end: Callable[[], None]) -> None:
        self._end: Callable[[], None] | None = end

    def close(self) -> None:
        """Call `end`, the first time."""
        end, self._end = self._end, None
        if end is not None:
            end()


class _Observation(Watch):
    """What `observe` gives; without a closure of its own, since there are several for each name."""

    __slots__ = ("live", "notify")

    def __init__(self, live: Live[Any], notify: Notify[Any]) -> None:
        self.live: Live[Any] | None = live
        self.notify = notify

    def close(self) -> None:
        live, self.live = self.live, None
        if live is not None:
            # Whoever holds us is mostly whom we notify, too.
            self.notify = _ignore
            live._leave(self)


class Live(Generic[T]):
    """A changing value of type `T`; see `Source` for the end that is written to."""

    __slots__ = ("__weakref__", "_observers", "_state")

    def __init__(self, state: State[T] = PENDING) -> None:
        self._state: State[T] = state
        self._observers: Few[_Observation] = ()

    @staticmethod
    def ok(value: U) -> Live[U]:
        """Give a value that never changes."""
        return Live(Ok(value))

    @staticmethod
    def failed(error: Exception) -> Live[Any]:
        """Give a failure that never mends."""
        return Live(Failed(error))

    @property
    def observed(self) -> bool:
        """Whether anybody watches."""
        return bool(self._observers)

    def observe(self, notify: Notify[T]) -> Watch:
        """Call `notify` now with the present state and again at each change, until the `Watch` is closed."""
        first = not self._observers
        # Opening may find the state at once; this observer is told once, below.
        observation = _Observation(self, _ignore if first else notify)
        self._observers = with_member(self._observers, observation)
        try:
            if first:
                self._open()
                observation.notify = notify
            notify(self._state)
        except BaseException:
            # Nobody gets the Watch that could end this observation.
            observation.close()
            raise
        return observation

    def sample(self) -> State[T]:
        """Give the state of this moment; opens the source for that moment when nobody observes it."""
        seen: list[State[T]] = []
        self.observe(seen.append).close()
        return seen[-1]

    def map(self, function: Callable[[T], U]) -> Live[U]:
        """Give `function` of each value; an exception from it becomes `Failed`."""
        return _MappedBy(self, function)

    def flat_map(self, function: Callable[[T], Live[U]]) -> Live[U]:
        """Follow the `Live` that `function` gives for the latest value."""
        return _FlatMappedBy(self, function)

    def stabilize(self) -> Live[T]:
        """Keep the last good value when the source fails or forgets."""
        return _Stabilized(self)

    @staticmethod
    def join(parts: Sequence[Live[U]]) -> Live[tuple[State[U], ...]]:
        """Give the states of all parts, always known itself: who joins decides what a pending part means."""
        return _Joined(parts)

    def _leave(self, observation: _Observation) -> None:
        self._observers = without_member(self._observers, observation)
        if not self._observers:
            self._shut()

    def _open(self) -> None:
        """Begin to follow the source: the first observer has come."""

    def _shut(self) -> None:
        """Stop following the source: the last observer has gone."""

    def _publish(self, state: State[T]) -> None:
        if state is self._state or state == self._state:
            return
        self._state = state
        failure: Exception | None = None
        for observation in tuple(self._observers):
            if self._state is not state:
                break  # an observer changed it again: everybody has been told the newer state
            if observation.live is not None:
                try:
                    observation.notify(state)
                except Exception as error:
                    # One observer's mistake must not leave the others behind.
                    failure = failure or error
        if failure is not None:
            raise failure


def _ignore(_state: object) -> None:
    pass


class Source(Live[T]):
    """The writing end of a `Live`.

    `follow` is called when the first observer comes and gives the function to call when the last one has gone;
    a source without one simply holds what it was given.
    """

    __slots__ = ("_follow", "_unfollow")

    def __init__(
        self, state: State[T] = PENDING, follow: Callable[[Source[T]], Callable[[], None]] | None = None
    ) -> None:
        super().__init__(state)
        self._follow = follow
        self._unfollow: Callable[[], None] | None = None

    @property
    def state(self) -> State[T]:
        """What was last set, observed or not."""
        return self._state

    def set(self, value: T) -> None:
        """Say that `value` holds now."""
        self._publish(Ok(value))

    def fail(self, error: Exception) -> None:
        """Say that the source cannot tell, and why."""
        self._publish(Failed(error))

    def forget(self) -> None:
        """Say that nothing is known any more."""
        self._publish(PENDING)

    def _open(self) -> None:
        if self._follow is not None:
            self._unfollow = self._follow(self)

    def _shut(self) -> None:
        unfollow, self._unfollow = self._unfollow, None
        if unfollow is not None:
            unfollow()


class _Derived(Live[U], Generic[T, U]):
    __slots__ = ("_source", "_watch")

    def __init__(self, source: Live[T]) -> None:
        super().__init__()
        self._source = source
        self._watch: Watch | None = None

    def _open(self) -> None:
        self._watch = self._source.observe(self._changed)

    def _shut(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _changed(self, state: State[T]) -> None:
        raise NotImplementedError


class Mapped(_Derived[T, U]):
    """`_function` of each value, which a subclass says; an exception from it becomes `Failed`."""

    __slots__ = ()

    def _function(self, value: T) -> U:
        raise NotImplementedError

    def _changed(self, state: State[T]) -> None:
        if isinstance(state, Ok):
            mapped: State[U]
            try:
                mapped = Ok(self._function(state.value))
            except Exception as error:
                mapped = Failed(error)
            self._publish(mapped)
        else:
            self._publish(state)


class _MappedBy(Mapped[T, U]):
    __slots__ = ("_by",)

    def __init__(self, source: Live[T], function: Callable[[T], U]) -> None:
        super().__init__(source)
        self._by = function

    def _function(self, value: T) -> U:
        return self._by(value)


class FlatMapped(_Derived[T, U]):
    """Follows the `Live` that `_function` gives for the latest value, which a subclass says."""

    __slots__ = ("_inner", "_turn")

    def __init__(self, source: Live[T]) -> None:
        super().__init__(source)
        self._inner: Watch | None = None
        self._turn = 0

    def _function(self, value: T) -> Live[U]:
        raise NotImplementedError

    def _changed(self, state: State[T]) -> None:
        former, self._inner = self._inner, None
        self._turn = turn = self._turn + 1
        try:
            if isinstance(state, Ok):
                try:
                    inner = self._function(state.value)
                except Exception as error:
                    self._publish(Failed(error))
                else:
                    if type(inner) is Live:
                        # Nobody can change it.
                        self._publish(inner._state)
                        return

                    def follow(inner_state: State[U]) -> None:
                        # The former inner value is closed only below, and may speak until then.
                        if self._turn == turn:
                            self._publish(inner_state)

                    watch = inner.observe(follow)
                    # Our own observers may have closed us, or changed the source, while `inner` told its state.
                    if self._turn == turn:
                        self._inner = watch
                    else:
                        watch.close()
            else:
                self._publish(state)
        finally:
            # Closed last, so that a source which both share stays open.
            if former is not None:
                former.close()

    def _shut(self) -> None:
        self._turn += 1
        super()._shut()
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()


class _FlatMappedBy(FlatMapped[T, U]):
    __slots__ = ("_by",)

    def __init__(self, source: Live[T], function: Callable[[T], Live[U]]) -> None:
        super().__init__(source)
        self._by = function

    def _function(self, value: T) -> Live[U]:
        return self._by(value)


class _Stabilized(_Derived[T, T]):
    __slots__ = ()

    def _changed(self, state: State[T]) -> None:
        if isinstance(state, Ok) or not isinstance(self._state, Ok):
            self._publish(state)


class _Joined(Live[tuple[State[U], ...]]):
    __slots__ = ("_parts", "_states", "_watches")

    def __init__(self, parts: Sequence[Live[U]]) -> None:
        super().__init__()
        self._parts = tuple(parts)
        self._states: list[State[U]] = []
        self._watches: list[Watch] = []

    def _open(self) -> None:
        self._states = [PENDING] * len(self._parts)
        for index, part in enumerate(self._parts):
            self._watches.append(part.observe(lambda state, index=index: self._changed(index, state)))  # type: ignore[misc]
        self._publish(Ok(tuple(self._states)))

    def _changed(self, index: int, state: State[U]) -> None:
        self._states[index] = state
        if len(self._watches) == len(self._parts):
            self._publish(cast("State[tuple[State[U], ...]]", Ok(tuple(self._states))))

    def _shut(self) -> None:
        watches, self._watches = self._watches, []
        for watch in watches:
            watch.close()
