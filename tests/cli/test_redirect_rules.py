"""The rules of `biandou redirect` as text, and the guard that holds them."""

from __future__ import annotations

from threading import Event

import pytest

from biandou.cli import redirect_guard
from biandou.cli.redirect_guard import guard
from biandou.cli.redirect_kernel import RedirectError
from biandou.cli.redirect_rules import Rules, iptables_install, nft_install, read_networks, read_ports


def test_ports_and_networks_are_read() -> None:
    assert read_ports("8000-8100, 80,") == ((80, 80), (8000, 8100))
    assert [str(network) for network in read_networks("10.0.0.0/8,fd00::/8")] == ["10.0.0.0/8", "fd00::/8"]


@pytest.mark.parametrize("text", ["x", "80-", "-80", "0", "65536", "90-80", "80:90", ","])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port"):
        read_ports(text)


@pytest.mark.parametrize("text", ["x", "10.0.0.1/8", ","])
def test_what_is_no_network_is_refused(text: str) -> None:
    """And a list of nothing does not mean everything."""
    with pytest.raises(ValueError, match=r"network|host bits"):
        read_networks(text)


def test_rules_that_redirect_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--outbound or --inbound"):
        Rules(user=1)
    with pytest.raises(ValueError, match=r"--ports and --to .* --outbound, which is missing"):
        Rules(user=1, inbound=4143, ports=read_ports("80"))
    with pytest.raises(ValueError, match=r"--ports and --to .* --outbound, which is missing"):
        Rules(user=1, inbound=4143, networks=read_networks("10.0.0.0/8"))
    with pytest.raises(ValueError, match=r"--inbound-ports .* --inbound, which is missing"):
        Rules(user=1, outbound=4140, inbound_ports=read_ports("80"))
    with pytest.raises(ValueError, match=r"need --ipv6"):
        Rules(user=1, outbound=4140, networks=read_networks("fd00::/8"))


def test_the_rules_of_nftables() -> None:
    rules = Rules(
        user=998,
        outbound=4140,
        inbound=4143,
        ports=read_ports("80"),
        excepted=read_ports("22"),
        networks=read_networks("10.0.0.0/8"),
    )
    assert nft_install(rules) == (
        "table inet biandou {}\n"
        "delete table inet biandou\n"
        "table inet biandou {\n"
        "  set held { type inet_proto; flags timeout; }\n"
        "  chain outbound {\n"
        "    type nat hook output priority -100; policy accept;\n"
        "    meta nfproto != ipv4 return\n"
        "    meta skuid 998 return\n"
        "    fib daddr type local return\n"
        "    tcp dport { 22 } return\n"
        "    ip daddr { 10.0.0.0/8 } meta l4proto @held tcp dport { 80 } redirect to :4140\n"
        "  }\n"
        "  chain inbound {\n"
        "    type nat hook prerouting priority -100; policy accept;\n"
        "    meta nfproto != ipv4 return\n"
        '    iifname "lo" return\n'
        "    fib daddr type != local return\n"
        "    tcp dport { 22 } return\n"
        "    meta l4proto @held tcp dport { 1-65535 } redirect to :4143\n"
        "  }\n"
        "}\n"
    )


def test_permanent_rules_wait_for_nobody() -> None:
    assert "held" not in nft_install(Rules(user=0, outbound=4140, guarded=False))


def test_the_rules_of_iptables() -> None:
    rules = Rules(user=998, outbound=4140, ports=read_ports("80,8000-8100"), excepted=read_ports("22"))
    assert iptables_install(rules) == (
        "*nat\n"
        ":BIANDOU_OUTBOUND - [0:0]\n"
        ":BIANDOU_INBOUND - [0:0]\n"
        "-A BIANDOU_OUTBOUND -m owner --uid-owner 998 -j RETURN\n"
        "-A BIANDOU_OUTBOUND -m addrtype --dst-type LOCAL -j RETURN\n"
        "-A BIANDOU_OUTBOUND -p tcp --dport 22:22 -j RETURN\n"
        "-A BIANDOU_OUTBOUND -p tcp --dport 80:80 -j REDIRECT --to-ports 4140\n"
        "-A BIANDOU_OUTBOUND -p tcp --dport 8000:8100 -j REDIRECT --to-ports 4140\n"
        "COMMIT\n"
    )


class Recorder:
    """A kernel that says what it was asked."""

    name = "recorder"

    def __init__(self, *, broken: bool = False, mendable: bool = False) -> None:
        self.asked: list[str] = []
        self._broken = broken
        self._mendable = mendable

    def install(self, rules: Rules) -> None:
        self.asked.append(f"install {rules.outbound}")
        self._broken = self._broken and not self._mendable

    def hold(self) -> None:
        self.asked.append("hold")
        if self._broken:
            raise RedirectError("no")

    def release(self) -> None:
        self.asked.append("release")

    def remove(self) -> bool:
        self.asked.append("remove")
        return True

    def show(self) -> str:
        return ""


RULES = Rules(user=1, outbound=4140)


def guarded(kernel: Recorder, looks: list[str]) -> None:
    """Have a guard look so often, and find these hindrances."""
    stop, left = Event(), list(looks)

    def look() -> str:
        found = left.pop(0)
        if not left:
            stop.set()
        return found

    guard(kernel, RULES, look, stop)


@pytest.mark.parametrize(
    ("looks", "asked"),
    [
        (["", "", "", ""], ["hold", "hold", "remove"]),
        (["gone", "gone", ""], ["release", "hold", "remove"]),
        (["", "gone", "gone", ""], ["hold", "release", "hold", "remove"]),
    ],
    ids=["renewed before it expires", "not before somebody listens", "released when nobody does"],
)
def test_rules_hold_while_the_linker_listens(
    looks: list[str], asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redirect_guard, "EVERY_SECONDS", 0.0)
    kernel = Recorder()
    guarded(kernel, looks)
    assert kernel.asked == asked


def test_what_changes_is_told_and_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(redirect_guard, "EVERY_SECONDS", 0.0)
    guarded(Recorder(), ["no A", "no A", "no B", "", "", ""])
    assert [record.getMessage() for record in caplog.records] == [
        "no A: connections go their own way",
        "no B: connections go their own way",
        "connections come to the linker",
        "the rules are taken out",
    ]


def test_rules_that_somebody_took_out_are_put_in_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redirect_guard, "EVERY_SECONDS", 0.0)
    kernel = Recorder(broken=True, mendable=True)
    guarded(kernel, ["", "", ""])
    assert kernel.asked == ["hold", "install 4140", "hold", "hold", "remove"]
    assert "put in again" in caplog.text


def test_a_kernel_that_refuses_is_told_once_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redirect_guard, "EVERY_SECONDS", 0.0)
    kernel = Recorder(broken=True)
    guarded(kernel, ["", "", ""])
    assert kernel.asked == [*["hold", "install 4140", "hold"] * 3, "remove"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["no"]
    assert "connections come to the linker" not in caplog.text
