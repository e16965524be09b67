"""The flags of `biandou linker`: ours, and Linkerd's own spelling (reference/linker.md §1.4)."""

import pytest

from biandou.cli.linker_flags import LinkerFlags, UsageError, parse_flags


def test_the_file_is_the_one_argument_without_a_dash() -> None:
    assert parse_flags(["--workers", "2", "linkerd.yaml"]) == LinkerFlags(file="linkerd.yaml", workers=2)


@pytest.mark.parametrize("arguments", [["-"], ["--", "-"], ["-validate=false", "-"]])
def test_a_bare_dash_is_standard_input_with_and_without_the_separator(arguments: list[str]) -> None:
    assert parse_flags(arguments).file == "-"


def test_after_the_separator_a_name_that_looks_like_a_flag_is_a_file() -> None:
    assert parse_flags(["--", "-validate"]).file == "-validate"


@pytest.mark.parametrize(
    ("flag", "wanted"),
    [("-validate", True), ("-validate=true", True), ("-validate=false", False), ("--validate", True)],
)
def test_validate_is_understood_in_every_spelling(flag: str, wanted: bool) -> None:
    assert parse_flags([flag, "f"]).validate is wanted


def test_a_boolean_flag_of_linkerd_does_not_eat_the_file() -> None:
    assert parse_flags(["-log.append", "f"]).file == "f"


@pytest.mark.parametrize(
    "arguments", [["-log.level=DEBUG"], ["-log.level", "DEBUG"], ["--log-level", "debug"], ["--log-level=Debug"]]
)
def test_the_log_level_is_understood_in_every_spelling(arguments: list[str]) -> None:
    assert parse_flags([*arguments, "f"]).log.level == "DEBUG"


def test_linkerds_log_level_is_exact_about_case_as_linkerd_is() -> None:
    with pytest.raises(UsageError, match="Invalid log level: debug"):
        parse_flags(["-log.level=debug", "f"])


def test_log_settings_reach_the_log() -> None:
    log = parse_flags(["-log.output=/tmp/l", "-log.append=false", "-log.async.maxsize=7", "--log-format=json", "f"]).log
    assert (log.output, log.append, log.queued, log.form) == ("/tmp/l", False, 7, "json")


def test_harmless_flags_of_linkerd_are_accepted() -> None:
    harmless = ["-log.async=true", "-log.async.inferClassNames", "-log.rollPolicy=never", "-log.rotateCount", "-1"]
    interval = "-io.buoyant.telemetry.admin.histogramSnapshotInterval=1.minutes"
    flags = parse_flags([*harmless, interval, "f"])
    assert flags.file == "f"
    assert not flags.warnings


def test_finagles_global_flags_are_accepted_with_a_warning() -> None:
    flags = parse_flags(["-com.twitter.finagle.tracing.enabled=false", "f"])
    assert flags.file == "f"
    assert "com.twitter.finagle.tracing.enabled" in flags.warnings[0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-log.rollPolicy=daily", "f"], "-log.rollPolicy=daily is known but not built yet"),
        (["-io.buoyant.telemetry.admin.histogramSnapshotInterval=often", "f"], "often is not a valid duration"),
        (["-io.buoyant.telemetry.admin.histogramSnapshotInterval=0.seconds", "f"], "at least 1.second"),
        (["-com.twitter.finagle.naming.namerMaxDepth=7", "f"], "only 100 is"),
        (["-nonsense", "f"], "there is no flag -nonsense"),
        (["--nonsense", "f"], "there is no flag --nonsense"),
        (["--workers"], "--workers needs a value"),
        (["--workers", "0", "f"], "from 1 to 1024"),
        (["--workers", "two", "f"], "not 'two'"),
        (["-validate=maybe", "f"], "true or false"),
        (["--log-format", "xml", "f"], "text or json"),
        (["a.yaml", "b.yaml"], "here are 2: a.yaml, b.yaml"),
    ],
)
def test_what_can_not_be_followed_is_refused_by_name(arguments: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_flags(arguments)


def test_the_window_of_distributions_can_be_set_as_in_linkerd() -> None:
    assert parse_flags(["f"]).window_seconds == 60
    assert parse_flags(["-io.buoyant.telemetry.admin.histogramSnapshotInterval=10.seconds", "f"]).window_seconds == 10
