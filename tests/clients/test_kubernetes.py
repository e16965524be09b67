"""The Kubernetes client, and its list and watch, against a strict API server on loopback."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from biandou.clients import kubernetes as client
from biandou.clients.consul_watch import Pace
from biandou.clients.kubernetes import Json, Kubernetes, KubernetesError, KubernetesForbidden
from biandou.clients.kubernetes_access import kubernetes_at
from biandou.clients.kubernetes_account import ServiceAccount
from biandou.clients.kubernetes_watch import follow
from biandou.clients.retry import Retry
from tests.registries import kubernetes_faults as faults
from tests.registries.kubernetes import KubernetesServer, status_object

PATH = "/api/v1/namespaces/default/endpoints"
ONE = {"fieldSelector": "metadata.name=web"}


@pytest.fixture
async def server() -> AsyncIterator[KubernetesServer]:
    async with KubernetesServer() as server:
        yield server


class Seen:
    """A follower that keeps what it was told."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] | None = None
        self.lists = 0
        self.confirmations = 0
        self.errors: list[str] = []
        self._changed = asyncio.Event()

    def listed(self, objects: Mapping[str, Json], version: int) -> None:
        self.objects = {name: found.get("it") for name, found in objects.items()}
        self.lists += 1
        self._changed.set()

    def changed(self, name: str, found: Json | None, version: int) -> None:
        assert self.objects is not None
        if found is None:
            self.objects.pop(name, None)
        else:
            self.objects[name] = found.get("it")
        self._changed.set()

    def confirmed(self) -> None:
        self.confirmations += 1
        self._changed.set()

    def failed(self, error: KubernetesError) -> None:
        self.errors.append(str(error))
        self._changed.set()

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not wanted():
                self._changed.clear()
                await self._changed.wait()

    async def shows(self, **objects: Any) -> None:
        await self.until(lambda: self.objects == objects)


@asynccontextmanager
async def followed(kubernetes: Kubernetes, query: Mapping[str, str] | None = None, **keys: Any) -> AsyncIterator[Seen]:
    seen = Seen()
    keys = {"retry": Retry(0.02, 0.1), "pace": Pace(1000, 1000), **keys}
    task = asyncio.get_running_loop().create_task(follow(kubernetes, PATH, query or {}, seen, **keys))
    try:
        yield seen
    finally:
        task.cancel()
        ended = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended[0], asyncio.CancelledError)


def at(server: KubernetesServer) -> Kubernetes:
    return Kubernetes("127.0.0.1", server.port)


# ── The rules ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_listed_and_what_changes_after_it_is_told(server: KubernetesServer) -> None:
    server.apply("endpoints", "default", "web", it=1)
    server.apply("endpoints", "other", "web", it="not ours")
    async with followed(at(server)) as seen:
        await seen.shows(web=1)
        server.apply("endpoints", "default", "api", it=2)
        server.apply("endpoints", "default", "web", it=3)
        await seen.shows(web=3, api=2)
        server.remove("endpoints", "default", "web")
        await seen.shows(api=2)
    assert seen.lists == 1
    assert not seen.errors


async def test_a_selection_hears_of_nothing_else(server: KubernetesServer) -> None:
    async with followed(at(server), ONE) as seen:
        await seen.shows()
        server.apply("endpoints", "default", "api", it=2)
        server.apply("endpoints", "default", "web", it=3)
        await seen.shows(web=3)
    assert server.asked(PATH) == [ONE]


async def test_a_watch_that_ends_in_order_goes_on_from_the_last_event(server: KubernetesServer) -> None:
    async with followed(at(server)) as seen:
        await server.watched()
        version = server.apply("endpoints", "default", "web", it=1)
        await seen.shows(web=1)
        server.end()
        server.apply("endpoints", "default", "web", it=2)
        await seen.shows(web=2)
    assert seen.lists == 1
    assert int(server.asked(PATH, watch=True)[1]["resourceVersion"]) >= version


async def test_a_bookmark_moves_on_where_a_watch_begins_again(server: KubernetesServer) -> None:
    async with followed(at(server), ONE) as seen:
        await server.watched()
        server.state.forget()
        told = seen.confirmations
        server.bookmark()
        await seen.until(lambda: seen.confirmations > told)
        server.end()
        await seen.until(lambda: seen.confirmations > told + 1)
        server.apply("endpoints", "default", "web", it=2)
        await seen.shows(web=2)
    assert seen.lists == 1
    assert server.asked(PATH, watch=True)[1]["resourceVersion"] == str(server.state.oldest)


