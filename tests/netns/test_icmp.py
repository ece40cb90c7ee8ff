"""Pings by our own hand, in both families and by both kinds of socket."""

import asyncio
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest
from tests.netns.world import SERVER, World, inside, pod, run

from sallyport.drivers.icmp import EchoError, echo
from sallyport.model.state import FAMILIES, Family, IPAddress

pytestmark = pytest.mark.root

NOWHERE: dict[Family, IPAddress] = {4: ip_address("192.0.2.99"), 6: ip_address("2001:db8::99")}
UNREACHABLE: dict[Family, str] = {4: "No route to host", 6: "Network is unreachable"}
"""What Linux makes of the ICMP errors that an unreachable route gives rise to."""
PING = """
import asyncio, sys
from ipaddress import ip_address
from sallyport.drivers.icmp import EchoError, echo
try:
    asyncio.run(asyncio.wait_for(echo(ip_address(sys.argv[1])), 5))
    print("answered")
except EchoError as error:
    print(error)
"""


def ping(namespace: str, address: IPAddress, seconds: float = 5.0) -> str:
    """What became of an echo request from that namespace: "answered", or why not."""
    with inside(namespace):
        try:
            asyncio.run(asyncio.wait_for(echo(address), seconds))
        except EchoError as error:
            return str(error)
        except TimeoutError:
            return "no answer"
    return "answered"


def ping_without_rights(address: IPAddress, groups: str) -> str:
    """The same, from the outside's namespace and without CAP_NET_RAW. `groups` may open ping sockets; ours is 0."""
    with inside("outside"):
        Path("/proc/sys/net/ipv4/ping_group_range").write_text(groups)
        done = subprocess.run(
            ["setpriv", "--bounding-set", "-net_raw", sys.executable, "-c", PING, str(address)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_server_outside_answers_a_pod(world: World, family: Family) -> None:
    assert ping("pod-a", SERVER[family]) == "answered"
    assert ping("pod-a", pod(1)[family]) == "answered", "itself, where a raw socket sees the requests as well"


@pytest.mark.parametrize("family", FAMILIES)
def test_where_there_is_nobody_there_is_no_answer(world: World, family: Family) -> None:
    assert ping("outside", NOWHERE[family], 0.5) == "no answer"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_router_that_knows_no_way_is_quoted_and_not_waited_for(world: World, family: Family) -> None:
    run("a", f"ip route add unreachable {SERVER[family]}")
    assert ping("pod-a", SERVER[family]) == UNREACHABLE[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_without_rights_a_ping_socket_is_used_where_the_kernel_allows_it(world: World, family: Family) -> None:
    assert ping_without_rights(SERVER[family], groups="0 0") == "answered"


@pytest.mark.parametrize("family", FAMILIES)
def test_where_neither_kind_of_socket_is_permitted_that_is_said(world: World, family: Family) -> None:
    assert ping_without_rights(SERVER[family], groups="1 0").startswith("not permitted")
