"""What linkers are shown of a namespace: names through its dtab, addresses, and the version that these come from.

A linker that tries a dtab is shown names through that one instead, and a version of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakValueDictionary

from biandou.dtab import Dtab, Path
from biandou.live import Failed, Live, Ok, State
from biandou.namerd.in_force import Linker
from biandou.namerd.interfaces.documents import address_document, etag, tree_document
from biandou.namerd.names import Names, SettledName
from biandou.namerd.rollout import Rollout, tries
from biandou.namerd.rollout_state import RolloutStates, Shown
from biandou.namerd.told import Told, ToldNames
from biandou.stores.interface import Store, Versioned

_States: TypeAlias = tuple[State[Versioned | None], State[Shown]]

NO_VERSION = ""
"""The version of a namespace that does not exist."""


@dataclass(frozen=True, slots=True)
class View:
    """Which dtab a linker goes by: that of the namespace, or that of the rollout `trial`."""

    version: str
    trial: Rollout | None = None


class Sights:
    """Every namespace as linkers are shown it."""

    def __init__(self, store: Store, names: Names) -> None:
        self._store = store
        self._names = names
        self._rollouts = RolloutStates(store)
        self._told = ToldNames()
        # A thousand linkers that look at a namespace have it read once.
        self._shared: WeakValueDictionary[str, Live[_States]] = WeakValueDictionary()

    def of(self, namespace: str, linker: Linker) -> NamespaceSight:
        """Give what a linker is shown of a namespace."""
        view = self._states(namespace).map(lambda states: _view(*states, linker)).stabilize()
        return NamespaceSight(self._names, self._told, namespace, view)

    def version(self, namespace: str) -> Live[str]:
        """Give the version of a namespace's dtab as linkers and callers are told it."""
        return self._store.watch(namespace).map(shown_version).stabilize()

    def rollout(self, namespace: str) -> Live[Shown]:
        """Give the latest rollout of a namespace."""
        return self._rollouts.watch(namespace).stabilize()

    def _states(self, namespace: str) -> Live[_States]:
        states = self._shared.get(namespace)
        if states is None:
            states = _both(self._store.watch(namespace), self._rollouts.watch(namespace))
            self._shared[namespace] = states
        return states


def _both(stored: Live[Versioned | None], rollout: Live[Shown]) -> Live[_States]:
    parts: list[Live[object]] = [stored, rollout]  # type: ignore[list-item] # `Live` only gives: it is covariant
    return Live.join(parts)  # type: ignore[return-value] # and `join` keeps the order


def _view(stored: State[Versioned | None], shown: State[Shown], linker: Linker) -> View:
    """Give what a linker goes by; raises if that is not known."""
    if not isinstance(stored, Ok):
        raise stored.error if isinstance(stored, Failed) else LookupError("the namespace is not known yet")
    version = shown_version(stored.value)
    # What cannot be read is tried by nobody.
    rollout = shown.value.rollout if isinstance(shown, Ok) else None
    if rollout is not None and rollout.phase.tried and tries(rollout, linker.token):
        return View(trial_version(rollout), rollout)
    return View(version)


def trial_version(rollout: Rollout) -> str:
    """Give the version that a linker has in force which tries a rollout's dtab."""
    return f"{etag(rollout.base)}+{rollout.name}"


def shown_version(stored: Versioned | None) -> str:
    """Give a version as linkers and callers are told it."""
    return NO_VERSION if stored is None else etag(stored.version)


class NamespaceSight:
    """One namespace; names are shown as the latest state of `view` says."""

    def __init__(self, names: Names, told: ToldNames, namespace: str, view: Live[View]) -> None:
        self.view = view
        self._names = names
        self._told = told
        self._namespace = namespace

    def name(self, path: Path, local: Dtab, trial: Rollout | None) -> Told:
        """Give what a name means."""

        def make() -> tuple[Live[bytes], SettledName]:
            if trial is None:
                name = self._names.settled(self._namespace, local, path)
            else:
                name = self._names.tried(self._namespace, trial.name, trial.dtab, local, path)
            return name.map(tree_document), name

        return self._told.get(("bind", self._namespace, trial.name if trial else "", local, path), make)

    def address(self, client: Path) -> Told:
        """Give where a client name is."""
        return self._told.get(("addr", client), lambda: (self._names.addresses(client).map(address_document), None))
