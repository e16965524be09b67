"""What a `DTab` object looks like, as namerd 1.x wrote it, and how a namespace that is no object's name is kept."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from biandou.clients.kubernetes import Json
from biandou.dtab import Dentry, Dtab, NameTree, Prefix
from biandou.errors import TooLarge
from biandou.stores.interface import dtab_text

GROUP: Final = "l5d.io"
VERSION: Final = "v1alpha1"
PLURAL: Final = "dtabs"
KIND: Final = "DTab"

MAX_OBJECT: Final = 1024 * 1024
"""How many bytes a dtab may have as JSON: etcd takes objects of 1.5 MiB, metadata included."""

NAMESPACE: Final = "biandou.l5d.io/namespace"
"""The annotation that holds the name of a namespace that is no object's name."""

_HASHED: Final = "biandou-"
_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def object_name(namespace: str) -> str:
    """Give the name of a namespace's object: its own if Kubernetes takes it (RFC 1123), else a hash of it."""
    if _NAME.fullmatch(namespace) and not namespace.startswith(_HASHED):
        return namespace
    return _HASHED + hashlib.sha256(namespace.encode()).hexdigest()


def namespace_of(name: str, found: Json) -> str:
    """Give the namespace that an object holds: what is annotated, if the object's name is its hash."""
    metadata = found.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    written = annotations.get(NAMESPACE) if isinstance(annotations, dict) else None
    return written if isinstance(written, str) and object_name(written) == name else name


def dentries(dtab: Dtab) -> list[Json]:
    """Give a dtab as an object holds it; raises `TooLarge`."""
    dtab_text(dtab, MAX_OBJECT)
    written = [{"prefix": str(dentry.prefix), "dst": str(dentry.dst)} for dentry in dtab]
    size = sum(
        len(entry["prefix"].encode()) + len(entry["dst"].encode()) + len('{"prefix":"","dst":""},') for entry in written
    )
    if size > MAX_OBJECT:
        raise TooLarge(f"a dtab has at most {MAX_OBJECT} bytes as an object of Kubernetes, not {size}")
    return written


def read_dtab(found: Json) -> Dtab:
    """Give the dtab of an object; raises `ValueError`, `DtabSyntaxError` among them."""
    written: Any = found.get("dentries")
    if written is None:
        return Dtab()
    if not isinstance(written, list):
        raise ValueError("dentries is no list")
    return Dtab([_dentry(entry) for entry in written])


def new_object(namespace: str, dtab: Dtab) -> Json:
    """Give an object to be created; raises `TooLarge`."""
    name = object_name(namespace)
    metadata: Json = {"name": name}
    if name != namespace:
        metadata["annotations"] = {NAMESPACE: namespace}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "dentries": dentries(dtab)}


def _dentry(entry: Any) -> Dentry:
    if not isinstance(entry, dict) or not isinstance(entry.get("prefix"), str) or not isinstance(entry.get("dst"), str):
        raise ValueError("an entry has a prefix and a dst")
    return Dentry(Prefix.read(entry["prefix"]), NameTree.read(entry["dst"]))