@pytest.mark.parametrize("gone", ["status", "event"])
async def test_410_means_to_list_anew_and_loses_nothing(server: KubernetesServer, gone: Any) -> None:
    server.gone = gone
    server.apply("endpoints", "default", "old", it=1)
    async with followed(at(server)) as seen:
        await seen.shows(old=1)
        await server.watched()
        server.remove("endpoints", "default", "old")
        server.apply("endpoints", "default", "web", it=2)
        await seen.shows(web=2)
        server.state.apply("endpoints", "default", "web", {"it": 3})
        server.state.forget()
        server.end()
        await seen.shows(web=3)
    assert seen.lists == 2
    assert not seen.errors


async def test_a_cluster_that_counts_again_from_an_earlier_version_is_listed_anew(server: KubernetesServer) -> None:
    server.apply("endpoints", "default", "web", it=1)
    async with followed(at(server)) as seen:
        await seen.shows(web=1)
        await server.watched()
        early = status_object(0, "", "") | {"metadata": {"name": "web", "resourceVersion": "7"}}
        server.interject({"type": "MODIFIED", "object": early})
        await seen.until(lambda: seen.lists == 2)
        await seen.shows(web=1)


async def test_after_a_cut_the_truth_is_listed_though_versions_went_back(server: KubernetesServer) -> None:
    backup = server.state.copied()
    for number in range(5):
        server.apply("endpoints", "default", "web", it=number)
    async with followed(at(server)) as seen:
        await seen.shows(web=4)
        await server.watched()
        server.restore(backup)
        await seen.shows()
        server.apply("endpoints", "default", "web", it="again")
        await seen.shows(web="again")


async def test_what_no_event_told_is_found_by_listing_from_time_to_time(server: KubernetesServer) -> None:
    async with followed(at(server), seconds=1.2) as seen:
        await server.watched()
        server.state.apply("endpoints", "default", "web", {"it": 1})
        server.state.changes.clear()
        await seen.shows(web=1)
    assert not seen.errors


# ── What is no good ──────────────────────────────────────────────────────────────────────────────────────────────────

BROKEN = {
    "busy": faults.answers(503, b"apiserver is shutting down"),
    "limited": faults.answers(429, b"too many requests"),
    "forbidden": faults.answers(403, b'{"message": "endpoints is forbidden"}'),
    "missing": faults.answers(404, b"404 page not found"),
    "no JSON": faults.answers(200, b"<html>"),
    "no list": faults.answers(200, b'{"items": {}}'),
    "deep": faults.answers(200, b"[" * 100_000),
    "no version": faults.answers(200, b'{"items": []}'),
    "no name": faults.answers(200, b'{"items": [{}], "metadata": {"resourceVersion": "1"}}'),
    "a redirect": faults.answers(302, b"", Location="http://127.0.0.1:1/"),
    "cut": faults.cuts(b'{"items": ['),
    "gone": faults.answers(410, b"Gone"),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=list(BROKEN))
async def test_a_bad_answer_removes_nothing_and_is_asked_again(server: KubernetesServer, fault: Any) -> None:
    server.apply("endpoints", "default", "web", it=1)
    async with followed(at(server)) as seen:
        await seen.shows(web=1)
        await server.watched()
        server.fail(fault)
        await seen.until(lambda: len(seen.errors) >= 3)
        assert seen.objects == {"web": 1}
        server.apply("endpoints", "default", "web", it=2)
        server.fail(None)
        await seen.shows(web=2)


@pytest.mark.parametrize(
    "event",
    [
        b"junk\n",
        b"[]\n",
        b"{}\n",
        b'{"type": "MODIFIED", "object": {}}\n',
        b'{"type": "STRANGE", "object": {"metadata": {"name": "web", "resourceVersion": "99999"}}}\n',
        b'{"type": "ERROR", "object": {"code": 500, "message": "etcd is away"}}\n',
        b'{"type": "ERROR", "object": {}}\n',
    ],
)
async def test_a_bad_event_removes_nothing_and_is_followed_by_a_list(server: KubernetesServer, event: bytes) -> None:
    server.apply("endpoints", "default", "web", it=1)
    async with followed(at(server)) as seen:
        await server.watched()
        server.interject(event)
        await seen.until(lambda: seen.lists == 2)
        assert seen.objects == {"web": 1}
        assert seen.errors


