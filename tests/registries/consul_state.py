"""What a Consul knows: its catalogue, its checks and its keys, each with the indexes that Consul gives it.

Taken from Consul's documentation (api-docs/features/blocking, catalog, health, kv, txn) and what it says of indexes: a
service has its own, one that is gone has that of the last disappearance, a list of keys has its newest key's or
tombstone's, and what never was has the newest of all.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

MAX_VALUE = 512 * 1024


@dataclass
class Instance:
    """A service's instance on a node; `checks` are `(CheckID, Status)`."""

    service: str
    port: int
    address: str = "127.0.0.1"
    service_address: str = ""
    tags: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = (("serfHealth", "passing"),)
    meta: dict[str, str] = field(default_factory=dict)
    node_meta: dict[str, str] = field(default_factory=dict)
    given_id: str = ""

    @property
    def id(self) -> str:
        """The id that makes the instance one of its service."""
        return self.given_id or f"{self.service}-{self.service_address or self.address}-{self.port}"

    @property
    def node(self) -> str:
        """The name of its node."""
        return f"node-{self.address}"

    def catalogued(self, dc: str) -> dict[str, Any]:
        """Give an element of `/v1/catalog/service/<service>`."""
        return {
            "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
            "Node": self.node,
            "Address": self.address,
            "Datacenter": dc,
            "TaggedAddresses": {"lan": self.address, "wan": self.address},
            "NodeMeta": self.node_meta,
            "ServiceID": self.id,
            "ServiceName": self.service,
            "ServiceAddress": self.service_address,
            "ServicePort": self.port,
            "ServiceTags": list(self.tags),
            "ServiceMeta": self.meta,
            "ServiceWeights": {"Passing": 1, "Warning": 1},
            "ServiceEnableTagOverride": False,
            "CreateIndex": 5,
            "ModifyIndex": 5,
        }

    def checked(self, dc: str) -> dict[str, Any]:
        """Give an element of `/v1/health/service/<service>`."""
        return {
            "Node": {
                "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
                "Node": self.node,
                "Address": self.address,
                "Datacenter": dc,
                "TaggedAddresses": {"lan": self.address, "wan": self.address},
                "Meta": self.node_meta or None,
            },
            "Service": {
                "ID": self.id,
                "Service": self.service,
                "Tags": list(self.tags) or None,
                "Address": self.service_address,
                "Meta": self.meta or None,
                "Port": self.port,
                "Weights": {"Passing": 1, "Warning": 1},
            },
            "Checks": [
                {"Node": self.node, "CheckID": check, "Name": check, "Status": status, "Output": ""}
                for check, status in self.checks
            ],
        }


@dataclass
class Key:
    """One entry of the key-value store."""

    value: bytes
    created: int
    modified: int


class ConsulState:
    """Everything that is kept; `index` is that of the last change."""

    def __init__(self) -> None:
        self.index = 10
        self.instances: dict[str, dict[str, Instance]] = {}
        self.keys: dict[str, Key] = {}
        self._services: dict[str, int] = {}
        self._vanished = 1
        self._graves: dict[str, int] = {}
        # The index that all changes of a transaction have.
        self._together: int | None = None

    def copied(self) -> ConsulState:
        """Give a snapshot."""
        return copy.deepcopy(self)

    def begun(self) -> ConsulState:
        """Give a snapshot, whose changes have one index until `end`: it is one entry of the servers' common log."""
        copied = self.copied()
        copied._together = self.index + 1
        return copied

    def end(self) -> None:
        """End the transaction."""
        self._together = None

    def _next(self) -> int:
        self.index = self.index + 1 if self._together is None else self._together
        return self.index

    # ── Catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, *instances: Instance) -> None:
        """Add instances, or change those with the same id; one change altogether."""
        self.index += 1
        for instance in instances:
            self.instances.setdefault(instance.service, {})[instance.id] = instance
            self._services[instance.service] = self.index

    def deregister(self, *instances: Instance) -> None:
        """Remove instances; one change altogether."""
        self.index += 1
        for instance in instances:
            left = self.instances[instance.service]
            del left[instance.id]
            self._services[instance.service] = self.index
            if not left:
                del self.instances[instance.service], self._services[instance.service]
                self._vanished = self.index

    def service(self, service: str, tag: str | None) -> tuple[int, list[Instance]]:
        """Give the index and the instances; a tag is compared without regard to case, as Consul does."""
        found = list(self.instances.get(service, {}).values())
        if tag is not None:
            found = [one for one in found if tag.lower() in (known.lower() for known in one.tags)]
        return self._services.get(service, self._vanished), found

    # ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def put(self, key: str, value: bytes, cas: int | None = None) -> Key | None:
        """Set a key and give it, or nothing if it is not as `cas` says."""
        known = self.keys.get(key)
        if cas is not None and cas != (0 if known is None else known.modified):
            return None
        index = self._next()
        self._graves.pop(key, None)
        made = Key(value, index if known is None else known.created, index)
        self.keys[key] = made
        return made

    def delete(self, key: str) -> None:
        """Remove a key, which need not be there."""
        index = self._next()
        if self.keys.pop(key, None) is not None:
            self._graves[key] = index

    def forget_graves(self) -> None:
        """Reap the tombstones, as Consul does after a while: the index of a list goes back."""
        self._graves.clear()

    def key(self, key: str) -> tuple[int, Key | None]:
        """Give a key and the index of asking for it."""
        known = self.keys.get(key)
        return (self._newest(), None) if known is None else (known.modified, known)

    def below(self, prefix: str) -> tuple[int, dict[str, Key]]:
        """Give the keys that begin with a prefix, and the index of asking for them."""
        found = {key: self.keys[key] for key in sorted(self.keys) if key.startswith(prefix)}
        graves = [index for key, index in self._graves.items() if key.startswith(prefix)]
        indexes = [*graves, *(key.modified for key in found.values())]
        return max(indexes, default=self._newest()), found

    def _newest(self) -> int:
        return max([1, *self._graves.values(), *(key.modified for key in self.keys.values())])
