"""Where a client name is, as a message of `io.l5d.mesh` (`mesh.proto` beside this file)."""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from biandou.dtab.bound import WEIGHT, Address, Addresses, AddressSet, Negative
from biandou.dtab.protobuf import (
    MalformedMessage,
    as_bytes,
    as_number,
    as_text,
    bytes_field,
    choice,
    fields,
    number_field,
    text_field,
)
from biandou.errors import ResolutionError, reason
from biandou.live import PENDING, Failed, Ok, State

NODE_NAME: Final = "nodeName"
_PENDING, _NEG, _FAILED, _BOUND = range(1, 5)
_FAMILIES: Final = {4: 0, 6: 1}


def encode_replicas(state: State[Addresses]) -> bytes:
    """Write `Replicas`; all metadata become text."""
    match state:
        case Ok(AddressSet(addresses, meta)):
            endpoints = [bytes_field(1, _endpoint(address)) for address in addresses]
            return bytes_field(_BOUND, b"".join(endpoints) + _metadata(2, meta))
        case Ok():
            return bytes_field(_NEG, b"")
        case Failed(error):
            return bytes_field(_FAILED, text_field(1, reason(error)))
    return bytes_field(_PENDING, b"")


def decode_replicas(message: bytes) -> State[Addresses]:
    """Read `Replicas`; a failure is a `ResolutionError`. Raises `MalformedMessage`."""
    chosen = choice(message, range(_PENDING, _BOUND + 1))
    if chosen is None:
        raise MalformedMessage("replicas have a result")
    kind, inner = chosen
    if kind == _PENDING:
        return PENDING
    if kind == _NEG:
        return Ok(Negative())
    if kind == _FAILED:
        told = [as_text(number, value) for number, value in fields(inner) if number == 1 and value]
        return Failed(ResolutionError(told[-1] if told else "namerd gives no reason"))
    endpoints: dict[Address, None] = {}
    meta: dict[str, Any] = {}
    for number, value in fields(inner):
        if number == 1:
            endpoints[_read_endpoint(as_bytes(number, value))] = None
        elif number == 2:
            _read_entry(as_bytes(number, value), meta)
    return Ok(AddressSet(tuple(endpoints), meta))


def _endpoint(address: Address) -> bytes:
    ip = ipaddress.ip_address(address.host)
    written = number_field(1, _FAMILIES[ip.version]) + bytes_field(2, ip.packed) + number_field(3, address.port)
    name = address.meta.get(NODE_NAME)
    if name is not None:
        written += bytes_field(4, text_field(1, _text(name)))
    return written + _metadata(5, address.meta)


def _read_endpoint(message: bytes) -> Address:
    family, packed, port, name = 0, b"", 0, ""
    meta: dict[str, Any] = {}
    for number, value in fields(message):
        if number == 1:
            family = as_number(number, value)
        elif number == 2:
            packed = as_bytes(number, value)
        elif number == 3:
            port = as_number(number, value)
        elif number == 4:
            for inner, told in fields(as_bytes(number, value)):
                name = as_text(inner, told) if inner == 1 else name
        elif number == 5:
            _read_entry(as_bytes(number, value), meta)
    if len(packed) != {0: 4, 1: 16}.get(family) or not 0 < port <= 65535:
        raise MalformedMessage("an endpoint has an IPv4 or IPv6 address and a port")
    if name:
        meta.setdefault(NODE_NAME, name)
    weight = _weight(meta.get(WEIGHT))
    if weight is not None:
        meta[WEIGHT] = weight
    return Address(str(ipaddress.ip_address(packed)), port, meta)


def _weight(text: str | None) -> float | None:
    """Give the number that a weight was before it became text; the reference leaves it text, which weighs nothing."""
    try:
        weight = float(text or "")
    except ValueError:
        return None
    return weight if math.isfinite(weight) and weight >= 0 else None


def _metadata(number: int, meta: Mapping[str, Any]) -> bytes:
    entries = [text_field(1, key) + text_field(2, _text(value)) for key, value in meta.items()]
    return b"".join([bytes_field(number, entry) for entry in entries])


def _read_entry(message: bytes, meta: dict[str, Any]) -> None:
    entry = {1: "", 2: ""}
    for number, value in fields(message):
        if number in entry:
            entry[number] = as_text(number, value)
    meta[entry[1]] = entry[2]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
