"""`io.l5d.prometheus`: the metrics as Prometheus reads them (reference/linker.md §8.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from biandou.telemeters.interface import TelemeterKind
from biandou.telemeters.numbers import show_float
from biandou.telemeters.tree import Node
from biandou.telemeters.window import QUANTILES, Summary

CONTENT_TYPE: Final = "text/plain"

Labels: TypeAlias = tuple[tuple[str, str], ...]

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9:]")
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_KINDS: Final = ("service", "client", "server")


class PrometheusTelemeter(TelemeterKind, frozen=True, kw_only=True, tag="io.l5d.prometheus"):
    """Where Prometheus finds the metrics, and what their names begin with."""

    path: Annotated[str, Meta(pattern=r"^/[!-~]*$", description="a path that begins with /")] = (
        "/admin/metrics/prometheus"
    )
    prefix: str = ""

    def render(self, root: Node) -> str:
        """Give all metrics, a line each."""
        return "".join(f"{line}\n" for line in _lines(root, (), _NOT_IN_NAMES.sub("_", self.prefix)))


def _lines(node: Node, parts: tuple[str, ...], prefix: str) -> Iterator[str]:
    for place, here in node.walk(parts):
        if here.counter is None and here.gauge is None and here.stat is None:
            continue
        named, labels = _place(place)
        name = prefix + _NOT_IN_NAMES.sub("_", ":".join(named))
        if here.counter is not None:
            yield f"{name}{_show(labels)} {here.counter}"
        if here.gauge is not None:
            yield f"{name}{_show(labels)} {show_float(here.gauge)}"
        if here.stat is not None and here.stat.count:
            yield from _stat_lines(name, labels, here.stat)


def _stat_lines(name: str, labels: Labels, stat: Summary) -> Iterator[str]:
    shown = _show(labels)
    yield f"{name}_count{shown} {stat.count}"
    yield f"{name}_sum{shown} {stat.sum}"
    yield f"{name}_avg{shown} {show_float(stat.average)}"
    values = [("0", stat.least)]
    values += [(f"{quantile:g}", value) for quantile, value in zip(QUANTILES, stat.percentiles, strict=True)]
    values.append(("1", stat.most))
    for quantile, value in values:
        yield f"{name}{_show((*labels, ('quantile', quantile)))} {value}"


def _place(parts: Sequence[str]) -> tuple[list[str], Labels]:
    """Turn the parts of a place that name something of the operator's into labels."""
    named, labels, rest = list(parts), [], list(parts)
    if len(parts) > 2 and parts[0] == "rt":
        labels.append(("rt", parts[1]))
        named, rest = ["rt"], list(parts[2:])
        if len(rest) > 2 and rest[0] in _KINDS:
            kind, name, *rest = rest
            labels.append((kind, name))
            named.append(kind)
            if kind == "client" and len(rest) > 2 and rest[0] == "service":
                _, name, *rest = rest
                labels.append(("service", name))
                named.append("service")
            named += _without_exception(rest, labels)
        else:
            named += rest
    return named, tuple(labels)


def _without_exception(rest: list[str], labels: list[tuple[str, str]]) -> list[str]:
    """Turn the exceptions behind `failures` and `exn` into a label."""
    for index, part in enumerate(rest[:-1]):
        if part in ("failures", "exn"):
            labels.append(("exception", ":".join(rest[index + 1 :])))
            return [*rest[:index], "exceptions" if part == "exn" else part]
    return rest


def _show(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ", ".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels) + "}"
