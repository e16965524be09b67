"""What kind of process this is and how it fares: ping, health, versions, threads, configuration."""

from __future__ import annotations

import datetime
import platform
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import Any, Final

import biandou
from biandou.admin.page import Page, Pages, Reply, Request, json_reply, text
from biandou.admin.sources import AdminSources

CONFIG_TYPE: Final = "application/json;charset=UTF-8"

_TASKS: Final = Path("/proc/self/task")
_STATES: Final = {"R": "RUNNABLE", "S": "WAITING", "D": "BLOCKED", "T": "STOPPED", "Z": "TERMINATED"}


def process_pages(sources: AdminSources) -> Pages:
    """Give the pages about the process itself."""
    threads = Page(_threads)
    return {
        "/admin/ping": Page(_ping),
        "/admin/health": Page(partial(_health, sources)),
        "/admin/server_info": Page(partial(_server_info, sources)),
        "/admin/threads": threads,
        "/admin/threads.json": threads,
        "/config.json": Page(partial(_config, sources)),
    }


def index_pages(pages: Pages) -> Pages:
    """Give the pages that list `pages`, and themselves."""
    paths = sorted({*pages, "/admin", "/admin/index.txt"})
    listed = Page(partial(_index, "".join(f"{path}\n" for path in paths)))
    return {"/admin": listed, "/admin/index.txt": listed}


def _index(paths: str, _request: Request) -> Reply:
    return text(paths)


def _ping(_request: Request) -> Reply:
    return text("pong")


def _health(sources: AdminSources, _request: Request) -> Reply:
    health: dict[str, Any] = {"status": "ok", "uptime": sources.telemetry.process.uptime_ms}
    if sources.health is not None:
        health |= sources.health()
    return json_reply(health)


def _server_info(sources: AdminSources, _request: Request) -> Reply:
    process = sources.telemetry.process
    started = datetime.datetime.fromtimestamp(process.started, datetime.UTC)
    return json_reply(
        {
            "name": sources.product,
            "version": biandou.__version__,
            "build": f"biandou {biandou.__version__}, {platform.python_implementation()} {platform.python_version()}",
            "start_time": started.strftime("%a %b %d %H:%M:%S UTC %Y"),
            "uptime": process.uptime_ms,
        }
    )


def _config(sources: AdminSources, _request: Request) -> Reply:
    return json_reply(sources.config, content_type=CONFIG_TYPE)


def _threads(_request: Request) -> Reply:
    """Show every thread of the process, the engine's too; those of Python with what they are doing."""
    known = {thread.native_id: thread for thread in threading.enumerate()}
    frames = sys._current_frames()
    shown: dict[str, Any] = {}
    for task in sorted(_TASKS.iterdir(), key=lambda task: int(task.name)):
        try:
            stat = (task / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        name, fields = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 1 :].split()
        thread = known.get(int(task.name))
        frame = frames.get(thread.ident) if thread is not None and thread.ident is not None else None
        shown[task.name] = {
            "thread": thread.name if thread is not None else name,
            "daemon": thread.daemon if thread is not None else True,
            "state": _STATES.get(fields[0], fields[0]),
            "priority": int(fields[15]),
            "stack": [line.strip() for line in traceback.format_stack(frame)] if frame is not None else [],
        }
    return json_reply({"threads": shown})
