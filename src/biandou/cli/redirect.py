"""`biandou redirect …`: brings the connections of programs that know of no proxy to a linker."""

from __future__ import annotations

import logging
import os
import pwd
import signal
import sys
from threading import Event
from typing import Annotated, Final

import typer

from biandou.cli.daemon import EX_USAGE, EXIT_FAILED
from biandou.cli.redirect_guard import guard
from biandou.cli.redirect_kernel import Kernel, RedirectError, kernels
from biandou.cli.redirect_listening import Look
from biandou.cli.redirect_lock import alone, end_holder
from biandou.cli.redirect_rules import HOLD_SECONDS, Rules, nft_install, read_networks, read_ports

EX_NOPERM: Final = 77
_USER: Final = "biandou"
_MAX_USER: Final = 2**32 - 2
"""The last number but one of 32 bits: the last says "nobody in particular" (chown(2))."""

redirect = typer.Typer(
    name="redirect",
    help="Bring the connections of programs that know of no proxy to a linker (nftables, or iptables).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@redirect.command("install")
def install(
    *,
    outbound: Annotated[int | None, typer.Option(help="The linker's port for connections that begin here.")] = None,
    inbound: Annotated[int | None, typer.Option(help="The linker's port for connections that end here.")] = None,
    user: Annotated[
        str, typer.Option(help="Who the linker runs as, a name or a number: its own connections go their way.")
    ] = _USER,
    ports: Annotated[str, typer.Option(help="Which ports of others: 80,8000-8100; without it all.")] = "",
    inbound_ports: Annotated[str, typer.Option(help="Which ports of this host; without it all.")] = "",
    excepted: Annotated[str, typer.Option("--except", help="Ports that are left alone, both ways.")] = "22",
    networks: Annotated[str, typer.Option("--to", help="Only towards these: 10.0.0.0/8; without it everywhere.")] = "",
    ipv6: Annotated[bool, typer.Option("--ipv6", help="IPv6, too: the linker listens on ::.")] = False,
    permanent: Annotated[
        bool, typer.Option("--permanent", help="Leave the rules and end, whatever becomes of the linker.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--print", help="Print the rules of nftables and change nothing.")] = False,
) -> None:
    """Put the rules in force, and stay to take them out when the linker is gone; Ctrl-C takes them out, too."""
    try:
        rules = Rules(
            # Only what begins here could come back to the linker.
            user=0 if outbound is None else _user(user),
            outbound=_port(outbound),
            inbound=_port(inbound),
            ports=read_ports(ports),
            inbound_ports=read_ports(inbound_ports),
            excepted=read_ports(excepted),
            networks=read_networks(networks),
            ipv6=ipv6,
            guarded=not permanent,
        )
    except ValueError as error:
        raise _failed(str(error), EX_USAGE) from None
    if dry_run:
        sys.stdout.write(nft_install(rules))
        return
    known, *former = _kernels()
    look = Look(rules)
    if permanent and (hindrance := look()):
        raise _failed(f"{hindrance}: the rules would cut this host off")
    try:
        with alone():
            for one in former:
                one.remove()
            if permanent:
                known.install(rules)
            else:
                _stay(known, rules, look)
    except RedirectError as error:
        raise _failed(str(error)) from None


@redirect.command("remove")
def remove() -> None:
    """Take the rules out, whoever has put them in."""
    known = _kernels()
    try:
        found = any([end_holder(), *(one.remove() for one in known)])
    except RedirectError as error:
        raise _failed(str(error)) from None
    sys.stdout.write("the rules are taken out\n" if found else "there were no rules\n")


@redirect.command("show")
def show() -> None:
    """Print the rules as the kernel has them; exit status 1 if there are none."""
    try:
        shown = "".join(one.show() for one in _kernels())
    except RedirectError as error:
        raise _failed(str(error)) from None
    sys.stdout.write(shown or "there are no rules\n")
    raise typer.Exit(0 if shown else 1)


def _stay(known: Kernel, rules: Rules, look: Look) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: stop.set())
    known.install(rules)
    if known.name == "nftables":
        logging.info("if this ends without a word, the kernel lets connections go after %d s", HOLD_SECONDS)
    guard(known, rules, look, stop)


def _kernels() -> list[Kernel]:
    if os.geteuid() != 0:
        raise _failed("rules of the kernel are root's to change", EX_NOPERM)
    try:
        return kernels()
    except RedirectError as error:
        raise _failed(str(error)) from None


def _user(text: str) -> int:
    if text.isdecimal():
        if int(text) > _MAX_USER:
            raise ValueError(f"{text} is no user's number")
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {text}; --user says who the linker runs as") from None


def _port(port: int | None) -> int | None:
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port")
    return port


def _failed(message: str, status: int = EXIT_FAILED) -> typer.Exit:
    sys.stderr.write(f"biandou redirect: {message}\n")
    return typer.Exit(status)
