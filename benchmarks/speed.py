"""What TLS, policies, workers, idle connections and many names or endpoints cost, each against the plain thing."""

from __future__ import annotations

import resource
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import account, table
from benchmarks.backend import BODY_BYTES, free_port, start_backend, wait_until_served
from benchmarks.children import LOAD_CORE, PROXY_CORE, Children
from benchmarks.contest import Contender, contest
from benchmarks.memory import get
from benchmarks.proxies.base import program
from benchmarks.proxies.biandou import binary
from benchmarks.proxies.haproxy import HAPROXY
from benchmarks.proxies.nginx import COMMON, HTTP_COMMON, nginx_command
from benchmarks.rounds import Pace

IDLE_CONNECTIONS: Final = 10_000
ENDPOINTS: Final = 1_000
NAMES: Final = 10_000

EVERY_POLICY: Final = """\
  service:
    totalTimeoutMs: 10000
    responseClassifier: {kind: io.l5d.http.retryableRead5XX}
    retries: {budget: {minRetriesPerSec: 10, percentCanRetry: 0.2, ttlSecs: 10}}
  client:
    requestAttemptTimeoutMs: 5000
    loadBalancer: {kind: ewma}
    failureAccrual: {kind: io.l5d.successRateWindowed, successRate: 0.9, window: 60}
"""


Part = Callable[[Path, Pace], Path]
"""Measures, working in a directory, and gives the path of the table that it has written."""


@dataclass(frozen=True)
class Linker:
    """What distinguishes one linker's configuration from another's."""

    name: str
    endpoints: str
    router: str = ""
    server: str = ""
    workers: int = 1

    def contender(self, directory: Path, *, scheme: str = "http", script: Path | None = None) -> Contender:
        """Write the configuration; all names lead to the same endpoints, `ip port` a line."""
        place = directory / self.name.replace(" ", "-").replace(",", "")
        disco, port = place / "disco", free_port()
        disco.mkdir(parents=True)
        (disco / "web").write_text(self.endpoints)
        (place / "linker.yaml").write_text(f"""\
admin: {{ip: 127.0.0.1, port: 0}}
namers:
- kind: io.l5d.fs
  rootDir: {disco}
routers:
- protocol: http
  dtab: /svc => /#/io.l5d.fs/web;
  servers:
  - ip: 127.0.0.1
    port: {port}
{self.server}{self.router}""")
        command = [binary(), "linker", "--workers", str(self.workers), str(place / "linker.yaml")]
        cores = str(PROXY_CORE) if self.workers == 1 else f"0-{self.workers - 1}"
        return Contender(self.name, port, command, place, scheme, script, cores, self.workers)


def policies(directory: Path, pace: Pace) -> Path:
    """Measure a linker with every policy of its client and service against one with none of them."""
    with Children() as children:
        there = f"127.0.0.1 {start_backend(children, directory / 'backend')}\n"
        linkers = [Linker("bare", there), Linker("every policy", there, EVERY_POLICY)]
        rows = contest(children, [linker.contender(directory) for linker in linkers], pace)
    return table.write_readings("policies", "Every policy turned on", "linker", rows)


def workers(directory: Path, pace: Pace) -> Path:
    """Measure two workers against one.

    `busy` is how much of its cores a linker has used: below 0.9 the load generator and the service, which need a core
    too, were the limit, and only the CPU ratio tells what two workers could do.
    """
    with Children() as children:
        there = f"127.0.0.1 {start_backend(children, directory / 'backend')}\n"
        linkers = [Linker("one worker", there), Linker("two workers", there, workers=2)]
        rows = contest(children, [linker.contender(directory) for linker in linkers], pace)
    one, two = rows.values()
    two["rate by CPU alone"] = 2 * one["CPU µs/request"] / two["CPU µs/request"]
    limit = "" if two["busy"] >= 0.9 else " (the load generator is the limit)"
    return table.write_readings("workers", f"Two workers{limit}", "linker", rows)


def breadth(directory: Path, pace: Pace) -> Path:
    """Measure 1,000 endpoints behind one name, and 10,000 names that are all asked for, against one of each.

    Names are asked for by a script, which slows wrk down: its requests come one by one, which costs the proxy more. So
    many names are measured against one name that the same script asks for.
    """
    wide = f"  bindingCache: {{paths: {2 * NAMES}, trees: {2 * NAMES}}}\n"
    with Children() as children:
        port = start_wide_backend(children, directory / "backend")
        one = f"127.1.0.0 {port}\n"
        many = "".join(f"{address_of(nth)} {port}\n" for nth in range(ENDPOINTS))
        script = write_names_script(directory)
        alone = write_names_script(directory, names=1)
        contenders = [
            Linker("one name, one endpoint", one).contender(directory),
            Linker(f"{ENDPOINTS:,} endpoints", many).contender(directory),
            Linker("one name, from a script", one).contender(directory, script=alone),
            Linker(f"{NAMES:,} names, from that script", one, wide).contender(directory, script=script),
        ]
        rows = contest(
            children, contenders, pace, lambda one: _ask_for_all_names(one) if one.script == script else None
        )
    _, _, base, row = rows.values()
    row["CPU ratio"] = row["CPU µs/request"] / base["CPU µs/request"]
    row["rate ratio"] = row["requests/s"] / base["requests/s"]
    return table.write_readings(
        "breadth", "Many endpoints, many names (against one name that the same script asks for)", "linker", rows
    )


