"""The service behind every proxy: nginx with a 1 KiB answer, sharing the load generator's core."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from pathlib import Path

from benchmarks.children import LOAD_CORE, Children
from benchmarks.proxies.nginx import COMMON, HTTP_COMMON, nginx_command

BODY_BYTES = 1024


def free_port() -> int:
    """Give a loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def request_succeeds(
    port: int, *, host: str = "web", timeout: float = 1.0, scheme: str = "http", address: str = "127.0.0.1"
) -> bool:
    """Tell whether a GET on a new connection is answered with 200; with `https` any certificate will do."""
    try:
        with _connect(address, port, timeout, scheme) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def _connect(address: str, port: int, timeout: float, scheme: str) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=timeout)
    if scheme == "http":
        return connection
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)


def wait_until_served(
    child: subprocess.Popen[bytes],
    port: int,
    log: Path,
    *,
    seconds: float = 15.0,
    scheme: str = "http",
    address: str = "127.0.0.1",
) -> float:
    """Wait for the first 200 on a port and give the seconds that took; raises `RuntimeError` if it never comes."""
    begin = time.perf_counter()
    while (waited := time.perf_counter() - begin) < seconds:
        if request_succeeds(port, scheme=scheme, address=address):
            return time.perf_counter() - begin
        if child.poll() is not None:
            raise RuntimeError(f"{child.args!r} ended with status {child.returncode}:\n{_tail(log)}")
        time.sleep(0.002)
    raise RuntimeError(f"{child.args!r} served nothing in {waited:.0f} s:\n{_tail(log)}")


def start_backend(children: Children, directory: Path, *, big_file: bool = False) -> int:
    """Start the service and give its port; with `big_file` it also serves 1 GiB at `/big`."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    extra = ""
    if big_file:
        (directory / "html").mkdir(exist_ok=True)
        with (directory / "html" / "big").open("wb") as sparse:
            sparse.truncate(1 << 30)
        extra = "location /big { root html; }"
    configuration = f"""{COMMON}
http {{
{HTTP_COMMON}
  client_max_body_size 0;
  server {{
    listen 127.0.0.1:{port};
    default_type text/plain;
    location / {{ return 200 "{"x" * BODY_BYTES}"; }}
    {extra}
  }}
}}
"""
    log = directory / "output.log"
    child = children.start(nginx_command(directory, configuration), core=LOAD_CORE, log=log)
    wait_until_served(child, port, log)
    return port


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""
