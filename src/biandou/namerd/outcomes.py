"""How many requests each linker has had and how many of them failed, as linkers report while a dtab is tried."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from biandou.namerd.canary import Counts
from biandou.namerd.in_force import MAX_REPORTING, MAX_TEXT

MOST: Final = 2**53


@dataclass(slots=True)
class _Process:
    """What a router of a linker said last, and what came in between since it was wanted."""

    requests: int
    failures: int
    had: int = 0
    failed: int = 0


class Outcomes:
    """The counts of each namespace for which they are wanted; what was counted before is not looked at."""

    def __init__(self) -> None:
        self._wanted: defaultdict[str, dict[str, _Process]] = defaultdict(dict)

    def want(self, namespace: str) -> None:
        """Ask linkers for what they count."""
        self._wanted.setdefault(namespace, {})

    def leave(self, namespace: str) -> None:
        """Ask no more, and forget."""
        self._wanted.pop(namespace, None)

    def wants(self, namespace: str) -> bool:
        """Whether linkers are asked."""
        return namespace in self._wanted

    def take(self, namespace: str, document: bytes) -> None:
        """Take in a report: `{"process": "<token>/<router>", "served": {"requests", "failures"}}`.

        One without `served` says nothing. Raises `ValueError` for what is no report.
        """
        known = self._wanted.get(namespace)
        if known is None:
            return
        try:
            sent = json.loads(document)
            process, served = sent["process"], sent.get("served")
            if served is None:
                return
            requests, failures = _count(served["requests"]), _count(served["failures"])
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"this is no report: {error!r}") from error
        if not isinstance(process, str) or len(process) > MAX_TEXT:
            raise ValueError("a report has a process")
        former = known.get(process)
        if former is None:
            if len(known) < MAX_REPORTING:
                known[process] = _Process(requests, failures)
            return
        if requests >= former.requests and failures >= former.failures:
            former.had += requests - former.requests
            former.failed += failures - former.failures
        former.requests, former.failures = requests, failures

    def sums(self, namespace: str) -> dict[str, Counts]:
        """Give what each linker, by its token, has had and failed since it was wanted."""
        sums: dict[str, Counts] = {}
        for process, counted in self._wanted.get(namespace, {}).items():
            token = process.partition("/")[0]
            former = sums.get(token, Counts())
            sums[token] = Counts(former.requests + counted.had, former.failures + counted.failed)
        return sums


def between(before: Mapping[str, Counts], now: Mapping[str, Counts], of: Callable[[str], bool]) -> Counts:
    """Give what those linkers whose tokens `of` takes did from `before` to `now`."""
    requests = failures = 0
    for token, counts in now.items():
        if of(token):
            former = before.get(token, Counts())
            requests += counts.requests - former.requests
            failures += counts.failures - former.failures
    return Counts(requests, failures)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST:
        raise ValueError("a count is a whole number")
    return value
