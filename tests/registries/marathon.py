"""A small Marathon on loopback: `/v2/apps` and `/v2/apps/<id>?embed=app.tasks`, and DC/OS's login.

From Marathon's API reference (docs/docs/rest-api, RAML of `v2/apps`) and DC/OS's "Authenticate a service account".
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from aiohttp import web

from tests.registries.polled import Misused, PolledServer

LOGIN: Final = "/acs/api/v1/auth/login"


def task(port: int, *, host: str = "127.0.0.1", state: str = "TASK_RUNNING", alive: tuple[bool, ...] = ()) -> Any:
    """Give a task as Marathon shows it."""
    results = [{"alive": one, "consecutiveFailures": 0, "firstSuccess": "2016-03-02T10:31:39.094Z"} for one in alive]
    return {
        "id": f"web.{port}",
        "appId": "/web",
        "host": host,
        "ports": [port, port + 1],
        "state": state,
        "ipAddresses": [{"ipAddress": host, "protocol": "IPv4"}],
        "slaveId": "S0",
        **({"healthCheckResults": results} if alive else {}),
    }


class MarathonServer(PolledServer):
    """Apps by id, `/group/app`; `authorization` is what it wants to see, `tokens` those that a login may give."""

    def __init__(self, *, prefix: str = "", host: str = "marathon.test", authorization: str | None = None) -> None:
        super().__init__()
        self.apps: dict[str, dict[str, Any]] = {}
        self.authorization = authorization
        self.tokens: list[str] = []
        self.logins: list[dict[str, Any]] = []
        self._prefix = prefix
        self._host = host

    def run(self, app: str, *tasks: Any, checks: int = 0, port: int | None = None) -> None:
        """Have an app run these tasks; `port` is that of an app with addresses of its own."""
        shown: dict[str, Any] = {"id": app, "healthChecks": [{"protocol": "HTTP"}] * checks, "tasks": list(tasks)}
        if port is not None:
            shown["ipAddress"] = {"discovery": {"ports": [{"number": port, "name": "http", "protocol": "tcp"}]}}
        self.apps[app] = shown

    async def route(self, request: web.Request) -> web.StreamResponse:
        if request.headers["Host"] != self._host:
            raise Misused(f"the host {request.headers['Host']}")
        if request.method == "POST" and request.path == LOGIN:
            return await self._login(request)
        if request.method != "GET" or not request.path.startswith(f"{self._prefix}/v2/apps"):
            raise Misused("no such endpoint")
        if self.authorization is not None and request.headers.get("Authorization") != self.authorization:
            return web.json_response({"message": "Invalid username or password."}, status=401)
        app = request.path.removeprefix(f"{self._prefix}/v2/apps")
        if not app:
            self.parameters(request, set())
            keys = {"id", "healthChecks"}
            shown = [{key: one[key] for key in keys} for one in self.apps.values()]
            return web.json_response({"apps": shown})
        if self.parameters(request, {"embed"})["embed"] != "app.tasks":
            raise Misused("embed")
        found = self.apps.get(app)
        if found is None:
            return web.json_response({"message": f"App '{app}' does not exist"}, status=404)
        return web.json_response({"app": found})

    async def _login(self, request: web.Request) -> web.Response:
        self.parameters(request, set())
        body = json.loads(await request.read())
        if {*body} != {"uid", "token"} or request.headers.get("Content-Type") != "application/json":
            raise Misused("a login of another form")
        self.logins.append(body)
        if not self.tokens:
            return web.json_response({"title": "Bad Request"}, status=400)
        token = self.tokens.pop(0)
        self.authorization = f"token={token}"
        return web.json_response({"token": token})


def claims(token: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    """Give the head, the claims, the signature and what is signed of a JSON web token."""
    head, said, signature = token.split(".")
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in (head, said, signature)]
    return json.loads(parts[0]), json.loads(parts[1]), parts[2], f"{head}.{said}".encode()
