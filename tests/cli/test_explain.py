"""`biandou explain` as a command."""

from __future__ import annotations

import json
from pathlib import Path as FilePath

import pytest
import typer
from typer.testing import CliRunner, Result

from biandou.cli.explain import explain, render
from biandou.linker.explain import Attempt, Balancing, Client, Explanation, Node, Transformation

CONFIG = """
namers:
- kind: io.l5d.fs
  rootDir: {root}
  transformers:
  - kind: io.l5d.port
    port: 4141
routers:
- protocol: http
  label: out
  servers: [{{port: 0}}]
  dtab: /svc => /#/io.l5d.fs
- protocol: http
  label: in
  servers: [{{port: 0}}]
  dtab: /svc => /$/inet/127.1/8080
"""


@pytest.fixture
def config(tmp_path: FilePath) -> str:
    root = tmp_path / "disco"
    root.mkdir()
    (root / "web").write_text("127.0.0.1 81")
    file = tmp_path / "linkerd.yaml"
    file.write_text(CONFIG.format(root=root))
    return str(file)


def run(*arguments: str) -> Result:
    application = typer.Typer(pretty_exceptions_enable=False)
    application.command()(explain)
    return CliRunner().invoke(application, list(arguments))


def test_the_first_router_is_explained_and_success_is_zero(config: str) -> None:
    result = run(config, "-H", "Host: web", "GET", "/x")
    assert result.exit_code == 0, result.output
    assert "router out" in result.output
    assert "/%/io.l5d.port/4141/#/io.l5d.fs/web" in result.output
    assert "127.0.0.1:4141" in result.output
    assert "\x1b" not in result.output


def test_json_holds_the_same(config: str) -> None:
    result = run(config, "--router", "in", "--json", "-H", "Host: web", "/x")
    told = json.loads(result.output)
    assert told["name"] == "/svc/web"
    assert told["request"] == "GET /x HTTP/1.1"
    assert told["resolution"][0]["endpoints"] == ["127.0.0.1:8080"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["-H", "Host: none"], 1),
        ([], 1),
        (["-H", "no header"], 64),
        (["--router", "other"], 64),
    ],
)
def test_what_cannot_be_routed_or_understood_has_its_own_status(config: str, arguments: list[str], status: int) -> None:
    assert run(config, *arguments).exit_code == status


def test_what_was_redirected_is_explained_by_where_it_was_going() -> None:
    example = str(FilePath(__file__).parents[2] / "examples" / "transparent" / "linker.yaml")
    result = run(example, "--original", "127.0.0.1:8080")
    assert result.exit_code == 0, result.output
    assert "+ /svc/127.0.0.1/8080\n" in result.output
    assert "[::1]:80\n" in run(example, "--original", "[::1]:80").output
    result = run(example)
    assert (result.exit_code, "the connection was not redirected here" in result.output) == (1, True)
    for mistake in ("web:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", "[::1]"):
        assert run(example, "--original", mistake).exit_code == 64, mistake


def test_a_mistake_in_the_configuration_is_78(tmp_path: FilePath) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("routers: 5")
    result = run(str(file))
    assert result.exit_code == 78


def test_colour_is_put_on_what_is_not_taken_only_when_asked_for() -> None:
    client = Client(client="/#/a", share=1.0, state="known", endpoints=["127.0.0.1:80"])
    gone = Client(client="/%/t/#/a", share=1.0, state="negative")
    told = Explanation(
        router="http",
        request="GET / HTTP/1.1",
        identification=[Attempt(kind="io.l5d.static", name="/svc/a")],
        name="/svc/a",
        binding=Node(path="/svc/a", outcome="bound", taken=True, next=[Node(path="/b", outcome="~", taken=False)]),
        resolution=[client],
        transformation=[Transformation(transformer="/%/t", after=[gone])],
        balancing=[Balancing(client="/#/a", share=1.0, balancer="p2c", endpoints=["127.0.0.1:80"])],
        problem="502: x",
    )
    plain = render(told, colour=False)
    assert "    - /b" in plain
    assert "was 127.0.0.1:80" in plain
    assert plain.endswith("502: x\n")
    assert "\x1b[2m    - /b\x1b[0m" in render(told, colour=True)
