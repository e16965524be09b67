"""Plugins in Python, found by entry point in installed packages, with the real program."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.callers import status_of, values_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins"
BAD = """
import time
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
    install(target, bad, "bad_plugin", {"biandou.filters": {"com.example.bad": "bad_plugin:BadFilter"}})
    monkeypatch.syspath_prepend(str(target))
    return target


def config(port: int, more: str) -> str:
    """A router that sends every name to a port of this host."""
    return f"""
admin: {{port: 0}}
routers:
- protocol: http
  dtab: /svc/* => /$/inet/127.0.0.1/{port} ; /svc/acme/web => /$/inet/127.0.0.1/{port} ;
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
        assert status_of(await linker.get("web", "/", known, "X-Tenant: acme")) == 200
        unknown = await linker.get("other", "/", known, "X-Tenant: acme")
        assert status_of(unknown) == 502 or b"acme" in origin.requests[-1]


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
