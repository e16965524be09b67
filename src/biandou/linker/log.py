"""The log of a process: one line an event, written by a thread so that a slow reader of stderr holds up nobody."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import Final, Literal

from biandou.linker.systemd import is_journal

LEVELS: Final = {
    "OFF": logging.CRITICAL + 1,
    "FATAL": logging.CRITICAL,
    "CRITICAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARNING": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.DEBUG,
    "ALL": logging.NOTSET + 1,
}
"""The level names of Linkerd's `-log.level` (reference/linker.md §1.4)."""

MAX_LINE: Final = 16 * 1024
FLUSH_SECONDS: Final = 1.0

_PRIORITIES: Final = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where the log goes and how it looks; `queued` lines may wait for a slow reader, and more are dropped."""

    level: str = "INFO"
    form: Literal["text", "json"] = "text"
    output: str = "/dev/stderr"
    append: bool = True
    queued: int = 4096


class TextFormatter(logging.Formatter):
    """`I 1123 02:15:04.123 UTC: message`, as Linkerd's own lines begin."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the event as one line; what would break the line is escaped."""
        moment = time.strftime("%m%d %H:%M:%S", time.gmtime(record.created))
        return f"{record.levelname[0]} {moment}.{int(record.msecs):03d} UTC: {_one_line(record)}"


class JournalFormatter(logging.Formatter):
    """`<6>message`: the journal knows the time, and takes the priority from the front (sd-daemon(3))."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the event as one line; what would break the line is escaped."""
        return f"<{_PRIORITIES.get(record.levelname, 6)}>{_one_line(record)}"


class JsonFormatter(logging.Formatter):
    """An object a line: `time` (RFC 3339, UTC), `level`, `message`, and `room` when a step of the road spoke."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the event as one line of JSON."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": (record.getMessage() + _failure(record, "\n"))[:MAX_LINE],
        }
        room = getattr(record, "room", None)
        if room:
            event["room"] = room
        return json.dumps(event, ensure_ascii=False)


def _failure(record: logging.LogRecord, separator: str) -> str:
    """Give the exception in one sentence, and its traceback only to those who asked for debugging."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    error = record.exc_info[1]
    text = f": {type(error).__name__}: {error}"
    if logging.getLogger("biandou").isEnabledFor(logging.DEBUG):
        text += separator + "".join(traceback.format_exception(error))
    return text


def _one_line(record: logging.LogRecord) -> str:
    room = getattr(record, "room", None)
    message = f"{f'{room}: ' if room else ''}{record.getMessage()}{_failure(record, ' | ')}"
    if not message.isprintable():
        message = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message)
    return message if len(message) <= MAX_LINE else message[:MAX_LINE] + "…"


class QueuedHandler(logging.Handler):
    """Hands formatted lines to a thread that writes them; drops and counts what does not fit in the queue."""

    def __init__(self, fd: int, queued: int) -> None:
        super().__init__()
        self._fd = fd
        self._lines: queue.Queue[str | None] = queue.Queue(max(1, queued))
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the event's line; never waits."""
        try:
            line = self.format(record)
        except Exception as error:
            # A library's mistake in its own message must not be thrown at who called it.
            message = f"a line of {record.name}'s can't be formatted: {type(error).__name__}: {error}"
            line = self.format(logging.makeLogRecord({"levelname": "ERROR", "msg": "%s", "args": (message,)}))
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what is queued, waiting at most `FLUSH_SECONDS` for a slow reader."""
        super().close()
        deadline = time.monotonic() + FLUSH_SECONDS
        try:
            self._lines.put(None, timeout=FLUSH_SECONDS)
        except queue.Full:
            return
        self._writer.join(max(0.0, deadline - time.monotonic()))

    def _write(self) -> None:
        reported = 0
        while (line := self._lines.get()) is not None:
            # When nobody reads any more there is no other place to say so.
            with contextlib.suppress(OSError):
                _write_all(self._fd, line + "\n")
                if self._dropped > reported:
                    dropped, reported = self._dropped - reported, self._dropped
                    warning = logging.makeLogRecord(
                        {"levelname": "WARNING", "msg": f"{dropped} log lines were dropped: the log is read too slowly"}
                    )
                    _write_all(self._fd, self.format(warning) + "\n")


def _write_all(fd: int, text: str) -> None:
    data = text.encode(errors="backslashreplace")
    while data:
        data = data[os.write(fd, data) :]


def start_logging(settings: LogSettings) -> logging.Handler:
    """Send everything that is logged in this process to `settings.output`; raises `OSError` if that can't be opened.

    Close the handler before the process ends, so that the last lines are written.
    """
    if settings.output == "/dev/stderr":
        fd = sys.stderr.fileno()
    else:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if settings.append else os.O_TRUNC)
        fd = os.open(settings.output, flags, 0o644)
    handler = QueuedHandler(fd, settings.queued)
    handler.setFormatter(_formatter(settings.form, fd))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    level = LEVELS[settings.level]
    # What libraries say below a warning is about themselves.
    root.setLevel(max(level, logging.WARNING))
    logging.getLogger("biandou").setLevel(level)
    return handler


def _formatter(form: Literal["text", "json"], fd: int) -> logging.Formatter:
    if form == "json":
        return JsonFormatter()
    return JournalFormatter() if is_journal(os.environ, fd) else TextFormatter()
