"""The log: one line an event, text or JSON, and never a brake."""

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from biandou.linker.log import JournalFormatter, JsonFormatter, LogSettings, QueuedHandler, TextFormatter, start_logging


@pytest.fixture
def loggers() -> Iterator[None]:
    """Put the process's loggers back as they were."""
    root, ours = logging.getLogger(), logging.getLogger("biandou")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers[:], root.level, ours.level = before


def record(message: str, level: int = logging.INFO, **extra: str) -> logging.LogRecord:
    made = logging.makeLogRecord({"levelno": level, "levelname": logging.getLevelName(level), "msg": message, **extra})
    made.created, made.msecs = 1_763_863_004.123, 123.0
    return made


def test_a_text_line_begins_as_linkerds_do() -> None:
    line = TextFormatter().format(record("serving http on 127.0.0.1:4140"))
    assert line == "I 1123 01:56:44.123 UTC: serving http on 127.0.0.1:4140"


def test_the_room_that_spoke_is_named() -> None:
    assert TextFormatter().format(record("no", logging.WARNING, room="binding")).endswith("UTC: binding: no")
    assert json.loads(JsonFormatter().format(record("no", room="binding")))["room"] == "binding"


def test_what_would_break_a_line_is_escaped() -> None:
    line = TextFormatter().format(record("a\nE 1123 02:15:04.123 UTC: forged\x1b[31m\r"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert r"a\nE 1123" in line


def test_a_line_for_the_journal_has_its_priority_and_no_time() -> None:
    form = JournalFormatter()
    assert form.format(record("serving http on 127.0.0.1:4140")) == "<6>serving http on 127.0.0.1:4140"
    assert form.format(record("no", logging.WARNING, room="binding")) == "<4>binding: no"
    assert form.format(record("gone", logging.ERROR)) == "<3>gone"
    assert form.format(record("a\n<0>forged")) == r"<6>a\n<0>forged"


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize(("form", "line"), [("text", "<4>full\n"), ("json", "{")])
def test_the_journal_is_known_by_its_stream(
    form: Literal["text", "json"], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "log"
    output.touch()
    monkeypatch.setenv("JOURNAL_STREAM", f"{output.stat().st_dev}:{output.stat().st_ino}")
    handler = start_logging(LogSettings(form=form, output=str(output)))
    logging.getLogger("biandou").warning("full")
    handler.close()
    assert output.read_text().startswith(line)
    monkeypatch.setenv("JOURNAL_STREAM", f"{output.stat().st_dev}:{output.stat().st_ino + 1}")
    handler = start_logging(LogSettings(output=str(output), append=False))
    logging.getLogger("biandou").warning("full")
    handler.close()
    assert output.read_text().startswith("W ")


def test_a_json_line_is_an_object_with_time_level_and_message() -> None:
    line = JsonFormatter().format(record('say "ho"\n', logging.WARNING))
    assert "\n" not in line
    assert json.loads(line) == {"time": "2025-11-23T01:56:44.123Z", "level": "warning", "message": 'say "ho"\n'}


def test_a_very_long_message_is_cut() -> None:
    assert len(TextFormatter().format(record("x" * 1_000_000))) < 20_000
    assert len(JsonFormatter().format(record("x" * 1_000_000))) < 20_000


@pytest.mark.usefixtures("loggers")
def test_an_exception_is_one_sentence_and_a_traceback_only_for_debugging(tmp_path: Path) -> None:
    for level, has_traceback in (("INFO", False), ("DEBUG", True)):
        file = tmp_path / level
        handler = start_logging(LogSettings(level=level, output=str(file)))
        try:
            raise ValueError("bad")
        except ValueError:
            logging.getLogger("biandou.x").exception("cannot start")
        handler.close()
        [line] = file.read_text().splitlines()
        assert "cannot start: ValueError: bad" in line
        assert ("Traceback" in line) is has_traceback


@pytest.mark.usefixtures("loggers")
@pytest.mark.parametrize(("append", "kept"), [(True, True), (False, False)])
def test_a_log_file_is_appended_to_or_begun_again(tmp_path: Path, append: bool, kept: bool) -> None:
    file = tmp_path / "log"
    file.write_text("before\n")
    handler = start_logging(LogSettings(output=str(file), append=append))
    logging.getLogger("biandou").info("hello")
    handler.close()
    text = file.read_text()
    assert text.endswith("hello\n")
    assert ("before" in text) is kept


@pytest.mark.usefixtures("loggers")
def test_a_library_is_heard_only_from_warnings_on(tmp_path: Path) -> None:
    handler = start_logging(LogSettings(level="DEBUG", output=str(tmp_path / "log")))
    logging.getLogger("asyncio").info("about itself")
    logging.getLogger("asyncio").warning("important")
    handler.close()
    assert "about itself" not in (tmp_path / "log").read_text()
    assert "important" in (tmp_path / "log").read_text()


def test_a_reader_that_stands_still_costs_lines_and_never_time() -> None:
    reading, writing = os.pipe()
    handler = QueuedHandler(writing, queued=50)
    handler.setFormatter(TextFormatter())
    began = time.monotonic()
    for _ in range(2000):
        handler.emit(record("x" * 1000))
    assert time.monotonic() - began < 2.0
    os.set_blocking(reading, False)
    text, deadline, written, dropped = b"", time.monotonic() + 5, 0, 0
    while written + dropped < 2000 and time.monotonic() < deadline:
        try:
            text += os.read(reading, 65536)
        except BlockingIOError:
            time.sleep(0.01)
        written = text.count(b"xxx\n")
        dropped = sum(int(count) for count in re.findall(rb"W \S+ \S+ UTC: (\d+) log lines were dropped", text))
    assert written + dropped == 2000, "every dropped line is accounted for"
    assert dropped > 1000
    handler.close()
    os.close(reading)
    os.close(writing)


def test_an_event_that_can_not_be_formatted_is_told_of_and_harms_nobody(tmp_path: Path) -> None:
    file = tmp_path / "log"
    handler = QueuedHandler(os.open(file, os.O_WRONLY | os.O_CREAT), 10)
    handler.setFormatter(TextFormatter())
    broken = logging.makeLogRecord({"name": "library", "levelname": "ERROR", "msg": "%d files", "args": ("no",)})
    handler.handle(broken)
    handler.handle(record("the next one"))
    handler.close()
    first, second = file.read_text().splitlines()
    assert "a line of library's can't be formatted: TypeError" in first
    assert second.endswith("the next one")
