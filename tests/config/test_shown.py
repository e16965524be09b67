"""What `/config.json` shows: what was written, kinds resolved, no secrets."""

from __future__ import annotations

import json

from biandou.config.linker import parse
from biandou.config.read import read_document
from biandou.config.shown import shown


def test_only_what_was_set_is_shown_and_the_sections_kinds_are_resolved() -> None:
    router = "protocol: http, dtab: /svc => /x, label: ~, servers: [{port: 4140}], client: {connectTimeoutMs: 1}"
    text = f"routers: [{{{router}}}]"
    assert parse(text).written == {
        "routers": [
            {
                "protocol": "http",
                "dtab": "/svc => /x",
                "servers": [{"port": 4140}],
                "client": {"kind": "io.l5d.global", "connectTimeoutMs": 1},
            }
        ]
    }


def test_what_may_be_a_secret_is_never_shown() -> None:
    namer = "token: s3cret, a: {authPassword: {deep: s3cret}, clientSecret: [s3cret]}, kind: io.l5d.header.token"
    text = f"namers: [{{{namer}}}]"
    found = shown(read_document(text.encode(), "f"))
    assert "s3cret" not in json.dumps(found)
    assert found["namers"][0]["kind"] == "io.l5d.header.token"
