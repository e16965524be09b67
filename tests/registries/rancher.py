"""A small metadata service of Rancher on loopback, from Rancher 1.6's "Metadata Service" and rancher-metadata."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from tests.registries.polled import Misused, PolledServer

API = "/2015-12-19"


def container(service: str, ip: str, *, stack: str = "Shop", state: str = "running") -> dict[str, Any]:
    """Give a container as Rancher shows it."""
    return {
        "create_index": 1,
        "ips": [ip],
        "primary_ip": ip,
        "labels": {},
        "name": f"{stack}_{service}_1",
        "ports": ["10.0.0.1:80:80/tcp"],
        "service_name": service,
        "stack_name": stack,
        "state": state,
    }


class RancherServer(PolledServer):
    """Containers, and a version that changes with them; `waits` says whether a question for the version waits."""

    def __init__(self) -> None:
        super().__init__()
        self.containers: list[dict[str, Any]] = []
        self.version = 1
        self.waits = True

    def run(self, *containers: dict[str, Any], version: int | None = None) -> None:
        """Have these containers, and no others."""
        self.containers = list(containers)
        self.version = self.version + 1 if version is None else version
        self.tell()

    async def route(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            raise Misused("no such method")
        if request.path == f"{API}/containers":
            self.parameters(request, set())
            return web.json_response(self.containers)
        if request.path != f"{API}/version":
            raise Misused("no such endpoint")
        query = self.parameters(request, {"wait", "maxWait", "value"})
        if query["wait"] != "true" or not query["maxWait"].isdecimal():
            raise Misused("no wait")
        end = asyncio.get_running_loop().time() + int(query["maxWait"])
        while self.waits and query["value"] == str(self.version):
            left = end - asyncio.get_running_loop().time()
            if left <= 0 or self._runner is None:
                break
            await self.change(left)
        return await self.faulty(request) or web.json_response(str(self.version))
