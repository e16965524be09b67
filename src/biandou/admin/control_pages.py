"""What changes something: `/admin/shutdown` and `/logging.json` (reference/linker.md §7.2), and our `/admin/reload`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from biandou.admin.durations import duration_ms
from biandou.admin.page import Page, Pages, Reply, Request, json_reply, text
from biandou.admin.sources import AdminSources
from biandou.errors import ConfigError, reason

MAX_GRACE_MS: Final = 2**31 - 1
ROOT: Final = "root"

_log = logging.getLogger(__name__)


def control_pages(sources: AdminSources) -> Pages:
    """Give the pages that an operator controls the process by."""
    pages = {
        "/admin/shutdown": Page(partial(_shutdown, sources), ("POST",)),
        "/logging.json": Page(partial(_logging, sources), ("GET", "POST")),
    }
    if sources.reload is not None:
        pages["/admin/reload"] = Page(partial(_reload, sources.reload), ("POST",))
    return pages


def _shutdown(sources: AdminSources, request: Request) -> Reply:
    written = request.parameters.get("grace")
    grace: int | None = None
    if written is not None:
        try:
            grace = min(max(0, duration_ms(written)), MAX_GRACE_MS)
        except ValueError as error:
            return text(f"could not parse 'grace' parameter: {error}", 400)
    sources.stop(grace)
    return text("quitting\n")


async def _reload(reload: Callable[[], Awaitable[str]], _request: Request) -> Reply:
    # A caller that goes away ends his wait, not the reload.
    try:
        changes = await asyncio.shield(asyncio.ensure_future(reload()))
    except ConfigError as error:
        return text(f"{error}\n", 400)
    except (OSError, ValueError) as error:
        return text(f"{reason(error)}\n", 409)
    return text(f"{changes}\n")


def _logging(sources: AdminSources, request: Request) -> Reply:
    if request.method != "POST":
        names = sorted([ROOT, *_names()])
        return json_reply([{"logger": name, "level": _level(sources, _logger(name))} for name in names])
    form = request.form
    if "logger" not in form or "level" not in form:
        return Reply(status=400)
    name, level = form["logger"], sources.log_levels.get(form["level"].upper())
    # What is not known changes nothing and is no mistake either, as in the reference.
    if level is not None and (name == ROOT or name in _names()):
        _logger(name).setLevel(level)
        _log.info("the level of the logger %s is now %s", name, form["level"].upper())
    return Reply()


def _names() -> list[str]:
    """Give the loggers that exist: none is made because somebody asks for it."""
    known = logging.root.manager.loggerDict
    return [name for name, logger in known.items() if isinstance(logger, logging.Logger)]


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(None if name == ROOT else name)


def _level(sources: AdminSources, logger: logging.Logger) -> str:
    """Give the name of the level in force: of two names for one, the one that Python's logging knows."""
    effective = logger.getEffectiveLevel()
    name = logging.getLevelName(effective)
    if name in sources.log_levels:
        return name
    rising = sorted(sources.log_levels.items(), key=lambda item: item[1])
    return next((name for name, level in rising if level >= effective), rising[-1][0])
