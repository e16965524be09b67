"""The rules of the house hold: a kind has its line, test, page and example; files are small and say what they are."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from biandou import standard
from biandou.config import linker, namerd
from biandou.kinds import kind_name

ROOT = Path(__file__).parents[1]
MAX_LINES = 600

PYTHON = sorted((ROOT / "src").rglob("*.py"))
RUST = sorted([*(ROOT / "engine" / "src").rglob("*.rs"), *(ROOT / "boundary" / "src").rglob("*.rs")])
# Tests of dtabs are no configurations; tests/testing/ runs them.
EXAMPLES = sorted(file for file in (ROOT / "examples").rglob("*.yaml") if not file.name.endswith(".dtabtest.yaml"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


KINDS: list[tuple[str, type[msgspec.Struct]]] = [
    (room, kind) for room, register in standard.ROOMS.items() for kind in register
]
NAMES = [f"{room}: {kind_name(kind)}" for room, kind in KINDS]


def shown(path: Path) -> str:
    """Give a path as a reader would write it."""
    return str(path.relative_to(ROOT))


def test_there_are_kinds_to_check() -> None:
    assert len(KINDS) >= 15
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize(("room", "kind"), KINDS, ids=NAMES)
def test_a_kind_has_its_line_in_the_one_list(room: str, kind: type[msgspec.Struct]) -> None:
    lines = [line for line in inspect.getsource(standard).splitlines() if not line.startswith(("from ", "import "))]
    assert any(re.search(rf"\b{kind.__name__}\b", line) for line in lines), f"{kind.__name__} of {room}"


@pytest.mark.parametrize(("room", "kind"), KINDS, ids=NAMES)
def test_a_kind_has_a_test_that_names_it(room: str, kind: type[msgspec.Struct]) -> None:
    words = re.compile(rf"\b{kind.__name__}\b|{re.escape(kind_name(kind))}(?![\w.])")
    tests = [file for file in (ROOT / "tests").rglob("test_*.py") if file != Path(__file__)]
    engine = [file for file in (ROOT / "engine").rglob("*.rs") if "#[test]" in file.read_text()]
    assert any(words.search(file.read_text()) for file in [*tests, *engine]), (
        f"no test names {kind_name(kind)} of {room}"
    )


@pytest.mark.parametrize(("room", "kind"), KINDS, ids=NAMES)
def test_a_kind_has_a_page_with_an_example(room: str, kind: type[msgspec.Struct]) -> None:
    # A colon cannot stand in the name of a file on every system.
    page = ROOT / "docs" / "kinds" / f"{kind_name(kind).replace(':', '-')}.md"
    assert page.exists(), f"{kind_name(kind)} of {room} has no page"
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    assert any(f"kind: {kind_name(kind)}" in block for block in blocks), f"{shown(page)} shows no example"
    assert f"({page.name})" in (ROOT / "docs" / "kinds" / "README.md").read_text(), "the list of kinds leaves it out"


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "kinds").glob("*.md")), ids=shown)
def test_a_page_shows_only_configurations_that_are_taken(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for directory in re.findall(r"rootDir: (\S+)", page.read_text()):
        Path(directory).mkdir(parents=True, exist_ok=True)
    for file in re.findall(r"dtabFile: (\S+)", page.read_text()):
        Path(file).write_text("/svc => /#/io.l5d.fs ;\n")
    for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if re.search(r"^(storage|interfaces):", block, re.MULTILINE):
            namerd.parse(block, shown(page))
        else:
            linker.parse(completed(block), shown(page))


def completed(block: str) -> str:
    """Give a whole configuration: what a page shows, in a router if it shows only a part of one, and with a server."""
    if not re.search(r"^(routers|namers|telemetry|admin):", block, re.MULTILINE):
        block = "routers:\n- protocol: http\n" + re.sub(r"^(?=.)", "  ", block, flags=re.MULTILINE)
    if "routers:" not in block:
        block += "\nrouters:\n- protocol: http\n"
    return re.sub(
        r"^- protocol: http\n(?!(?:  .*\n)*  servers:)",
        "- protocol: http\n  servers: [{}]\n",
        block,
        flags=re.MULTILINE,
    )


@pytest.mark.parametrize("file", EXAMPLES, ids=shown)
def test_an_example_is_taken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    load = namerd.load if re.search(r"^storage:", file.read_text(), re.MULTILINE) else linker.load
    load(file)


@pytest.mark.parametrize("file", [*PYTHON, *RUST], ids=shown)
def test_a_source_file_is_small(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("file", PYTHON, ids=shown)
def test_a_python_module_says_what_it_is(file: Path) -> None:
    text = file.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("file", RUST, ids=shown)
def test_a_rust_module_says_what_it_is(file: Path) -> None:
    assert file.read_text().startswith("//! ")


@pytest.mark.parametrize("file", EXAMPLES, ids=shown)
def test_an_example_is_run_by_a_test(file: Path) -> None:
    tests = "".join(test.read_text() for test in (ROOT / "tests" / "mesh").rglob("test_*.py"))
    assert f'"{file.name}"' in tests


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_a_page_links_to_files_that_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link and not link.startswith("#")]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


def test_both_readmes_show_the_same_commands() -> None:
    english, chinese = (_commands((ROOT / name).read_text()) for name in ("README.md", "README.zh-CN.md"))
    assert english == chinese


def _commands(text: str) -> list[str]:
    """Give the lines of a page's commands and configurations, without their comments."""
    blocks = re.findall(r"^```(?:sh|yaml)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines()]


def test_the_engine_knows_no_python_and_no_unsafe_code() -> None:
    engine = tomllib.loads((ROOT / "engine" / "Cargo.toml").read_text())
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert not [name for name in engine["dependencies"] if name.startswith("pyo3")]
    assert engine["lints"] == {"workspace": True}
    assert workspace["workspace"]["lints"]["rust"]["unsafe_code"] == "forbid"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "benchmarks/requirements.lock"])
def test_a_lock_pins_and_hashes_every_package_and_names_no_server(name: str) -> None:
    text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip()]
    assert entries
    assert [line for line in entries if not re.match(r"\S+==\S+.* --hash=sha256:[0-9a-f]{64}", line)] == []
    assert "://" not in text
