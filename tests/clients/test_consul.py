"""The client of Consul: blocking queries by the rules of Consul's documentation, and answers that are no good."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from biandou.clients import bodies, consul_watch
from biandou.clients.consul import Answer, Consul, ConsulAway, ConsulError, ConsulForbidden, consul_at
from biandou.clients.consul_access import check_access
from biandou.clients.consul_catalog import read_agent, read_catalog, read_health
from biandou.clients.consul_kv import Kv, KvConflict, read_values
from biandou.clients.consul_watch import Pace, follow
from biandou.clients.tls import ClientTls
from tests.registries import consul as faults
from tests.registries.consul import ConsulServer
from tests.registries.consul_state import Instance

WEB = Instance("web", 8080)
PATH = "/v1/health/service/web"
TOKEN = "t0ken-1"  # noqa: S105 - nobody's


class Told:
    """Everything that a query has come to."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.confirmations = 0
        self.errors: list[ConsulError] = []
        self.more = asyncio.Event()

    @property
    def useful(self) -> bool:
        return bool(self.ports)

    def changed(self, answer: Answer) -> None:
        read_health(answer)
        self.answers.append(answer)
        self.more.set()

    def confirmed(self) -> None:
        self.confirmations += 1
        self.more.set()

    def failed(self, error: ConsulError) -> None:
        self.errors.append(error)
        self.more.set()

    @property
    def ports(self) -> list[int]:
        """The ports of the last answer."""
        return [instance.port for instance in read_health(self.answers[-1])] if self.answers else []

    async def until_ports(self, *ports: int) -> None:
        async with asyncio.timeout(10):
            while self.ports != [*ports]:
                self.more.clear()
                await self.more.wait()

    async def until_failed(self, count: int = 1) -> None:
        async with asyncio.timeout(10):
            while len(self.errors) < count:
                self.more.clear()
                await self.more.wait()


@asynccontextmanager
async def following(
    server: ConsulServer, pace: Pace | None = None, consul: Consul | None = None
) -> AsyncIterator[Told]:
    told = Told()
    consul = consul or Consul("127.0.0.1", server.port)
    task = asyncio.create_task(follow(consul, PATH, told, pace=pace or Pace(1000, 1000)))
    try:
        yield told
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def until_blocked(server: ConsulServer, count: int = 1) -> None:
    async with asyncio.timeout(5):
        while server.waiting < count:
            await asyncio.sleep(0.005)


# ── Blocking queries ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_change_is_told_as_soon_as_it_is_made_and_every_question_but_the_first_waits() -> None:
    async with ConsulServer() as server:
        server.register(WEB)
        async with following(server) as told:
            await told.until_ports(8080)
            await until_blocked(server)
            server.register(Instance("web", 8081))
            await told.until_ports(8080, 8081)
            server.deregister(WEB)
            await told.until_ports(8081)
        queries = server.asked(PATH)
        assert queries[0] == {}
        assert [set(query) for query in queries[1:]] == [{"index", "wait"}] * (len(queries) - 1)
        assert queries[1]["index"] == "11"
        assert told.errors == []


async def test_a_wait_that_ends_without_a_change_confirms_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consul_watch, "WAIT_SECONDS", 1)
    async with ConsulServer() as server:
        server.register(WEB)
        async with following(server) as told:
            async with asyncio.timeout(5):
                while told.confirmations < 2:
                    await asyncio.sleep(0.01)
            assert len(told.answers) == 1


async def test_an_index_that_goes_back_is_forgotten_and_nothing_is_missed_afterwards() -> None:
    async with ConsulServer() as server:
        server.register(WEB)
        snapshot = server.state.copied()
        for port in (1, 2, 3):
            server.register(Instance("web", port))
        async with following(server) as told:
            await told.until_ports(8080, 1, 2, 3)
            await until_blocked(server)
            server.restore(snapshot)
            await told.until_ports(8080)
            await until_blocked(server)
            # Its index is still below the one that was seen first.
            server.register(Instance("web", 9))
            await told.until_ports(8080, 9)
        indexes = [query.get("index", "none") for query in server.asked(PATH)]
        assert indexes[:4] == ["none", "14", "none", "11"]


