"""`python -m benchmarks.training`: work for an engine that is built to count where its time goes (`make profile`).

The compiler lays out what is used here for speed, and all else for size: so whatever many requests do must be here.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.backend import free_port, start_backend
from benchmarks.children import Children
from benchmarks.contest import Contender, contest
from benchmarks.rounds import Pace
from benchmarks.speed import (
    ENDPOINTS,
    EVERY_POLICY,
    NAMES,
    Linker,
    address_of,
    make_certificate,
    start_nginx,
    start_tls_backend,
    start_wide_backend,
    tls_linker,
    write_names_script,
)

UPLOAD = """\
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
wrk.headers["Accept"] = "application/json, text/plain, */*"
wrk.headers["Accept-Encoding"] = "gzip, deflate, br, zstd"
wrk.headers["Cookie"] = "session=0123456789abcdef0123456789abcdef; theme=dark"
wrk.headers["l5d-ctx-trace"] = "AAAAAAAAAAEAAAAAAAAAAgAAAAAAAAADAAAAAAAAAAA="
wrk.body = string.rep("x", 4096)
"""
"""A request as browsers and other linkers send it."""

CHUNKED = "    default_type text/html;\n    ssi on;\n"
"""nginx does not know how long a page will be whose includes it has yet to look for."""


def main(words: Sequence[str] | None = None) -> int:
    """Load linkers of several configurations, one after the other; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each configuration (%(default)g)")
    pace = Pace(rounds=1, seconds=parser.parse_args(words).seconds)
    directory = Path(tempfile.mkdtemp(prefix="biandou-training-"))
    try:
        with Children() as children:
            rows = contest(children, contenders(children, directory), pace)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    for name, row in rows.items():
        sys.stdout.write(f"{name}: {row['requests/s']:,.0f} requests a second\n")
    return 0


def contenders(children: Children, directory: Path) -> list[Contender]:
    """Start the services, and give the linkers that are to be loaded."""
    there = f"127.0.0.1 {start_backend(children, directory / 'backend')}\n"
    port = free_port()
    start_nginx(children, directory / "chunked", port, f"    listen 127.0.0.1:{port};\n{CHUNKED}")
    wide = start_wide_backend(children, directory / "wide")
    many = "".join(f"{address_of(nth)} {wide}\n" for nth in range(ENDPOINTS))
    make_certificate(directory)
    upload = directory / "upload.lua"
    upload.write_text(UPLOAD)
    names = f"  bindingCache: {{paths: {2 * NAMES}, trees: {2 * NAMES}}}\n"
    return [
        # Twice: most requests are like these, and the compiler weighs by count.
        Linker("plain", there).contender(directory),
        Linker("plain again", there).contender(directory),
        Linker("chunked", f"127.0.0.1 {port}\n").contender(directory),
        Linker("upload", there).contender(directory, script=upload),
        Linker("every policy", there, EVERY_POLICY).contender(directory),
        Linker("many endpoints", many).contender(directory),
        Linker("many names", there, names).contender(directory, script=write_names_script(directory)),
        tls_linker(directory, start_tls_backend(children, directory)).contender(directory, scheme="https"),
    ]


if __name__ == "__main__":
    sys.exit(main())
