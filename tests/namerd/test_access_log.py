"""namerd's access logs: their lines, when their files are rolled, and what becomes of lines that a disk can't take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from biandou.config.plan import AccessLogPlan, DailyRoll, HourlyRoll, NeverRoll, Roll, SizeRoll, WeeklyRoll
from biandou.namerd.access_log import writer
from biandou.namerd.access_log.file import LogFile
from biandou.namerd.access_log.line import access_line
from biandou.namerd.access_log.roll import next_roll, rolled_name, rolled_order, stamp
from biandou.namerd.access_log.writer import AccessLog
from biandou.telemeters.registry import Counter

MONDAY = datetime(2026, 11, 23, 23, 20, 30, 5, UTC)
METHOD = "/io.linkerd.mesh.Interpreter/StreamBoundTree"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def write(file: LogFile, *lines: str, now: float = MONDAY.timestamp()) -> None:
    rest = [f"{line}\n".encode() for line in lines]
    while rest:
        rest = rest[file.write(rest, now) :]


# ── Lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_line_has_the_references_form() -> None:
    zone = timezone(timedelta(hours=-3, minutes=-30))
    metadata = [("user-agent", "grpc-python/1"), ("referer", "http://x/")]
    assert (
        access_line("ipv4:10.0.0.7:4711", METHOD, metadata, MONDAY.astimezone(zone))
        == (
            f'- 10.0.0.7 - - [23/11/2026:19:50:30 -0330] "POST {METHOD} HTTP/2" 200 - "http://x/" "grpc-python/1"\n'
        ).encode()
    )


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        ("ipv6:[::1]:4711", "::1"),
        ("ipv6:%5B::1%5D:4711", "::1"),
        ("ipv6:%5B::ffff:10.0.0.7%5D:4711", "10.0.0.7"),
        ("unix:/a b", "-"),
    ],
)
def test_the_callers_address_stands_without_its_port(peer: str, shown: str) -> None:
    assert access_line(peer, "/a/B", (), MONDAY).startswith(f"- {shown} - - [".encode())


def test_no_value_can_end_its_field_or_line() -> None:
    line = access_line("unix:", '/a b"\n/c', [("user-agent", 'x" 200 1 "\\\t\xe9'), ("referer", b"\xff")], MONDAY)
    assert line.endswith(b'"POST /a\\x20b\\"\\x0a/c HTTP/2" 200 - "\\xff" "x\\" 200 1 \\"\\\\\\x09\\xc3\\xa9"\n')


# ── Rolling ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("roll", "expected"),
    [
        (HourlyRoll(), "2026-11-24T00:00:00"),
        (DailyRoll(), "2026-11-24T00:00:00"),
        (WeeklyRoll(day=1), "2026-11-29T00:00:00"),
        (WeeklyRoll(day=2), "2026-11-30T00:00:00"),
        (WeeklyRoll(day=3), "2026-11-24T00:00:00"),
        (WeeklyRoll(day=7), "2026-11-28T00:00:00"),
    ],
)
def test_a_file_is_rolled_at_the_next_whole_hour_day_or_week(roll: Roll, expected: str) -> None:
    at = next_roll(roll, MONDAY.timestamp())
    assert at == pytest.approx(datetime.fromisoformat(f"{expected}+00:00").timestamp(), abs=0.001)


def test_time_rolls_no_file_that_is_rolled_by_its_size_or_never() -> None:
    assert next_roll(NeverRoll(), MONDAY.timestamp()) is None
    assert next_roll(SizeRoll(bytes=1), MONDAY.timestamp()) is None


def test_days_are_those_of_the_local_zone_also_when_summer_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    before = datetime(2026, 10, 25, 0, 30, tzinfo=UTC).timestamp()
    # 02:30 comes twice on this day, which has 25 hours.
    assert next_roll(HourlyRoll(), before) == datetime(2026, 10, 25, 1, 0, tzinfo=UTC).timestamp()
    assert next_roll(DailyRoll(), before) == datetime(2026, 10, 25, 23, 0, tzinfo=UTC).timestamp()


def test_a_rolled_file_is_named_after_the_time_of_its_opening() -> None:
    opened = MONDAY.timestamp()
    assert rolled_name(Path("/v/a.b.log"), stamp(HourlyRoll(), opened), 0) == Path("/v/a.b-20261123-23.log")
    assert rolled_name(Path("access"), stamp(WeeklyRoll(day=1), opened), 2) == Path("access-20261123.2")
    assert rolled_name(Path("/v/a.log"), stamp(SizeRoll(bytes=1), opened), 1) == Path("/v/a-20261123-232030.1.log")


def test_only_rolled_files_of_the_same_log_are_taken_for_such() -> None:
    log = Path("/v/a.log")
    assert rolled_order(log, "a-20261123.log") == ("20261123", 0)
    assert rolled_order(log, "a-20261123-042030.12.log") == ("20261123-042030", 12)
    for other in ("a.log", "b-20261123.log", "a-old.log", "a-20261123.log.gz", "a-b-20261123.log", "a-2026112x.log"):
        assert rolled_order(log, other) is None, other


def test_a_file_that_is_full_is_rolled_between_lines_and_only_so_many_are_kept(tmp_path: Path) -> None:
    plan = AccessLogPlan(path=str(tmp_path / "logs/a.log"), roll=SizeRoll(bytes=8), rotate_count=2)
    file = LogFile(plan, MONDAY.timestamp())
    write(file, "one", "two", "three", "longer than all", "four", "five", "six")
    file.close()
    assert files(tmp_path / "logs") == {
        "a-20261123-232030.3.log": "four\n",
        "a-20261123-232030.4.log": "five\n",
        "a.log": "six\n",
    }


def test_a_file_is_rolled_when_its_day_is_over(tmp_path: Path) -> None:
    file = LogFile(AccessLogPlan(path=str(tmp_path / "a.log"), roll=DailyRoll()), MONDAY.timestamp())
    write(file, "one")
    write(file, "two", now=MONDAY.timestamp() + 3600)
    file.close()
    assert files(tmp_path) == {"a-20261123.log": "one\n", "a.log": "two\n"}


def test_a_file_is_appended_to_unless_it_shall_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("before\n")
    LogFile(AccessLogPlan(path=str(path)), MONDAY.timestamp()).close()
    assert path.read_text() == "before\n"
    LogFile(AccessLogPlan(path=str(path), append=False), MONDAY.timestamp()).close()
    assert path.read_text() == ""


# ── The thread ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_left_is_written_at_the_end(tmp_path: Path) -> None:
    log = await AccessLog.open(AccessLogPlan(path=str(tmp_path / "a.log")), dropped := Counter())
    for number in range(1000):
        log.add(b"%d\n" % number)
    await log.close()
    assert (tmp_path / "a.log").read_text().split() == [str(number) for number in range(1000)]
    assert dropped.count == 0


async def test_lines_that_find_no_room_are_lost_and_counted_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING", 10)
    log = await AccessLog.open(AccessLogPlan(path=str(tmp_path / "a.log")), dropped := Counter())
    # No moment for the thread, which lets lines come together.
    for _ in range(5):
        log.add(b"four\n")
    await log.close()
    assert (tmp_path / "a.log").read_text() == "four\nfour\n"
    assert dropped.count == 3


async def test_lines_that_the_disk_refuses_are_counted_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    log = await AccessLog.open(AccessLogPlan(path="/dev/full"), dropped := Counter())
    for number in range(1, 3):
        log.add(b"line\n")
        async with asyncio.timeout(10):
            while dropped.count < number:
                await asyncio.sleep(0.01)
    await log.close()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "cannot write the access log /dev/full, its lines are lost: " in caplog.text


async def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=f"h2AccessLog {tmp_path}: "):
        await AccessLog.open(AccessLogPlan(path=str(tmp_path)), Counter())
