"""Sockets that systemd passes, and what it is told."""

import os
import socket
from pathlib import Path

import pytest

from biandou.linker.systemd import InheritedSocket, inherited_sockets, notify, take_matching


def environment(count: int, names: str = "") -> dict[str, str]:
    return {"LISTEN_PID": "77", "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "OTHER": "kept"}


def test_a_listening_socket_is_known_by_its_address_port_and_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        variables = environment(1, "outgoing")
        found = inherited_sockets(variables, 77, listener.fileno())
        assert found == [InheritedSocket(listener.fileno(), "127.0.0.1", listener.getsockname()[1], "outgoing")]
        assert variables == {"OTHER": "kept"}, "a child must not take the sockets for its own"
        assert not os.get_inheritable(listener.fileno())


def test_sockets_that_were_passed_to_another_process_are_left_alone() -> None:
    assert inherited_sockets(environment(1), 78) == []


def test_without_the_variables_there_is_nothing() -> None:
    assert inherited_sockets({}, 77) == []


@pytest.mark.parametrize("count", ["x", "-1", "100000"])
def test_a_senseless_count_is_refused(count: str) -> None:
    with pytest.raises(ValueError, match="LISTEN_FDS"):
        inherited_sockets({"LISTEN_PID": "77", "LISTEN_FDS": count}, 77)


def test_a_descriptor_that_is_not_a_listening_socket_is_refused() -> None:
    with socket.socket() as idle, pytest.raises(OSError, match="not a listening TCP socket"):
        inherited_sockets(environment(1), 77, idle.fileno())
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match=r"\(web\) from systemd is not a socket"):
            inherited_sockets(environment(1, "web"), 77, reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_every_socket_of_an_address_is_taken_and_no_other() -> None:
    sockets = [
        InheritedSocket(3, "127.0.0.1", 4140, ""),
        InheritedSocket(4, "127.0.0.1", 4141, ""),
        InheritedSocket(5, "127.0.0.1", 4140, ""),
        InheritedSocket(6, "::1", 4140, ""),
    ]
    assert take_matching(sockets, "127.0.0.1", 4140) == [3, 5]
    assert take_matching(sockets, "0:0:0:0:0:0:0:1", 4140) == [6]
    assert [entry.fd for entry in sockets] == [4]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_the_state(tmp_path: Path, abstract: bool) -> None:
    name = f"biandou-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind("\0" + name if abstract else name)
        notify({"NOTIFY_SOCKET": f"@{name}" if abstract else name}, "READY=1")
        assert channel.recv(100) == b"READY=1"


def test_nobody_is_told_who_did_not_ask() -> None:
    notify({}, "READY=1")
    notify({"NOTIFY_SOCKET": "vsock:2:1234"}, "READY=1")


def test_a_notify_socket_that_is_gone_is_an_error_for_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}, "READY=1")
