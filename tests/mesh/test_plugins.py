"""Plugins in Python, found by entry point in installed packages, with the real program."""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
import tomllib
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin, get
from tests.mesh.callers import Caller, status_of, values_of
from tests.mesh.observing import becomes
from tests.mesh.programs import run
from tests.mesh.test_reload import free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins"
BAD = """
import asyncio
import sys
import time
from biandou.classifiers.interface import PythonClassifierKind, ResponseClass
from biandou.filters.interface import FilterKind, Pass, Reply

class BadFilter(FilterKind, frozen=True, kw_only=True, tag="com.example.bad"):
    def make(self):
        def run(request):
            match request.headers.get("X-Do"):
                case "raise": raise RuntimeError("secret detail")
                case "hang": time.sleep(5)
                case "inject": return Pass(set=(("X-A", "b\\r\\nX-C: d"),))
                case "frame": return Pass(set=(("Content-Length", "3"),))
                case "split": return Reply(200, (("X-A", "b\\r\\n\\r\\nHTTP/1.1 200 OK"),))
                case "none": return None
            return Pass()
        return run

class SlowFilter(FilterKind, frozen=True, kw_only=True, tag="com.example.slow"):
    seconds: float = 30.0
    def make(self):
        async def run(request):
            try:
                await asyncio.sleep(self.seconds)
            except asyncio.CancelledError:
                print("given up", file=sys.stderr, flush=True)
                raise
            return Pass()
        return run

class StampFilter(FilterKind, frozen=True, kw_only=True, tag="com.example.stamp"):
    stamp: str
    def make(self):
        return lambda request: Pass(set=(("X-Stamp", self.stamp),))

class BadClassifier(PythonClassifierKind, frozen=True, kw_only=True, tag="com.example.badClassifier"):
    def make(self):
        def run(request, response):
            match request.headers.get("X-Do"):
                case "raise": raise RuntimeError("secret detail")
                case "hang": time.sleep(5)
                case "none": return None
            return ResponseClass.RETRYABLE_FAILURE
        return run
"""


