"""Who sees which page (reference/linker.md §1.7), and that other sites' pages can't press our buttons."""

from __future__ import annotations

import msgspec
import pytest

from biandou.admin.page import Request
from biandou.admin.security import Gate, from_elsewhere
from biandou.config.admin import AdminSecurity
from tests.admin.site import serving


def test_without_security_everything_is_served() -> None:
    gate = Gate(None)
    assert all(gate.serves(path) for path in ("/", "/admin/shutdown", "/admin/ping", "/whatever"))


@pytest.mark.parametrize(
    ("off", "closed", "open_"),
    [
        (
            "ui_enabled",
            ["/", "/config.json", "/admin/metrics.json", "/delegator.json", "/admin/files/a"],
            ["/admin/ping"],
        ),
        ("control_enabled", ["/admin/shutdown", "/logging.json"], ["/", "/admin/ping", "/admin/metrics.json"]),
        (
            "diagnostics_enabled",
            ["/admin/ping", "/admin/metrics/prometheus", "/bound-names.json", "/client_state.json", "/nope"],
            ["/", "/admin/shutdown", "/admin/metrics.json"],
        ),
    ],
)
def test_a_category_that_is_off_is_not_served(off: str, closed: list[str], open_: list[str]) -> None:
    gate = Gate(msgspec.structs.replace(AdminSecurity(), **{off: False}))
    assert [path for path in closed if gate.serves(path)] == []
    assert [path for path in open_ if not gate.serves(path)] == []


def test_the_white_list_opens_what_a_category_closes_and_the_black_list_wins() -> None:
    gate = Gate(
        AdminSecurity(
            diagnostics_enabled=False, path_whitelist=("/admin/p.*", "/admin/x"), path_blacklist=("/admin/pprof/.*",)
        )
    )
    assert gate.serves("/admin/ping")
    assert not gate.serves("/admin/pprof/heap")
    assert not gate.serves("/admin/xy"), "patterns match the whole path"


def test_a_path_that_is_too_long_is_not_looked_at() -> None:
    assert not Gate(None).serves("/" + "a" * 3000)


async def test_what_is_not_served_looks_as_if_it_were_not_there() -> None:
    async with serving(security=AdminSecurity(control_enabled=False, path_blacklist=("/admin/ping",))) as client:
        for path in ("/admin/ping", "/admin/ping?a=b", "/logging.json"):
            async with client.get(path) as reply:
                assert (reply.status, await reply.read()) == (404, b"")
        async with client.post("/admin/shutdown") as reply:
            assert reply.status == 404


def post(**headers: str) -> Request:
    """Give a POST with these headers."""
    return Request(
        "POST", "/admin/shutdown", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize(
    ("request_", "elsewhere"),
    [
        (post(host="127.0.0.1:9990"), False),
        (post(host="127.0.0.1:9990", origin="http://127.0.0.1:9990"), False),
        (post(host="localhost:9990", origin="http://localhost:9990"), False),
        (post(host="[::1]:9990", origin="http://[::1]:9990"), False),
        (post(host="127.0.0.1:9990", origin="http://evil.example"), True),
        (post(host="127.0.0.1:9990", origin="null"), True),
        (post(host="127.0.0.1:9990", origin="http://["), True),
        (post(origin="http://"), True),
        # A name of theirs that points to us.
        (post(host="evil.example:9990", origin="http://evil.example:9990"), True),
        (post(host="127.0.0.1:9990", sec_fetch_site="cross-site"), True),
        (post(host="127.0.0.1:9990", sec_fetch_site="same-origin"), False),
        (Request("GET", "/", headers={"origin": "http://evil.example", "host": "127.0.0.1"}), False),
    ],
)
def test_only_our_own_pages_may_change_something(request_: Request, *, elsewhere: bool) -> None:
    assert from_elsewhere(request_, loopback=True) is elsewhere


def test_on_a_public_address_a_name_may_stand_in_host() -> None:
    request = post(host="linker-1.example:9990", origin="http://linker-1.example:9990")
    assert not from_elsewhere(request, loopback=False)


async def test_another_sites_page_cannot_stop_us() -> None:
    stopped: list[int | None] = []
    async with (
        serving(stop=stopped.append) as client,
        client.post("/admin/shutdown", headers={"Origin": "http://evil.example"}) as reply,
    ):
        assert reply.status == 403
    assert stopped == []
