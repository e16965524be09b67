"""The one list of built-in kinds, a line each; what is known from Linkerd and not built yet is refused by name.

Third parties add kinds by entry points, whose name is the kind and whose value the class:
`[project.entry-points."biandou.namers"]` `com.example.nomad = "nomad_namer:NomadNamerKind"`. They are looked for only
when a configuration names a kind that is not built in, and loaded only when it names theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from biandou.announcers.consul import ConsulAnnouncerKind
from biandou.announcers.serversets import ServersetsAnnouncerKind
from biandou.balancers import ApertureBalancer, EwmaBalancer, HeapBalancer, P2cBalancer, RoundRobinBalancer
from biandou.identifiers import connection, http
from biandou.interpreters.consul import ConsulInterpreterKind
from biandou.interpreters.fs import FsInterpreterKind
from biandou.interpreters.k8s_config_map import ConfigMapInterpreterKind
from biandou.interpreters.local import DefaultInterpreterKind
from biandou.interpreters.mesh import MeshInterpreterKind
from biandou.interpreters.namerd_http import NamerdHttpInterpreterKind
from biandou.kinds import Register
from biandou.namers.consul import ConsulNamerKind
from biandou.namers.curator import CuratorNamerKind
from biandou.namers.dns import DnsNamerKind
from biandou.namers.dnssrv import DnsSrvNamerKind
from biandou.namers.eureka import EurekaNamerKind
from biandou.namers.failover import FailoverNamerKind
from biandou.namers.fs import FsNamerKind
from biandou.namers.k8s import K8sExternalNamerKind, K8sNamerKind, K8sNamespacedNamerKind
from biandou.namers.marathon import MarathonNamerKind
from biandou.namers.nacos import NacosNamerKind
from biandou.namers.rancher import RancherNamerKind
from biandou.namers.rewrite import RewriteNamerKind
from biandou.namers.serversets import ServersetsNamerKind
from biandou.namers.zk_leader import ZkLeaderNamerKind
from biandou.plugins import PluggableRegister
from biandou.policies import (
    AllSuccessful,
    ConnectionRandomLabeler,
    ConsecutiveFailures,
    DefaultTracePropagator,
    IpLabeler,
    IpPortLabeler,
    NoFailureAccrual,
    NonRetryable5xx,
    RequestRandomLabeler,
    RetryableAll5xx,
    RetryableIdempotent5xx,
    RetryableRead5xx,
    RouterLabeler,
    StaticLabeler,
    SuccessRate,
    SuccessRateWindowed,
    ZipkinTracePropagator,
)
from biandou.stores.consul import ConsulStoreKind
from biandou.stores.etcd import EtcdStoreKind
from biandou.stores.in_memory import InMemoryStoreKind
from biandou.stores.kubernetes import KubernetesStoreKind
from biandou.stores.sqlite import SqliteStoreKind
from biandou.stores.zk import ZkStoreKind
from biandou.telemeters.prometheus import PrometheusTelemeter
from biandou.transformers.const import ConstTransformerKind
from biandou.transformers.k8s_daemonset import DaemonSetTransformerKind
from biandou.transformers.k8s_localnode import LocalNodeTransformerKind
from biandou.transformers.localhost import LocalhostTransformerKind
from biandou.transformers.port import PortTransformerKind
from biandou.transformers.prefer_local import PreferLocalTransformerKind
from biandou.transformers.replace import ReplaceTransformerKind
from biandou.transformers.specific_host import SpecificHostTransformerKind

IDENTIFIERS: Final[Register[Any]] = PluggableRegister(
    "identifiers",
    (
        http.HeaderTokenIdentifier,
        http.HeaderIdentifier,
        http.MethodAndHostIdentifier,
        http.PathIdentifier,
        http.StaticIdentifier,
        connection.OriginalDstIdentifier,
    ),
    planned=(
        "io.l5d.header.path",
        "io.l5d.ingress",
        "io.l5d.k8s.istio",
        "io.l5d.k8s.istio-ingress",
    ),
)

CONNECTION_IDENTIFIERS: Final[Register[Any]] = Register(
    "connection identifiers",
    (connection.OriginalDstIdentifier, connection.SniIdentifier, http.StaticIdentifier),
)

FILTERS: Final[Register[Any]] = PluggableRegister("filters")

INTERPRETERS: Final[Register[Any]] = PluggableRegister(
    "interpreters",
    (
        DefaultInterpreterKind,
        ConsulInterpreterKind,
        FsInterpreterKind,
        ConfigMapInterpreterKind,
        NamerdHttpInterpreterKind,
        MeshInterpreterKind,
    ),
    planned=(
        "io.l5d.namerd",
        "io.l5d.k8s.istio",
    ),
)

NAMERS: Final[Register[Any]] = PluggableRegister(
    "namers",
    (
        ConsulNamerKind,
        FailoverNamerKind,
        FsNamerKind,
        RewriteNamerKind,
        K8sNamerKind,
        K8sNamespacedNamerKind,
        K8sExternalNamerKind,
        MarathonNamerKind,
        RancherNamerKind,
        EurekaNamerKind,
        NacosNamerKind,
        DnsSrvNamerKind,
        DnsNamerKind,
        ServersetsNamerKind,
        ZkLeaderNamerKind,
        CuratorNamerKind,
    ),
    planned=("io.l5d.k8s.istio",),
)

TRANSFORMERS: Final[Register[Any]] = PluggableRegister(
    "transformers",
    (
        ConstTransformerKind,
        DaemonSetTransformerKind,
        LocalNodeTransformerKind,
        LocalhostTransformerKind,
        PortTransformerKind,
        PreferLocalTransformerKind,
        ReplaceTransformerKind,
        SpecificHostTransformerKind,
    ),
)

BALANCERS: Final[Register[Any]] = Register(
    "balancers",
    (
        P2cBalancer,
        EwmaBalancer,
        ApertureBalancer,
        HeapBalancer,
        RoundRobinBalancer,
    ),
)

FAILURE_ACCRUALS: Final[Register[Any]] = Register(
    "failure accruals",
    (
        ConsecutiveFailures,
        SuccessRate,
        SuccessRateWindowed,
        NoFailureAccrual,
    ),
)

RESPONSE_CLASSIFIERS: Final[Register[Any]] = PluggableRegister(
    "response classifiers",
    (
        NonRetryable5xx,
        RetryableRead5xx,
        RetryableIdempotent5xx,
        RetryableAll5xx,
        AllSuccessful,
    ),
    group="classifiers",
)

TRACE_PROPAGATORS: Final[Register[Any]] = Register(
    "trace propagators",
    (
        DefaultTracePropagator,
        ZipkinTracePropagator,
    ),
)

REQUEST_AUTHORIZERS: Final[Register[Any]] = Register("request authorizers", planned=("io.l5d.k8s.istio",))

ANNOUNCERS: Final[Register[Any]] = PluggableRegister(
    "announcers",
    (
        ConsulAnnouncerKind,
        ServersetsAnnouncerKind,
    ),
)

LABELERS: Final[Register[Any]] = Register(
    "labelers",
    (
        ConnectionRandomLabeler,
        IpLabeler,
        IpPortLabeler,
        RequestRandomLabeler,
        RouterLabeler,
        StaticLabeler,
    ),
)

TELEMETERS: Final[Register[Any]] = PluggableRegister(
    "telemeters",
    (PrometheusTelemeter,),
    planned=(
        "io.l5d.influxdb",
        "io.l5d.recentRequests",
        "io.l5d.statsd",
        "io.l5d.tracelog",
        "io.l5d.zipkin",
    ),
)

STORES: Final[Register[Any]] = PluggableRegister(
    "stores",
    (
        SqliteStoreKind,
        InMemoryStoreKind,
        ConsulStoreKind,
        EtcdStoreKind,
        ZkStoreKind,
        KubernetesStoreKind,
    ),
)

ROOMS: Final[Mapping[str, Register[Any]]] = {
    register.room: register
    for register in (
        IDENTIFIERS,
        CONNECTION_IDENTIFIERS,
        FILTERS,
        INTERPRETERS,
        NAMERS,
        TRANSFORMERS,
        BALANCERS,
        FAILURE_ACCRUALS,
        RESPONSE_CLASSIFIERS,
        TRACE_PROPAGATORS,
        REQUEST_AUTHORIZERS,
        ANNOUNCERS,
        LABELERS,
        TELEMETERS,
        STORES,
    )
}
"""Every register by its room's name."""
