"""`biandou redirect` on hosts that are apart: programs go through a linker unawares, and around a dead one."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from biandou.demo.hosts import Host
from biandou.testing.linker_process import LinkerProcess
from biandou.testing.origin import Origin
from tests.mesh.hosts import admin, apart, linker_on, service_on
from tests.mesh.programs import Ran, run

EXAMPLE = Path(__file__).parents[2] / "examples" / "transparent" / "linker.yaml"
GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "transparent.md").read_text()
CALLER = 65534
"""Who the callers run as; the linker runs as root, whose connections are not redirected."""


@dataclass(frozen=True)
class Redirected:
    """Two hosts: callers and a linker on `a`, services on `b`."""

    a: Host
    b: Host
    linker: LinkerProcess
    web: Origin


def biandou(host: Host, *words: str) -> tuple[str, ...]:
    return (*host.within, sys.executable, "-m", "biandou", "redirect", *words)


async def curl(host: Host, url: str, *flags: str) -> Ran:
    """Ask as a program of another user than the linker's."""
    caller = ("setpriv", f"--reuid={CALLER}", "--clear-groups")
    return await run(*host.within, *caller, "curl", "--silent", "--max-time", "5", *flags, url)


async def talk(host: Host, ip: str, port: int, line: str) -> str:
    """Send a line on a TCP connection and give the line that comes back, as such a program."""
    script = f"exec 3<>/dev/tcp/{ip}/{port} && printf '{line}\\n' >&3 && head -1 <&3"
    caller = ("setpriv", f"--reuid={CALLER}", "--clear-groups")
    ran = await run(*host.within, *caller, "bash", "-c", script)
    return ran.output.decode()


