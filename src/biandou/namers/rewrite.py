"""`io.l5d.rewrite`: gives a path another form, to be looked up again (reference/naming.md §1.12)."""

from __future__ import annotations

import re
from typing import Final

from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.matcher import PathMatcher, fill
from biandou.errors import BindingError
from biandou.live import Live
from biandou.namers.interface import NamerKind

_PLACEHOLDER: Final = re.compile(r"\{([^{}/]+)\}")


class RewriteNamerKind(NamerKind, frozen=True, kw_only=True, tag="io.l5d.rewrite"):
    """A path that begins with `pattern` becomes `name`, `{captures}` filled in; what follows the pattern is dropped."""

    prefix: str
    pattern: str
    name: str

    def __post_init__(self) -> None:
        """Raise `ValueError` if `name` can never become a path."""
        super().__post_init__()
        placeholders = _PLACEHOLDER.findall(self.name)
        for placeholder in placeholders:
            if f"{{{placeholder}}}" not in self.pattern:
                raise ValueError(f"name uses {{{placeholder}}}, which pattern does not capture")
        Path.read(fill(self.name, dict.fromkeys(placeholders, "x")))

    def namer(self) -> RewriteNamer:
        """Make the namer."""
        return RewriteNamer(self.full_prefix, PathMatcher(self.pattern), self.name)


class RewriteNamer:
    """Rewrites paths; one that does not match is negative."""

    def __init__(self, prefix: Path, pattern: PathMatcher, name: str) -> None:
        self.prefix = prefix
        self._pattern = pattern
        self._name = name

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give the rewritten path, which goes back through the dtab."""
        captured = self._pattern.match(path)
        if captured is None:
            return Live.ok(NEG)
        rewritten = fill(self._name, captured)
        try:
            return Live.ok(Leaf(Path.read(rewritten)))
        except ValueError as error:
            return Live.failed(BindingError(f"{self.prefix}: {error}"))
