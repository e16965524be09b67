"""What the store holds, as the reference's page shows it: `/storage/….json` (reference/naming.md §4.4, §4.7)."""

from __future__ import annotations

from typing import Any, Final

from biandou.errors import reason
from biandou.kinds import kind_name
from biandou.live import Failed, Live, Ok, State
from biandou.namerd.canary_state import is_reserved
from biandou.stores.interface import Store, StoreKind, Versioned

_KUBERNETES: Final = "io.l5d.k8s"


def storage_page(kind: StoreKind) -> str:
    """Give the page's name: the `pathPrefix` without its first slash, or `dtabs` for stores that have none."""
    return str(getattr(kind, "path_prefix", "dtabs")).strip("/") or "dtabs"


def storage_state(store: Store, kind: StoreKind) -> dict[str, Any]:
    """Give JSON values: each namespace with what is known of it; for Kubernetes all of them in one state."""
    asking = {"error": store.trouble}
    names = store.namespaces().sample()
    if not isinstance(names, Ok):
        return {"state": {"running": True, "value": _value(names)}, "watch": asking}
    known = {name: _now(store.watch(name)) for name in sorted(names.value) if not is_reserved(name)}
    if kind_name(type(kind)) == _KUBERNETES:
        return {"state": {"running": True, "value": known}, "watch": asking}
    return {name: {"state": {"running": True, "value": value}, "poll": asking} for name, value in known.items()}


def _now(live: Live[Versioned | None]) -> Any:
    state = live.sample()
    return _value(state) if not isinstance(state, Ok) else _shown(state.value)


def _shown(stored: Versioned | None) -> Any:
    if stored is None:
        return ""
    # A version is any bytes.
    return {"version": stored.version.decode(errors="backslashreplace"), "dtab": str(stored.dtab)}


def _value(state: State[Any]) -> str:
    return reason(state.error) if isinstance(state, Failed) else "Still pending"