@asynccontextmanager
async def guard(host: Host, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `redirect install` until the context ends."""
    process = await asyncio.create_subprocess_exec(
        *biandou(host, "install", *words), stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            line = b""
            while line != b"connections come to the linker\n":
                line = await process.stderr.readline()
                assert line, "the guard has ended"
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def echo_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"echo " + await reader.readline())
    await writer.drain()
    writer.close()


async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 ready\n")
    await writer.drain()
    writer.close()


async def shows_headers(head: bytes) -> bytes:
    """Answer with the request's own head."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head)


@asynccontextmanager
async def redirected() -> AsyncIterator[Redirected]:
    for tool in ("nft", "setpriv", "curl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    with apart("a", "b") as (a, b):
        async with service_on(b, shows_headers) as web, linker_on(a, EXAMPLE) as linker:
            yield Redirected(a, b, linker, web)


async def until(condition: object, seconds: float = 15.0) -> None:
    """Wait until an async function says so."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.2)


async def test_what_begins_here_goes_through_the_linker_and_around_a_dead_one() -> None:
    async with redirected() as on, AsyncExitStack() as leaving:
        url = f"http://{on.b.ip}:{on.web.port}/"
        others = await asyncio.start_server(echo_line, sock=on.b.listen(5432))
        leaving.push_async_callback(others.wait_closed)
        leaving.callback(others.close)
        mailers = await asyncio.start_server(greet, sock=on.b.listen(2525))
        leaving.push_async_callback(mailers.wait_closed)
        leaving.callback(mailers.close)

        async def is_direct() -> bool:
            asked = await curl(on.a, url)
            return asked.status == 0 and b"l5d-dst-service" not in asked.output

        assert await is_direct()
        async with guard(on.a, "--outbound", "4140", "--user", "0") as guarding:
            asked = await curl(on.a, url)
            assert f"l5d-dst-service: /svc/{on.b.ip}/{on.web.port}".encode() in asked.output
            assert await talk(on.a, on.b.ip, 5432, "ping") == "echo ping\n"
            assert await talk(on.a, on.b.ip, 2525, "EHLO") == "220 ready\n", "a server that speaks first"
            metrics = await admin(on.a, "/admin/metrics.json")
            assert metrics["rt/outgoing/server/127.0.0.1/4140/connects"] >= 3
            assert metrics[f"rt/others/client/$/inet/{on.b.ip}/5432/success"] == 1
            shown = await run(*biandou(on.a, "show"))
            assert (shown.status, b"redirect to :4140" in shown.output) == (0, True)
            refused = await curl(on.a, f"http://{on.b.ip}:1/")
            assert refused.output.startswith(f"Unable to establish connection to {on.b.ip}:1.".encode())

            await on.linker.kill()
            await until(is_direct)
            await on.linker.start()

            async def is_redirected() -> bool:
                return not await is_direct()

            await until(is_redirected)

            guarding.send_signal(signal.SIGKILL)
            await on.linker.kill()
            await until(is_direct)
        assert (await run(*biandou(on.a, "show"))).status == 0, "nobody has taken them out"
        removed = await run(*biandou(on.a, "remove"))
        assert (removed.status, removed.output) == (0, b"the rules are taken out\n")
        assert (await run(*biandou(on.a, "show"))).status == 1


async def test_what_ends_here_goes_through_the_linker() -> None:
    async with redirected() as on:
        rules = ("--inbound", "4143", "--user", "0", "--except", "9990")
        async with guard(on.a, *rules), service_on(on.a, shows_headers) as local:
            asked = await run(*on.b.within, "curl", "--silent", f"http://{on.a.ip}:{local.port}/", seconds=10)
            assert f"l5d-dst-service: /svc/{on.a.ip}/{local.port}".encode() in asked.output
            # To oneself there is no way around, nor a need for one.
            asked = await curl(on.a, f"http://{on.a.ip}:{local.port}/")
            assert b"l5d-dst-service" not in asked.output
            loop = await run(*on.b.within, "curl", "--silent", "-i", f"http://{on.a.ip}:4143/", seconds=10)
            assert b"was not redirected" in loop.output, loop.output


def tls_name(name: str) -> bytes:
    """Give the first message of a TLS caller that asks for this server."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


async def says_back(host: Host, ip: str, port: int, message: bytes) -> bytes:
    """Send a message on a TCP connection as a caller, and give the first bytes that come back."""
    script = f"exec 3<>/dev/tcp/{ip}/{port} && cat >&3 && head -c 16 <&3"
    caller = ("setpriv", f"--reuid={CALLER}", "--clear-groups")
    return (await run(*host.within, *caller, "bash", "-c", script, stdin=message)).output


async def test_tls_goes_to_where_it_was_going_with_the_example() -> None:
    """Whatever server it asks for: a name that nobody has written into a dtab must not cut it off."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(64))
        await writer.drain()
        writer.close()

    async with redirected() as on, guard(on.a, "--outbound", "4140", "--user", "0"):
        server = await asyncio.start_server(echo, sock=on.b.listen(443))
        async with server:
            hello = tls_name("db.example.com")
            assert await says_back(on.a, on.b.ip, 443, hello) == hello[:16]
        metrics = await admin(on.a, "/admin/metrics.json")
        assert metrics[f"rt/others/service/svc/{on.b.ip}/443/success"] == 1


async def test_tls_is_named_by_the_server_it_asks_for_as_the_guide_has_it(tmp_path: Path) -> None:
    [router] = [block for block in re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.M | re.S) if "io.biandou.sni" in block]
    async with redirected() as on, AsyncExitStack() as leaving:
        others = await asyncio.start_server(echo_line, sock=on.b.listen(5433))
        leaving.push_async_callback(others.wait_closed)
        leaving.callback(others.close)
        file = tmp_path / "linker.yaml"
        file.write_text("admin: {port: 9999}\n" + router.replace("10.0.0.9", on.b.ip).replace("4145", "4155"))
        await leaving.enter_async_context(linker_on(on.a, file))
        await leaving.enter_async_context(guard(on.a, "--outbound", "4155", "--user", "0"))
        assert (await says_back(on.a, on.b.ip, 443, tls_name("db.example.com") + b"\n")).startswith(b"echo ")
        assert await talk(on.a, on.b.ip, 5433, "ping") == "echo ping\n", "what is no TLS goes where it was going"


async def test_a_second_one_is_refused_and_whoever_is_there_mends_and_ends() -> None:
    async with redirected() as on, guard(on.a, "--outbound", "4140", "--user", "0") as guarding:
        second = await run(*biandou(on.a, "install", "--outbound", "4140", "--user", "0"))
        assert (second.status, f"process {guarding.pid} holds rules here already" in second.errors) == (1, True)
        assert (await run(*biandou(on.a, "show"))).status == 0
        await run(*on.a.within, "nft", "flush", "ruleset")

        async def is_back() -> bool:
            return (await run(*biandou(on.a, "show"))).status == 0

        await until(is_back)
        asked = await curl(on.a, f"http://{on.b.ip}:{on.web.port}/")
        assert b"l5d-dst-service" in asked.output
        removed = await run(*biandou(on.a, "remove"))
        assert (removed.status, removed.output) == (0, b"the rules are taken out\n")
        assert await guarding.wait() == 0
        assert (await run(*biandou(on.a, "show"))).status == 1


@pytest.mark.parametrize(
    ("words", "hindrance"),
    [
        (("--outbound", "4140", "--user", str(CALLER)), b"its own would come back to it (--user root)"),
        (("--outbound", "4140", "--user", "0", "--ipv6"), b"what listens on 4140 is at 127.0.0.1"),
        (("--inbound", "4140"), b"what listens on 4140 is at 127.0.0.1"),
    ],
    ids=["a linker of another user", "IPv6 to a linker without it", "others to loopback"],
)
async def test_rules_that_would_cut_the_host_off_are_not_in_force(words: tuple[str, ...], hindrance: bytes) -> None:
    async with redirected() as on:
        process = await asyncio.create_subprocess_exec(
            *biandou(on.a, "install", *words), stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(20):
                line = b""
                while b"connections go their own way" not in line:
                    line = await process.stderr.readline()
                    assert line, "the guard has ended"
            assert hindrance in line
            asked = await curl(on.a, f"http://{on.b.ip}:{on.web.port}/")
            assert asked.status == 0
            assert b"l5d-dst-service" not in asked.output
        finally:
            process.terminate()
            await process.wait()


async def test_a_mistake_changes_nothing() -> None:
    async with redirected() as on:
        for words, message in (
            (("--user", "0"), "--outbound or --inbound says which port of the linker takes connections"),
            (("--outbound", "4140", "--user", "nobody-here"), "there is no user nobody-here"),
            (("--outbound", "4140", "--user", "0", "--ports", "80-70"), "80-70 is no port or range of ports"),
            (("--outbound", "99999", "--user", "0"), "99999 is no port"),
            (("--outbound", "4140", "--user", "4294967295"), "4294967295 is no user's number"),
            (("--outbound", "5999", "--user", "0", "--permanent"), "nothing listens on 5999"),
        ):
            ran = await run(*biandou(on.a, "install", *words))
            assert (ran.status != 0, message in ran.errors) == (True, True), ran.errors
        assert (await run(*biandou(on.a, "show"))).status == 1


IPTABLES = """
import subprocess, sys
from threading import Event
from biandou.cli.redirect_guard import guard
from biandou.cli.redirect_kernel import Iptables
from biandou.cli.redirect_rules import Rules
kernel, rules = Iptables("iptables", "iptables-restore"), Rules(user=0, outbound=4140)
for word in sys.argv[1:]:
    if word == "install":
        kernel.install(rules)
    elif word == "flush":
        subprocess.run(["iptables", "-t", "nat", "-F"], check=True)
    elif word == "look":
        # One look of a guard, which leaves the rules at its end.
        stop, remove = Event(), kernel.remove
        stop.set()
        kernel.remove = lambda: False
        guard(kernel, rules, str, stop)
        kernel.remove = remove
    else:
        getattr(kernel, word)()
sys.stdout.write(kernel.show())
"""


async def test_what_iptables_holds_is_shown_and_taken_out_where_there_is_nft_by_now() -> None:
    """As on a host that got nftables later, while a guard was killed."""
    if shutil.which("iptables") is None or shutil.which("iptables-restore") is None:
        pytest.skip("iptables is not installed")
    async with redirected() as on:
        left = (*on.a.within, sys.executable, "-c", IPTABLES, "install", "hold")
        assert (await run(*left)).status == 0
        shown = await run(*biandou(on.a, "show"))
        assert (shown.status, b"REDIRECT --to-ports 4140" in shown.output) == (0, True)
        removed = await run(*biandou(on.a, "remove"))
        assert (removed.status, removed.output) == (0, b"the rules are taken out\n")
        assert (await run(*biandou(on.a, "show"))).status == 1
        assert (await run(*left)).status == 0
        async with guard(on.a, "--outbound", "4140", "--user", "0"):
            assert b"REDIRECT" not in (await run(*biandou(on.a, "show"))).output, "one of them is enough"


async def test_iptables_does_the_same() -> None:
    for tool in ("iptables", "iptables-restore"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    async with redirected() as on:
        url = f"http://{on.b.ip}:{on.web.port}/"
        for words, goes_through in (
            ("install", False),
            ("install hold hold", True),
            ("release", False),
            ("hold", True),
            ("install hold flush look", True),
            ("remove remove", False),
        ):
            ran = await run(*on.a.within, sys.executable, "-c", IPTABLES, *words.split())
            assert ran.status == 0, ran.errors
            assert (ran.output == b"") is words.startswith("remove")
            asked = await curl(on.a, url)
            assert (b"l5d-dst-service" in asked.output) is goes_through, words
