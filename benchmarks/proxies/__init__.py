"""The proxies that are measured, one module each; all add the same three headers to the request."""

from __future__ import annotations

from benchmarks.proxies.base import Proxy
from benchmarks.proxies.biandou import BIANDOU
from benchmarks.proxies.envoy import ENVOY
from benchmarks.proxies.haproxy import HAPROXY
from benchmarks.proxies.nginx import NGINX
from benchmarks.proxies.relay import RELAY

PROXIES: tuple[Proxy, ...] = (BIANDOU, NGINX, HAPROXY, ENVOY, RELAY)

__all__ = ["PROXIES", "Proxy"]
