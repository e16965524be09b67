"""Every error that Biandou raises: which room it happened in, whose fault it was, and whether to try again."""

from __future__ import annotations

from typing import ClassVar, Literal

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


class BiandouError(Exception):
    """What all our errors have in common.

    `room` is the step of the road (the metric label and the log field), `fault` says who has to act, and `retry` whether the
    same thing may succeed when tried again.
    """

    room: ClassVar[Room]
    fault: ClassVar[Fault] = "ours"
    retry: ClassVar[bool] = False


class ConfigError(BiandouError):
    """The configuration cannot be used; the message says where and why."""

    room = "configuration"
    fault = "user"


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
