"""What every announcer is: configuration that an operator writes, and what makes one address known under one name."""

from __future__ import annotations

from typing import Protocol

from biandou.clients.retry import Retry
from biandou.dtab import Path
from biandou.kinds import Kind, kind_name


class AnnounceError(Exception):
    """An address could not be made known, or is no longer; it is tried again."""


class Registration(Protocol):
    """One address under one name at one registry; `standing.py` calls its methods one after the other."""

    retry: Retry
    """How long to wait after a failure."""

    async def register(self) -> str:
        """Make the address known, or see that it is, and give as what; raises `AnnounceError`.

        It may be called again at any time, and the address is known once all the same.
        """

    async def hold(self) -> None:
        """Keep it known; ends when that has to be looked after by `register`. Raises `AnnounceError`."""

    async def rest(self, seconds: float) -> None:
        """Wait so long, or until trying again may help."""

    async def withdraw(self) -> None:
        """Have it known no more, and let go of the registry; raises `AnnounceError`."""


class Announcer(Protocol):
    """Makes addresses known at one registry; opens nothing before the first of them."""

    scheme: str
    """What the log calls the registry."""

    name: str
    """Which registry it is, for the admin server."""

    def registration(self, name: Path, ip: str, port: int) -> Registration:
        """Give what makes this address known under `name`, the path without the announcer's prefix."""


class AnnouncerKind(Kind, frozen=True, kw_only=True):
    """The keys that all announcers have (reference/linker.md §2.12)."""

    prefix: str | None = None

    def __post_init__(self) -> None:
        """Raise `ValueError` unless the prefix is a path."""
        if self.prefix is not None:
            Path.read(self.prefix)

    @property
    def full_prefix(self) -> Path:
        """The prefix under `/#`, by default the kind's own name."""
        return Path.read("/#") + Path.read(self.prefix or f"/{kind_name(type(self))}")

    def check(self, name: Path) -> None:
        """Raise `ValueError` for a name, without the prefix, that nothing can be announced as."""
        raise NotImplementedError

    def announcer(self) -> Announcer:
        """Make the announcer; raises `ConfigError` for a file that can't be used."""
        raise NotImplementedError
