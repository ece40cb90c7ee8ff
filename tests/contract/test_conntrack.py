"""Which connections a kernel forgets."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from sallyport.drivers.command import run
from sallyport.drivers.conntrack import forget
from sallyport.drivers.kernel import Kernel

pytestmark = pytest.mark.root

MASK = 0x3FFF
MARKS = {7770: 0, 7771: 0x105, 7772: 0x10000}
"""Marks of connections by their port: none, one of ours, one of somebody else's bits."""


@pytest.fixture
def connected(kernel: Kernel) -> Iterator[None]:
    """An open connection for each mark, inside of a node."""
    assert run(["ip", "link", "set", "lo", "up"]).returncode == 0
    rules = "".join(f"ct state new tcp dport {port} ct mark set {mark};" for port, mark in MARKS.items())
    table = f"table inet marks {{ chain output {{ type filter hook output priority 0; {rules} }}; }}"
    assert run(["nft", table]).returncode == 0
    with ExitStack() as stack:
        for port in MARKS:
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        yield


def ports() -> set[int]:
    listed = run(["conntrack", "-L", "-f", "ipv4", "-p", "tcp"]).stdout
    return {port for port in MARKS if f"dport={port}" in listed}


@pytest.mark.usefixtures("connected")
def test_a_connection_with_an_egress_id_is_not_forgotten() -> None:
    """It has a gateway of its own; other connections of the address are forgotten, and doing it again is no failure."""
    assert ports() == set(MARKS)
    assert forget([ip_address("127.0.0.1")], MASK) == []
    assert ports() == {7771}
    assert forget([ip_address("127.0.0.1"), ip_address("::1")], MASK) == []
