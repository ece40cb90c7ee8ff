"""Labs that are there for as long as a block runs."""

import contextlib
from collections.abc import Iterator

import pytest
from tests.lab.scene import NAMESPACE, NODES, SIDES, Scene, pod_object

from sallyport.drivers.command import DriverError
from sallyport.drivers.requirements import require
from sallyport.lab.driving import Lab
from sallyport.lab.record import Kind, Record
from sallyport.lab.supervisor import take_down


def demand_tools() -> None:
    """Skip the test where this machine cannot run a lab, and say why."""
    try:
        require("ip", "nft", "bird", "tcpdump", "kubectl")
    except DriverError as error:
        pytest.skip(f"a lab cannot be run: {error}")


@contextlib.contextmanager
def lab_of(topology: str, name: str, *, kind: Kind = "embedded") -> Iterator[Lab]:
    """A lab that is gone after the block, whatever happens."""
    demand_tools()
    try:
        yield Lab.up(topology, name, kind=kind)
    finally:
        take_down(Record(name))


@contextlib.contextmanager
def scene_of(lab: Lab, *also: str) -> Iterator[Scene]:
    """The lab with its standing pods, watched before its router; `also` are more addresses of the server."""
    lab.kubectl("create", "namespace", NAMESPACE)
    servers = " or ".join(f"dst host {address}" for address in (*(side.server for side in SIDES.values()), *also))
    # An answer that comes after its asker has gone is met with an ICMP error, which leaves as that request did, and may
    # be seen when another test has begun.
    errors = "icmp[icmptype] == icmp-unreach or (icmp6 and ip6[40] == 1)"
    with lab.capture("router", f"({servers}) and not ({errors})") as capture:
        scene = Scene(lab, capture)
        labels = {number: {"app": "web", "on": f"node-{number}", "standing": "yes"} for number in NODES}
        scene.run(*(pod_object(f"on-{number}", number, labels[number]) for number in NODES))
        yield scene
