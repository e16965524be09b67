"""What a name means in Nacos: the instances of a service that are healthy, enabled and have a weight."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any, Final

from biandou.clients.nacos import Host, Nacos
from biandou.clients.registry_access import RETRY, Instance
from biandou.dtab import NEG, NameTree, Path
from biandou.dtab.bound import WEIGHT, Bound
from biandou.live import Live
from biandou.namers.polled import Ask, Endpoints, Instances, Polled, Told, in_order, shown_instances, texts

if TYPE_CHECKING:
    from biandou.namers.nacos import NacosNamerKind

Tree = NameTree[Path | Bound]

BEAT_SECONDS: Final = 10.0
"""How often a service is asked for whose server does not say."""

LEAST_BEAT: Final = 1.0
MOST_BEAT: Final = 30.0
"""What a server says is kept to between these."""

_NEGATIVE: Final[Live[Tree]] = Live.ok(NEG)


class NacosNamer:
    """Names of the form `/<service>[/<residual>]`; a service of another group is `<group>@@<service>`."""

    def __init__(self, kind: NacosNamerKind, nacos: Nacos) -> None:
        self.prefix = kind.full_prefix
        self._kind = kind
        self._nacos = nacos
        self._cache_millis: float | None = None
        self._services: Polled[Instances] = Polled(
            nacos, self._ask, self, shown_instances, kind.registry(nacos.name), fails_at_first=True
        )
        self._endpoints = Endpoints()

    def lookup(self, path: Path) -> Live[Tree]:
        """Give a leaf while the service has instances of use, else a negative tree."""
        names = texts(path, 1)
        if names is None:
            return _NEGATIVE
        group, divider, service = names[0].partition("@@")
        if not divider:
            group, service = self._kind.group, names[0]
        if not group or not service or "@@" in service:
            return _NEGATIVE
        name = f"{group}@@{service}"
        return self._endpoints.tree(
            self._services.get(name),
            lambda: self._services.origin(name),
            self.prefix + path.take(1),
            path.drop(1),
        )

    def state(self) -> dict[str, Any]:
        """Give what is followed now."""
        return self._services.state()

    def source(self, client: Path) -> str:
        """Give where a client name's endpoints are."""
        names = "/".join(part.decode(errors="replace") for part in client.drop(len(self.prefix)).segments)
        return f"{self._nacos.name}: {names}"

    def wait(self, failures: int) -> float:
        """Give how long to wait before a service is asked for again: as the server says, unless we are told."""
        if failures:
            return RETRY.wait(failures)
        if self._kind.ttl_ms is not None:
            seconds = self._kind.ttl_ms / 1000
        elif self._cache_millis is not None and math.isfinite(self._cache_millis) and self._cache_millis > 0:
            seconds = min(MOST_BEAT, max(LEAST_BEAT, self._cache_millis / 1000))
        else:
            seconds = BEAT_SECONDS
        jitter = min(self._kind.jitter_ms / 1000, seconds / 2)
        return seconds + random.uniform(-jitter, jitter)  # noqa: S311 - no secret

    def _ask(self, name: str) -> tuple[str, Ask[Instances]]:
        kind = self._kind
        group, _, service = name.partition("@@")
        query = {"serviceName": service, "groupName": group, "healthyOnly": "true"}
        if kind.namespace is not None:
            query["namespaceId"] = kind.namespace
        if kind.clusters:
            query["clusters" if kind.api_version == "v1" else "clusterName"] = ",".join(kind.clusters)

        async def ask() -> Told[Instances]:
            listed = await self._nacos.instances(query)
            self._cache_millis = listed.cache_millis or self._cache_millis
            found = [one for one in map(self._instance, listed.hosts) if one is not None]
            return Told(in_order(found), listed.version)

        return f"/{kind.api_version}/ns/instance/list?serviceName={name}", ask

    def _instance(self, host: Host) -> Instance | None:
        if not (host.healthy and host.enabled and host.ip and 1 <= host.port <= 65535):
            return None
        if not (math.isfinite(host.weight) and host.weight > 0):
            return None
        meta: dict[str, Any] = {}
        if self._kind.transfer_metadata:
            meta = {key: value for key, value in (host.metadata or {}).items() if isinstance(value, str)}
        return Instance(host.ip, host.port, {**meta, WEIGHT: float(host.weight)})
