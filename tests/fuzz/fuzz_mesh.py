"""Fuzz the messages of io.l5d.mesh: `python tests/fuzz/fuzz_mesh.py -runs=20000` (libFuzzer's options).

An error ends the run. Any bytes are either refused with a `MalformedMessage`, or read, and what is written of that
reads back as the same. All of it in bounded time. The first inputs are messages that protoc wrote, unless a folder of
inputs is given.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import atheris  # type: ignore[import-untyped] # it ships no types

with atheris.instrument_imports():
    from biandou.dtab import Path
    from biandou.dtab.bound import Bound
    from biandou.dtab.mesh import (
        bound_leaf,
        bound_leaf_reader,
        decode_asked,
        decode_delegation,
        decode_dtab,
        decode_path,
        decode_tree,
        encode_asked,
        encode_delegation,
        encode_dtab,
        encode_path,
        encode_tree,
    )
    from biandou.dtab.mesh_replicas import decode_replicas, encode_replicas
    from biandou.dtab.protobuf import MalformedMessage
    from biandou.live import Failed, Live

SECONDS = 5.0
MESSAGES = (
    "0a4a0a100a050a037376630a0212000a030a017812362a340a1209000000000000d03f120732050a030a01610a1e09000000000000e83f"
    "121322110a0732050a030a01620a0212000a021a000a0c0a060a040a02ff0012020a000a0b0a00120732050a030a017a",
    "2a480a14121232100a090a01230a01780a017912030a01720a3009000000000000f03f122522230a0212000a021a000a020a000a153213"
    "0a0f0a01240a04696e65740a01310a01321200",
    "224b0a1f12040a00000118903f22040a026e312a0e0a086e6f64654e616d6512026e31"
    "0a160801121000000000000000000000000000000001185012100a09617574686f726974791203776562",
    "0a030a016912150a070a050a03737663120a32080a060a01230a017852390a0154120a0a060a01230a017112001a280a030a016a12150a070a"
    "050a03737663120a32080a060a01230a0178420a0a060a01230a01711200",
    "0a090a0764656661756c74120a0a037376630a037765621a00",
)


def bound(client: Path, residual: Path) -> Bound:
    """Give a bound name whose addresses nobody knows."""
    return Bound(client, Live(), residual)


FORMS: tuple[tuple[Callable[[bytes], Any], Callable[[Any], bytes]], ...] = (
    (decode_path, encode_path),
    (decode_dtab, encode_dtab),
    (lambda data: decode_tree(data, bound_leaf_reader(bound)), lambda tree: encode_tree(tree, bound_leaf)),
    (lambda data: decode_delegation(data, bound), encode_delegation),
    (decode_replicas, encode_replicas),
    (decode_asked, lambda asked: encode_asked(asked.root or Path(), asked.name, asked.dtab)),
)


def check(data: bytes) -> None:
    """Try one input; raises when a property does not hold."""
    start = time.process_time()
    for decode, encode in FORMS:
        try:
            value = decode(data)
        except MalformedMessage:
            continue
        again = decode(encode(value))
        if isinstance(value, Failed):
            value, again = str(value.error), str(again.error)
        if again != value and not (hasattr(value, "root") and value.root is None):
            raise AssertionError(f"{data.hex()} is read as {value!r}, and what is written of that as {again!r}")
    spent = time.process_time() - start
    if spent > SECONDS:
        raise AssertionError(f"{data[:200].hex()}… took {spent:.1f} s")


def seed(folder: pathlib.Path) -> None:
    """Write every message into `folder`."""
    for number, message in enumerate(MESSAGES):
        (folder / str(number)).write_bytes(bytes.fromhex(message))


if __name__ == "__main__":
    if any(not argument.startswith("-") for argument in sys.argv[1:]):
        atheris.Setup(sys.argv, check)
        atheris.Fuzz()
    # The fuzzer ends its process past every `finally`, so a second process is what it runs in.
    with tempfile.TemporaryDirectory() as corpus:
        seed(pathlib.Path(corpus))
        sys.exit(subprocess.call([sys.executable, *sys.argv, corpus]))
