"""Certificates of an authority of our own, made with openssl."""

from __future__ import annotations

import asyncio
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


async def run(*arguments: str | Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")


async def openssl(*arguments: str | Path) -> None:
    status, output = await run("openssl", *arguments)
    assert status == 0, output


async def make(folder: Path, name: str, host: str) -> None:
    """Make `<name>.pem` and `<name>.key` for a host, signed by the folder's authority."""
    key, request, certificate = (folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
    extensions = folder / f"{name}.ext"
    extensions.write_text(f"subjectAltName=DNS:{host}\nbasicConstraints=CA:FALSE\n")
    await openssl("req", *CURVE, "-keyout", key, "-out", request, "-subj", f"/CN={host}")
    authority = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial", "-days", "2")
    await openssl("x509", "-req", "-in", request, *authority, "-extfile", extensions, "-out", certificate)


async def make_authority(folder: Path) -> None:
    """Make `ca.pem` and `ca.key`."""
    files = ("-keyout", folder / "ca.key", "-out", folder / "ca.pem")
    await openssl("req", "-x509", *CURVE, *files, "-subj", "/CN=authority", "-days", "2")