def tls(directory: Path, pace: Pace) -> Path:
    """Measure TLS on both sides, with kept connections, against HAProxy's."""
    directory.mkdir(parents=True, exist_ok=True)
    make_certificate(directory)
    certificate = directory / "web.pem"
    with Children() as children:
        upstream = start_tls_backend(children, directory)
        port = free_port()
        place = directory / "haproxy"
        place.mkdir()
        command = HAPROXY.prepare(place, port, upstream)
        file = place / "haproxy.cfg"
        bind, server = f"bind 127.0.0.1:{port}", f"server one 127.0.0.1:{upstream}"
        checked = f"ssl verify required ca-file {certificate} sni str(web.test) verifyhost web.test"
        text = file.read_text().replace(bind, f"{bind} ssl crt {directory}/both.pem")
        file.write_text(text.replace(server, f"{server} {checked}"))
        contenders = [
            Contender("HAProxy", port, command, place, "https"),
            tls_linker(directory, upstream).contender(directory, scheme="https"),
        ]
        rows = contest(children, contenders, pace)
    return table.write_readings("tls", "TLS on both sides", "proxy", rows)


def idle(directory: Path, pace: Pace) -> Path:
    """Measure what 10,000 connections that have had one answer and wait hold of a linker's memory."""
    del pace
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(IDLE_CONNECTIONS, hard - 1000)
    with Children() as children:
        there = f"127.0.0.1 {start_backend(children, directory / 'backend')}\n"
        contender = Linker("idle", there).contender(directory)
        log = contender.directory / "output.log"
        child = children.start(contender.command, core=contender.cores, log=log)
        wait_until_served(child, contender.port, log)
        for _ in range(200):
            get(contender.port, "web", "/")
        before = account.resident_mib(child.pid)
        opened = [_ask_and_keep(contender.port) for _ in range(count)]
        time.sleep(1)
        held = account.resident_mib(child.pid)
        for connection in opened:
            connection.close()
    row = {"before MiB": before, "with them MiB": held, "KiB each": (held - before) * 1024 / count}
    return table.write_readings("idle", "Connections that wait", "connections", {f"{count:,}": row})


PARTS: Final[dict[str, Part]] = {
    "tls": tls,
    "policies": policies,
    "workers": workers,
    "idle": idle,
    "breadth": breadth,
}


def write_names_script(directory: Path, names: int = NAMES) -> Path:
    """Write a script for wrk that asks for `name0`, `name1` and so on in turn."""
    script = directory / f"{names}-names.lua"
    script.write_text(
        "local n = 0\nfunction request()\n  n = (n + 1) % %d\n"
        '  return wrk.format("GET", "/", {["Host"] = "name" .. n})\nend\n'.replace("%d", str(names))
    )
    return script


def tls_linker(directory: Path, upstream: int) -> Linker:
    """Give a linker with TLS on both sides, with the directory's certificate."""
    certificate, key = directory / "web.pem", directory / "web.key"
    return Linker(
        "Biandou",
        f"127.0.0.1 {upstream}\n",
        f"  client:\n    tls: {{commonName: web.test, trustCerts: [{certificate}]}}\n",
        f"    tls: {{certPath: {certificate}, keyPath: {key}}}\n",
    )


def address_of(nth: int) -> str:
    """Give one of the many loopback addresses."""
    return f"127.1.{nth // 250}.{nth % 250}"


def _ask_for_all_names(contender: Contender) -> None:
    for nth in range(NAMES):
        get(contender.port, f"name{nth}", "/")


def _ask_and_keep(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
    missing = -1
    got = b""
    while missing:
        got += connection.recv(4096)
        head, end, body = got.partition(b"\r\n\r\n")
        if end:
            # The service's answer is of a known length.
            missing = BODY_BYTES - len(body)
            if not head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"an answer: {head[:200]!r}")
    return connection


def start_nginx(children: Children, directory: Path, port: int, server: str, *, scheme: str = "http") -> None:
    """Start a service with these lines in its server; it must answer on `127.0.0.1:port`."""
    directory.mkdir(parents=True, exist_ok=True)
    configuration = f"""{COMMON}
http {{
{HTTP_COMMON}
  server {{
{server}
    location / {{ return 200 "{"x" * BODY_BYTES}"; }}
  }}
}}
"""
    log = directory / "output.log"
    child = children.start(nginx_command(directory, configuration), core=LOAD_CORE, log=log)
    wait_until_served(child, port, log, scheme=scheme)


def start_wide_backend(children: Children, directory: Path) -> int:
    """Start a service on as many addresses as there are endpoints, and give its port."""
    port = free_port()
    addresses = ["127.0.0.1", *(address_of(nth) for nth in range(ENDPOINTS))]
    start_nginx(children, directory, port, "".join(f"    listen {address}:{port};\n" for address in addresses))
    return port


def start_tls_backend(children: Children, directory: Path) -> int:
    """Start a service with the directory's certificate, and give its port."""
    port = free_port()
    files = f"    ssl_certificate {directory}/web.pem;\n    ssl_certificate_key {directory}/web.key;\n"
    listen = f"    listen 127.0.0.1:{port} ssl;\n"
    start_nginx(children, directory / "backend", port, listen + files, scheme="https")
    return port


def make_certificate(directory: Path) -> None:
    """Write `web.pem`, `web.key` and both in one, `both.pem`."""
    key, certificate = directory / "web.key", directory / "web.pem"
    command = [program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=web.test"]
    command += ["-addext", "subjectAltName=DNS:web.test,DNS:web", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (directory / "both.pem").write_text(certificate.read_text() + key.read_text())
