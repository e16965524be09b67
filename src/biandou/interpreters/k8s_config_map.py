"""`io.l5d.k8s.configMap`: a dtab in a ConfigMap of Kubernetes, in front of the router's own (reference/naming.md §3.2).

Unlike `io.l5d.fs`, and as in the reference, what can't be read is an empty dtab as long as no good one was known: the
router's own goes on working then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from biandou.clients.kubernetes_access import KubernetesPort, is_name, kubernetes_at
from biandou.clients.registry_access import check_host
from biandou.dtab import Dtab, DtabSyntaxError
from biandou.interpreters.interface import Interpreter, InterpreterKind
from biandou.interpreters.local import StoredInterpreter
from biandou.interpreters.shown import shown
from biandou.live import Live, Ok, Source, State
from biandou.namers.interface import Lookup

if TYPE_CHECKING:
    from biandou.namers.k8s_watch import Objects

Data = dict[str, str]
"""What a ConfigMap holds: texts by name."""

_log = logging.getLogger(__name__)


class ConfigMapInterpreterKind(InterpreterKind, frozen=True, kw_only=True, tag="io.l5d.k8s.configMap"):
    """Binds with the dtab that the ConfigMap `name` of `namespace` holds as `filename`; it is never written."""

    name: str
    filename: str
    namespace: str = "default"
    host: str | None = None
    port: KubernetesPort | None = None
    service_account: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be a ConfigMap's name, or an API server's."""
        check_host(self.host)
        if not (self.name and self.filename and self.namespace):
            raise ValueError("name, filename and namespace must not be empty")
        if not (is_name(self.name) and is_name(self.namespace)):
            raise ValueError(f"{self.namespace}/{self.name} can't be the name of a ConfigMap")

    def interpreter(self, base: Live[Dtab], namers: Lookup) -> Interpreter:
        """Make the interpreter: the ConfigMap's dtab + `base`.

        Raises `ConfigError` if nothing says where Kubernetes is.
        """
        stored = dtab_in_config_map(self)
        return StoredInterpreter(
            stored.flat_map(lambda dtab: base.map(lambda own: dtab + own)),
            namers,
            "io.l5d.k8s.configmap",
            lambda: {"state": shown(stored, str), "watch": {"request": f"configmaps {self.namespace}/{self.name}"}},
        )


@dataclass(slots=True)
class Memory:
    """The last good dtab."""

    dtab: Dtab | None = None


def dtab_in_config_map(kind: ConfigMapInterpreterKind) -> Live[Dtab]:
    """Give the dtab that a ConfigMap holds, now and after each change; one that is not there is an empty dtab.

    While Kubernetes is away, or the text is no dtab, the last good one stays.
    """
    # Not above: every linker knows this kind, and few need an HTTP client.
    from biandou.namers.k8s_watch import Name, Objects  # noqa: PLC0415

    name = Name(kind.namespace, kind.name)
    kubernetes = kubernetes_at(kind.host, kind.port, kind.service_account, single=True)
    config_maps: Objects[Data] = Objects(kubernetes, "configmaps", read_config_map, form=Data)
    found = config_maps.get(name)
    memory = Memory()

    def follow(source: Source[Dtab]) -> Callable[[], None]:
        # What was known long ago may not be told as if it were known now.
        source.forget()

        def changed(state: State[Data | None]) -> None:
            if isinstance(state, Ok):
                memory.dtab = _read(f"{name}/{kind.filename}", kind.filename, state.value, memory.dtab)
                source.set(memory.dtab)

        return found.observe(changed).close

    return Source(follow=follow)


def read_config_map(found: dict[str, Any]) -> Data:
    """Give what a ConfigMap holds; raises `KubernetesError` if it is not as its kind is."""
    from biandou.clients.kubernetes import KubernetesError  # noqa: PLC0415 - as above

    data = found.get("data") or {}
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise KubernetesError("kubernetes: a ConfigMap whose data are no texts")
    return data


def _read(place: str, filename: str, data: Data | None, known: Dtab | None) -> Dtab:
    if data is None:
        _log.warning("%s: there is no such ConfigMap; until there is one its dtab is empty", place)
        return Dtab()
    if filename not in data:
        _log.warning("%s: the ConfigMap holds no %s; until it does its dtab is empty", place, filename)
        return Dtab()
    try:
        return Dtab.read(data[filename])
    except DtabSyntaxError as error:
        stays = "its dtab is empty until then" if known is None else "the last good dtab stays in force"
        _log.warning("%s:%d:%d: %s; %s", place, error.line, error.column, error, stays)
        return Dtab() if known is None else known