async def test_an_index_that_is_given_a_second_time_hides_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that was built anew from a backup counts from there."""
    monkeypatch.setattr(consul_watch, "WAIT_SECONDS", 1)
    async with ConsulServer() as server:
        backup = server.state.copied()
        server.register(WEB)
        async with following(server) as told:
            await told.until_ports(8080)
            server.state = backup
            server.register(Instance("web", 9))
            assert server.state.service("web", None)[0] == told.answers[-1].index
            await told.until_ports(9)


async def test_an_index_of_zero_blocks_all_the_same() -> None:
    async with ConsulServer() as server:
        server.fail(faults.answers(200, b"[]", X_Consul_Index="0"), times=1)
        async with following(server) as told:
            await told.until_failed(0)
            async with asyncio.timeout(5):
                while len(server.asked(PATH)) < 2:
                    await asyncio.sleep(0.005)
        assert server.asked(PATH)[1]["index"] == "1"


async def test_answers_that_come_too_fast_are_asked_for_at_a_bounded_rate() -> None:
    async with ConsulServer() as server:
        server.fail(faults.answers(200, b"[]", X_Consul_Index="7"))
        async with following(server, Pace(5, 10)):
            await asyncio.sleep(1)
        assert 10 <= len(server.requests) <= 17


async def test_without_an_index_it_is_a_failure_and_asking_goes_on() -> None:
    async with ConsulServer() as server:
        server.fail(faults.answers(200, b"[]"), times=2)
        server.register(WEB)
        async with following(server) as told:
            await told.until_ports(8080)
            assert "did not return an index" in str(told.errors[0])


# ── What is no good ──────────────────────────────────────────────────────────────────────────────────────────────────


BROKEN = {
    "500": faults.answers(500, b"rpc error: No cluster leader"),
    "429": faults.answers(429, b"Your IP is issuing too many concurrent connections", Retry_After="1"),
    "403": faults.answers(403, b"ACL not found"),
    "404": faults.answers(404, b"", X_Consul_Index="99"),
    "a redirect": faults.answers(301, b"", Location="http://127.0.0.1:1/"),
    "no JSON": faults.answers(200, b"<html>", X_Consul_Index="99"),
    "junk": faults.answers(200, b"\xff" * 10_000_000, X_Consul_Index="99"),
    "another shape": faults.answers(200, b'{"Node": []}', X_Consul_Index="99"),
    "half": faults.answers(200, b'[{"Node": {', X_Consul_Index="99"),
    "nested": faults.answers(200, b"[" * 100_000, X_Consul_Index="99"),
    "cut": faults.cuts(),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=list(BROKEN))
async def test_a_bad_answer_is_told_as_a_failure_and_asking_begins_anew(fault: faults.Fault) -> None:
    async with ConsulServer() as server:
        server.register(WEB)
        async with following(server) as told:
            await told.until_ports(8080)
            await until_blocked(server)
            server.fail(fault)
            await told.until_failed(2)
            assert len(told.answers) == 1
            server.register(Instance("web", 8081))
            server.fail(None)
            await told.until_ports(8080, 8081)
        assert "index" not in server.asked(PATH)[-2] or "index" not in server.asked(PATH)[-1]


async def test_a_mistake_of_ours_ends_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ConsulServer() as server:
        server.register(WEB)
        async with following(server) as told:
            await told.until_ports(8080)
            with monkeypatch.context() as patched:
                patched.setattr(told, "changed", lambda answer: 1 / 0)
                server.register(Instance("web", 8081))
                await told.until_failed()
            await told.until_ports(8080, 8081)


async def test_an_answer_without_an_end_is_cut_where_the_bound_is() -> None:
    async with ConsulServer() as server:
        server.fail(faults.never_ends())
        consul = Consul("127.0.0.1", server.port, max_answer=1_000_000)
        async with consul.opened():
            with pytest.raises(ConsulError, match="more than 1000000 bytes"):
                await consul.fetch(PATH, 10)


async def test_an_answer_that_has_begun_may_not_take_as_long_as_a_query_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    async with ConsulServer() as server:
        server.fail(faults.trickles())
        consul = Consul("127.0.0.1", server.port)
        async with asyncio.timeout(3), consul.opened():
            with pytest.raises(ConsulAway, match="no answer in time"):
                await consul.fetch(PATH, 60)


async def test_silence_is_waited_for_no_longer_than_said() -> None:
    async with ConsulServer() as server:
        server.fail(faults.stays_silent())
        consul = Consul("127.0.0.1", server.port)
        async with consul.opened():
            with pytest.raises(ConsulAway, match="no answer in time"):
                await consul.fetch(PATH, 0.2)


async def test_while_consul_is_away_it_is_asked_again_and_again_and_then_at_once_known() -> None:
    async with ConsulServer() as server:
        server.register(WEB)
        async with following(server) as told:
            await told.until_ports(8080)
            await server.stop()
            await told.until_failed(3)
            assert all(isinstance(error, ConsulAway) for error in told.errors)
            server.register(Instance("web", 8081))
            await server.start()
            await told.until_ports(8080, 8081)


async def test_fail_fast_lets_requests_fail_without_a_connection_after_one_that_failed() -> None:
    async with ConsulServer() as server:
        await server.stop()
        slow, fast = (Consul("127.0.0.1", server.port, fail_fast=choice) for choice in (False, True))
        async with slow.opened(), fast.opened():
            for consul in (slow, fast):
                with pytest.raises(ConsulAway, match=r"cannot connect to 127.0.0.1:.*: Connection refused$"):
                    await consul.get(PATH, {})
            with pytest.raises(ConsulAway, match=r"cannot connect to 127.0.0.1:.*: Connection refused$"):
                await slow.get(PATH, {})
            with pytest.raises(ConsulAway, match="could not be reached a moment ago"):
                await fast.get(PATH, {})
            await server.start()
            server.register(WEB)
            await asyncio.sleep(0.11)
            assert (await fast.get(PATH, {})).status == 200


async def test_the_last_who_asks_closes_the_connections() -> None:
    async with ConsulServer() as server:
        consul = Consul("127.0.0.1", server.port)
        async with consul.opened():
            async with consul.opened():
                await consul.get(PATH, {})
            await consul.get(PATH, {})
        with pytest.raises(ConsulAway, match="not open"):
            await consul.get(PATH, {})


# ── Tokens and TLS ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_is_shown_and_appears_in_no_log_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with ConsulServer(token=TOKEN) as server:
        server.register(WEB)
        right, wrong, none = (Consul("127.0.0.1", server.port, token=token) for token in (TOKEN, "wr0ng-1", None))
        async with right.opened(), wrong.opened(), none.opened():
            answer = await right.get(PATH, {})
            assert ([instance.port for instance in read_health(answer)], answer.filtered) == ([8080], False)
            with pytest.raises(ConsulForbidden) as error:
                await wrong.get(PATH, {})
            assert "wr0ng" not in str(error.value)
            answer = await none.get(PATH, {})
            assert (read_health(answer), answer.filtered) == ([], True)
        assert server.tokens == [TOKEN, "wr0ng-1", None]
    assert "t0ken" not in caplog.text
    assert "wr0ng" not in caplog.text


@pytest.mark.parametrize("token", ["", "a\nb", " a", "é"])
def test_a_token_that_no_header_holds_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match=r"^token: 1 or more printable ASCII characters"):
        check_access("localhost", token)


@pytest.mark.parametrize("host", ["", "a/b", "user@host", "a b", "a#b"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host is a host name or an address"):
        check_access(host, None)


async def test_over_tls_the_name_of_the_certificate_counts(tmp_path: Path) -> None:
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    made = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=consul.test", "-addext", "subjectAltName=DNS:consul.test", "-out", cert, "-keyout", key),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await made.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with ConsulServer(tls=context) as server:
        for name, good in (("consul.test", True), ("other.test", False)):
            tls = ClientTls(common_name=name, trust_certs_bundle=cert)
            consul = consul_at("127.0.0.1", server.port, None, tls, fail_fast=False)
            async with consul.opened():
                if good:
                    assert (await consul.get(PATH, {})).status == 200
                else:
                    with pytest.raises(ConsulAway):
                        await consul.get(PATH, {})


# ── What answers hold ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_both_endpoints_tell_of_the_same_instances() -> None:
    instance = Instance("web", 8080, "10.0.0.1", "10.0.0.2", ("a", "B"), meta={"v": "1"}, node_meta={"rack": "7"})
    async with ConsulServer() as server:
        server.register(instance, Instance("web", 0))
        consul = Consul("127.0.0.1", server.port)
        async with consul.opened():
            health = read_health(await consul.get(PATH, {}))
            catalog = read_catalog(await consul.get("/v1/catalog/service/web", {"tag": "b"}))
    assert health[:1] == catalog
    assert (catalog[0].node_address, catalog[0].service_address, catalog[0].port) == ("10.0.0.1", "10.0.0.2", 8080)
    assert (catalog[0].tags, catalog[0].meta, catalog[0].node_meta) == (("a", "B"), {"v": "1"}, {"rack": "7"})
    assert len(health) == 2


@pytest.mark.parametrize(
    ("checks", "health"),
    [
        ((), "passing"),
        ((("a", "passing"), ("b", "strange")), "passing"),
        ((("a", "warning"), ("b", "passing")), "warning"),
        ((("a", "warning"), ("b", "critical")), "critical"),
        ((("_node_maintenance", "critical"), ("b", "passing")), "maintenance"),
        ((("_service_maintenance:web-1", "critical"),), "maintenance"),
    ],
)
async def test_an_instance_is_as_well_as_its_worst_check(checks: tuple[tuple[str, str], ...], health: str) -> None:
    async with ConsulServer() as server:
        server.register(Instance("web", 1, checks=checks))
        consul = Consul("127.0.0.1", server.port)
        async with consul.opened():
            (found,) = read_health(await consul.get(PATH, {}))
    assert found.health == health


@pytest.mark.parametrize(
    ("body", "dc", "domain"),
    [
        (b'{"Config": {"Datacenter": "dc7"}}', "dc7", "consul"),
        (b'{"Config": {"Datacenter": "", "Domain": ".example."}, "DebugConfig": null}', None, "example"),
        (b'{"Config": {}, "DebugConfig": {"DNSDomain": "mesh."}}', None, "mesh"),
    ],
)
def test_an_agent_tells_its_datacentre_and_domain(body: bytes, dc: str | None, domain: str) -> None:
    agent = read_agent(Answer(200, body))
    assert (agent.datacenter, agent.domain) == (dc, domain)


async def test_a_key_is_set_if_it_is_as_expected_and_the_new_index_is_told() -> None:
    async with ConsulServer() as server:
        consul = Consul("127.0.0.1", server.port)
        async with consul.opened():
            kv = Kv(consul, {})
            first = await kv.set_if("a/b", b"one", 0)
            with pytest.raises(KvConflict):
                await kv.set_if("a/b", b"two", 0)
            second = await kv.set_if("a/b", b"\x00\xff", first)
            assert second > first
            third = await kv.set("a/b c?d", b"")
            values = read_values(await consul.get("/v1/kv/a/", {"recurse": "true"}))
            assert [(value.key, value.value, value.index) for value in values] == [
                ("a/b", b"\x00\xff", second),
                ("a/b c?d", b"", third),
            ]
            assert await kv.has("a/b c?d")
            assert await kv.delete("a/b") == second
            with pytest.raises(KvConflict):
                await kv.delete("a/b")
            assert not await kv.has("a/b")


async def test_a_transaction_that_is_not_permitted_is_no_conflict() -> None:
    async with ConsulServer(token=TOKEN) as server:
        consul = Consul("127.0.0.1", server.port)
        async with consul.opened():
            with pytest.raises(ConsulForbidden):
                await Kv(consul, {}).set("a", b"")


async def test_a_pace_lets_a_few_pass_and_then_keeps_the_rate() -> None:
    pace = Pace(3, 20)
    began = time.monotonic()
    for _ in range(3):
        await pace.keep()
    assert time.monotonic() - began < 0.04
    for _ in range(4):
        await pace.keep()
    assert time.monotonic() - began >= 0.19
