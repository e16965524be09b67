"""`io.l5d.k8s`: dtabs as custom resources of Kubernetes, shared by several namerds (reference/naming.md §4.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biandou.clients.kubernetes_access import KubernetesPort, kubernetes_at
from biandou.clients.registry_access import check_host
from biandou.stores.chronicle import DEFAULT_SIZE, HistorySize
from biandou.stores.interface import StoreKind

if TYPE_CHECKING:
    from biandou.stores.kubernetes_objects import KubernetesStore


class KubernetesStoreKind(StoreKind, frozen=True, kw_only=True, tag="io.l5d.k8s"):
    """Objects `dtabs.l5d.io` in a Kubernetes namespace; with `serviceAccount`, over TLS and with its token."""

    host: str | None = None
    port: KubernetesPort | None = None
    namespace: str = "default"
    service_account: str | None = None
    history_size: HistorySize = DEFAULT_SIZE

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask an API server."""
        check_host(self.host)
        if not self.namespace or not self.namespace.isprintable() or "/" in self.namespace:
            raise ValueError("namespace is the name of a Kubernetes namespace")

    def store(self) -> KubernetesStore:
        """Make the store; raises `ConfigError` if nothing says where Kubernetes is."""
        # Not above: every linker knows this kind, and none needs it.
        from biandou.stores.kubernetes_objects import KubernetesStore  # noqa: PLC0415

        kubernetes = kubernetes_at(self.host, self.port, self.service_account)
        return KubernetesStore(kubernetes, self.namespace, history_size=self.history_size)
