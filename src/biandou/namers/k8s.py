"""`io.l5d.k8s`, `io.l5d.k8s.ns` and `io.l5d.k8s.external`: services of Kubernetes (reference/naming.md §1.5)."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from biandou.clients.kubernetes_access import KubernetesPort, kubernetes_at
from biandou.clients.registry_access import check_host
from biandou.errors import ConfigError
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.k8s_endpoints import EndpointsNamer
    from biandou.namers.k8s_external import ExternalNamer

_LABEL: Final = re.compile(r"([-a-z0-9.]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class KubernetesNamerKind(RegistryNamerKind, frozen=True, kw_only=True):
    """The keys of all three: where the API server is, and the key of a label whose value is in the path."""

    host: str | None = None
    port: KubernetesPort | None = None
    label_selector: str | None = None
    service_account: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` for what cannot be used to ask an API server."""
        super().__post_init__()
        check_host(self.host)
        if self.label_selector is not None and _LABEL.fullmatch(self.label_selector) is None:
            raise ValueError(f"labelSelector is the key of a label, and {self.label_selector} is none")


class K8sNamerKind(KubernetesNamerKind, frozen=True, kw_only=True, tag="io.l5d.k8s"):
    """Pods of services: `/<namespace>/<port>/<service>[/<label value>]`."""

    def namer(self) -> EndpointsNamer:
        """Make the namer; raises `ConfigError` if nothing says where Kubernetes is."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.namers.k8s_endpoints import EndpointsNamer  # noqa: PLC0415

        return EndpointsNamer(self, kubernetes_at(self.host, self.port, self.service_account, single=True))


class K8sNamespacedNamerKind(KubernetesNamerKind, frozen=True, kw_only=True, tag="io.l5d.k8s.ns"):
    """Pods of services in the namespace that an environment variable names: `/<port>/<service>[/<label value>]`."""

    env_var: str = "POD_NAMESPACE"

    def namer(self) -> EndpointsNamer:
        """Make the namer; raises `ConfigError` if the variable is not set, or nothing says where Kubernetes is."""
        from biandou.namers.k8s_endpoints import EndpointsNamer  # noqa: PLC0415 - as above

        namespace = os.environ.get(self.env_var)
        if not namespace:
            raise ConfigError(f"io.l5d.k8s.ns: the environment variable {self.env_var} is not set")
        return EndpointsNamer(self, kubernetes_at(self.host, self.port, self.service_account, single=True), namespace)


class K8sExternalNamerKind(KubernetesNamerKind, frozen=True, kw_only=True, tag="io.l5d.k8s.external"):
    """Load balancers of services, for callers outside the cluster: `/<namespace>/<port>/<service>[/<label value>]`."""

    def namer(self) -> ExternalNamer:
        """Make the namer; raises `ConfigError` if nothing says where Kubernetes is."""
        from biandou.namers.k8s_external import ExternalNamer  # noqa: PLC0415 - as above

        return ExternalNamer(self, kubernetes_at(self.host, self.port, self.service_account, single=True))
