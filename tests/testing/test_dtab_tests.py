"""Unit tests of dtabs: what passes, what fails and how that is told, and what is no file of tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from biandou.testing.dtab_tests import DtabTestError, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "dtabs"


def nothing(namespace: str) -> str:
    raise AssertionError(namespace)


def failures(directory: Path, text: str) -> list[str | None]:
    (directory / "a.dtabtest.yaml").write_text(text)
    tests = load(str(directory / "a.dtabtest.yaml"), lambda name: f"/svc => /#/{name}")
    return [test.failure(tests.dtab) for test in tests.tests]


@pytest.mark.parametrize(
    "text",
    [
        "dtab: /svc => /#/fs\ntests:\n  /svc/web: /#/fs/web",
        "dtab: /svc => /#/fs\nnames: [/#/fs/web]\ntests: {/svc/web/x/y: {is: /#/fs/web, residual: /x/y}}",
        "dtab: /svc => /#/fs\nnames: [/#/fs/web]\ntests: {/svc/other: ~, /other: '~'}",
        "dtab: /svc => 90*/#/fs/a & 10*/#/fs/b\ntests: {/svc: 0.1*/#/fs/b & 0.9*/#/fs/a}",
        "dtab: /svc => /$/io.buoyant.http.domainToPathPfx/r ; /r => /#/fs\ntests: {/svc/a.b: /#/fs/b/a}",
        "dtab: /svc => /$/nil\ntests: {/svc: $}",
        "dtab: /svc => /$/io.biandou.atLeast/2/#/fs | /#/other\nnames: [/#/fs/web]\ntests: {/svc/web: /#/fs/web}",
        "dtab: /svc => /$/io.biandou.atLeast/2/#/fs | /#/fs/b\nnames: [/#/fs/b]\ntests: {/svc: /#/fs/b}",
        "dtab: /svc => /svc\ntests: {/svc: {error: '100'}}",
        "namespace: fs\ntests: {/svc/a: /#/fs/a}",
        "dtab: ''\ntests: [{name: /a, local: /a => /#/b, is: /#/b}]",
    ],
)
def test_a_name_that_comes_to_what_is_expected_passes(tmp_path: Path, text: str) -> None:
    assert failures(tmp_path, text) == [None] * len(failures(tmp_path, text)) != []


def test_a_failure_shows_what_came_and_by_which_entries(tmp_path: Path) -> None:
    text = "dtab: /srv => /#/fs ; /svc => /srv | /$/nil\nnames: [/#/fs/a]\ntests: {/svc/web: /#/fs/web}"
    assert failures(tmp_path, text) == [
        """\
expected: /#/fs/web
came to:  $
the way it took:
  /svc/web
    | /srv/web   # /svc => /srv | /$/nil
      /#/fs/web ~   # /srv => /#/fs
    | /$/nil/web   # /svc => /srv | /$/nil"""
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dtab: /svc => /#/fs\ntests: {/svc/web: /#/fs/wob}", "came to:  /#/fs/web"),
        ("dtab: /svc => 3*/#/a & /#/b\ntests: {/svc: /#/a & /#/b}", "came to:  3*/#/a & /#/b"),
        ("dtab: /svc => /svc\ntests: {/svc: ~}", "failed: "),
        ("dtab: /svc => /#/a\ntests: {/svc: {error: depth}}", "expected: an error with the words 'depth'"),
        ("dtab: /svc => /#/a\nnames: [/#/a]\ntests: {/svc/x: {is: /#/a, residual: /y}}", "came to residual:  /x"),
        ("dtab: /svc => /$/inett/1\ntests: {/svc: ~}", "Unknown namer: inett"),
    ],
)
def test_a_name_that_comes_to_something_else_fails(tmp_path: Path, text: str, said: str) -> None:
    (failure,) = failures(tmp_path, text)
    assert failure is not None
    assert said in failure


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: a mapping is expected"),
        ("tests: {}", "1: one of `dtab`, `dtabFile` and `namespace` is needed"),
        ("dtab: ''\ntests: 7", "2: `tests` is a mapping"),
        ("dtab: ''\nname: []\ntests: {}", "2: 'name' is no key"),
        ("dtab: ''\ntests:\n  /a: /b\n  svc: /c", "4: '/' expected"),
        ("dtab: ''\ntests:\n  /a: /b ?", "3: "),
        ("dtab: /a => ?\ntests: {}", "1: line 1, column 7"),
        ("dtabFile: none.dtab\ntests: {}", "1: none.dtab: No such file"),
        ("dtab: ''\ntests:\n- {is: /a}", "3: a test has a `name`"),
        ("dtab: ''\ntests:\n- {name: /a}", "3: a test has either"),
        ("dtab: ''\ntests:\n- {name: /a, is: /a, without: [/b]}", "3: `without` needs"),
        ("dtab: ''\nnames: [/#/a]\ntests:\n- {name: /a, is: /a, without: [/b]}", "4: /b is none of"),
        ("dtab: [", "while parsing"),
    ],
)
def test_what_is_no_file_of_tests_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DtabTestError) as caught:
        failures(tmp_path, text)
    assert said in str(caught.value).removeprefix(f"{tmp_path}/a.dtabtest.yaml:")


def test_the_example_passes_and_fails_with_another_table() -> None:
    tests = load(str(EXAMPLE / "shop.dtabtest.yaml"), nothing)
    assert [test.failure(tests.dtab) for test in tests.tests] == [None] * 7
    changed = type(tests.dtab)(entry for entry in tests.dtab if "ledger" not in str(entry.prefix))
    assert [test.failure(changed) is None for test in tests.tests] == [True] * 4 + [False] + [True] * 2


def test_pytest_collects_such_files_and_tells_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.dtabtest.yaml").write_text(
        "dtab: /svc => /#/fs\ntests:\n  /svc/a: /#/fs/a\n  /svc/b: /#/fs/c\n  /svc/c: /#/fs/c\n"
    )
    (tmp_path / "b.dtabtest.yaml").write_text("dtab: /svc\ntests: {}\n")
    (tmp_path / "c.yaml").write_text("no tests")
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "pytest", "-p", "biandou.testing.pytest_dtab", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "a.dtabtest.yaml"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "1 failed, 2 passed" in ran.stdout
    assert "a.dtabtest.yaml:4: /svc/b\nexpected: /#/fs/c\ncame to:  /#/fs/b\n" in ran.stdout
    assert "Traceback" not in ran.stdout
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "b.dtabtest.yaml:1: line 1, column 5" in ran.stdout
