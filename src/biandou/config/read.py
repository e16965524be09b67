"""A file, or standard input, to nodes: YAML or JSON, told apart by the first character (reference/linker.md §1.2)."""

from __future__ import annotations

import os
import sys
from typing import Final

from biandou.config.json_text import read_json
from biandou.config.node import Node, Place
from biandou.config.yaml_text import DocumentError, read_yaml
from biandou.errors import ConfigError, Problem

MAX_BYTES: Final = 4 * 1024 * 1024
"""The largest file that is taken."""

STANDARD_INPUT: Final = "-"


def read_file(path: str | os.PathLike[str]) -> tuple[str, bytes]:
    """Give the name that messages use and the bytes; `-` is standard input. Raises `ConfigError`."""
    name = os.fspath(path)
    try:
        if name == STANDARD_INPUT:
            return "<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1)
        with open(name, "rb") as file:
            return name, file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = "config is not a file" if isinstance(error, IsADirectoryError) else error.strerror or str(error)
        raise ConfigError([Problem(reason, file=name)]) from error


def read_document(data: bytes, file: str) -> Node:
    """Read the first document of `data`; raises `ConfigError` with the one place where reading stopped."""
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(f"larger than {MAX_BYTES} bytes", file=file)])
    try:
        text = _decode(data)
        return read_json(text) if text.lstrip().startswith("{") else read_yaml(text)
    except DocumentError as error:
        raise ConfigError([Problem(str(error), file, *error.place)]) from error


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        place = Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise DocumentError(f"the byte 0x{data[error.start]:02x} is not UTF-8", place) from error
