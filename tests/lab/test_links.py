"""Links to external networks that are not there from the beginning, and what answers from them need (rp_filter)."""

import contextlib
from collections.abc import Iterator

import pytest
from tests.lab.manifests import felix
from tests.lab.scene import becomes
from tests.lab.wires import BOTH, LINK, SHARED, TABLES, Networks

from sallyport.lab.driving import until

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.alone]

LATER = "ens20.100"
"""The name of a link that comes later."""
PATTERN = r"/^ens2[01][.\/]100$/"


def node_2(net: Networks, *commands: str) -> None:
    """Have node-2 carry out ip(8) commands."""
    for command in commands:
        net.lab.execute("node-2", "ip", *command.split())


def setting(net: Networks, device: str, value: str = "", name: str = "src_valid_mark") -> str:
    """A device's setting on node-2, after it was set to `value` if that is given."""
    path = f"net/ipv4/conf/{device}/{name}"
    if value:
        net.lab.execute("node-2", "sysctl", "-qw", f"{path}={value}")
    return net.lab.execute("node-2", "sysctl", "-n", path).strip()


@contextlib.contextmanager
def strict(net: Networks, *devices: str) -> Iterator[None]:
    """While the block runs, node-2 checks reverse paths of these devices strictly."""
    before = {device: setting(net, device, name="rp_filter") for device in devices}
    try:
        for device in devices:
            setting(net, device, "1", "rp_filter")
        yield
    finally:
        for device, value in before.items():
            setting(net, device, value, "rp_filter")


def rename(net: Networks, old: str, new: str) -> None:
    """Take a link of red away from node-2, and bring it back as one that nobody has seen before: with another name, no
    addresses and no settings of ours."""
    node_2(net, f"link set {old} down", f"address flush dev {old}", f"link set {old} name {new}")
    setting(net, new, "0")
    node_2(net, f"link set {new} up")


def address(net: Networks, device: str) -> None:
    """Give a link node-2's addresses on red."""
    _, four, six = LINK["red"]
    node_2(net, f"address add {four}102/24 dev {device}", f"address add {six}102/64 dev {device} nodad")


def test_a_link_that_appears_later_leads_to_its_network(net: Networks) -> None:
    """Without the link red's clients are dropped and yellow's go on. When a new interface has an address on it, the
    link's networks are copied into the table, the sessions come up, and answers pass strict reverse-path filtering; so
    again when the first name is back."""
    served, (first, *_) = net.served("red", "yellow"), LINK["red"]
    with net.on_wires(**served), net.undisturbed("yellow/app"), strict(net, "all"):
        try:
            rename(net, first, LATER)
            for side in BOTH.values():
                net.comes_to_stay("red/app", side)
                until(lambda: not net.routes("node-2", side.family, TABLES["red"]), "nothing is left in the table")  # noqa: B023
            with strict(net, LATER):
                address(net, LATER)
                for side in BOTH.values():
                    net.comes_to_go("red/app", side, served["red"])
                    ((_, device),) = net.hops("node-2", side.family, TABLES["red"], SHARED[side.family])
                    assert device == LATER
                assert setting(net, LATER) == "1"
        finally:
            rename(net, LATER, first)
            address(net, first)
        with strict(net, first):
            for side in BOTH.values():
                net.comes_to_go("red/app", side, served["red"])


def test_interfaces_that_fit_the_pattern_are_prepared_when_they_appear(net: Networks) -> None:
    """egressIPHostIfacePattern names interfaces that answers may come in by: src_valid_mark is set on each of them when
    it is there, and on no other."""
    net.apply(felix(egressIPHostIfacePattern=PATTERN))
    for device, value in ((LATER, "1"), ("ens21.100", "1"), ("ens22.100", "0")):
        node_2(net, f"link add {device} type bridge")
        try:
            if value == "1":
                becomes(lambda: setting(net, device), value)  # noqa: B023
            becomes(lambda: setting(net, "eth1"), "1")
            assert setting(net, device) == value
        finally:
            node_2(net, f"link del {device}")
