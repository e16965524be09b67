"""`io.l5d.rewrite`: gives a path another form, to be looked up again (reference/naming.md §1.12)."""

from __future__ import annotations

from biandou.dtab import NEG, Leaf, NameTree, Path
from biandou.dtab.bound import Bound
from biandou.dtab.pattern import Pattern, placeholders, substitute
from biandou.errors import BindingError
from biandou.live import Live
from biandou.namers.interface import NamerKind


class RewriteNamerKind(NamerKind, frozen=True, kw_only=True, tag="io.l5d.rewrite"):
    """A path that begins with `pattern` becomes `name`, `{captures}` filled in; what follows the pattern is dropped."""

    prefix: str
    pattern: str
    name: str

    def __post_init__(self) -> None:
        """Raise `ValueError` if `name` can never become a path."""
        super().__post_init__()
        missing = placeholders(self.name) - Pattern.read(self.pattern).captures
        if missing:
            names = ", ".join(f"{{{name}}}" for name in sorted(missing))
            raise ValueError(f"name uses {names}, which pattern does not capture")
        Path.read(substitute(self.name, dict.fromkeys(placeholders(self.name), "x")))

    def namer(self) -> RewriteNamer:
        """Make the namer."""
        return RewriteNamer(self.full_prefix, Pattern.read(self.pattern), self.name)


class RewriteNamer:
    """Rewrites paths; one that does not match is negative."""

    def __init__(self, prefix: Path, pattern: Pattern, name: str) -> None:
        self.prefix = prefix
        self._pattern = pattern
        self._name = name

    def lookup(self, path: Path) -> Live[NameTree[Path | Bound]]:
        """Give the rewritten path, which goes back through the dtab."""
        captured = self._pattern.extract(path)
        if captured is None:
            return Live.ok(NEG)
        rewritten = substitute(self._name, captured)
        try:
            return Live.ok(Leaf(Path.read(rewritten)))
        except ValueError as error:
            return Live.failed(BindingError(f"{self.prefix}: {error}"))
