"""`io.l5d.rewrite`: gives a path another form, to be looked up again (reference/naming.md §1.12)."""

from __future__ import annotations

from biandou.namers.interface import NamerKind


class RewriteNamerKind(NamerKind, frozen=True, kw_only=True, tag="io.l5d.rewrite"):
    """A path that begins with `pattern` becomes `name`, `{captures}` filled in."""

    prefix: str
    pattern: str
    name: str
