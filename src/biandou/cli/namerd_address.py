"""Where `biandou dtab` finds namerd: a flag, the environment, namerctl's file, or this machine."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT = "http://127.0.0.1:4180"
_ENDS = ("json", "toml", "yaml", "yml", "properties", "props", "prop")


def base_url(flag: str | None, environment: Mapping[str, str], directory: Path) -> str:
    """Give namerd's URL without a slash at its end; raises `ValueError`."""
    found = (
        flag
        or environment.get("BIANDOU_NAMERD")
        or environment.get("NAMERCTL_BASE_URL")
        or _in_file(directory)
        or DEFAULT
    )
    try:
        parts = urlsplit(found)
    except ValueError:
        raise ValueError(f"invalid base URL: {found}") from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"invalid base URL: {found}")
    return found.rstrip("/")


def _in_file(directory: Path) -> str | None:
    """Give `base-url` of `.namerctl.<ext>` in this directory or the nearest above it."""
    for place in (directory, *directory.parents):
        for end in _ENDS:
            file = place / f".namerctl.{end}"
            if not file.is_file():
                continue
            try:
                found = _read(file.read_text(), end)
            except (OSError, ValueError) as error:
                # As namerctl: told, and not in the way.
                sys.stderr.write(f"{file}: {error}\n")
                return None
            value = found.get("base-url") if isinstance(found, dict) else None
            return value if isinstance(value, str) else None
    return None


def _read(text: str, end: str) -> Any:
    match end:
        case "json":
            return json.loads(text)
        case "toml":
            return tomllib.loads(text)
        case "yaml" | "yml":
            import yaml  # noqa: PLC0415 - few have such a file

            try:
                return yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(str(error)) from error
    lines = re.findall(r"^\s*([^#!\s=:]+)\s*[=:]\s*(.*?)\s*$", text, re.MULTILINE)
    return dict(lines)
