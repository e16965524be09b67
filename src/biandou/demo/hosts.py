"""Hosts that are apart, on one machine: network namespaces, each with its own address, joined by a bridge.

The bridge has a namespace too, so that nothing of the machine's own network changes. `ip` (iproute2) makes them, which
needs root; what is left in them is ended and all is removed with the context, also after a failure.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

NETWORK: Final = "10.77.0"
IP_SECONDS: Final = 20.0
MAX_HOSTS: Final = 250
_CLONE_NEWNET: Final = 0x40000000
_NAMED: Final = Path("/run/netns")
_numbers = itertools.count()

T = TypeVar("T")


class HostsRefused(Exception):
    """There can be no network namespaces on this machine, or for this user; the message says why in one sentence."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host of its own network: `ip` is its address there, and 127.0.0.1 is its own loopback."""

    name: str
    ip: str
    namespace: str

    @property
    def within(self) -> tuple[str, ...]:
        """What to put before a command so that it runs on this host; its process id is the command's."""
        return ("ip", "netns", "exec", self.namespace)

    def open_socket(
        self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """Give a socket of this host to a program that runs elsewhere; raises `OSError`."""
        return _in_namespace(self.namespace, lambda: socket.socket(family, kind, protocol))

    def listen(self, port: int = 0) -> socket.socket:
        """Give a socket that listens on the host's address; raises `OSError`."""
        listener = self.open_socket()
        listener.bind((self.ip, port))
        listener.listen(128)
        listener.setblocking(False)
        return listener


@contextlib.contextmanager
def hosts(*names: str) -> Iterator[tuple[Host, ...]]:
    """Make a host for each name, on one network; raises `HostsRefused`, and leaves nothing behind in any case."""
    if len(names) > MAX_HOSTS:
        raise HostsRefused(f"there is room for {MAX_HOSTS} hosts on their network, not for {len(names)}")
    if os.geteuid() != 0:
        raise HostsRefused("network namespaces need root, or CAP_NET_ADMIN and CAP_SYS_ADMIN")
    if shutil.which("ip") is None:
        raise HostsRefused("network namespaces are made with `ip`, of the package iproute2, which is not installed")
    # Others may make hosts at the same time.
    mark = f"biandou-{os.getpid()}-{next(_numbers)}"
    switch = f"{mark}-switch"
    made = tuple(Host(name, f"{NETWORK}.{number}", f"{mark}-{name}") for number, name in enumerate(names, 1))
    with contextlib.ExitStack() as leaving:
        _make(switch, leaving)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for number, host in enumerate(made):
            _make(host.namespace, leaving)
            port = f"port{number}"
            _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
            _ip("-n", switch, "link", "set", port, "master", "bridge", "up")
            _ip("-n", host.namespace, "address", "add", f"{host.ip}/24", "dev", "eth0")
            _ip("-n", host.namespace, "link", "set", "lo", "up")
            _ip("-n", host.namespace, "link", "set", "eth0", "up")
        yield made


def _make(namespace: str, leaving: contextlib.ExitStack) -> None:
    # First, since a Ctrl-C may come between the two.
    leaving.callback(_remove, namespace)
    _ip("netns", "add", namespace)


def _remove(namespace: str) -> None:
    """End what runs in a namespace of ours, and delete it with its links; one that is not there is no failure."""
    if not (_NAMED / namespace).exists():
        return
    for pid in _ip("netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    _ip("netns", "delete", namespace)


def _ip(*arguments: str) -> str:
    command = ["ip", *arguments]
    try:
        # In a session of its own: Ctrl-C at the terminal is for us, and `ip` finishes what it does.
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command, capture_output=True, text=True, timeout=IP_SECONDS, check=False, start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostsRefused(f"`{' '.join(command)}` can't be run: {error}") from error
    if done.returncode != 0:
        raise HostsRefused(f"`{' '.join(command)}` was refused: {done.stderr.strip() or f'status {done.returncode}'}")
    return done.stdout


def _in_namespace(namespace: str, make: Callable[[], T]) -> T:
    """Call `make` in a thread that has entered the namespace; gives its result, raises what it raises."""
    made: list[T] = []
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            descriptor = os.open(_NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                libc = ctypes.CDLL(None, use_errno=True)
                # A namespace is a thread's, and this thread ends here: no other is moved. `os.setns` came with 3.12.
                if libc.setns(descriptor, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")
            finally:
                os.close(descriptor)
            made.append(make())
        except BaseException as error:
            # For who waits to raise again.
            failed.append(error)

    thread = threading.Thread(target=enter, name=f"enter {namespace}")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]
