"""Fuzz the dtab language: `python tests/fuzz/fuzz_dtab.py -runs=20000` (libFuzzer's options; an error ends the run).

Any text is either refused with a `DtabSyntaxError` whose place lies in the text, or it is read, and what is shown reads
back as the same. Whatever was read is then delegated and explained. All of it in bounded time. The first inputs are the
texts of `tests/vectors/naming.json`, unless a folder of inputs is given.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import atheris  # type: ignore[import-untyped] # it ships no types

with atheris.instrument_imports():
    from biandou.dtab import NEG, Dentry, Dtab, DtabSyntaxError, NameTree, Path, Prefix
    from biandou.dtab.delegate import Answer, evaluate
    from biandou.dtab.explain import explain, to_json
    from biandou.dtab.matcher import PathMatcher
    from biandou.live import Ok

READERS: tuple[Callable[[str], object], ...] = (Path.read, Prefix.read, NameTree.read, Dentry.read, Dtab.read)
NAMES = [Path.read(text) for text in ("/", "/a", "/a/b", "/svc/web", "/$/inet/127.1/80")]
SECONDS = 5.0
"""Twenty loops to the limit of steps, slowed by the instruments, take one."""


def ask(path: Path) -> Answer:
    """Know no name."""
    return Ok(NEG)


def check(data: bytes) -> None:
    """Try one input; raises when a property does not hold."""
    text = data.decode("utf-8", "replace")
    start = time.process_time()
    for read in READERS:
        try:
            value = read(text)
        except DtabSyntaxError as error:
            lines = text.split("\n")
            if not (1 <= error.line <= len(lines) and 1 <= error.column <= len(lines[error.line - 1]) + 1):
                raise AssertionError(f"{error.line}:{error.column} is no place in {text!r}") from error
            continue
        if read(str(value)) != value:
            raise AssertionError(f"{text!r} is shown as {str(value)!r}, which reads as something else")
        if isinstance(value, NameTree) and value.simplified.simplified != value.simplified:
            raise AssertionError(f"{text!r} can be simplified twice")
        if isinstance(value, Dtab):
            for name in NAMES:
                evaluate(value, name, ask)
                explanation = explain(value, name, ask).state
                if not isinstance(explanation, Ok):
                    raise AssertionError(f"{text!r} leaves {name} without an explanation: {explanation}")
                json.dumps(to_json(explanation.value, lambda bound: None))
        if isinstance(value, Path):
            PathMatcher(text).match(value)
    spent = time.process_time() - start
    if spent > SECONDS:
        raise AssertionError(f"{text[:200]!r}… took {spent:.1f} s")


def seed(folder: pathlib.Path) -> None:
    """Write every text of the vectors into `folder`."""
    vectors = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "naming.json").read_text())["vectors"]
    for vector in vectors:
        given = vector["input"]
        text = given.get("text", given.get("dtab", "")) if isinstance(given, dict) else str(given)
        (folder / vector["id"]).write_text(text)


if __name__ == "__main__":
    if any(not argument.startswith("-") for argument in sys.argv[1:]):
        atheris.Setup(sys.argv, check)
        atheris.Fuzz()
    # The fuzzer ends its process past every `finally`, so a second process is what it runs in.
    with tempfile.TemporaryDirectory() as corpus:
        seed(pathlib.Path(corpus))
        sys.exit(subprocess.call([sys.executable, *sys.argv, corpus]))
