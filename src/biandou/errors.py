"""Every error that Biandou raises: which room it happened in, whose fault it was, and whether to try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

Room = Literal[
    "configuration",
    "identification",
    "binding",
    "resolution",
    "transformation",
    "balancing",
    "control",
    "admin",
]
Fault = Literal["user", "peer", "ours"]

MAX_REASON: Final = 4096
"""Characters of a failure's message: every caller that meets the failure gets it."""


class BiandouError(Exception):
    """What all our errors have in common.

    `room` is the step of the road (the metric label and the log field), `fault` says who has to act, and `retry`
    whether the same thing may succeed when tried again.
    """

    room: ClassVar[Room]
    fault: ClassVar[Fault] = "ours"
    retry: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: where it is and what it is.

    `line` and `column` count from 1; 0 when there is no such place. `path` is the key's (`routers[0].servers[1].port`).
    """

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""

    def __str__(self) -> str:
        place = [self.file] if self.file else []
        if self.line:
            place += [str(self.line), str(self.column)]
        prefix = ":".join(place)
        return ": ".join(part for part in (prefix, self.path, self.message) if part)


class ConfigError(BiandouError):
    """The configuration cannot be used; each of `problems` says where and why, and the text is all of them."""

    room = "configuration"
    fault = "user"

    def __init__(self, problems: str | Sequence[Problem]) -> None:
        self.problems = [Problem(problems)] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BindingError(BiandouError):
    """A name could not be turned into a tree of client names."""

    room = "binding"
    fault = "user"


class DepthExceeded(BindingError):
    """Delegation went deeper than the limit, mostly because two dentries name each other."""

    def __init__(self, depth: int) -> None:
        super().__init__(f"Max recursion level: {depth} reached in Namer lookup")
        self.depth = depth


class ResolutionError(BiandouError):
    """A namer could not say which endpoints a client name has."""

    room = "resolution"
    fault = "peer"
    retry = True


def reason(error: Exception) -> str:
    """Give an exception's message, or its class if it has none (reference/linker.md §3.10).

    What is no text, as a file's name may be, is escaped; a message that quotes a whole file is cut.
    """
    text = (str(error) or type(error).__name__).encode(errors="backslashreplace").decode()
    return text if len(text) <= MAX_REASON else text[:MAX_REASON] + "…"


class StoreError(BiandouError):
    """A store of dtabs did not do what it was asked for; what it holds is unchanged unless it says otherwise."""

    room = "control"
    fault: ClassVar[Fault] = "user"


class NamespaceExists(StoreError):
    """A namespace was to be created and is there already."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"the namespace {namespace} exists already")


class NamespaceMissing(StoreError):
    """A namespace was to be changed and is not there."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"the namespace {namespace} does not exist")


class NothingUnderWay(StoreError):
    """A canary or rollout was to be changed and was never begun."""


class NamespaceRefused(StoreError):
    """The store takes no namespace of this name."""


class StaleVersion(StoreError):
    """The namespace has changed since the version that a change was meant for."""

    def __init__(self, namespace: str) -> None:
        super().__init__(f"the namespace {namespace} has another version")


class TooLarge(StoreError):
    """A dtab has more entries or text than the store takes."""


class StoreForbidden(StoreError):
    """The store does not let us do this."""


class StoreDown(StoreError):
    """The store cannot be reached or cannot write; whether a change was made may be unknown."""

    fault = "peer"
    retry = True
