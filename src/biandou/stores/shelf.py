"""What a store knows now, and who watches it: the reading half that all stores share."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakValueDictionary

from biandou.live import PENDING, Failed, Live, Ok, Source, State
from biandou.stores.interface import Versioned

Known = State[Versioned | None]


class Shelf:
    """Every namespace's present state; all pending until `fill`, `settle` or `fail` was called once."""

    def __init__(self) -> None:
        self._names: Source[frozenset[str]] = Source()
        self._held: dict[str, Known] = {}
        self._absent: Known = PENDING
        # Only while somebody watches: anybody may ask for names that will never be there.
        self._watched: WeakValueDictionary[str, Source[Versioned | None]] = WeakValueDictionary()

    @property
    def filled(self) -> bool:
        """Whether it was ever known what there is."""
        return isinstance(self._absent, Ok)

    def names(self) -> Live[frozenset[str]]:
        """Give the names that are there."""
        return self._names

    def watch(self, namespace: str) -> Live[Versioned | None]:
        """Give one namespace, there or not."""
        source = self._watched.get(namespace)
        if source is None:
            source = self._watched[namespace] = Source(self._held.get(namespace, self._absent))
        return source

    def get(self, namespace: str) -> Versioned | None:
        """Give what a namespace is now, as far as is known."""
        held = self._held.get(namespace)
        return held.value if isinstance(held, Ok) else None

    def set(self, namespace: str, state: Versioned | Failed | None) -> None:
        """Say what one namespace is now: `Failed` if it is there and cannot be read."""
        if state is None:
            self._held.pop(namespace, None)
        else:
            self._held[namespace] = state if isinstance(state, Failed) else Ok(state)
        if self.filled:
            self._names.set(frozenset(self._held))
            self._tell(namespace)

    def fill(self, states: Mapping[str, Versioned | Failed]) -> None:
        """Say what all namespaces are now: those that are left out do not exist."""
        self._held = {
            namespace: state if isinstance(state, Failed) else Ok(state) for namespace, state in states.items()
        }
        self.settle()

    def settle(self) -> None:
        """Say that what was set so far is all there is."""
        self._absent = Ok(None)
        self._names.set(frozenset(self._held))
        for namespace in list(self._watched):
            self._tell(namespace)

    def fail(self, error: Exception) -> None:
        """Say why nothing is known; what is known already stays."""
        if self.filled:
            return
        self._absent = Failed(error)
        self._names.fail(error)
        for source in list(self._watched.values()):
            source.fail(error)

    def _tell(self, namespace: str) -> None:
        source = self._watched.get(namespace)
        if source is None:
            return
        state = self._held.get(namespace, self._absent)
        if isinstance(state, Ok):
            source.set(state.value)
        elif isinstance(state, Failed):
            source.fail(state.error)
