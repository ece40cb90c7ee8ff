"""Whether a kernel table has what BIRD is to put there.

BIRD says that a configuration is in force before its routes are in the kernel: a moment in which packets that are led
to a new table would be dropped.
"""

import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_network

from sallyport.drivers.birdconf import network_table
from sallyport.drivers.rtnetlink import Routes
from sallyport.drivers.wire import Link
from sallyport.model.kernel import Fib
from sallyport.model.state import FAMILIES, Family, IPNetwork

BIRD_ROUTES = 12
"""The protocol number of BIRD's routes (RTPROT_BIRD in linux/rtnetlink.h)."""
_EXPORTED = "primary where dest = RTD_UNICAST && source != RTS_INHERIT"
"""What is put into the kernel; what a user put into another of the network's tables need not be among it."""

Ask = Callable[[str], Iterable[str]]
"""Gives the lines of BIRD's answer to a command; OSError while it does not answer."""


def is_filled(ask: Ask, fib: Fib) -> bool:
    """Whether each prefix that BIRD has of a table's networks is in the kernel's table; OSError as of `ask`."""
    with Link(socket.NETLINK_ROUTE) as link:
        routes = Routes(link)
        return all(
            _wanted(ask, fib, family) <= {item.destination for item in routes.of(family, fib.table, BIRD_ROUTES)}
            for family in FAMILIES
        )


def _wanted(ask: Ask, fib: Fib, family: Family) -> set[IPNetwork]:
    commands = [f"show route table {network_table(name, family)} {_EXPORTED}" for name in fib.networks]
    return {ip_network(text) for command in commands for line in ask(command) if (text := prefix(line))}


def prefix(line: str) -> str:
    """The prefix that a line of `show route` begins with, "" for one that goes on about the one before."""
    first = line[5:] if line.startswith("1007-") else line[1:]
    return first.partition(" ")[0] if "/" in first[:44] and not first.startswith("\t") else ""
