"""`io.l5d.rancher`: containers that Rancher's metadata service tells of (reference/naming.md §1.11)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta

from biandou.clients.registry_access import RegistryPort, check_host
from biandou.namers.registry_keys import RegistryNamerKind

if TYPE_CHECKING:
    from biandou.namers.rancher_containers import RancherNamer


class RancherNamerKind(RegistryNamerKind, frozen=True, kw_only=True, tag="io.l5d.rancher"):
    """Running containers, by port, stack and service; `host` and `port` are Rancher's own unless said otherwise."""

    needs_experimental: ClassVar[bool] = True

    port_mappings: Mapping[str, RegistryPort] = {}
    max_wait: Annotated[int, Meta(ge=1, le=3600)] = 30
    host: str = "rancher-metadata"
    port: RegistryPort = 80

    def __post_init__(self) -> None:
        """Raise `ValueError` for a host that is none."""
        super().__post_init__()
        check_host(self.host)

    def namer(self) -> RancherNamer:
        """Make the namer."""
        # Not above: every linker knows this kind, and few need an HTTP client.
        from biandou.clients.rancher import Rancher  # noqa: PLC0415
        from biandou.namers.rancher_containers import RancherNamer  # noqa: PLC0415

        return RancherNamer(self, Rancher(self.host, self.port, self.max_wait))
