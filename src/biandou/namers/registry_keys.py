"""The keys that all namers have which follow a registry: how freshness is watched over."""

from __future__ import annotations

import hashlib
from typing import Annotated

from msgspec import Meta

from biandou.kinds import SECRET, kind_name
from biandou.namers.followed import Registry
from biandou.namers.interface import NamerKind


class RegistryNamerKind(NamerKind, frozen=True, kw_only=True):
    """A namer that follows names at a registry.

    A set of which less than a fifth is left by one step is held for `holdCollapseMs` (0: not at all). What is known of
    each name is compared with the registry about every `reconcileSeconds` (0: never).
    """

    hold_collapse_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    reconcile_seconds: Annotated[int, Meta(ge=0, le=86_400)] = 300

    def registry(self, name: str) -> Registry:
        """Give the registry of the namer; `name` is what to call it."""
        return Registry(
            name,
            settings=self._settings(),
            hold_seconds=self.hold_collapse_ms / 1000,
            reconcile_seconds=self.reconcile_seconds,
        )

    def _settings(self) -> str:
        """Give what tells two namers apart that ask one registry; secrets are no part of it."""
        keys = (key for key in self.__struct_fields__ if not SECRET.search(key))
        text = "\n".join(f"{key}={getattr(self, key)}" for key in keys)
        return hashlib.sha256(f"{kind_name(type(self))}\n{text}".encode(errors="surrogatepass")).hexdigest()[:16]
