"""Putting rules in force: nftables, or iptables where that's all there is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final, Protocol

from biandou.cli import redirect_rules as text
from biandou.cli.redirect_rules import Rules

_SECONDS: Final = 10
_PLACES: Final = "/usr/sbin:/sbin:/usr/bin:/bin"


class RedirectError(Exception):
    """The kernel did not take the rules, or there is no tool."""


class Kernel(Protocol):
    """Where rules are kept."""

    name: str

    def install(self, rules: Rules) -> None:
        """Put rules in the place of former ones; guarded ones do nothing until they are held."""

    def hold(self) -> None:
        """See to it that guarded rules are in force, for a while."""

    def release(self) -> None:
        """Let connections go their own way; the rules stay."""

    def remove(self) -> bool:
        """Take everything out; says whether there was something."""

    def show(self) -> str:
        """Give what is installed, in the tool's own words; nothing if nothing is."""


def kernels() -> list[Kernel]:
    """Give what may hold rules on this host, and first what takes new ones; raises `RedirectError` for none.

    iptables is behind nftables if its table is in use, since it may have been all that there was once.
    """
    nft, iptables, restore = _find("nft"), _find("iptables"), _find("iptables-restore")
    found: list[Kernel] = []
    if nft is not None:
        found.append(Nftables(nft))
    if iptables is not None and restore is not None and (nft is None or _has_nat(nft)):
        found.append(Iptables(iptables, restore))
    if not found:
        raise RedirectError("neither nft nor iptables is installed (Debian: apt-get install nftables)")
    return found


def _has_nat(nft: str) -> bool:
    """Whether iptables' table is there, the new kind's or the old one's; to ask iptables itself might make it."""
    old = Path("/proc/net/ip_tables_names")
    return "table ip nat" in _run([nft, "list", "tables"]).splitlines() or (
        old.exists() and "nat" in old.read_text().split()
    )


class Nftables:
    """`nft`: each change is a transaction."""

    name = "nftables"

    def __init__(self, nft: str) -> None:
        self._nft = nft

    def install(self, rules: Rules) -> None:
        """See `Kernel`."""
        self._take(text.nft_install(rules))

    def hold(self) -> None:
        """See `Kernel`."""
        self._take(text.nft_hold())

    def release(self) -> None:
        """See `Kernel`."""
        self._take(text.nft_release())

    def remove(self) -> bool:
        """See `Kernel`."""
        found = bool(self.show())
        self._take(text.nft_remove())
        return found

    def show(self) -> str:
        """See `Kernel`."""
        tables = _run([self._nft, "list", "tables"])
        if f"table {text.TABLE}" not in tables.splitlines():
            return ""
        return _run([self._nft, "list", "table", *text.TABLE.split()])

    def _take(self, rules: str) -> None:
        _run([self._nft, "-f", "-"], rules)


class Iptables:
    """`iptables`: our chains are filled in one step; rules are in force while something leads to them.

    Nothing here expires by itself, so that a guard killed with -9 leaves its rules. IPv4 only.
    """

    name = "iptables"

    def __init__(self, iptables: str, restore: str) -> None:
        self._iptables = [iptables, "-w", "-t", "nat"]
        self._restore = restore
        self._held = False

    def install(self, rules: Rules) -> None:
        """See `Kernel`."""
        if rules.ipv6:
            raise RedirectError("--ipv6 needs nft, and this host has iptables only")
        self.release()
        _run([self._restore, "-w", "--noflush"], text.iptables_install(rules))
        if not rules.guarded:
            self.hold()

    def hold(self) -> None:
        """See `Kernel`."""
        missing = [jump for jump in text.iptables_jumps() if not self._has(jump[0], [*jump[1:]])]
        if missing and self._held:
            # Whoever has emptied the table has emptied our chains, too.
            self._held = False
            raise RedirectError(f"{self._iptables[0]}: somebody has taken out what leads to {text.OUTBOUND}")
        for jump in missing:
            _run([*self._iptables, "-A", *jump])
        self._held = True

    def release(self) -> None:
        """See `Kernel`."""
        self._held = False
        for chain, *rule in text.iptables_jumps():
            while self._has(chain, rule):
                _run([*self._iptables, "-D", chain, *rule])

    def remove(self) -> bool:
        """See `Kernel`."""
        found = bool(self.show())
        self.release()
        for chain in (text.OUTBOUND, text.INBOUND):
            if self._ran("-S", chain):
                _run([*self._iptables, "-F", chain])
                _run([*self._iptables, "-X", chain])
        return found

    def show(self) -> str:
        """See `Kernel`."""
        lines = _run([*self._iptables, "-S"]).splitlines()
        return "".join(f"{line}\n" for line in lines if text.OUTBOUND in line or text.INBOUND in line)

    def _has(self, chain: str, rule: list[str]) -> bool:
        return self._ran("-C", chain, *rule)

    def _ran(self, *words: str) -> bool:
        return _tool([*self._iptables, *words]).returncode == 0


def _find(tool: str) -> str | None:
    return shutil.which(tool) or shutil.which(tool, path=_PLACES)


def _run(command: list[str], stdin: str = "") -> str:
    ran = _tool(command, stdin)
    if ran.returncode != 0:
        raise RedirectError(f"{command[0]}: {ran.stderr.strip() or f'ended with {ran.returncode}'}")
    return ran.stdout


def _tool(command: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - words of our own, no shell
            command, input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RedirectError(f"{command[0]}: {error}") from error
