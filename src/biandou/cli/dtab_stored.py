"""Gives the dtab that a namerd keeps to what is not asynchronous: tests of dtabs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from biandou.cli.dtab_forms import DTAB
from biandou.cli.dtab_shared import place
from biandou.cli.namerd_address import base_url
from biandou.cli.namerd_http import Access, connected


def stored(namespace: str, access: Access | None, token: str | None = None) -> str:
    """Give a namespace's dtab as text, from the namerd of the environment if none is given; raises `NamerdFailed`."""
    asked = access or Access(base_url(None, os.environ, Path.cwd()), token)

    async def ask() -> str:
        async with connected(asked) as namerd:
            return (await namerd.ask("GET", place(namespace), headers={"Accept": DTAB})).body.decode()

    return asyncio.run(ask())
