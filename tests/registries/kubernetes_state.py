"""What an API server holds: objects with their resourceVersion, and the changes that it still remembers."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Key = tuple[str, str, str]


class Missing(Exception):
    """There is no such object."""


class Exists(Exception):
    """There is such an object already."""


class Conflict(Exception):
    """The object has another resourceVersion."""


class Selector:
    """`labelSelector` (equality only) and `fieldSelector` (the name only); raises `ValueError` for others."""

    def __init__(self, labels: str, fields: str) -> None:
        self._labels: dict[str, str] = {}
        for part in filter(None, labels.split(",")):
            name, equals, value = part.partition("=")
            if not equals or not name or not value or set(value) & set("=!() "):
                raise ValueError(f"labelSelector={labels}")
            self._labels[name] = value
        self._name: str | None = None
        if fields:
            name, _, value = fields.partition("=")
            if name != "metadata.name" or not value:
                raise ValueError(f"fieldSelector={fields}")
            self._name = value

    def takes(self, found: Object) -> bool:
        """Say whether an object is meant."""
        metadata = found["metadata"]
        labels = metadata.get("labels") or {}
        return self._name in (None, metadata["name"]) and all(labels.get(k) == v for k, v in self._labels.items())


@dataclass(frozen=True)
class Event:
    """A change as a watch tells it."""

    type: str
    object: Object
    version: int


@dataclass(frozen=True)
class Change:
    """A change as it was made: the object before and after, `None` if there was or is none."""

    version: int
    key: Key
    before: Object | None
    after: Object | None


class KubernetesState:
    """All objects of a cluster."""

    def __init__(self) -> None:
        self.version = 1000
        self.oldest = 0
        self.objects: dict[Key, Object] = {}
        self.changes: list[Change] = []

    def copied(self) -> KubernetesState:
        """Give a copy that changes by itself."""
        return deepcopy(self)

    def forget(self) -> None:
        """Remember no change that was made until now: a watch from before is told 410."""
        self.version += 1
        self.oldest = self.version
        self.changes.clear()

    def get(self, resource: str, namespace: str, name: str) -> Object:
        """Give an object; raises `Missing`."""
        found = self.objects.get((resource, namespace, name))
        if found is None:
            raise Missing(f'{resource} "{name}" not found')
        return found

    def below(self, resource: str, namespace: str) -> list[Object]:
        """Give all objects of a namespace, by their names."""
        return [self.objects[key] for key in sorted(self.objects) if key[:2] == (resource, namespace)]

    def events(self, resource: str, namespace: str, since: int, selector: Selector) -> list[Event]:
        """Give what a watch tells of the changes after `since`."""
        told = []
        for change in self.changes:
            if change.version <= since or change.key[:2] != (resource, namespace):
                continue
            was = change.before is not None and selector.takes(change.before)
            if change.after is not None and selector.takes(change.after):
                told.append(Event("MODIFIED" if was else "ADDED", change.after, change.version))
            elif was and change.before is not None:
                last = deepcopy(change.before)
                last["metadata"]["resourceVersion"] = str(change.version)
                told.append(Event("DELETED", last, change.version))
        return told

    def create(self, resource: str, namespace: str, body: Object) -> Object:
        """Add an object; raises `Exists`."""
        key = (resource, namespace, body["metadata"]["name"])
        if key in self.objects:
            raise Exists(f'{resource} "{key[2]}" already exists')
        return self._set(key, body)

    def replace(self, resource: str, namespace: str, name: str, body: Object) -> Object:
        """Change an object that has this resourceVersion; raises `Missing` and `Conflict`."""
        found = self.get(resource, namespace, name)
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified; please apply your changes to the latest version")
        return self._set((resource, namespace, name), body)

    def patch(self, resource: str, namespace: str, name: str, body: Object) -> Object:
        """Merge into an object (RFC 7386); a resourceVersion in it must match."""
        whole = _merged(deepcopy(self.get(resource, namespace, name)), body)
        return self.replace(resource, namespace, name, whole)

    def apply(self, resource: str, namespace: str, name: str, fields: Object) -> int:
        """Add or change an object, whatever its version; gives the new one."""
        metadata = {**fields.pop("metadata", {}), "name": name}
        made = self._set((resource, namespace, name), {**fields, "metadata": metadata})
        return int(made["metadata"]["resourceVersion"])

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Remove an object; raises `Missing`."""
        before = self.get(resource, namespace, name)
        self.version += 1
        del self.objects[resource, namespace, name]
        self.changes.append(Change(self.version, (resource, namespace, name), before, None))

    def _set(self, key: Key, body: Object) -> Object:
        self.version += 1
        made = {name: value for name, value in deepcopy(body).items() if name not in ("kind", "apiVersion")}
        made["resource"] = key[0]
        made["metadata"] = {
            **made["metadata"],
            "name": key[2],
            "namespace": key[1],
            "uid": f"{key[2]}-1",
            "resourceVersion": str(self.version),
        }
        self.changes.append(Change(self.version, key, self.objects.get(key), made))
        self.objects[key] = made
        return made


def _merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged
