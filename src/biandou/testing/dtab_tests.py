"""Unit tests of dtabs: what names must come to, read from YAML (docs/guides/dtab-tools.md) and tried without a network.

Namers are played: below `/#` exist the `names` that the file lists, or all if it lists none; `/$/…` is the real thing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, Final, NoReturn

import yaml

from biandou.dtab import NEG, Dtab, DtabSyntaxError, Leaf, NameTree, Path
from biandou.dtab.bound import Addresses, Bound, Negative
from biandou.dtab.delegate import Answer, evaluate
from biandou.dtab.explain import Absent, Alternatives, Broken, Delegation, Found, Shares, Step, explain
from biandou.dtab.likeness import comparable
from biandou.dtab.tree import show_weight
from biandou.errors import reason
from biandou.live import Failed, Live, Ok, Pending, State
from biandou.namers.at_least import AT_LEAST
from biandou.namers.system import SystemNamer

MAX_FILE: Final = 4 * 1024 * 1024
MAX_LINES: Final = 40
"""How much of a delegation is shown for a failure."""

Stored = Callable[[str], str]
"""Gives the dtab of a namespace as text; raises what it likes."""


class DtabTestError(ValueError):
    """A file of tests cannot be used; the message begins with its name and the line."""


@dataclass(frozen=True, slots=True)
class DtabTest:
    """One name and what it must come to: `tree`, or a failure whose message holds `error`."""

    file: str
    line: int
    name: Path
    tree: NameTree[Path]
    error: str | None
    residual: Path | None
    local: Dtab
    names: tuple[Path, ...] | None

    def failure(self, dtab: Dtab) -> str | None:
        """Try it, and say at length what is otherwise than expected; `None` if nothing is."""
        ask = _Namers(self.names).ask
        state = evaluate(dtab, self.name, ask, local=self.local).state
        problem = self._problem(state)
        if problem is None:
            return None
        told = explain(dtab, self.name, ask, local=self.local).state
        way = _show(told.value) if isinstance(told, Ok) else []
        return "\n".join([*problem, "the way it took:", *way])

    def _problem(self, state: State[NameTree[Bound]]) -> list[str] | None:
        expected = str(self.tree) if self.error is None else f"an error with the words {self.error!r}"
        if not isinstance(state, Ok):
            said = reason(state.error) if isinstance(state, Failed) else "no answer"
            if self.error is not None and isinstance(state, Failed) and self.error in said:
                return None
            return [f"expected: {expected}", f"failed:   {said}"]
        tree = state.value.map(_id)
        if self.error is not None or comparable(tree) != comparable(self.tree):
            return [f"expected: {expected}", f"came to:  {tree.simplified}"]
        others = {bound.residual for bound in state.value.leaves()} - {self.residual}
        if self.residual is not None and others:
            return [f"expected residual: {self.residual}", f"came to residual:  {', '.join(map(str, sorted(others)))}"]
        return None


@dataclass(frozen=True, slots=True)
class DtabTests:
    """The tests of a file, and the dtab that they are about."""

    dtab: Dtab
    tests: tuple[DtabTest, ...]


def load(file: str, stored: Stored, dtab: Dtab | None = None) -> DtabTests:
    """Read a file; `dtab` is used instead of the one that it names. Raises `DtabTestError`."""
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read(MAX_FILE + 1)
        if len(text) > MAX_FILE:
            raise DtabTestError(f"{file}: more than {MAX_FILE} characters")
        root = yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise DtabTestError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DtabTestError(f"{file}: {error}") from error
    return _Reader(file, stored).read(root, dtab)


class _Reader:
    def __init__(self, file: str, stored: Stored) -> None:
        self._file = file
        self._stored = stored

    def read(self, root: yaml.Node | None, given: Dtab | None) -> DtabTests:
        keys = self._keys(root, {"dtab", "dtabFile", "namespace", "names", "tests"})
        dtab = self._dtab(root, keys) if given is None else given
        names = self._paths(keys["names"]) if "names" in keys else None
        node = keys.get("tests")
        tests: list[DtabTest] = []
        if isinstance(node, yaml.MappingNode):
            tests = [self._test(name, self._text(name), value, names) for name, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                own = self._keys(item, {"name", "is", "error", "residual", "local", "without"})
                if "name" not in own:
                    self._fail(item, "a test has a `name`")
                tests.append(self._test(item, self._text(own["name"]), item, names))
        else:
            self._fail(node or root, "`tests` is a mapping of names to trees, or a list of tests")
        return DtabTests(dtab, tuple(tests))

    def _dtab(self, root: yaml.Node | None, keys: dict[str, yaml.Node]) -> Dtab:
        found = [key for key in ("dtab", "dtabFile", "namespace") if key in keys]
        if len(found) != 1:
            self._fail(root, "one of `dtab`, `dtabFile` and `namespace` is needed")
        node = keys[found[0]]
        text = self._text(node)
        where = ""
        if found[0] == "dtabFile":
            where = f"{text}: "
            try:
                text = (File(self._file).parent / text).read_text()
            except OSError as error:
                self._fail(node, f"{text}: {error.strerror}")
            except UnicodeDecodeError as error:
                self._fail(node, f"{text}: {error}")
        elif found[0] == "namespace":
            where = f"{text}: "
            text = self._stored(text)
        try:
            return Dtab.read(text)
        except DtabSyntaxError as error:
            self._fail(node, f"{where}line {error.line}, column {error.column}: {error}")

    def _test(self, at: yaml.Node, name: str, node: yaml.Node, names: tuple[Path, ...] | None) -> DtabTest:
        if isinstance(node, yaml.MappingNode):
            keys = self._keys(node, {"name", "is", "error", "residual", "local", "without"})
            if ("is" in keys) == ("error" in keys):
                self._fail(node, "a test has either `is` or `error`")
        else:
            keys = {"is": node}
        without = self._paths(keys["without"]) if "without" in keys else ()
        if without and names is None:
            self._fail(keys["without"], "`without` needs the file's `names`")
        missing = [str(path) for path in without if path not in (names or ())]
        if missing:
            self._fail(keys["without"], f"{missing[0]} is none of the file's `names`")
        return DtabTest(
            self._file,
            at.start_mark.line + 1,
            self._parsed(at, name, Path.read),
            self._tree(keys["is"]) if "is" in keys else NEG,
            self._text(keys["error"]) if "error" in keys else None,
            self._parsed(keys["residual"], self._text(keys["residual"]), Path.read) if "residual" in keys else None,
            self._parsed(keys["local"], self._text(keys["local"]), Dtab.read) if "local" in keys else Dtab(),
            None if names is None else tuple(path for path in names if path not in without),
        )

    def _tree(self, node: yaml.Node) -> NameTree[Path]:
        # A bare ~ is null in YAML; here it can only mean itself.
        if node.tag == "tag:yaml.org,2002:null":
            return NEG
        tree: NameTree[Path] = self._parsed(node, self._text(node), NameTree.read)
        return tree

    def _parsed(self, node: yaml.Node, text: str, read: Callable[[str], Any]) -> Any:
        try:
            return read(text)
        except DtabSyntaxError as error:
            self._fail(node, str(error))

    def _paths(self, node: yaml.Node) -> tuple[Path, ...]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, "a list of names is expected")
        return tuple(self._parsed(item, self._text(item), Path.read) for item in node.value)

    def _keys(self, node: yaml.Node | None, allowed: set[str]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, f"a mapping is expected, with the keys {', '.join(sorted(allowed))}")
        keys: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self._text(key)
            if name not in allowed or name in keys:
                what = "stands twice" if name in keys else f"is no key; there are {', '.join(sorted(allowed))}"
                self._fail(key, f"{name!r} {what}")
            keys[name] = value
        return keys

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, "a text is expected")
        return str(node.value)

    def _fail(self, node: yaml.Node | None, message: str) -> NoReturn:
        line = 1 if node is None else node.start_mark.line + 1
        raise DtabTestError(f"{self._file}:{line}: {message}")


class _Namers:
    """What is there in a test."""

    def __init__(self, names: Sequence[Path] | None) -> None:
        self._names = names
        self._system = SystemNamer()

    def ask(self, path: Path) -> Answer:
        """Answer as all namers together would; what is there has enough endpoints."""
        if path.starts_with(AT_LEAST):
            return self.ask(path.drop(len(AT_LEAST) + 1))
        if path.starts_with(self._system.prefix):
            answer = self._system.lookup(path.drop(1)).sample()
            return Failed(LookupError(f"{path} has no answer")) if isinstance(answer, Pending) else answer
        if path.segments[:1] != (b"#",):
            return Ok(NEG)
        if self._names is None:
            return Ok(Leaf(Bound(path, _NOWHERE)))
        known = [name for name in self._names if path.starts_with(name)]
        if not known:
            return Ok(NEG)
        longest = max(known, key=len)
        return Ok(Leaf(Bound(longest, _NOWHERE, path.drop(len(longest)))))


_NOWHERE: Final[Live[Addresses]] = Live.ok(Negative())


def _id(bound: Bound) -> Path:
    return bound.id


def _show(delegation: Delegation) -> list[str]:
    lines: list[str] = []
    waiting: list[tuple[Delegation, int, str]] = [(delegation, 1, "")]
    while waiting and len(lines) < MAX_LINES:
        node, depth, mark = waiting.pop()
        why = f"   # {node.dentry.prefix} => {node.dentry.dst}" if node.dentry is not None else ""
        match node:
            case Found(bound=bound):
                what = f"{bound.id} is there"
            case Broken(message=message):
                what = f"{node.path}: {message}"
            case Absent():
                what = f"{node.path} ~" if node.path.segments else "~"
            case _:
                what = str(node.path)
        lines.append(f"{'  ' * depth}{mark}{what}{why}")
        match node:
            case Step(tree=tree):
                waiting.append((tree, depth + 1, ""))
            case Alternatives(trees=trees):
                waiting += [(tree, depth + 1, "| ") for tree in reversed(trees)]
            case Shares(branches=branches):
                waiting += [(tree, depth + 1, f"& {show_weight(weight)} * ") for weight, tree in reversed(branches)]
    return [*lines, "  …"] if waiting else lines
