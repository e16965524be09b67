"""A small Nacos on loopback, from nacos.io's "Open API Guide" (1.x and 2.x) and "Authorization"."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from tests.registries.polled import Misused, PolledServer


def host(
    port: int, *, weight: float = 1.0, healthy: bool = True, enabled: bool = True, **metadata: str
) -> dict[str, Any]:
    """Give an instance as Nacos shows it."""
    return {
        "instanceId": f"127.0.0.1#{port}#DEFAULT#DEFAULT_GROUP@@web",
        "ip": "127.0.0.1",
        "port": port,
        "weight": weight,
        "healthy": healthy,
        "enabled": enabled,
        "ephemeral": True,
        "clusterName": "DEFAULT",
        "serviceName": "DEFAULT_GROUP@@web",
        "metadata": metadata,
        "instanceHeartBeatInterval": 5000,
        "instanceHeartBeatTimeOut": 15000,
        "ipDeleteTimeout": 30000,
    }


class NacosServer(PolledServer):
    """Instances by namespace, group and service; with `user`, nobody sees anything without a token that it knows."""

    def __init__(self, *, version: str = "v2", user: tuple[str, str] | None = None) -> None:
        super().__init__()
        self.services: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self.cache_millis = 10000
        self.tokens: set[str] = set()
        self.token_ttl = 18000
        self.logins = 0
        self.denies_by_code = False
        self._version = version
        self._user = user

    def register(
        self, service: str, *hosts: dict[str, Any], group: str = "DEFAULT_GROUP", namespace: str = "public"
    ) -> None:
        """Have these instances of a service, and no others."""
        self.services[namespace, group, service] = list(hosts)

    async def route(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/nacos/v1/auth/login" and request.method == "POST":
            return await self._login(request)
        if request.path != f"/nacos/{self._version}/ns/instance/list" or request.method != "GET":
            raise Misused("no such endpoint")
        clusters = "clusters" if self._version == "v1" else "clusterName"
        query = self.parameters(
            request, {"serviceName"}, {"groupName", "namespaceId", "healthyOnly", clusters, "accessToken"}
        )
        if self._user is None and "accessToken" in query:
            raise Misused("a token that nobody gave")
        if self._user is not None and query.get("accessToken") not in self.tokens:
            if self.denies_by_code:
                return web.json_response({"code": 10001, "message": "access denied", "data": None})
            return web.json_response({"status": 403, "message": "token invalid!"}, status=403)
        group = query.get("groupName", "DEFAULT_GROUP")
        found = self.services.get((query.get("namespaceId", "public"), group, query["serviceName"]))
        if found is None and self._version == "v2":
            return web.json_response({"code": 21008, "message": "service not exist", "data": None})
        wanted = query.get(clusters, "").split(",") if clusters in query else None
        only = query.get("healthyOnly") == "true"
        shown = [
            one
            for one in found or []
            if (one["healthy"] or not only) and (wanted is None or one["clusterName"] in wanted)
        ]
        service = {
            "name": f"{group}@@{query['serviceName']}",
            "groupName": group,
            "clusters": query.get(clusters, ""),
            "cacheMillis": self.cache_millis,
            "hosts": shown,
            "lastRefTime": 1662554390814,
            "checksum": "",
            "allIPs": False,
            "reachProtectionThreshold": False,
            "valid": True,
        }
        return web.json_response(
            service if self._version == "v1" else {"code": 0, "message": "success", "data": service}
        )

    async def _login(self, request: web.Request) -> web.Response:
        self.parameters(request, set())
        form = dict(parse_qsl((await request.read()).decode()))
        if {*form} != {"username", "password"}:
            raise Misused("a login of another form")
        if (form["username"], form["password"]) != self._user:
            return web.Response(status=403, text="unknown user!")
        self.logins += 1
        token = f"token{self.logins}"
        self.tokens.add(token)
        return web.json_response({"accessToken": token, "tokenTtl": self.token_ttl, "globalAdmin": False})
