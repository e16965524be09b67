"""How mistakes are told: one line each, short, and safe to print whatever the file holds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from biandou.config.node import Mapping, Node, Scalar, Sequence


def join(path: str, key: str) -> str:
    """Give the path of a key below `path`."""
    key = shorten(key)
    return f"{path}.{key}" if path else key


def printable(text: str) -> str:
    """Give the text on one line, without what could move a terminal's cursor."""
    text = text.replace("\n", " ")
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def suggest(found: str, allowed: Iterable[str], also: Iterable[str] = ()) -> str:
    """Give the end of a message: what is allowed, and what `found` may have been meant for (`also` counts there)."""
    names = list(allowed)
    folded = {name.lower(): name for name in (*names, *also)}
    near = difflib.get_close_matches(found[:100].lower(), folded, n=1)
    guess = f"; did you mean `{folded[near[0]]}`?" if near else ";"
    return f"{guess} allowed: {', '.join(names)}"


def quote(node: Node) -> str:
    """Give what was written, in back quotes, or say what it is."""
    return f"`{shorten(node.text)}`" if isinstance(node, Scalar) else describe(node)


def bounds(message: str) -> str:
    """Say what msgspec says about bounds in our words."""
    for name, words in (("`int`", "a whole number"), ("`float`", "a number"), ("`str`", "a text")):
        message = message.replace(name, words)
    return message[:1].lower() + message[1:]


def describe(node: Node) -> str:
    """Say what was found, for messages."""
    match node:
        case Mapping():
            return "an object"
        case Sequence():
            return "a list"
        case Scalar(value=None):
            return "nothing"
        case Scalar(value=str()):
            return f"the text `{shorten(node.text)}`"
    return f"`{shorten(node.text)}`"


def shorten(text: str) -> str:
    """Give at most 60 characters of a text, on one line."""
    line = " ".join(text[:300].split())
    return line if len(line) <= 60 else line[:59] + "…"
