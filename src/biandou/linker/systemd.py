"""What systemd hands to a service and wants to hear: listening sockets, the log's end, states (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from ipaddress import ip_address

FIRST_FD = 3
MAX_FDS = 1024


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A listening TCP socket that was open when we started; `name` is its `FileDescriptorName=`, or empty."""

    fd: int
    ip: str
    port: int
    name: str


def inherited_sockets(environment: MutableMapping[str, str], pid: int, first: int = FIRST_FD) -> list[InheritedSocket]:
    """Take the listening sockets that were passed to process `pid`, and the variables that announced them.

    The variables are removed so that no child takes the sockets for its own. Raises `OSError` if one of the
    descriptors is not a listening TCP socket, `ValueError` if the variables make no sense.
    """
    listed_pid = environment.pop("LISTEN_PID", "")
    listed_count = environment.pop("LISTEN_FDS", "")
    listed_names = environment.pop("LISTEN_FDNAMES", "")
    if not listed_count or listed_pid != str(pid):
        return []
    if not listed_count.isdecimal() or not 0 <= int(listed_count) <= MAX_FDS:
        raise ValueError(f"LISTEN_FDS is {listed_count!r}, which is not a number from 0 to {MAX_FDS}")
    count = int(listed_count)
    names = listed_names.split(":") if listed_names else []
    names += [""] * (count - len(names))
    return [_inspect(first + offset, names[offset]) for offset in range(count)]


def _inspect(fd: int, name: str) -> InheritedSocket:
    described = f"descriptor {fd}{f' ({name})' if name else ''} from systemd"
    try:
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise OSError(error.errno, f"{described} is not a socket: {os.strerror(error.errno or 0)}") from error
    try:
        is_tcp = listener.family in {socket.AF_INET, socket.AF_INET6} and listener.type == socket.SOCK_STREAM
        if not is_tcp or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(f"{described} is not a listening TCP socket")
        os.set_inheritable(fd, False)
        ip, port = listener.getsockname()[:2]
        return InheritedSocket(fd, str(ip_address(ip.partition("%")[0])), port, name)
    finally:
        listener.detach()


def take_matching(sockets: list[InheritedSocket], ip: str, port: int) -> list[int]:
    """Take out of `sockets` all that listen on this address and port, and give their descriptors."""
    address = str(ip_address(ip))
    taken = [entry for entry in sockets if entry.ip == address and entry.port == port]
    for entry in taken:
        sockets.remove(entry)
    return [entry.fd for entry in taken]


def notify(environment: MutableMapping[str, str], state: str) -> None:
    """Tell systemd our state (`READY=1`, `STOPPING=1`), if it asked; raises `OSError` if it can't be told."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A full queue at the other end must not hold the start or the stop.
        channel.settimeout(1.0)
        channel.sendto(state.encode(), address)


def is_journal(environment: Mapping[str, str], fd: int) -> bool:
    """Say whether what is written to `fd` goes to the journal (systemd.exec(5), `$JOURNAL_STREAM`)."""
    try:
        described = os.fstat(fd)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{described.st_dev}:{described.st_ino}"
