"""`httpIdentifierPort`: what each HTTP router takes the very request for (reference/linker.md §7.4)."""

from __future__ import annotations

import json

from biandou.admin.page import Reply, Request
from biandou.admin.sources import AdminSources


class IdentifierSite:
    """Answers every request, whatever its path, with the name that each router has for it."""

    def __init__(self, sources: AdminSources) -> None:
        self._sources = sources

    def show(self, sources: AdminSources) -> None:
        """Answer from these sources from now on."""
        self._sources = sources

    async def answer(self, request: Request) -> Reply:
        """Give `{"router": {"path": …, "dtab": …}}`, or an `error` for a router that has no name for it."""
        target = f"{request.path}?{request.query}" if request.query else request.path
        identify = self._sources.identify
        names = {} if identify is None else identify(request.method, target, request.headers)
        return Reply(json.dumps(names).encode(), 200, "application/json")
