"""The Marathon namer against a strict Marathon on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from biandou.dtab import Path
from biandou.dtab.bound import AddressSet
from biandou.errors import ConfigError
from biandou.live import Failed, Live, Ok
from biandou.namers.marathon import BASIC, DCOS, MarathonNamerKind
from biandou.namers.marathon_apps import MarathonNamer
from biandou.testing.observing import Observed
from tests.registries import polled as faults
from tests.registries.marathon import LOGIN, MarathonServer, claims, task
from tests.registries.polled_names import addresses, at, bound_of, known, ports

WEB = Path.read("/web")


@pytest.fixture
async def server() -> AsyncIterator[MarathonServer]:
    async with MarathonServer() as server:
        yield server


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (BASIC, DCOS):
        monkeypatch.delenv(name, raising=False)


def namer_of(server: MarathonServer, **keys: Any) -> MarathonNamer:
    keys = {"host": "marathon.test", "dst": f"/$/inet/127.0.0.1/{server.port}", "ttl_ms": 100, "jitter_ms": 10, **keys}
    return MarathonNamerKind(**keys).namer()


async def test_an_app_is_followed(server: MarathonServer) -> None:
    server.run("/web", task(1), task(3))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1, 3))
        server.run("/web", task(3))
        await seen.until(at(3))
        server.run("/web")
        await seen.until(at())
        server.run("/web", task(5))
        await seen.until(at(5))
        del server.apps["/web"]
        await seen.until(at())


@pytest.mark.parametrize(
    ("path", "id_", "residual"),
    [
        ("/web", "/#/io.l5d.marathon/web", "/"),
        ("/WEB/x", "/#/io.l5d.marathon/WEB", "/x"),
        ("/shop/Cart/v1/a", "/#/io.l5d.marathon/shop/Cart", "/v1/a"),
    ],
)
async def test_the_shortest_beginning_that_is_an_app_is_meant(
    server: MarathonServer, path: str, id_: str, residual: str
) -> None:
    for app in ("/web", "/shop/cart", "/shop/cart/v1"):
        server.run(app, task(1))
    bound = await bound_of(namer_of(server).lookup(Path.read(path)))
    assert (str(bound.id), str(bound.residual)) == (id_, residual)


@pytest.mark.parametrize("path", ["/", "/none", "/shop", r"/\xff", r"/shop\x2fcart"])
async def test_what_is_no_app_is_negative(server: MarathonServer, path: str) -> None:
    server.run("/shop/cart", task(1))
    with Observed(addresses(namer_of(server).lookup(Path.read(path)))) as seen:
        await seen.until(at())


async def test_an_app_with_addresses_of_its_own_is_at_its_discovery_port(server: MarathonServer) -> None:
    server.run("/web", task(1, host="127.0.0.9"), port=77)
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        assert [str(one) for one in known(await seen.until(at(77)))] == ["127.0.0.9:77"]


async def test_with_use_health_check_only_tasks_that_run_and_live_are_used(server: MarathonServer) -> None:
    ill = task(3, alive=(True, False))
    server.run(
        "/web", task(1, alive=(True, True)), ill, task(5), task(7, state="TASK_KILLING", alive=(True,) * 2), checks=2
    )
    server.run("/plain", task(9), task(11, state="TASK_STAGING"))
    with Observed(addresses(namer_of(server, use_health_check=True).lookup(WEB))) as seen:
        await seen.until(at(1))
    with Observed(addresses(namer_of(server, use_health_check=True).lookup(Path.read("/plain")))) as seen:
        await seen.until(at(9))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        await seen.until(at(1, 3, 5, 7))


FAULTS = {
    "500": faults.answers(500, b"no leader"),
    "a redirect": faults.answers(302, Location="http://127.0.0.1:1/"),
    "404 of a proxy": faults.answers(404, b"<html>Not Found</html>"),
    "404 that says no more": faults.answers(404),
    "401": faults.answers(401, b"{}"),
    "no JSON": faults.answers(200, b"<html>"),
    "another shape": faults.answers(200, b'{"apps": 7, "app": []}'),
    "junk": faults.answers(200, faults.JUNK),
    "cut": faults.cuts(),
    "deep": faults.answers(200, b"[" * 100_000),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
async def test_what_is_known_stays_in_use_while_marathon_fails(server: MarathonServer, fault: faults.Fault) -> None:
    server.run("/web", task(1))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        server.fail(fault)
        await server.until_asked("/v2/apps", 3)
        await server.until_asked("/v2/apps/web", 2)
        assert ports(seen.now) == [1]
        assert namer.state()["tasks"]["/web"]["watch"]["error"]
        server.run("/web", task(3))
        server.fail(None)
        await seen.until(at(3))
        assert namer.state()["tasks"]["/web"]["watch"]["error"] is None
        assert all(ports(state) in ([1], [3], None) for state in seen.states)


@pytest.mark.parametrize("fault", [faults.never_ends(), faults.trickles(), faults.stays_silent()])
async def test_an_answer_without_an_end_is_bounded(
    server: MarathonServer, fault: faults.Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.run("/web", task(1))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        server.fail(fault, "/v2/apps/web", 1)
        async with asyncio.timeout(8):
            while namer.state()["tasks"]["/web"]["watch"]["error"] is None:
                await asyncio.sleep(0.02)
        assert ports(seen.now) == [1]
        server.fail(None)
        server.run("/web", task(3))
        await seen.until(at(3))


async def test_a_name_of_which_nothing_was_ever_known_fails_and_mends(server: MarathonServer) -> None:
    """reference/naming.md §1.13."""
    server.run("/web", task(1))
    server.fail(faults.answers(503))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        state = await seen.until(lambda state: isinstance(state, Failed))
        assert isinstance(state, Failed)
        assert "503" in str(state.error)
        server.fail(None)
        await seen.until(at(1))


async def test_a_host_that_nobody_knows_fails_the_name() -> None:
    namer = MarathonNamerKind(dst="/$/inet/127.0.0.1/1", ttl_ms=100).namer()
    with Observed(namer.lookup(WEB)) as seen:
        await seen.until(lambda state: isinstance(state, Failed))
    namer = MarathonNamerKind(dst="/$/nil", ttl_ms=100).namer()
    with Observed(namer.lookup(WEB)) as seen:
        await seen.until(lambda state: isinstance(state, Failed))


async def test_one_question_serves_all_and_ends_with_the_last(server: MarathonServer) -> None:
    server.run("/web", task(1))
    namer = namer_of(server, ttl_ms=60_000)
    with Observed(addresses(namer.lookup(WEB))) as seen, Observed(addresses(namer.lookup(WEB))) as other:
        await seen.until(at(1))
        await other.until(at(1))
        assert len(server.asked("/v2/apps")) == len(server.asked("/v2/apps/web")) == 1
        assert set(namer.state()["tasks"]) == {"/web"}
    assert namer.state() == {"apps": {}, "tasks": {}}
    async with asyncio.timeout(5):
        while namer._place._watch is not None:
            await asyncio.sleep(0)


async def test_a_mistake_of_ours_does_not_leave_a_name_stale(
    server: MarathonServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.run("/web", task(1))
    namer = namer_of(server)
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(at(1))
        with monkeypatch.context() as broken:
            broken.setattr(namer._marathon, "tasks", None)
            async with asyncio.timeout(5):
                while namer.state()["tasks"]["/web"]["watch"]["error"] is None:
                    await asyncio.sleep(0.01)
        assert "NoneType" in caplog.text
        server.run("/web", task(3))
        await seen.until(at(3))


async def test_a_name_that_nobody_wants_any_more_does_not_fail(server: MarathonServer) -> None:
    namer = namer_of(server)
    server.fail(faults.answers(500))
    with Observed(addresses(namer.lookup(WEB))) as seen:
        await seen.until(lambda state: isinstance(state, Failed))
        assert namer._apps._registry.failing == {"apps"}
    assert namer._apps._registry.failing == set()


async def test_the_addresses_say_where_they_are_from(server: MarathonServer) -> None:
    server.run("/web", task(1))
    with Observed(addresses(namer_of(server).lookup(WEB))) as seen:
        state = await seen.until(at(1))
        assert isinstance(state, Ok)
        assert isinstance(state.value, AddressSet)
        origin = state.value.origin
        assert origin is not None
        assert origin.registry.startswith("marathon at /$/inet/127.0.0.1/")
        confirmed = origin.confirmed_at
        await server.until_asked("/v2/apps/web", 2)
        assert origin.confirmed_at != confirmed


async def test_a_prefix_and_a_password_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = base64.b64encode(b"user:pass").decode()
    monkeypatch.setenv(BASIC, secret)
    async with MarathonServer(prefix="/marathon", authorization=f"Basic {secret}") as server:
        server.run("/web", task(1))
        namer = namer_of(server, uri_prefix="/marathon/")
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
        assert secret not in json.dumps(namer.state())


@pytest.mark.parametrize("credential", ["nonsense", base64.b64encode(b"nocolon").decode()])
def test_a_password_of_another_form_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, credential: str
) -> None:
    monkeypatch.setenv(BASIC, credential)
    with pytest.raises(ConfigError) as refused:
        MarathonNamerKind().namer()
    assert credential not in str(refused.value)


# ── DC/OS ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def account(**changed: str) -> tuple[str, Any]:
    """Give a credential, and its key."""
    pytest.importorskip("cryptography", reason="the library cryptography is not installed")
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    told = {"login_endpoint": f"https://master.mesos{LOGIN}", "private_key": pem, "scheme": "RS256", "uid": "linker"}
    return json.dumps({**told, **changed}), key


async def test_a_service_account_logs_in_and_again_when_its_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """reference/naming.md §1.7: DC/OS's variable wins, and the login goes to Marathon's own address."""
    credential, key = account()
    monkeypatch.setenv(DCOS, credential)
    monkeypatch.setenv(BASIC, base64.b64encode(b"user:pass").decode())
    async with MarathonServer(authorization="token=none") as server:
        server.tokens = ["one", "two"]
        server.run("/web", task(1))
        namer = namer_of(server)
        with Observed(addresses(namer.lookup(WEB))) as seen:
            await seen.until(at(1))
            assert len(server.logins) == 1
            # As after a restart of DC/OS: both names are refused at once, and one login serves both.
            server.authorization = "token=none"
            server.run("/web", task(3))
            await seen.until(at(3))
            assert len(server.logins) == 2
            # Without a login what is known stays.
            server.authorization = "token=none"
            server.run("/web", task(5))
            await server.until_asked(LOGIN, 2)
            assert ports(seen.now) == [3]
            server.tokens = ["three"]
            await seen.until(at(5))
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        head, said, signature, text = claims(server.logins[0]["token"])
        assert server.logins[0]["uid"] == "linker"
        assert (head, said) == ({"alg": "RS256", "typ": "JWT"}, {"uid": "linker"})
        key.public_key().verify(signature, text, PKCS1v15(), SHA256())


@pytest.mark.parametrize(
    "changed", [{"scheme": "HS256"}, {"private_key": "s3cret"}, {"login_endpoint": "nowhere"}, {"login_endpoint": ""}]
)
def test_a_credential_of_another_form_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    monkeypatch.setenv(DCOS, account(**changed)[0])
    with pytest.raises(ConfigError) as refused:
        MarathonNamerKind().namer()
    assert "s3cret" not in str(refused.value)
    assert "PRIVATE" not in str(refused.value)


@pytest.mark.parametrize(
    "keys", [{"host": "a/b"}, {"dst": "/#/io.l5d.fs/x"}, {"dst": "nope"}, {"uri_prefix": "v2"}, {"uri_prefix": "/a?b"}]
)
def test_keys_that_cannot_be_used_are_refused(keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"host|dst|path|uriPrefix|expected"):
        MarathonNamerKind(**keys)  # type: ignore[arg-type] # each is text


def test_nothing_is_asked_before_a_name_is_observed() -> None:
    assert isinstance(MarathonNamerKind().namer().lookup(WEB), Live)
