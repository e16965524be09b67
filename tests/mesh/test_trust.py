"""What a server with `trust: none` believes of strangers, and what it tells them."""

from __future__ import annotations

import json
import re

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import status_of, values_of

CONFIG = """
admin: {{port: 0}}
routers:
- protocol: http
  identifier:
  - kind: io.l5d.header
  - kind: io.l5d.header.token
  dtab: /svc => /$/inet/127.0.0.1/{port} ; /svc/secret => /$/inet/127.0.0.1/1 ; /svc/nothing => /#/nobody ;
  servers:
  - port: 0
    trust: none
"""


async def test_a_stranger_steers_nothing_with_l5d_headers() -> None:
    async with Origin() as origin, LinkerProcess(CONFIG.format(port=origin.port)) as linker:
        answer = await linker.get(
            "web", "/", "l5d-name: /svc/secret", "l5d-dtab: /svc => /svc/secret", "l5d-mine: 1", "l5d-ctx-deadline: 1 2"
        )
        assert status_of(answer) == 200
        assert values_of(origin.requests[-1], "l5d-dst-service") == ["/svc/web"]
        for name in ("l5d-name", "l5d-dtab", "l5d-ctx-dtab", "l5d-mine", "l5d-ctx-deadline"):
            assert values_of(origin.requests[-1], name) == []
        assert b"l5d-" not in answer


async def test_an_error_tells_a_stranger_an_id_and_the_operator_the_rest() -> None:
    async with LinkerProcess(CONFIG.format(port=1)) as linker:
        answer = await linker.get("nothing")
        assert status_of(answer) == 502
        found = re.search(rb"\r\n\r\n(Biandou error 502 [A-Z]+ id=([0-9a-f]{16}))$", answer)
        assert found, answer
        (told,) = values_of(answer, "l5d-err")
        assert told == found[1].decode().replace(" ", "+").replace("=", "%3D")
        assert b"nobody" not in answer
        assert b"dtab" not in answer
        number = found[2].decode()
        (error,) = json.loads(await linker.admin(f"/admin/errors.json?id={number}"))
        assert (error["id"], error["router"], error["status"]) == (number, "http", 502)
        assert "/svc/nothing" in error["message"] or "nobody" in error["message"]
        await linker.logged(number)
