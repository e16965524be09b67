"""Protobuf's wire format: what `dtab/mesh.py` makes its messages of (https://protobuf.dev/programming-guides/encoding).

Written out by hand: the messages are few, and generated ones would have to be translated to and from our own trees all
the same, need a second library in the process, and bring classes that no type checker knows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5

_MAX_NUMBER: Final = 2**29 - 1
_SIZES: Final = {FIXED64: 8, FIXED32: 4}


class MalformedMessage(ValueError):
    """These bytes are not the message that they should be."""


# ── Writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def varint(value: int) -> bytes:
    """Give a number from 0 to 2^64 - 1, seven bits a byte, the lowest first."""
    if value < 0x80:
        return bytes((value,))
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def bytes_field(number: int, value: bytes) -> bytes:
    """Give a field that holds bytes, text or a message."""
    return varint(number << 3 | BYTES) + varint(len(value)) + value


def text_field(number: int, value: str) -> bytes:
    """Give a field that holds text; an empty one is left out."""
    # What is no Unicode came from a file name or a registry, and must not keep the rest from being told.
    return bytes_field(number, value.encode(errors="replace")) if value else b""


def number_field(number: int, value: int) -> bytes:
    """Give a field that holds a whole number from 0 on; 0 is left out."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def double_field(number: int, value: float) -> bytes:
    """Give a field that holds a double; 0 is left out."""
    return varint(number << 3 | FIXED64) + struct.pack("<d", value) if value else b""


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Give each field's number and value as they come; raises `MalformedMessage`.

    A varint is an `int`, eight bytes are a `float`, four an `int`. Groups, which proto3 does not have, are refused.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _take_varint(message, at)
        number, wire = key >> 3, key & 7
        if not 0 < number <= _MAX_NUMBER:
            raise MalformedMessage(f"{number} is no field's number")
        value: int | float | bytes
        if wire == VARINT:
            value, at = _take_varint(message, at)
        elif wire == BYTES:
            size, at = _take_varint(message, at)
            if size > end - at:
                raise MalformedMessage(f"field {number} is cut short")
            value = message[at : at + size]
            at += size
        elif wire in _SIZES:
            size = _SIZES[wire]
            if size > end - at:
                raise MalformedMessage(f"field {number} is cut short")
            value = struct.unpack_from("<d" if wire == FIXED64 else "<I", message, at)[0]
            at += size
        else:
            raise MalformedMessage(f"field {number} is of the unknown type {wire}")
        yield number, value


def _take_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(at, min(at + 10, len(message))):
        byte = message[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, index + 1
        shift += 7
    raise MalformedMessage("a number is cut short, or too long")


def as_bytes(number: int, value: int | float | bytes) -> bytes:
    """Give the value of a field that must hold bytes; raises `MalformedMessage`."""
    if not isinstance(value, bytes):
        raise MalformedMessage(f"field {number} holds a number")
    return value


def as_text(number: int, value: int | float | bytes) -> str:
    """Give the value of a field that must hold text; raises `MalformedMessage`."""
    try:
        return as_bytes(number, value).decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"field {number} is not UTF-8 text") from error


def as_number(number: int, value: int | float | bytes) -> int:
    """Give the value of a field that must hold a whole number; raises `MalformedMessage`."""
    if not isinstance(value, int):
        raise MalformedMessage(f"field {number} holds no whole number")
    return value


def as_double(number: int, value: int | float | bytes) -> float:
    """Give the value of a field that must hold a double; raises `MalformedMessage`."""
    if not isinstance(value, float):
        raise MalformedMessage(f"field {number} holds no double")
    return value


def members(message: bytes) -> dict[int, bytes]:
    """Give the fields of a message whose fields are all bytes, text or messages, and none repeated.

    A message that comes in several pieces is the pieces together, as protobuf merges them; numbers are passed over.
    """
    found: dict[int, bytes] = {}
    for number, value in fields(message):
        if isinstance(value, bytes):
            found[number] = found.get(number, b"") + value
    return found


def choice(message: bytes, numbers: range) -> tuple[int, bytes] | None:
    """Give the number and value of the `oneof` whose members have these numbers: the last one that is there."""
    chosen: tuple[int, bytes] | None = None
    for number, value in fields(message):
        if number in numbers:
            piece = as_bytes(number, value)
            chosen = number, chosen[1] + piece if chosen is not None and chosen[0] == number else piece
    return chosen
