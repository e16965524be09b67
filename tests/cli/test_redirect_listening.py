"""What `biandou redirect` looks at before connections come to a linker: who listens, where, and as whom."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from biandou.cli.redirect_listening import Listener, Look, listeners
from biandou.cli.redirect_rules import Rules, read_networks

ANY = "00000000"
LOOPBACK = "0100007F"
OTHER = "0100000A"
ANY_6 = "0" * 32
LOOPBACK_6 = "0" * 24 + "01000000"
ME = os.geteuid()


def proc(folder: Path, *sockets: str, held: bool = True, name: str = "linker", pid: int = 7) -> Path:
    """Make a /proc: sockets as `address:port`, in the kernel's digits, all held by a process of this test's user."""
    (folder / "net").mkdir(parents=True, exist_ok=True)
    files = {"tcp": "  sl  local_address rem_address\n", "tcp6": "  sl  local_address rem_address\n"}
    descriptors = folder / str(pid) / "fd"
    descriptors.mkdir(parents=True, exist_ok=True)
    (folder / str(pid) / "comm").write_text(f"{name}\n")
    for number, socket in enumerate(sockets, 100):
        family = "tcp6" if len(socket.partition(":")[0]) == 32 else "tcp"
        files[family] += f"   0: {socket} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {number} 1\n"
        if held:
            (descriptors / str(number)).unlink(missing_ok=True)
            (descriptors / str(number)).symlink_to(f"socket:[{number}]")
    for file, text in files.items():
        (folder / "net" / file).write_text(text)
    return folder


def test_listening_sockets_are_read_and_connections_are_none(tmp_path: Path) -> None:
    made = proc(tmp_path, f"{LOOPBACK}:102C", f"{LOOPBACK_6}:1031")
    with (made / "net" / "tcp").open("a") as file:
        file.write("   1: 0100007F:1032 0100007F:8080 01 00000000:00000000 00:00000000 00000000 0 0 9 1\n")
    assert [(str(one.address), one.port, one.inode) for one in listeners(made)] == [
        ("127.0.0.1", 4140, 100),
        ("::1", 4145, 101),
    ]
    assert all(isinstance(one, Listener) for one in listeners(Path("/proc")))


@pytest.mark.parametrize(
    ("sockets", "rules", "hindrance"),
    [
        ([f"{LOOPBACK}:102C"], Rules(user=ME, outbound=4140), ""),
        ([f"{ANY}:102C"], Rules(user=ME, outbound=4140), ""),
        ([f"{ANY_6}:102C"], Rules(user=ME, outbound=4140, ipv6=True), ""),
        ([], Rules(user=ME, outbound=4140), "nothing listens on 4140"),
        ([f"{LOOPBACK}:102C"], Rules(user=ME, outbound=4140, inbound=4143), "nothing listens on 4143"),
        (
            [f"{OTHER}:102C"],
            Rules(user=ME, outbound=4140),
            "what listens on 4140 is at 10.0.0.1, and connections would come to 127.0.0.1",
        ),
        (
            [f"{LOOPBACK}:102C"],
            Rules(user=ME, outbound=4140, ipv6=True),
            "what listens on 4140 is at 127.0.0.1, and connections would come to ::1",
        ),
        (
            [f"{LOOPBACK}:102C"],
            Rules(user=ME, outbound=4140, ipv6=True, networks=read_networks("10.0.0.0/8")),
            "",
        ),
        (
            [f"{LOOPBACK}:102F"],
            Rules(user=ME, inbound=4143),
            "what listens on 4143 is at 127.0.0.1, and connections would come to 0.0.0.0",
        ),
        ([f"{OTHER}:102F"], Rules(user=ME, inbound=4143), ""),
    ],
)
def test_connections_must_find_the_linker_where_the_rules_send_them(
    sockets: list[str], rules: Rules, hindrance: str, tmp_path: Path
) -> None:
    assert Look(rules, proc(tmp_path, *sockets))() == hindrance


def test_a_linker_of_another_user_would_get_its_own_connections(tmp_path: Path) -> None:
    """But for one that nobody can see, a socket that systemd holds for it, and rules that touch nothing it does."""
    other = Rules(user=ME + 1, outbound=4140)
    assert "its own would come back to it" in Look(other, proc(tmp_path / "a", f"{LOOPBACK}:102C"))()
    assert Look(Rules(user=ME, outbound=4140), proc(tmp_path / "a", f"{LOOPBACK}:102C"))() == ""
    assert Look(other, proc(tmp_path / "b", f"{LOOPBACK}:102C", held=False))() == ""
    assert Look(other, proc(tmp_path / "c", f"{LOOPBACK}:102C", name="systemd", pid=1))() == ""
    assert Look(Rules(user=ME + 1, inbound=4143), proc(tmp_path / "d", f"{ANY}:102F"))() == ""


def test_a_linker_that_comes_back_as_its_user_is_found(tmp_path: Path) -> None:
    """While systemd starts it the socket is root's for a moment: that is not remembered."""
    look = Look(Rules(user=ME, outbound=4140), proc(tmp_path, f"{LOOPBACK}:102C"))
    assert look() == ""
    wrong = Look(Rules(user=ME + 1, outbound=4140), tmp_path)
    assert wrong() != ""
    (tmp_path / "7" / "fd" / "100").unlink()
    assert wrong() == ""
