"""A registry that knows endpoints by a host name of its own: requests get it, and callers never see it."""

from __future__ import annotations

import asyncio

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import values_of
from tests.registries.consul import ConsulServer
from tests.registries.consul_state import Instance

LED = (
    b"HTTP/1.1 302 Found\r\nLocation: http://web.service.dc1.consul/next?of=web.service.dc1.consul\r\n"
    b"Refresh: 3; url=http://web.service.dc1.consul/\r\nX-Was: web.service.dc1.consul\r\nContent-Length: 0\r\n\r\n"
)


def config(port: int, *, set_host: bool) -> str:
    """Give a linker that finds everything in Consul."""
    return f"""
admin: {{port: 0}}
namers:
- {{kind: io.l5d.consul, host: 127.0.0.1, port: {port}, setHost: {str(set_host).lower()}}}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.consul/dc1 ;
  identifier: {{kind: io.l5d.header.token, header: x-service}}
  servers: [{{port: 0, addForwardedHeader: {{by: {{kind: ip}}, for: {{kind: ip}}}}}}]
"""


async def test_requests_get_the_registrys_name_and_responses_lead_by_the_callers() -> None:
    async with ConsulServer() as consul, Origin(LED) as origin:
        consul.register(Instance("web", origin.port, checks=(("service:web", "passing"),)))
        async with LinkerProcess(config(consul.port, set_host=True)) as linker:
            answer = await linker.get("shop.example:8080", "/", "x-service: web")
            assert values_of(origin.requests[-1], "host") == ["web.service.dc1.consul"]
            assert values_of(origin.requests[-1], "forwarded")[0].endswith(';host="shop.example:8080"')
            assert values_of(answer, "location") == ["http://shop.example:8080/next?of=shop.example:8080"]
            assert values_of(answer, "refresh") == ["3; url=http://shop.example:8080/"]
            assert values_of(answer, "x-was") == ["web.service.dc1.consul"]
            # A name keeps what it was bound to until the new namer knows it.
            for set_host, host in ((False, "shop.example:8080"), (True, "web.service.dc1.consul")):
                assert b" 200 " in await linker.reload(config(consul.port, set_host=set_host))
                async with asyncio.timeout(5):
                    while values_of(origin.requests[-1], "host") != [host]:
                        answer = await linker.get("shop.example:8080", "/", "x-service: web")
                theirs = "shop.example:8080" if set_host else "web.service.dc1.consul"
                assert values_of(answer, "location") == [f"http://{theirs}/next?of={theirs}"]
