"""One name followed at a registry: what is known of it, since when, and how following it goes.

Every namer that asks a registry keeps one `Followed` a name. A registry that fails leaves the last good value in use,
and what a failure means as long as nothing was ever known is the namer's to say (reference/naming.md §1.13).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sized
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from biandou.clients.kept import KEPT, Key, Said
from biandou.dtab.bound import AddressSet, Negative, Origin, shown_time
from biandou.errors import ResolutionError
from biandou.live import Ok, Source
from biandou.namers.reconciling import Reconciler

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LOG_NAMES: Final = 5
"""Of so many names that fail at one time each is logged as a warning."""

COLLAPSE: Final = 0.2
"""A set of which less than this part is left by one step has collapsed."""

LEAST_HELD: Final = 5
"""A set of fewer endpoints than this is never held."""

PATIENCE_SECONDS: Final = 5.0
"""So long a watch may take to tell what a reconciliation has seen."""

_log = logging.getLogger(__name__)


class Registry:
    """A registry, as its names see it: `name` is what to call it (`consul at 127.0.0.1:8500`).

    `settings` tells how it is asked and how its answers are read: what was known by others is not used. A set that
    collapses is held for `hold_seconds`; what is known of each name is compared with the registry about
    every `reconcile_seconds`, if the namer has a plain read for that (`Followed.reconcile`). Of both 0 is never.
    """

    def __init__(
        self, name: str, *, settings: str = "", hold_seconds: float = 0.0, reconcile_seconds: float = 0.0
    ) -> None:
        self.name = name
        self.settings = settings
        self.failing: set[str] = set()
        """The names that cannot be followed now."""
        self.hold_seconds = hold_seconds
        self.reconciler = Reconciler(reconcile_seconds)


class Checkable(Protocol[T_co]):
    """A watch whose registry can also be read without it, to see whether it has missed something."""

    @property
    def slack(self) -> float:
        """How many seconds more than `PATIENCE_SECONDS` the watch may take to tell what has changed."""

    async def read(self) -> tuple[T_co, str | None]:
        """Give value and version as the registry says them when it is asked plainly; may raise anything."""

    def anew(self) -> None:
        """Begin the watch anew, which has missed something."""


class Memory(Generic[T]):
    """What was known of a name when it was followed last; outlives the watch. `form` is the type of that."""

    __slots__ = ("form", "last")

    def __init__(self, form: Any) -> None:
        self.form = form
        self.last: Ok[T] | None = None


def endpoints_in(value: object) -> int | None:
    """Give how many endpoints a value stands for, as far as that can be said of any; `None` is one of no size."""
    match value:
        case None | Negative():
            return 0
        case AddressSet(addresses):
            return len(addresses)
        case Sized():
            return len(value)
    return None


class Followed(Generic[T]):
    """Tells `source` what a registry says of the name `name`, and keeps how that goes for `/namer_state`.

    `request` is what the registry is asked, without secrets. Make one when the source opens, and `close` it when the
    source closes; `memory` may be handed to the next. `size` gives how many endpoints a value stands for, and `None`
    for one of which that cannot be said: such are never held.
    """

    __slots__ = (
        "_began",
        "_held",
        "_late",
        "_memory",
        "_name",
        "_registry",
        "_release",
        "_request",
        "_size",
        "_source",
        "_turn",
        "_watch",
        "origin",
    )

    def __init__(  # noqa: PLR0917 - all of it is one name's
        self,
        registry: Registry,
        name: str,
        request: str,
        source: Source[T],
        memory: Memory[T],
        size: Callable[[T], int | None] = endpoints_in,
    ) -> None:
        self.origin = Origin(registry.name)
        """Goes into every `AddressSet` that is made from what is told here."""
        self._registry = registry
        self._name = name
        self._request = request
        self._source = source
        self._memory = memory
        self._size = size
        self._began = time.time()
        self._turn = 0
        self._held: Ok[T] | None = None
        self._release: asyncio.TimerHandle | None = None
        self._watch: Checkable[T] | None = None
        self._late: asyncio.TimerHandle | None = None
        KEPT.follow(self)
        if KEPT.records.get(self._key()) is not None:
            self._late = asyncio.get_running_loop().call_later(KEPT.patience_seconds, self._nothing_heard)
        # What was known long ago may not be told as if it were known now.
        source.forget()

    @property
    def known(self) -> T | None:
        """What is known now."""
        state = self._source.state
        return state.value if isinstance(state, Ok) else None

    def tell(self, value: T, version: str | None = None, *, corrected: bool = False) -> None:
        """Take in what the registry says now, and by which index or version of its own.

        `corrected` says that a reconciliation found it: the registry had not told of the change when it came.
        """
        self._turn += 1
        origin = self.origin
        origin.remembered = False
        self._end_patience()
        KEPT.changes += 1
        KEPT.records.forget(self._key())
        origin.version = version
        origin.confirmed_at = time.time()
        told = self._source.state if self._held is None else self._held
        if corrected and isinstance(told, Ok) and told.value != value:
            origin.corrections += 1
            _log.warning(
                "%s: %s: what was known was not so any more, and no watch had told", self._registry.name, self._name
            )
        self._mended()
        if self._collapses(value):
            self._hold(value)
        else:
            self._take(value, origin.confirmed_at)

    def presume(self, value: T) -> None:
        """Go by `value` as long as nothing was ever known: it is no knowledge, and no other watch hears of it."""
        self._set(value)

    def confirm(self) -> None:
        """Note that what is known still holds."""
        self.origin.confirmed_at = time.time()
        self._mended()

    def fail(self, error: Exception) -> bool:
        """Stay with what is known, from an earlier time if need be; says whether anything ever was.

        If not, the source is as it was: whether that means "no such name" is the caller's to `presume`.
        """
        failing = self._registry.failing
        new = self._name not in failing
        failing.add(self._name)
        # When a registry is away for thousands of names, a few of them say enough.
        level = logging.WARNING if new and len(failing) <= LOG_NAMES else logging.DEBUG
        _log.log(level, "%s: %s: %s", self._registry.name, self._name, error)
        self.origin.error, self.origin.error_at = str(error), time.time()
        if isinstance(self._source.state, Ok):
            return True
        if self._turn == 0 and not self.origin.remembered:
            self._remember()
        if self._memory.last is None:
            return False
        self._set(self._memory.last.value)
        return True

    def said(self, now: float) -> Said | None:
        """Give what is known of the name, for the case that its registry is away when it is asked for again."""
        last, origin = self._memory.last, self.origin
        if last is None or self._turn == 0 or self._size(last.value) == 0:
            return None
        try:
            value = msgspec.msgpack.encode(last.value)
        except (TypeError, ValueError) as error:
            # Other names are kept all the same.
            _log.debug("%s: %s can't be kept: %s", self._registry.name, self._name, error)
            return None
        # A registry that can be asked would have told of a change.
        at = now if origin.error is None or origin.confirmed_at is None else origin.confirmed_at
        return Said(
            **self._key()._asdict(),
            value=value,
            version=origin.version,
            changed=origin.changed_at,
            at=at,
        )

    def close(self) -> None:
        """Forget that the name failed, now that nobody asks for it."""
        self._registry.failing.discard(self._name)
        self._registry.reconciler.remove(self)
        self._end_patience()
        KEPT.leave(self)
        # It knows us: without this nobody but the collector would let us go.
        self._watch = None
        self._let_go()

    def state(self, shown: Callable[[T], Any], asking: str = "watch") -> dict[str, Any]:
        """Give JSON values in the reference's shape, `value` as `shown` gives it.

        `asking` is what the reference calls the part about the registry: `poll` or `watch` (reference/naming.md §1.4,
        §1.5).
        """
        origin, known = self.origin, self._source.state
        return {
            "state": {
                "running": True,
                "lastStartedAt": shown_time(self._began),
                "lastUpdatedAt": shown_time(origin.changed_at),
                "lastConfirmedAt": shown_time(origin.confirmed_at),
                "value": shown(known.value) if isinstance(known, Ok) else None,
            },
            asking: {
                "request": self._request,
                "version": origin.version,
                "corrections": origin.corrections,
                "error": origin.error,
                "lastErrorAt": shown_time(origin.error_at),
                **({} if origin.held_until is None else {"heldUntil": shown_time(origin.held_until)}),
            },
        }

    # ── Reconciliation ───────────────────────────────────────────────────────────────────────────────────────────────

    def reconcile(self, watch: Checkable[T]) -> None:
        """Have what is known compared with what a plain read of the registry gives, now and then."""
        self._watch = watch
        self._registry.reconciler.add(self)

    @property
    def turn(self) -> int | None:
        """How often the watch has told something; `None` while it fails, or has told nothing."""
        return None if self._turn == 0 or self._name in self._registry.failing else self._turn

    @property
    def patience(self) -> float:
        """How many seconds the watch may take to tell what has changed."""
        return PATIENCE_SECONDS + (0.0 if self._watch is None else self._watch.slack)

    async def ask(self) -> tuple[T, str | None]:
        """Ask the registry afresh; raises whatever the reading raises."""
        if self._watch is None:
            raise RuntimeError(f"{self._name} is followed no longer")
        return await self._watch.read()

    def holds(self, truth: tuple[T, str | None]) -> bool:
        """Whether the registry says what is known, which confirms it."""
        told = self._source.state if self._held is None else self._held
        held = isinstance(told, Ok) and told.value == truth[0]
        if held:
            self.origin.confirmed_at = time.time()
        return held

    def mend(self, truth: tuple[T, str | None]) -> None:
        """Take in what the watch had missed, and watch anew."""
        self.tell(*truth, corrected=True)
        if self._watch is not None:
            self._watch.anew()

    # ── Holding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _collapses(self, value: T) -> bool:
        known = self._source.state
        if not self._registry.hold_seconds or not isinstance(known, Ok):
            return False
        before, left = self._size(known.value), self._size(value)
        return before is not None and left is not None and before >= LEAST_HELD and left < COLLAPSE * before

    def _hold(self, value: T) -> None:
        self._held = Ok(value)
        if self._release is not None:
            return
        seconds = self._registry.hold_seconds
        self.origin.holds += 1
        self.origin.held_until = time.time() + seconds
        _log.warning(
            "%s: %s: the set has collapsed in one step, and is held for %g s", self._registry.name, self._name, seconds
        )
        self._release = asyncio.get_running_loop().call_later(seconds, self._take_held)

    def _take_held(self) -> None:
        if self._held is not None:
            _log.warning("%s: %s: the set is held no longer", self._registry.name, self._name)
            self._take(self._held.value, time.time())

    def _let_go(self) -> None:
        if self._release is not None:
            self._release.cancel()
        self._held = self._release = self.origin.held_until = None

    # ── What was known before ────────────────────────────────────────────────────────────────────────────────────────

    def _key(self) -> Key:
        return Key(self._registry.name, self._registry.settings, self._name)

    def _remember(self) -> None:
        """Take what is kept of the name for what is known, since its registry has said nothing yet."""
        kept = KEPT.records.get(self._key())
        if kept is None:
            return
        self._end_patience()
        try:
            value: T = msgspec.msgpack.decode(kept.value, type=self._memory.form)
        except msgspec.DecodeError as error:
            _log.warning("%s: %s: what was kept can't be read: %s", self._registry.name, self._name, error)
            KEPT.records.forget(self._key())
            return
        origin = self.origin
        origin.version, origin.changed_at, origin.confirmed_at = kept.version, kept.changed, kept.at
        origin.remembered = True
        self._memory.last = Ok(value)
        # When a registry is away for thousands of names, a few of them say enough.
        level = logging.WARNING if len(self._registry.failing) <= LOG_NAMES else logging.DEBUG
        _log.log(level, "%s: %s is as it was known at %s", self._registry.name, self._name, shown_time(kept.at))

    def _nothing_heard(self) -> None:
        self._late = None
        self.fail(ResolutionError(f"nothing was heard within {KEPT.patience_seconds:g} s"))

    def _end_patience(self) -> None:
        late, self._late = self._late, None
        if late is not None:
            late.cancel()

    # ── What is known ────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, value: T, now: float) -> None:
        self._let_go()
        known = self._source.state
        if not (isinstance(known, Ok) and known.value == value):
            self.origin.changed_at = now
        self._set(value)
        # The same object: there are thousands.
        state = self._source.state
        self._memory.last = state if isinstance(state, Ok) else Ok(value)

    def _set(self, value: T) -> None:
        try:
            self._source.set(value)
        except Exception:
            # The mistake of one observer must not end the watch of the others.
            _log.exception("an observer of %s failed", self._name)

    def _mended(self) -> None:
        if self._name not in self._registry.failing:
            return
        self._registry.failing.discard(self._name)
        level = logging.INFO if not self._registry.failing else logging.DEBUG
        _log.log(level, "%s: %s: answers again", self._registry.name, self._name)
        self.origin.error = self.origin.error_at = None
