"""A file's text becomes nodes with places, whatever it is: nothing but ConfigError comes out of it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biandou.config.node import Mapping, Place, Scalar, Sequence, plain
from biandou.config.read import MAX_BYTES, read_document, read_file
from biandou.errors import ConfigError, Problem


def read(text: str | bytes) -> object:
    return plain(read_document(text.encode() if isinstance(text, str) else text, "f.yaml"))


def mistake(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 1\nb: [x, 'y', {c: d}]", {"a": 1, "b": ["x", "y", {"c": "d"}]}),
        ('{"a": 1, "b": [1.5, true, null, "\\ud83d\\ude00", -2e3]}', {"a": 1, "b": [1.5, True, None, "😀", -2000.0]}),
        ('  \n{"a": 1} trailing: [junk', {"a": 1}),
        ("a: 1\n---\nb: [", {"a": 1}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("", None),
        ("# nothing\n", None),
        ("[1, 2]", [1, 2]),
    ],
)
def test_the_first_document_is_read(text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("on", "on"),
        ("~", None),
        ("", None),
        ("null", None),
        ("4140", 4140),
        ("-1", -1),
        ("1_000", 1000),
        ("010", 10),
        ("0x10", "0x10"),
        ("4:40", "4:40"),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("2026-01-01", "2026-01-01"),
        ("127.0.0.1", "127.0.0.1"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ('!!int "1"', 1),
        ("! 1", "1"),
        ("!!bool TRUE", True),
        ("!!null x", None),
    ],
)
def test_plain_scalars_mean_what_linkerd_takes_them_for(scalar: str, value: object) -> None:
    found = read(f"a: {scalar}")
    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\n", "f.yaml:2:1: while parsing a flow sequence, did not find expected ',' or ']'"),
        ("a: b\n\tc: d", "f.yaml:2:1: while scanning a plain scalar, found a tab character that violates indentation"),
        ("é: \x07", "f.yaml:1:4: the character 7 is not allowed"),
        (b"a: 1\nb: \xff", "f.yaml:2:4: the byte 0xff is not UTF-8"),
        ("a: *x", "f.yaml:1:4: `*x` stands for nothing written and finished above"),
        ("a: &x [*x]", "f.yaml:1:8: `*x` stands for nothing written and finished above"),
        ("? [a]\n: b", "f.yaml:1:3: a key must be a text"),
        (
            "a: !!python/object:os.system x",
            "f.yaml:1:4: the tag tag:yaml.org,2002:python/object:os.system is not known",
        ),
        ("a: !!int x", "f.yaml:1:4: 'x' does not fit its tag tag:yaml.org,2002:int"),
        ('{"a": 1,}', "f.yaml:1:9: expected a key in double quotes, found '}'"),
        ('{"a": tru}', "f.yaml:1:7: expected a value, found 't'"),
        ('{"a" 1}', "f.yaml:1:6: expected `:`, found '1'"),
        ('{"a": [1 2]}', "f.yaml:1:10: expected `,` or `]`, found '2'"),
        ('{"a": 1', "f.yaml:1:8: expected `,` or `}`, found the end"),
        ('{"a": "\\q"}', "f.yaml:1:8: Invalid \\escape"),
        ('{"a": "\\ud800"}', "f.yaml:1:7: half of a surrogate pair is no character"),
        ("{'a': 1}", 'f.yaml:1:2: expected a key in double quotes, found "\'"'),
    ],
)
def test_a_mistake_names_its_place(text: str | bytes, message: str) -> None:
    assert mistake(text) == message


def test_nesting_is_bounded() -> None:
    assert "deeper than 64" in mistake("[" * 100_000)
    assert "deeper than 64" in mistake('{"a":' * 100_000)
    levels = "\n".join(f"a{n}: &a{n} [[[[[[[[[[*a{n - 1}]]]]]]]]]]" for n in range(1, 10))
    assert "deeper than 64" in mistake(f"a0: &a0 x\n{levels}")


def test_aliases_cannot_blow_up_a_small_file() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "more than 100000 values" in mistake("\n".join(lines))
    assert "more than 100000 values" in mistake('{"a": [' + ",".join(["1"] * 100_001) + "]}")


def test_size_is_bounded() -> None:
    assert mistake(b" " * (MAX_BYTES + 1)) == f"f.yaml: larger than {MAX_BYTES} bytes"


def test_a_long_number_is_a_text_in_yaml_and_refused_in_json() -> None:
    assert read("a: " + "9" * 5000) == {"a": "9" * 5000}
    assert "expected a value" in mistake('{"a": ' + "9" * 5000 + "}")


def test_keys_and_values_know_their_places() -> None:
    document = read_document(b"a: 1\nb:\n  - 'x'\n", "f")
    assert isinstance(document, Mapping)
    assert [(entry.key, entry.place) for entry in document] == [("a", Place(1, 1)), ("b", Place(2, 1))]
    items = document.entries[1].value
    assert isinstance(items, Sequence)
    assert items.items[0].place == Place(3, 5)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: |\n    one\n    two\n", Place(3, 6)),
        ("a: 'one'", Place(2, 6)),
        ("a: one", Place(2, 5)),
        ('{"a": "one"}', Place(2, 9)),
        ('{"a": "\\u006fne"}', Place(1, 7)),
        ("a: >\n  one\n  two", Place(1, 4)),
    ],
)
def test_a_place_in_a_text_is_a_place_in_the_file_where_that_is_known(text: str, place: Place) -> None:
    document = read_document(text.encode(), "f")
    assert isinstance(document, Mapping)
    scalar = document.entries[0].value
    assert isinstance(scalar, Scalar)
    assert scalar.within(2, 2) == place


def test_json_places_count_from_one() -> None:
    document = read_document(b'{\n  "a": [1,\n 2]\n}', "f")
    assert isinstance(document, Mapping)
    items = document.entries[0].value
    assert isinstance(items, Sequence)
    assert [item.place for item in items.items] == [Place(2, 9), Place(3, 2)]


def test_a_missing_file_and_a_folder_are_mistakes(tmp_path: FilePath) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_file(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="config is not a file"):
        read_file(tmp_path)


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a: 1")))
    assert read_file("-") == ("<stdin>", b"a: 1")


def refusal(data: bytes) -> list[Problem] | None:
    """Give what is said about bytes that are refused, `None` if they are taken."""
    try:
        read_document(data, "f")
    except ConfigError as error:
        return error.problems
    return None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    problems = refusal(data)
    assert problems is None or len(problems) == 1


@given(st.text(alphabet="{}[]:,-&*!|>'\"#% \n\tabc019.~?", max_size=60))
def test_any_yaml_like_text_is_read_or_refused(text: str) -> None:
    problems = refusal(text.encode())
    assert problems is None or problems[0].line >= 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON, max_size=4), st.sampled_from([None, 1, 4]), st.booleans())
def test_json_means_what_json_says(value: dict[str, object], indent: int | None, escape: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escape)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert plain(read_document(data, "f")) == value