async def test_a_mistake_of_ours_is_told_and_does_not_end_the_watch(
    server: KubernetesServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(at(server)) as seen:
        await seen.shows()
        with monkeypatch.context() as patched:
            patched.setattr(seen, "changed", lambda *_: 1 / 0)
            server.apply("endpoints", "default", "web", it=1)
            await seen.until(lambda: bool(seen.errors))
        await seen.shows(web=1)
    assert "ZeroDivisionError" in caplog.text
    assert "division by zero" in seen.errors[0]


async def test_an_answer_and_an_event_without_end_are_given_up(
    server: KubernetesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER", 1_000_000)
    monkeypatch.setattr(client, "MAX_LINE", 100_000)
    async with followed(at(server)) as seen:
        await server.watched()
        server.interject(b"x" * 200_000)
        await seen.until(lambda: any("an event of more than 100000" in error for error in seen.errors))
        server.fail(faults.never_ends())
        await seen.until(lambda: any("an answer of more than 1000000" in error for error in seen.errors))


async def test_who_asks_for_one_object_gets_no_more_than_one_may_have(
    server: KubernetesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_LINE", 100_000)
    server.fail(faults.never_ends())
    async with followed(kubernetes_at("127.0.0.1", server.port, None, single=True)) as seen:
        await seen.until(lambda: any("an answer of more than 100000" in error for error in seen.errors))


async def test_a_server_that_is_silent_is_given_up(server: KubernetesServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.2)
    async with followed(at(server), seconds=1.0) as seen:
        server.fail(faults.stays_silent())
        await seen.until(lambda: any("no answer in time" in error for error in seen.errors))


async def test_a_server_that_only_says_gone_is_not_asked_without_pause(server: KubernetesServer) -> None:
    async with followed(at(server), retry=Retry(0.2, 5.0)) as seen:
        await server.watched()
        server.fail(faults.gone_events())
        await asyncio.sleep(1)
    assert seen.errors
    assert len(server.requests) < 30


# ── The service account ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first-t0ken\n")
    return faults.authority(tmp_path)


async def test_the_token_and_the_authority_are_read_again_when_they_change(
    account: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with KubernetesServer(tokens={"first-t0ken"}, tls=faults.serving(account)) as server:
        kubernetes = Kubernetes("127.0.0.1", server.port, ServiceAccount(str(account)))
        async with kubernetes.opened():
            await kubernetes.get(PATH)
            server.tokens = {"second-t0ken"}
            with pytest.raises(KubernetesForbidden):
                await kubernetes.get(PATH)
            (account / "new").write_text("second-t0ken")
            (account / "new").rename(account / "token")
            await kubernetes.get(PATH)
            (account / "token").unlink()
            with pytest.raises(KubernetesForbidden, match="token"):
                await kubernetes.get(PATH)
            (account / "token").write_text("two words")
            with pytest.raises(KubernetesForbidden, match="holds no token"):
                await kubernetes.get(PATH)
            (account / "token").write_text("second-t0ken")
            # Another authority: the server's certificate is none of its.
            right = (account / "ca.crt").read_bytes()
            (account / "other").mkdir()
            (account / "ca.crt").write_bytes((faults.authority(account / "other") / "ca.crt").read_bytes())
            with pytest.raises(KubernetesError, match="certificate verify failed"):
                await kubernetes.get(PATH)
            (account / "ca.crt").write_bytes(right)
            await kubernetes.get(PATH)
    assert "t0ken" not in caplog.text


async def test_a_certificate_for_another_name_is_refused(account: Path) -> None:
    other = await asyncio.start_server(lambda *_: None, "127.0.0.2", 0, ssl=faults.serving(account))
    port = other.sockets[0].getsockname()[1]
    kubernetes = Kubernetes("127.0.0.2", port, ServiceAccount(str(account)))
    async with other, kubernetes.opened():
        with pytest.raises(KubernetesError, match="certificate is not valid for"):
            await kubernetes.get(PATH)
