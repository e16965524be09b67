"""Which dtab a linker goes by, and has in force, that watches its names in one stream of gRPC's (`mesh.proto`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from biandou.dtab.mesh import decode_path
from biandou.dtab.protobuf import MalformedMessage, as_bytes, as_number, as_text, bytes_field, fields
from biandou.live import Live, Ok, State, Watch
from biandou.namerd.in_force import MAX_TEXT, Held, InForce, Linker, read_linker
from biandou.namerd.rollout import Rollout
from biandou.namerd.sight import View

LINKER: Final = 2
IN_FORCE: Final = 3
"""The fields of a `WatchReq` that are about this."""

VERSION: Final = 2
"""And the one of a `WatchRsp`."""


class MeshStanding:
    """One linker; `views` gives which dtab of a namespace it goes by; `wake` is called when a version is to be told.

    When it is to try another dtab, or none any more, `retried` is called, and `trial` says which.
    """

    def __init__(self, in_force: InForce, views: Callable[[str, Linker], Live[View]], wake: Callable[[], None]) -> None:
        self.trial: tuple[str, Rollout] | None = None
        self.retried: Callable[[], None] = _nobody
        self._in_force = in_force
        self._views = views
        self._wake = wake
        self._namespace = ""
        self._held: Held | None = None
        self._watch: Watch | None = None
        self._version: str | None = None
        self._told: str | None = None

    def take(self, number: int, message: bytes) -> None:
        """Take in what a linker says of itself; raises `MalformedMessage`."""
        if number == LINKER:
            self._enter(message)
        elif self._held is not None:
            version = as_text(IN_FORCE, message)
            if len(version) > MAX_TEXT:
                raise MalformedMessage("a version is a short text")
            self._in_force.hold(self._namespace, self._held, version)

    def news(self, settled: Callable[[], bool]) -> bytes:
        """Give the version as a field of `WatchRsp`, if it is news and `settled` says that what it changed is told."""
        if self._version is None or self._version == self._told or not settled():
            return b""
        self._told = self._version
        return bytes_field(VERSION, self._version.encode())

    def close(self) -> None:
        """Take note that the linker is gone."""
        if self._watch is not None:
            self._watch.close()
        if self._held is not None:
            self._in_force.leave(self._namespace, self._held)

    def _enter(self, message: bytes) -> None:
        if self._held is not None:
            raise MalformedMessage("a linker says once who it is")
        root, token, host, pid = b"", "", "", 0
        for number, value in fields(message):
            match number:
                case 1:
                    root = as_bytes(number, value)
                case 2:
                    token = as_text(number, value)
                case 3:
                    host = as_text(number, value)
                case 4:
                    pid = as_number(number, value)
        try:
            (segment,) = decode_path(root).segments
            namespace = segment.decode()
            linker = read_linker(token, host, pid)
        except ValueError as error:
            raise MalformedMessage(f"a linker says who it is: {error}") from error
        self._namespace = namespace
        self._held = self._in_force.enter(namespace, linker)
        self._watch = self._views(namespace, linker).observe(self._see)

    def _see(self, state: State[View]) -> None:
        if not isinstance(state, Ok):
            return
        view = state.value
        trial = None if view.trial is None else (self._namespace, view.trial)
        if trial != self.trial:
            self.trial = trial
            # Before its version, which is told when the names have been.
            self.retried()
        self._version = view.version
        self._wake()


def _nobody() -> None:
    pass
