"""A node with hundreds of egress IPs and a thousand clients."""

import time

import pytest
from tests.contract.objects import LINKS, SETTINGS, differences, settle

from sallyport.drivers.kernel import Kernel
from sallyport.model.kernel import (
    ClientElement,
    Element,
    Fdb,
    InterfaceAddress,
    KernelObject,
    Neighbor,
    NextHop,
    Route,
    Rule,
)
from sallyport.plan.skeleton import skeletons

pytestmark = pytest.mark.root


def crowd() -> list[KernelObject]:
    """300 egress IPs held here, 300 elsewhere, and 1,000 clients of the latter."""
    made: list[KernelObject] = [*LINKS, *skeletons(SETTINGS, LINKS)]
    for n in range(1, 301):
        address, mark = f"192.0.{2 + n // 250}.{n % 250 + 1}", str(n)
        made += [Element("exits4", mark, address), Element("marks4", mark), Element("held4", address)]
        made += [Element("limits", mark, "100000000/1000000"), InterfaceAddress("eth0", address)]
        far, mac, number = f"198.18.{n // 250}.{n % 250 + 1}", f"02:00:00:00:{n // 256:02x}:{n % 256:02x}", 1000 + n
        made += [Neighbor("sp-vx4", far, mac), Fdb("sp-vx4", mac, far), NextHop(83_000_000 + 2 * number, far, "sp-vx4")]
        made.append(Route(4, 830_000 + number, "0.0.0.0/0", 4294967295, "unreachable"))
        made.append(Route(4, 830_000 + number, "0.0.0.0/0", 100, "unicast", 83_000_000 + 2 * number))
        made.append(Rule(4, 20001, 830_000 + number, mark=number, mask=0x3FFF))
    for n in range(1000):
        address = f"10.244.{n // 250}.{n % 250 + 1}"
        made += [ClientElement("clients4", address, str(1001 + n % 300)), ClientElement("governed4", address)]
    return made


def test_hundreds_of_addresses_and_a_thousand_clients(kernel: Kernel) -> None:
    """All of it takes seconds to write, a fraction of one to read, and as little to change by one client. The bounds
    are several times what an idle machine needs."""
    wanted = crowd()
    started = time.monotonic()
    assert settle(kernel, wanted) == []
    assert time.monotonic() - started < 6
    started = time.monotonic()
    assert differences(kernel, wanted) == {}
    assert time.monotonic() - started < 1
    wanted.append(ClientElement("clients4", "10.250.0.1", "1001"))
    started = time.monotonic()
    assert settle(kernel, wanted) == []
    assert time.monotonic() - started < 1
    assert settle(kernel, ()) == []
    assert all(not found for found in kernel.read().values())
