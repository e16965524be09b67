"""What an operator says of how a Kubernetes API server is asked: shared by the namers and the store."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta

from biandou.errors import ConfigError

if TYPE_CHECKING:
    from biandou.clients.kubernetes import Kubernetes

KubernetesPort = Annotated[int, Meta(ge=1, le=65535)]

HOST: Final = "localhost"
PORT: Final = 8001
"""Where `kubectl proxy` listens, which needs neither TLS nor a token."""


_NAME: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def is_name(text: str) -> bool:
    """Whether an object, or a namespace, can be called so (RFC 1123)."""
    return _NAME.fullmatch(text) is not None


def kubernetes_at(
    host: str | None, port: int | None, service_account: str | None, *, single: bool = False
) -> Kubernetes:
    """Make a client from what an operator writes, for those who ask for a `single` object at a time or for many.

    With a service account's directory, a host or port that is not written comes from `KUBERNETES_SERVICE_HOST` and
    `KUBERNETES_SERVICE_PORT`, as every container has them; raises `ConfigError` without these.
    """
    # Not above: every linker knows these kinds, and few need an HTTP client.
    from biandou.clients.kubernetes import Kubernetes  # noqa: PLC0415
    from biandou.clients.kubernetes_account import ServiceAccount  # noqa: PLC0415

    if service_account is None:
        return Kubernetes(host or HOST, port or PORT, single=single)
    known = host or os.environ.get("KUBERNETES_SERVICE_HOST")
    text = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not known:
        raise ConfigError("serviceAccount: without `host` there must be KUBERNETES_SERVICE_HOST in the environment")
    if port is None and not (text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= 65535):
        raise ConfigError(f"KUBERNETES_SERVICE_PORT is no port: {text}")
    return Kubernetes(known, port or int(text), ServiceAccount(service_account), single=single)
