"""The README's first linker works as the README says."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
def config() -> str:
    """The configuration that the README shows, with ports that the system picks."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    return re.sub(r"port: \d+", "port: 0", blocks[0])


def served(text: bytes) -> bytes:
    """Give the bytes of an answer."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


async def test_the_first_linker_finds_a_service_by_its_file_and_takes_an_override(config: str, tmp_path: Path) -> None:
    (tmp_path / "disco").mkdir()
    assert "-H 'l5d-dtab: /svc/web => /$/inet/127.0.0.1/9999'" in README
    async with Origin(served(b"web")) as web, Origin(served(b"other")) as other:
        (tmp_path / "disco" / "web").write_text(f"127.0.0.1 {web.port}\n")
        async with LinkerProcess(config, cwd=str(tmp_path)) as linker:
            assert (await linker.get("web")).endswith(b"\r\n\r\nweb")
            override = f"l5d-dtab: /svc/web => /$/inet/127.0.0.1/{other.port}"
            assert (await linker.get("web", "/", override)).endswith(b"\r\n\r\nother")
            assert (await linker.get("web")).endswith(b"\r\n\r\nweb")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["linker", "--validate", "linker.yaml"], ""),
        (["explain", "linker.yaml", "-H", "Host: web", "GET", "/"], "/#/io.l5d.fs/web"),
    ],
    ids=["validate", "explain"],
)
async def test_the_first_configuration_is_valid_and_explained(
    words: list[str], shown: str, config: str, tmp_path: Path
) -> None:
    (tmp_path / "disco").mkdir()
    (tmp_path / "disco" / "web").write_text("127.0.0.1 8888\n")
    (tmp_path / "linker.yaml").write_text(config)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "biandou", *words),
        cwd=tmp_path,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert shown in out.decode()