def install(target: Path, source: Path, name: str, groups: dict[str, dict[str, str]]) -> None:
    """Install a package as far as its entry points go: on the path, with metadata beside."""
    info = target / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line for group, kinds in groups.items() for line in (f"[{group}]", *(f"{k} = {v}" for k, v in kinds.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (target / f"{source.name}").symlink_to(source)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example package and one that misbehaves, where a linker finds them."""
    target = tmp_path / "site"
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(target, EXAMPLE / "src" / "biandou_examples", "biandou_examples", project["entry-points"])
    bad = tmp_path / "bad_plugin.py"
    bad.write_text(BAD)
    filters = {"bad": "BadFilter", "slow": "SlowFilter", "stamp": "StampFilter"}
    groups = {
        "biandou.filters": {f"com.example.{name}": f"bad_plugin:{kind}" for name, kind in filters.items()},
        "biandou.classifiers": {"com.example.badClassifier": "bad_plugin:BadClassifier"},
    }
    install(target, bad, "bad_plugin", groups)
    monkeypatch.syspath_prepend(str(target))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return target


def config(port: int, more: str, dtab: str = "/svc/*") -> str:
    """A router that sends names to a port of this host, and one without plugins that sends every name there."""
    return f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: {dtab} => /$/inet/127.0.0.1/{port} ;
  client: {{failureAccrual: {{kind: none}}}}
  servers: [{{port: 0}}]
{more}
- protocol: http
  label: plain
  dtab: /svc/* => /$/inet/127.0.0.1/{port} ;
  servers: [{{port: 0}}]
"""


@pytest.mark.usefixtures("installed")
async def test_the_example_filter_answers_or_changes_headers_and_its_identifier_names() -> None:
    more = """
  filters: [{kind: com.example.auth, tokens: {t1: ann}}]
  identifier: [{kind: com.example.tenant}, {kind: io.l5d.header.token}]
"""
    async with Origin() as origin, LinkerProcess(config(origin.port, more)) as linker:
        refused = await linker.get("web")
        assert status_of(refused) == 401
        assert values_of(refused, "www-authenticate") == ["Bearer"]
        assert refused.endswith(b"who are you?\n")
        assert not origin.requests
        known = "Authorization: Bearer t1"
        assert status_of(await linker.get("web", "/", known, "X-User: mallory")) == 200
        sent = origin.requests[-1]
        assert b"X-User: ann\r\n" in sent
        assert b"mallory" not in sent
        assert b"Bearer t1" not in sent


@pytest.mark.usefixtures("installed")
async def test_the_example_identifier_names_and_leaves_what_it_cannot_name_to_the_next() -> None:
    more = "  identifier: [{kind: com.example.tenant}, {kind: io.l5d.header.token}]"
    async with Origin() as origin, LinkerProcess(config(origin.port, more, "/svc/acme/web")) as linker:
        assert status_of(await linker.get("web", "/", "X-Tenant: acme")) == 200, "only /svc/acme/web leads anywhere"
        for host, tenant in (("other", "acme"), ("web", "beta")):
            lost = await linker.get(host, "/", f"X-Tenant: {tenant}")
            assert status_of(lost) == 502
            assert f"/svc/{tenant}/{host}".encode() in lost
        nobody = await linker.get("web")
        assert status_of(nobody) == 502
        assert b"service name: /svc/web\n" in nobody, "the next identifier has named it"


@pytest.mark.usefixtures("installed")
async def test_a_plugin_that_fails_costs_its_own_requests_and_no_others() -> None:
    more = "  filters: [{kind: com.example.bad}]\n  plugins: {timeoutMs: 300}"
    async with Origin() as origin, LinkerProcess(config(origin.port, more)) as linker:
        for what in ("raise", "hang", "inject", "frame", "split", "none"):
            failed = await linker.get("web", "/", f"X-Do: {what}")
            assert status_of(failed) == 500, what
            assert values_of(failed, "l5d-err"), what
            assert b"secret" not in failed
            assert not origin.requests, what
            if what in ("raise", "hang", "none"):
                assert b"com.example.bad" in failed, what
            if what == "hang":
                began = time.monotonic()
                assert status_of(await linker.get("web", router="plain")) == 200
                assert status_of(await linker.get("web")) == 200
                assert time.monotonic() - began < 1
                origin.requests.clear()
        assert status_of(await linker.get("web")) == 200
        assert "secret detail" in await linker.logged("secret detail")


def reset(caller: Caller) -> None:
    """Break its connection off."""
    held = caller.writer.get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.writer.transport.abort()


@pytest.mark.usefixtures("installed")
async def test_more_than_may_wait_are_refused_at_once_and_who_leaves_makes_room() -> None:
    more = "  filters: [{kind: com.example.slow}]\n  plugins: {timeoutMs: 20000, maxWaiting: 2}"
    async with Origin() as origin, LinkerProcess(config(origin.port, more)) as linker:

        async def waiting() -> float:
            return float((await linker.metrics())["rt/http/plugins/waiting"])

        async with Caller(linker.port()) as one, Caller(linker.port()) as two:
            for caller in (one, two):
                caller.writer.write(get("web"))
            await becomes("both wait", waiting, lambda count: count == 2)
            began = time.monotonic()
            refused = await linker.get("web")
            assert time.monotonic() - began < 1
            assert status_of(refused) == 503
            assert values_of(refused, "l5d-retryable") == ["true"]
            reset(one)
            await becomes("who has left waits no more", waiting, lambda count: count == 1)
            await linker.logged("given up")
            reset(two)
            await becomes("nor does the other", waiting, lambda count: count == 0)
        assert not origin.requests


@pytest.mark.usefixtures("installed")
async def test_a_reload_adds_changes_and_removes_plugins() -> None:
    port = free_port()

    def text(classifier: str, *stamps: str) -> str:
        filters = ", ".join(f"{{kind: com.example.stamp, stamp: {stamp}}}" for stamp in stamps)
        more = f"  filters: [{filters}]\n  service: {{responseClassifier: {{kind: {classifier}}}}}"
        return config(origin.port, more).replace("port: 0}]", f"port: {port}}}]", 1)

    ordinary = "io.l5d.http.nonRetryable5XX"
    async with Origin() as origin, LinkerProcess(text(ordinary)) as linker, Caller(port) as caller:
        for stamps, seen in ((("a",), "a"), (("b",), "b"), (("b", "c"), "c"), ((), None)):
            await linker.reload(text(ordinary, *stamps))
            assert status_of(await caller.ask(get("web"))) == 200
            assert values_of(origin.requests[-1], "x-stamp") == ([] if seen is None else [seen])
        origin.answer = b"HTTP/1.1 200 OK\r\nX-Verdict: failed\r\nContent-Length: 0\r\n\r\n"
        for classifier, seen in (("com.example.verdict", "0.0"), (ordinary, "1.0")):
            await linker.reload(text(classifier))
            assert values_of(await caller.ask(get("web")), "l5d-success-class") == [seen]


@pytest.mark.usefixtures("installed")
async def test_a_classifier_says_what_is_a_failure_and_what_is_tried_again() -> None:
    verdicts = ["busy", "busy", ""]

    async def answer(_request: bytes) -> bytes:
        verdict = verdicts.pop(0)
        return f"HTTP/1.1 200 OK\r\nX-Verdict: {verdict}\r\nContent-Length: 2\r\n\r\nok".encode()

    more = "  service: {responseClassifier: {kind: com.example.verdict}, retries: {backoff: {kind: constant, ms: 0}}}"
    async with Origin(answer) as origin, LinkerProcess(config(origin.port, more)) as linker:
        answered = await linker.get("web")
        assert values_of(answered, "l5d-success-class") == ["1.0"]
        assert len(origin.requests) == 3
        verdicts[:] = ["failed"]
        answered = await linker.get("web")
        assert (status_of(answered), values_of(answered, "l5d-success-class")) == (200, ["0.0"])
        verdicts[:] = ["busy"]
        posted = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello"
        async with Caller(linker.port()) as caller:
            assert values_of(await caller.ask(posted), "l5d-success-class") == ["0.0"]
        metrics = await linker.metrics()
        assert metrics["rt/http/service/svc/web/success"] == 1
        assert metrics["rt/http/service/svc/web/failures"] == 2
        assert metrics["rt/http/service/svc/web/retries/total"] == 2
        assert metrics["rt/http/plugins/unclassified"] == 0


@pytest.mark.usefixtures("installed")
async def test_a_classifier_that_fails_leaves_the_default_one_to_decide() -> None:
    more = "  service: {responseClassifier: {kind: com.example.badClassifier}}\n  plugins: {timeoutMs: 300}"
    async with Origin() as origin, LinkerProcess(config(origin.port, more)) as linker:
        for what in ("raise", "hang", "none"):
            answered = await linker.get("web", "/", f"X-Do: {what}")
            assert (status_of(answered), values_of(answered, "l5d-success-class")) == (200, ["1.0"]), what
        assert len(origin.requests) == 3
        assert (await linker.metrics())["rt/http/plugins/unclassified"] == 3
        assert "secret detail" in await linker.logged("secret detail")
        origin.answer = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        answered = await linker.get("web", "/", "X-Do: raise")
        assert (status_of(answered), values_of(answered, "l5d-success-class")) == (503, ["0.0"])
        assert len(origin.requests) == 4, "the default retries nothing"


@pytest.mark.usefixtures("installed")
async def test_explain_runs_them_when_it_is_told_to(tmp_path: Path) -> None:
    more = """
  filters: [{kind: com.example.auth, tokens: {t1: ann}}]
  identifier: [{kind: com.example.tenant}, {kind: io.l5d.header.token}]
"""
    file = tmp_path / "linkerd.yaml"
    file.write_text(config(9, more, "/svc/acme/web"))
    asked = (sys.executable, "-m", "biandou", "explain", str(file), "-H", "Host: web", "-H", "X-Tenant: acme")
    ran = await run(*asked)
    assert (ran.status, b"com.example.tenant is a plugin, and was not run" in ran.output) == (1, True)
    ran = await run(*asked, "--plugins")
    assert (ran.status, b"401: a filter answers itself" in ran.output) == (1, True)
    ran = await run(*asked, "--plugins", "-H", "Authorization: Bearer t1")
    assert b"com.example.tenant  /svc/acme/web" in ran.output
