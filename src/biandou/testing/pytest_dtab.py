"""A pytest plugin: collects `*.dtabtest.yaml`, and each name in it is a test."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from biandou.dtab import Dtab
    from biandou.testing.dtab_tests import DtabTest

SUFFIXES = (".dtabtest.yaml", ".dtabtest.yml")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the files that are ours."""
    if not file_path.name.endswith(SUFFIXES):
        return None
    collector: pytest.Collector = DtabTestFile.from_parent(parent, path=file_path)
    return collector


class DtabTestFile(pytest.File):
    """A file of tests."""

    def collect(self) -> Iterable[pytest.Item]:
        """Give a test for each name."""
        # Not before there is such a file: pytest loads this plugin for everybody who has Biandou.
        from biandou.testing.dtab_tests import DtabTestError, load  # noqa: PLC0415

        try:
            tests = load(str(self.path), _stored)
        except DtabTestError as error:
            raise self.CollectError(str(error)) from error
        return list(self._items(tests.dtab, tests.tests))

    def _items(self, dtab: Dtab, tests: Iterable[DtabTest]) -> Iterator[pytest.Item]:
        for test in tests:
            yield DtabItem.from_parent(self, name=str(test.name), dtab=dtab, test=test)


class DtabItem(pytest.Item):
    """One name of a file."""

    def __init__(self, *, dtab: Dtab, test: DtabTest, **more: Any) -> None:
        super().__init__(**more)
        self._dtab = dtab
        self._test = test

    def runtest(self) -> None:
        """Fail if the name comes to something else."""
        failure = self._test.failure(self._dtab)
        if failure is not None:
            raise _Otherwise(failure)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Give what was expected and what came, without a traceback."""
        if isinstance(excinfo.value, _Otherwise):
            return f"{self._test.file}:{self._test.line}: {self._test.name}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Give the place in the file."""
        return self.path, self._test.line - 1, f"dtab: {self._test.name}"


class _Otherwise(AssertionError):
    pass


def _stored(namespace: str) -> str:
    from biandou.cli.dtab_stored import stored  # noqa: PLC0415 - only for those whose tests ask a namerd
    from biandou.cli.namerd_http import NamerdFailed  # noqa: PLC0415
    from biandou.testing.dtab_tests import DtabTestError  # noqa: PLC0415

    try:
        return stored(namespace, None, os.environ.get("BIANDOU_NAMERD_TOKEN") or None)
    except NamerdFailed as error:
        raise DtabTestError(f"{namespace}: {error}") from error
