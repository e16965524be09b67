"""The types of single values, and the marks that say more about a key than its type does.

A mark stands in `Annotated[type, mark]`; `typed.py` acts on it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from biandou.config.node import Scalar
from biandou.config.wording import shorten
from biandou.dtab import Dtab, Path
from biandou.dtab.matcher import PathMatcher
from biandou.kinds import Register


@dataclass(frozen=True, slots=True)
class Check:
    """The value is what `read` makes of the scalar; it raises `ValueError`. `expected` says what may stand there."""

    expected: str
    read: Callable[[Scalar], Any]


@dataclass(frozen=True, slots=True)
class Room:
    """An object of one of a room's kinds: `name` is a key of `standard.ROOMS`, or the register itself.

    `default` is the kind of an object that names none; without it the kind must be named.
    """

    name: str | Register[Any]
    default: str | None = None


@dataclass(frozen=True, slots=True)
class OneOrMany:
    """A list, or one element of it."""


@dataclass(frozen=True, slots=True)
class NotAKey:
    """A field that no key sets."""


@dataclass(frozen=True, slots=True)
class NotBuilt:
    """A key that is known and read, but refused unless it has its default or `same` says that it means the same."""

    same: Callable[[Any], bool] | None = None


def _port(scalar: Scalar) -> int:
    if not isinstance(scalar.value, int) or isinstance(scalar.value, bool):
        raise ValueError(_found(scalar))
    if not 0 <= scalar.value <= 65535:
        raise ValueError(f"{shorten(scalar.text)} outside valid range for ports")
    return scalar.value


def _ip(scalar: Scalar) -> str:
    text = scalar.text
    try:
        # A zone (`fe80::1%eth0`) is no part of the literal.
        return str(ipaddress.ip_address(text if "%" not in text else ""))
    except ValueError:
        raise ValueError(f"'{shorten(text)}' is not an IP string literal.") from None


def _path(scalar: Scalar) -> Path:
    return Path.read(_text(scalar))


def _dtab(scalar: Scalar) -> Dtab:
    return Dtab.read(_text(scalar))


def _pattern(scalar: Scalar) -> PathMatcher:
    return PathMatcher(_text(scalar))


def _regex(scalar: Scalar) -> str:
    text = _text(scalar)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"`{shorten(text)}` is no regular expression: {error}") from error
    return text


def _text(scalar: Scalar) -> str:
    if scalar.value is None:
        raise ValueError(_found(scalar))
    return scalar.text


def _found(scalar: Scalar) -> str:
    if scalar.value is None:
        return "found nothing"
    kind = "the text " if isinstance(scalar.value, str) else ""
    return f"found {kind}`{shorten(scalar.text)}`"


Port = Annotated[int, Check("a port, a number from 0 to 65535 without quotes", _port)]
Ip = Annotated[str, Check("an IP address, no host name", _ip)]
PathText = Annotated[Path, Check("a path such as `/svc`", _path)]
DtabText = Annotated[Dtab, Check("a dtab such as `/svc => /host ;`", _dtab)]
PrefixPattern = Annotated[PathMatcher, Check("a pattern such as `/svc/{name}` or `/#/*/web`", _pattern)]
RegexText = Annotated[str, Check("a regular expression", _regex)]

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""How many of something."""

PositiveCount = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""How many of something, at least one."""

Percent = Annotated[int, Meta(ge=0, le=100)]
"""A share in percent."""

Kilobytes = Annotated[int, Meta(ge=1, le=2**21)]
"""A size in units of 1024 bytes, up to 2 GiB."""
