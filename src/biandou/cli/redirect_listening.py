"""Whether connections that are redirected find the linker, and whether its own would come back to it."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

from biandou.cli.redirect_rules import Rules

_PROC: Final = Path("/proc")
_LISTEN: Final = "0A"
"""The state of a listening socket in `/proc/net/tcp` (Linux, `include/net/tcp_states.h`)."""
_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}
_EVERYWHERE: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - what a message says
"""By the version of IP."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket of this network namespace that listens; its inode is how a process's descriptors name it."""

    address: IPv4Address | IPv6Address
    port: int
    inode: int


def listeners(proc: Path = _PROC) -> list[Listener]:
    """Give every TCP socket that listens in this network namespace."""
    found = []
    for family in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / family).read_text().splitlines()[1:]
        except FileNotFoundError:
            # A kernel without IPv6.
            continue
        for line in lines:
            # Of many thousand connections none is taken apart.
            if f" {_LISTEN} " in line and (words := line.split())[3] == _LISTEN:
                address, _, port = words[1].partition(":")
                found.append(Listener(_address(address), int(port, 16), int(words[9])))
    return found


class Look:
    """Looks at whether connections that come by some rules find the linker."""

    def __init__(self, rules: Rules, proc: Path = _PROC) -> None:
        self._rules = rules
        self._proc = proc
        self._fine: set[int] = set()

    def __call__(self) -> str:
        """Say why these rules must not be in force; nothing if they may."""
        found = listeners(self._proc)
        return _unreached(self._rules, found) or self._strangers(found)

    def _strangers(self, found: list[Listener]) -> str:
        """Say who listens on the linker's port for what begins here, if that is not whom the rules let go.

        The linker's own connections would come back to it, for ever. Nothing is said of those who can't be seen: a
        linker in another PID namespace, or a socket that only systemd holds yet.
        """
        rules, inodes = self._rules, {one.inode for one in found if one.port == self._rules.outbound}
        # To look through all processes each second is too much work.
        if not inodes or inodes == self._fine:
            return ""
        users = set(_holders(inodes, self._proc))
        if not users or rules.user in users:
            self._fine = inodes
            return ""
        names = " and ".join(sorted(map(_user_name, users)))
        return (
            f"{rules.outbound} is the port of a program of {names}, and the rules let the connections of "
            f"{_user_name(rules.user)} go their way: its own would come back to it (--user {names})"
        )


def _unreached(rules: Rules, found: list[Listener]) -> str:
    for port, version, inbound in _ways(rules):
        here = [one.address for one in found if one.port == port]
        if not here:
            return f"nothing listens on {port}"
        if not any(_is_reached(address, version, inbound=inbound) for address in here):
            wanted = _EVERYWHERE if inbound else _LOOPBACK
            there = ", ".join(sorted(str(address) for address in here))
            return f"what listens on {port} is at {there}, and connections would come to {wanted[version]}"
    return ""


def _user_name(number: int) -> str:
    """Give a user's name, or the number of one without a name."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _ways(rules: Rules) -> Iterator[tuple[int, int, bool]]:
    """Give the ways by which connections come: the linker's port, the version of IP, and whether from other hosts."""
    versions = {4, 6} if rules.ipv6 else {4}
    if rules.outbound is not None:
        meant = {network.version for network in rules.networks} or versions
        yield from ((rules.outbound, version, False) for version in sorted(meant))
    if rules.inbound is not None:
        yield from ((rules.inbound, version, True) for version in sorted(versions))


def _is_reached(address: IPv4Address | IPv6Address, version: int, *, inbound: bool) -> bool:
    # Netfilter's `redirect` sends what begins here to loopback, and what ends here to the interface that it came by.
    if address.is_unspecified:
        return address.version == 6 or version == 4
    if address.version != version:
        return False
    return not address.is_loopback if inbound else str(address) == _LOOPBACK[version]


def _holders(inodes: Iterable[int], proc: Path) -> Iterator[int]:
    """Give the users of all processes that hold one of these sockets, but for a systemd that listens for others."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in proc.iterdir():
        # Processes come and go meanwhile.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            if not process.name.isdecimal() or (process.name == "1" and _is_systemd(process)):
                continue
            if any(os.readlink(descriptor) in wanted for descriptor in (process / "fd").iterdir()):
                yield process.stat().st_uid


def _is_systemd(process: Path) -> bool:
    return (process / "comm").read_text() == "systemd\n"


def _address(text: str) -> IPv4Address | IPv6Address:
    """Read words of four bytes, each a number of this machine in hexadecimal digits."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return ip_address(b"".join(word.to_bytes(4, sys.byteorder) for word in words))
