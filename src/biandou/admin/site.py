"""All pages of an admin server, and what holds for each of them: who may see it, by which method, and how it fails."""

from __future__ import annotations

import inspect
import logging
import time
from typing import Final

from biandou.admin.control_pages import control_pages
from biandou.admin.dtab_pages import dtab_pages
from biandou.admin.metrics_pages import metrics_pages
from biandou.admin.names_pages import names_pages
from biandou.admin.overview import overview_pages
from biandou.admin.page import Page, Pages, Reply, Request, find, text
from biandou.admin.process_pages import index_pages, process_pages
from biandou.admin.security import Gate, from_elsewhere
from biandou.admin.sources import AdminSources

NOT_FOUND: Final = Reply(status=404)

_log = logging.getLogger(__name__)


def admin_pages(sources: AdminSources) -> Pages:
    """Give every page that these sources make possible."""
    pages = {
        **overview_pages(),
        **process_pages(sources),
        **names_pages(sources),
        **control_pages(sources),
        **metrics_pages(sources),
        **dtab_pages(sources),
    }
    return {**pages, **index_pages(pages)}


class Site:
    """Answers requests; `loopback` says that the server listens where only this host can connect."""

    def __init__(self, sources: AdminSources, *, loopback: bool = True) -> None:
        self._loopback = loopback
        self.show(sources)
        metrics = sources.telemetry.registry.scope("adminhttp")
        self._requests, self._success, self._failures = (
            metrics.counter(name) for name in ("requests", "success", "failures")
        )
        self._latency = metrics.stat("request_latency_ms")

    def show(self, sources: AdminSources) -> None:
        """Answer from these sources from now on; their telemetry is the one from the start."""
        self._pages = admin_pages(sources)
        self._gate = Gate(sources.security)

    async def answer(self, request: Request) -> Reply:
        """Answer one request; an exception of a page becomes a 500."""
        began = time.perf_counter()
        reply = await self._answer(request)
        self._requests.add()
        (self._success if reply.status < 500 else self._failures).add()
        self._latency.record((time.perf_counter() - began) * 1000)
        return reply

    async def _answer(self, request: Request) -> Reply:
        if not self._gate.serves(request.path):
            return NOT_FOUND
        page = find(self._pages, request.path)
        if page is None:
            return NOT_FOUND
        refused = self._refusal(page, request)
        if refused is not None:
            return refused
        try:
            reply = page.handle(request)
            return await reply if inspect.isawaitable(reply) else reply
        except Exception as error:
            _log.exception("the admin page %s failed", request.path)
            return text(f"{type(error).__name__}: {error}", 500)

    def _refusal(self, page: Page, request: Request) -> Reply | None:
        method = "GET" if request.method == "HEAD" else request.method
        if page.methods and method not in page.methods:
            return Reply(status=405, headers={"Allow": ", ".join(page.methods)})
        if from_elsewhere(request, loopback=self._loopback):
            return text("this request comes from a page of another site", 403)
        try:
            request.form  # noqa: B018 - a page must not fail because of what it is asked
        except ValueError:
            return text("too many parameters", 400)
        return None
