"""`io.l5d.prometheus`: the metrics as Prometheus reads them (reference/linker.md §8.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Final, NamedTuple, TypeAlias

from msgspec import Meta

from biandou.telemeters.interface import TelemeterKind
from biandou.telemeters.model import Scopes
from biandou.telemeters.numbers import show_float
from biandou.telemeters.window import QUANTILES, Summary

CONTENT_TYPE: Final = "text/plain"

Labels: TypeAlias = tuple[tuple[str, str], ...]

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9:]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_QUANTILES: Final = ("0", *(f"{quantile:g}" for quantile in QUANTILES), "1")
_KINDS: Final = ("service", "client", "server")


class PrometheusTelemeter(TelemeterKind, frozen=True, kw_only=True, tag="io.l5d.prometheus"):
    """Where Prometheus finds the metrics, and what their names begin with."""

    path: Annotated[str, Meta(pattern=r"^/[!-~]*$", description="a path that begins with /")] = (
        "/admin/metrics/prometheus"
    )
    prefix: str = ""

    def render(self, scopes: Scopes) -> bytes:
        """Give all metrics, a line each."""
        lines: list[str] = []
        prefix = _word(self.prefix)
        for metrics in scopes:
            place = _place(metrics.scope)
            head = prefix + "".join([f"{_word(part)}:" for part in place.named])
            shown = _show(place.labels)
            for name, count in metrics.counters.items():
                own, labels = _own(name, place, shown)
                lines.append(f"{head}{own}{labels} {count}\n")
            for name, value in metrics.gauges.items():
                own, labels = _own(name, place, shown)
                lines.append(f"{head}{own}{labels} {show_float(value)}\n")
            for name, summary in metrics.windows.items():
                if summary is not None:
                    lines += _stat_lines(head + _name(name), place.labels, summary)
        return "".join(lines).encode(errors="replace")


class _Place(NamedTuple):
    """A scope, the parts that name something of the operator's turned into labels; `of_thing`: it is about one."""

    named: list[str]
    labels: Labels
    of_thing: bool


def _place(scope: Sequence[str]) -> _Place:
    if len(scope) < 2 or scope[0] != "rt":
        return _Place(list(scope), (), of_thing=False)
    labels = [("rt", scope[1])]
    if len(scope) < 4 or scope[2] not in _KINDS:
        return _Place(["rt", *scope[2:]], tuple(labels), of_thing=False)
    kind, thing, *rest = scope[2:]
    labels.append((kind, thing))
    named = ["rt", kind]
    if kind == "client" and len(rest) > 1 and rest[0] == "service":
        labels.append(("service", rest[1]))
        named, rest = [*named, "service"], rest[2:]
    return _Place([*named, *rest], tuple(labels), of_thing=True)


def _own(name: str, place: _Place, shown: str) -> tuple[str, str]:
    """Give a metric's own name, and its labels: exceptions behind `failures` and `exn` become one."""
    if place.of_thing and "/" in name:
        parts = name.split("/")
        for index, part in enumerate(parts[:-1]):
            if part in ("failures", "exn"):
                own = "/".join([*parts[:index], "exceptions" if part == "exn" else part])
                return _name(own), _show((*place.labels, ("exception", ":".join(parts[index + 1 :]))))
    return _name(name), shown


def _stat_lines(name: str, labels: Labels, stat: Summary) -> Iterator[str]:
    shown = _show(labels)
    yield f"{name}_count{shown} {stat.count}\n"
    yield f"{name}_sum{shown} {stat.sum}\n"
    yield f"{name}_avg{shown} {show_float(stat.average)}\n"
    for quantile, value in zip(_QUANTILES, (stat.least, *stat.percentiles, stat.most), strict=True):
        yield f"{name}{_show((*labels, ('quantile', quantile)))} {value}\n"


@lru_cache(maxsize=1024)
def _name(text: str) -> str:
    """Give a metric's name as Prometheus takes it: `/` separates, as `:` does there."""
    return _word(text.replace("/", ":"))


def _word(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)


def _show(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ", ".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels) + "}"
