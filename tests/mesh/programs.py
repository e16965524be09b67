"""Running other programs against a linker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program that came to its end has said."""

    status: int
    output: bytes
    errors: str


async def run(*arguments: str, stdin: bytes = b"", seconds: float = 30.0) -> Ran:
    """Run a program to its end; raises `TimeoutError` after killing one that takes longer."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return Ran(process.returncode, output, errors.decode(errors="replace"))
