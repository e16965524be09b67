"""How `biandou dtab` shows dtabs and reads them: the forms of namerctl (reference/naming.md §6)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

JSON = "application/json"
DTAB = "application/dtab"


class Sent(NamedTuple):
    """A dtab as it is sent, its media type, and the version that a JSON input names."""

    body: bytes
    media: str
    version: str


def read_input(text: str) -> Sent:
    """Read what a file holds: `{"version", "dtab"}` or a list of entries as JSON, else a dtab's text.

    Raises `ValueError`.
    """
    if not text.lstrip().startswith(("{", "[")):
        return Sent(text.encode(), DTAB, "")
    try:
        sent = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}, column {error.colno}: no JSON: {error.msg}") from None
    version = ""
    if isinstance(sent, dict):
        version = sent.get("version") or ""
        # An object without it is no empty dtab: it would take every route away.
        sent = sent["dtab"] or [] if "dtab" in sent else None
    if not isinstance(sent, list) or not isinstance(version, str):
        raise ValueError('the JSON of a dtab is {"version": "…", "dtab": [{"prefix": "…", "dst": "…"}, …]}')
    return Sent(json.dumps(sent).encode(), JSON, version)


def pretty(dentries: Sequence[dict[str, str]], version: str = "") -> str:
    """Give a line an entry, arrows below each other, after the version if there is one."""
    width = max((len(dentry["prefix"]) for dentry in dentries), default=0)
    lines = [f"# version {version}"] if version else []
    lines += [f"{dentry['prefix']:<{width}}  => {dentry['dst']} ;" for dentry in dentries]
    return "".join(f"{line}\n" for line in lines)


def plain(dentries: Sequence[dict[str, str]]) -> str:
    """Give everything on one line."""
    return "".join(f"{dentry['prefix']}=>{dentry['dst']};" for dentry in dentries) + "\n"


def as_json(value: Any) -> str:
    """Give JSON as Go writes it, which escapes what HTML would read."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for sign in "&<>":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"
