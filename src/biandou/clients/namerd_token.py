"""What a linker shows to a namerd whose HTTP API wants a token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MAX_TOKEN: Final = 4096


@dataclass(frozen=True, slots=True)
class NamerdToken:
    """A token, or the file that holds it, which is read for each connection: it may be changed meanwhile."""

    token: str | None = field(default=None, repr=False)
    file: str | None = None

    def secret(self) -> str | None:
        """Give what is shown, `None` if nothing is; raises `ValueError`, or `OSError` if the file can't be read."""
        if self.file is None:
            return None if self.token is None else _checked(self.token, "token")
        with open(self.file, encoding="utf-8") as opened:
            return _checked(opened.read(MAX_TOKEN + 1).strip(), f"{self.file} holds no token")


def _checked(token: str, what: str) -> str:
    if not (0 < len(token) <= MAX_TOKEN and token.isascii() and token.isprintable()):
        raise ValueError(f"{what}: 1 to {MAX_TOKEN} printable ASCII characters are expected")
    return token
