"""Labs that are there for as long as a block runs."""

import contextlib
import json
import os
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest
from tests.lab.scene import NAMESPACE, NODES, SIDES, Scene, pod_object

from sallyport.drivers.command import DriverError
from sallyport.drivers.requirements import require
from sallyport.lab.controlplane.assets import find
from sallyport.lab.driving import Lab, until
from sallyport.lab.record import Kind, Record
from sallyport.lab.supervisor import take_down

CONTROL_PLANE = "SALLYPORT_TEST_CONTROL_PLANE"
"""The variable that says which control plane labs have: `embedded` or `kubernetes`."""
ACCOUNT = "system:serviceaccount:sallyport-system:sallyport-"
"""What the users' names of our processes begin with."""


def demand_tools() -> None:
    """Skip the test where this machine cannot run a lab, and say why."""
    try:
        require("ip", "nft", "bird", "tcpdump", "kubectl")
    except DriverError as error:
        pytest.skip(f"a lab cannot be run: {error}")


def demand_programs() -> None:
    """Skip the test where the programs of Kubernetes' control plane are not built, and say so."""
    try:
        require("openssl")
        find()
    except DriverError as error:
        pytest.skip(str(error))


def chosen_kind() -> Kind:
    """The control plane of tests that take either: that of the variable, the embedded one if it is not set."""
    return "kubernetes" if os.environ.get(CONTROL_PLANE) == "kubernetes" else "embedded"


@contextlib.contextmanager
def lab_of(topology: str, name: str, *, kind: Kind | None = None) -> Iterator[Lab]:
    """A lab that is gone after the block, whatever happens. Its control plane is that of the variable, if `kind` is not
    given; a right that our processes lacked is then an error."""
    chosen = kind or chosen_kind()
    demand_tools()
    if chosen == "kubernetes":
        demand_programs()
    try:
        lab = Lab.up(topology, name, kind=chosen)
        yield lab
        assert kind or not refused(lab), refused(lab)
    finally:
        take_down(Record(name))


def requests(lab: Lab) -> list[dict[str, Any]]:
    """Every request of our processes that a real API server wrote down (audit.k8s.io/v1, Event)."""
    path = lab.record.log("audit")
    lines = path.read_text().splitlines() if path.exists() else []
    return [item for line in lines if (item := json.loads(line))["user"]["username"].startswith(ACCOUNT)]


def refused(lab: Lab) -> set[tuple[str, str, str]]:
    """Account, verb and URL of what our processes had no right to."""
    return {
        (item["user"]["username"].removeprefix(ACCOUNT), item["verb"], item["requestURI"])
        for item in requests(lab)
        if item["responseStatus"]["code"] == HTTPStatus.FORBIDDEN
    }


def await_accounts(lab: Lab, *namespaces: str) -> None:
    """Return once pods may be made in namespaces that are new: a real API server refuses them before Kubernetes'
    controllers have made the namespace's account. The embedded one knows no accounts."""

    def has_account(namespace: str) -> bool:
        return bool(lab.kubectl("get", "serviceaccount", "default", "-n", namespace, "--ignore-not-found"))

    for namespace in namespaces if lab.record.kind == "kubernetes" else ():
        until(partial(has_account, namespace), f"an account in {namespace}", 20)


@contextlib.contextmanager
def scene_of(lab: Lab, *also: str) -> Iterator[Scene]:
    """The lab with its standing pods, watched before its router; `also` are more addresses of the server."""
    lab.kubectl("create", "namespace", NAMESPACE)
    await_accounts(lab, NAMESPACE)
    servers = " or ".join(f"dst host {address}" for address in (*(side.server for side in SIDES.values()), *also))
    # An answer that comes after its asker has gone is met with an ICMP error, which leaves as that request did, and may
    # be seen when another test has begun.
    errors = "icmp[icmptype] == icmp-unreach or (icmp6 and ip6[40] == 1)"
    with lab.capture("router", f"({servers}) and not ({errors})") as capture:
        scene = Scene(lab, capture)
        labels = {number: {"app": "web", "on": f"node-{number}", "standing": "yes"} for number in NODES}
        scene.run(*(pod_object(f"on-{number}", number, labels[number]) for number in NODES))
        yield scene
