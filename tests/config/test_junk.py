"""Whatever a file holds, reading it gives a configuration or a ConfigError."""

from __future__ import annotations

from pathlib import Path as FilePath

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from biandou.config.linker import parse
from biandou.errors import ConfigError

ALL_KEYS = (FilePath(__file__).parent / "all_keys.yaml").read_text()
WORDS = ["routers", "protocol", "http", "servers", "port", "kind", "io.l5d.fs", "namers", "client", "service", "dtab"]
WORDS += ["/svc => /x", "prefix", "configs", "admin", "ip", "identifier", "io.l5d.path", "tls", "transformers"]


def refusal(text: str | bytes) -> list[str] | None:
    """Give what is said about a file that is refused, `None` if it is taken."""
    try:
        parse(text)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return None


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=30,
)


@settings(max_examples=100)
@given(JUNK)
def test_junk_is_a_configuration_or_a_configuration_error(junk: object) -> None:
    problems = refusal(msgspec.json.encode(junk))
    assert problems is None or all(problem.isprintable() for problem in problems)


@settings(max_examples=100)
@given(st.data())
def test_a_good_file_with_one_value_replaced_never_raises_anything_else(data: st.DataObject) -> None:
    lines = ALL_KEYS.replace("ROOT", "/tmp").splitlines()
    line = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[line])))
    lines[line] = lines[line][:at] + data.draw(st.text(max_size=3) | st.sampled_from(["~", "[]", "{}", "9e999"]))
    problems = refusal("\n".join(lines))
    assert problems is None or problems
