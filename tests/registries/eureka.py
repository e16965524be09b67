"""A small Eureka on loopback, from Netflix's wiki "Eureka REST operations" and the sources of eureka-core.

`/apps` and `/apps/delta` with the hash code of all instances (`ApplicationsResource`, `Applications`); as the real
one, it keeps what changed for a while, and its answer of a list with one element may be that element alone.
"""

from __future__ import annotations

import base64
from collections import Counter
from typing import Any

from aiohttp import web

from tests.registries.polled import Misused, PolledServer


def instance(
    app: str, port: int, *, ip: str = "127.0.0.1", status: str = "UP", secure: int | None = None, **metadata: str
) -> dict[str, Any]:
    """Give an instance as Eureka shows it: numbers of ports are numbers, and what is enabled is text."""
    return {
        "instanceId": f"{ip}:{app.lower()}:{port}",
        "hostName": "localhost",
        "app": app.upper(),
        "ipAddr": ip,
        "status": status,
        "overriddenStatus": "UNKNOWN",
        "port": {"$": port, "@enabled": "true"},
        "securePort": {"$": secure or 443, "@enabled": "true" if secure else "false"},
        "countryId": 1,
        "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
        "leaseInfo": {
            "renewalIntervalInSecs": 30,
            "durationInSecs": 90,
            "registrationTimestamp": 1,
            "evictionTimestamp": 0,
        },
        "metadata": metadata or {"@class": "java.util.Collections$EmptyMap"},
        "vipAddress": app.lower(),
        "lastUpdatedTimestamp": "1611512017058",
        "lastDirtyTimestamp": "1611512016403",
    }


class EurekaServer(PolledServer):
    """Instances by id, and what has changed of late."""

    more_headers = frozenset({"if-none-match"})

    def __init__(self, *, user: str | None = None, tags: bool = False, deltas: bool = True) -> None:
        super().__init__()
        self.instances: dict[str, dict[str, Any]] = {}
        self.recent: list[dict[str, Any]] = []
        self.deltas = deltas
        self.single = False
        self._tags = tags
        self._user = user

    def register(self, *found: dict[str, Any]) -> None:
        """Add or change instances."""
        for one in found:
            action = "MODIFIED" if one["instanceId"] in self.instances else "ADDED"
            self.instances[one["instanceId"]] = one
            self.recent.append({**one, "actionType": action})

    def cancel(self, *found: dict[str, Any]) -> None:
        """Remove instances."""
        for one in found:
            del self.instances[one["instanceId"]]
            self.recent.append({**one, "actionType": "DELETED"})

    async def route(self, request: web.Request) -> web.StreamResponse:
        self.parameters(request, set())
        if self._user is not None:
            wanted = "Basic " + base64.b64encode(self._user.encode()).decode()
            if request.headers.get("Authorization") != wanted:
                return web.Response(status=401)
        if request.method != "GET":
            raise Misused("no such method")
        tag = f'"{hash(str(self.instances))}"'
        match request.path:
            case "/eureka/apps":
                if self._tags and request.headers.get("If-None-Match") == tag:
                    return web.Response(status=304)
                answer = web.json_response(
                    self._shown([{**one, "actionType": "ADDED"} for one in self.instances.values()])
                )
                if self._tags:
                    answer.headers["ETag"] = tag
                elif "If-None-Match" in request.headers:
                    raise Misused("a tag that nobody gave")
                return answer
            case "/eureka/apps/delta":
                return web.json_response(self._shown(self.recent)) if self.deltas else web.Response(status=403)
        raise Misused("no such endpoint")

    def _shown(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        applications: dict[str, list[dict[str, Any]]] = {}
        for one in found:
            applications.setdefault(one["app"], []).append(one)
        shown: list[Any] = [
            {"name": name, "instance": ones[0] if self.single and len(ones) == 1 else ones}
            for name, ones in applications.items()
        ]
        counts = Counter(one["status"] for one in self.instances.values())
        return {
            "applications": {
                "versions__delta": "1",
                "apps__hashcode": "".join(f"{status}_{counts[status]}_" for status in sorted(counts)),
                "application": shown[0] if self.single and len(shown) == 1 else shown,
            }
        }
