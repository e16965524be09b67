"""What a reload says became of each part."""

from __future__ import annotations

from biandou.config.differences import differences
from biandou.config.linker import parse

FIRST = """
routers:
- {protocol: http, label: a, servers: [{port: 1}, {port: 2}]}
- {protocol: http, label: b, servers: [{port: 0}, {port: 0}, {port: 3, ip: '::1'}]}
namers: [{kind: io.l5d.rewrite, prefix: /r, pattern: /a, name: /b}]
telemetry: [{kind: io.l5d.prometheus}]
"""


def test_the_same_file_differs_in_nothing() -> None:
    assert str(differences(parse(FIRST), parse(FIRST + "# another comment\n"))) == (
        "nothing differs; kept router a, server 127.0.0.1:1, server 127.0.0.1:2, router b, server 127.0.0.1:0, "
        "server 127.0.0.1:0, server [::1]:3, namer /#/r, telemeter io.l5d.prometheus, admin"
    )


def test_each_part_is_added_changed_removed_or_kept() -> None:
    second = FIRST.replace("{port: 2}", "{port: 4}").replace("label: b,", "label: b, dtab: /a => /b,")
    second = second.replace("{port: 1}", "{port: 1, clearContext: true}").replace(
        "io.l5d.prometheus", "io.l5d.prometheus, path: /p"
    )
    found = differences(parse(FIRST), parse(second.replace("port: 0}, {port: 0}", "port: 0}")))
    assert found.added == ("server 127.0.0.1:4",)
    assert found.changed == ("server 127.0.0.1:1", "router b", "telemeter io.l5d.prometheus")
    assert found.removed == ("server 127.0.0.1:2", "server 127.0.0.1:0")
    assert found.kept == ("router a", "server 127.0.0.1:0", "server [::1]:3", "namer /#/r", "admin")


def test_a_server_that_goes_to_another_router_has_changed() -> None:
    moved = FIRST.replace("{port: 1}, {port: 2}", "{port: 2}").replace("[{port: 0}", "[{port: 1}, {port: 0}")
    found = differences(parse(FIRST), parse(moved))
    assert (found.added, found.changed, found.removed) == ((), ("server 127.0.0.1:1",), ())


def test_of_many_names_some_are_told() -> None:
    servers = ", ".join(f"{{port: {port}}}" for port in range(1000, 1100))
    many = parse(f"routers: [{{protocol: http, servers: [{servers}]}}]")
    assert "server 127.0.0.1:1018 and 82 more" in str(differences(many, many))
