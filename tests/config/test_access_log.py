"""A roll policy is read as Linkerd reads it, and reaches the engine's plan."""

from __future__ import annotations

import pytest

from biandou.config.access_log import read_roll_policy
from biandou.config.linker import parse
from biandou.config.plan import AccessLogPlan, DailyRoll, HourlyRoll, NeverRoll, Roll, SizeRoll, WeeklyRoll
from biandou.config.planning import router_plan


@pytest.mark.parametrize(
    ("text", "roll"),
    [
        ("never", NeverRoll()),
        ("Hourly", HourlyRoll()),
        ("DAILY", DailyRoll()),
        ("sighup", NeverRoll()),
        ("Weekly(7)", WeeklyRoll(day=7)),
        ("3.megabytes", SizeRoll(bytes=3 * 1024**2)),
        ("1.gigabyte", SizeRoll(bytes=1024**3)),
        ("100.bytes", SizeRoll(bytes=100)),
    ],
)
def test_a_policy_is_read_in_any_case(text: str, roll: Roll) -> None:
    assert read_roll_policy(text) == roll


@pytest.mark.parametrize(
    "text", ["", "monthly", "weekly", "weekly(0)", "weekly(8)", "0.bytes", "3 megabytes", "3.parsecs"]
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no roll policy"):
        read_roll_policy(text)


def test_every_key_reaches_the_plan() -> None:
    text = """
routers:
- protocol: http
  httpAccessLog: logs/access.log
  httpAccessLogRollPolicy: daily
  httpAccessLogAppend: false
  httpAccessLogRotateCount: 3
  servers: [{}]
"""
    expected = AccessLogPlan(path="logs/access.log", roll=DailyRoll(), append=False, rotate_count=3)
    assert router_plan(parse(text).routers[0]).access_log == expected


def test_every_rolled_file_is_kept_unless_a_number_is_written() -> None:
    text = "routers:\n- protocol: http\n  httpAccessLog: a\n  servers: [{}]\n"
    assert router_plan(parse(text).routers[0]).access_log == AccessLogPlan(path="a")
