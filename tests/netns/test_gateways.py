"""Gateways that share a client's connections, and a gateway of an external network. Every test sends real packets.

The client is the pod of node a. Gateway x is on node a itself, y on b and z on c; the outside routes their addresses to
their nodes. Node b has a second wire, `red0`, that leads outside too: it is that of network red, whose table an
administrator has filled by hand.
"""

import socket
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from tests.netns.agents import CREATED, Agent, client, state
from tests.netns.conftest import agent, worlds
from tests.netns.test_guard import refused
from tests.netns.world import PREFIX, SECOND_SERVER, SERVER, World, ask, capture, inside, run, underlay

from sallyport.model.state import (
    FAMILIES,
    ClusterState,
    Destination,
    Exit,
    ExternalNetwork,
    Family,
    Hops,
    IPAddress,
    ObjectRef,
    Policy,
    Routing,
)

pytestmark = pytest.mark.root

WHERE = {"x": "a", "y": "b", "z": "c"}
IDS = {"x": 21, "y": 22, "z": 23}
BASE: dict[Family, IPAddress] = {4: ip_address("10.10.10.0"), 6: ip_address("fd00:10::")}
EVERYWHERE: dict[Family, str] = {4: "0.0.0.0/0", 6: "::/0"}
TABLE = 500
PORT = 9100
WIRE: dict[Family, tuple[str, str, int]] = {4: ("172.31.11.1", "172.31.11.2", 24), 6: ("fd00:11::1", "fd00:11::2", 64)}
"""Addresses of the outside and of node b on the second wire, and their length."""


def address(name: str, family: Family) -> IPAddress:
    """A gateway's."""
    return BASE[family] + IDS[name]


def gateway(name: str, family: Family, **fields: object) -> Exit:
    node, own = WHERE[name], address(name, family)
    made = Exit(
        ref=ObjectRef("Pod", name, "gw"),
        created=CREATED,
        requested=own,
        pools=("IPPool/egress",),
        decided=own,
        effective=own,
        id=IDS[name],
        nodes=(node,),
        holder=node,
        node=node,
        family=family,
    )
    return replace(made, **fields)  # type: ignore[arg-type]


@dataclass
class Scene:
    """Three nodes with their agents; the outside knows the way back to all gateways."""

    world: World
    agents: Mapping[str, Agent]
    closing: ExitStack = field(default_factory=ExitStack)

    def cluster(self, rules: Mapping[str, Hops | None], *gateways: Exit, **fields: object) -> ClusterState:
        """The pod of node a has these destinations; `fields` in the place of what the state has."""
        pod = client(self.world, "a")
        made = state(self.world, clients=[pod])
        destinations = tuple(Destination(ip_network(network), hops) for network, hops in rules.items())
        policy = Policy(ObjectRef("EgressGatewayPolicy", "p"), CREATED, destinations, (pod.key,))
        exits = {item.key: item for item in gateways}
        return replace(made, **{"exits": exits, "policies": (policy,), **fields})  # type: ignore[arg-type]

    def sharing(self, family: Family, *gateways: Exit) -> ClusterState:
        """All of the pod's traffic is shared by these gateways."""
        return self.cluster({EVERYWHERE[family]: Hops(tuple(sorted(item.key for item in gateways)))}, *gateways)

    def sync(self, cluster: ClusterState) -> None:
        """A round of every agent, the gateways' before the client's."""
        for name in ("c", "b", "a"):
            self.agents[name].sync(cluster)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One for all tests of this module: whatever was in force, a round makes it what the next one asks for."""
    folder: Path = tmp_path_factory.mktemp("gateways")
    for world in worlds(("a", "b", "c")):
        with ExitStack() as ending:
            agents = {name: ending.enter_context(agent(name, folder)) for name in "abc"}
            _second_wire()
            for family in FAMILIES:
                for name, node in WHERE.items():
                    via = underlay(world.number(node))[FAMILIES.index(family)]
                    run("outside", f"ip route add {address(name, family)} via {via}")
            yield Scene(world, agents)


def _second_wire() -> None:
    run("outside", f"ip link add red type veth peer name red0 netns {PREFIX}b")
    # The server's address is the router's own here. One that forwards asks for its neighbours with that of its link.
    run("outside", "sysctl -q -w net.ipv4.conf.red.arp_announce=2")
    for namespace, device, place in (("outside", "red", 0), ("b", "red0", 1)):
        for family in FAMILIES:
            extra = " nodad" if family == 6 else ""
            run(namespace, f"ip address add {WIRE[family][place]}/{WIRE[family][2]} dev {device}{extra}")
        run(namespace, f"ip link set {device} up")


@dataclass
class Call:
    """A TCP connection of the pod to the server, from both ends, and the address that the server sees."""

    near: socket.socket
    far: socket.socket
    source: IPAddress

    def lives(self, seconds: float = 3.0) -> bool:
        """Whether a byte gets through within that time, and one back."""
        for sender, receiver in ((self.near, self.far), (self.far, self.near)):
            receiver.settimeout(seconds)
            try:
                sender.sendall(b"!")
                if receiver.recv(1) != b"!":
                    return False
            except OSError:
                return False
        return True


@contextmanager
def calls(family: Family, count: int) -> Iterator[list[Call]]:
    """So many connections of the pod of node a."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with ExitStack() as closing:
        with inside("outside"):
            listener = closing.enter_context(socket.create_server((str(SERVER[family]), PORT), family=kind))
        made = []
        for _ in range(count):
            with inside("pod-a"):
                near = closing.enter_context(socket.create_connection((str(SERVER[family]), PORT), timeout=2))
            far, peer = listener.accept()
            closing.enter_context(far)
            made.append(Call(near, far, ip_address(peer[0])))
        yield made


def sources(family: Family, count: int = 24) -> Counter[IPAddress]:
    """How many of so many new connections came from each address."""
    with calls(family, count) as made:
        return Counter(item.source for item in made)


@pytest.mark.parametrize("family", FAMILIES)
def test_new_connections_are_shared_by_a_gateway_here_and_two_elsewhere(scene: Scene, family: Family) -> None:
    scene.sync(scene.sharing(family, *(gateway(name, family) for name in "xyz")))
    found = sources(family, 60)
    assert set(found) == {address(name, family) for name in "xyz"}
    assert min(found.values()) >= 8


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_keeps_its_gateway_while_others_come_and_are_drained_and_go(scene: Scene, family: Family) -> None:
    x, y, z = (gateway(name, family) for name in "xyz")
    scene.sync(scene.sharing(family, y, z))
    with calls(family, 12) as made:
        assert {item.source for item in made} == {address("y", family), address("z", family)}
        scene.sync(scene.sharing(family, x, y, z))
        assert all(item.lives() for item in made)
        scene.sync(scene.sharing(family, x, y, replace(z, leaving=True)))
        assert all(item.lives() for item in made)
        scene.sync(scene.sharing(family, x, y))
        assert all(item.lives() for item in made if item.source == address("y", family))
        assert not any(item.lives(0.1) for item in made if item.source == address("z", family))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gateway_that_is_leaving_gets_no_new_connections(scene: Scene, family: Family) -> None:
    x, y, z = (gateway(name, family) for name in "xyz")
    scene.sync(scene.sharing(family, x, y, replace(z, leaving=True)))
    assert set(sources(family)) == {address("x", family), address("y", family)}


@pytest.mark.parametrize("family", FAMILIES)
def test_where_every_gateway_is_leaving_a_new_connection_is_refused_and_an_old_one_goes_on(
    scene: Scene, family: Family
) -> None:
    y = gateway("y", family)
    scene.sync(scene.sharing(family, y))
    with calls(family, 1) as made:
        scene.sync(scene.sharing(family, replace(y, leaving=True)))
        assert refused("pod-a", family)
        assert made[0].lives()


@pytest.mark.parametrize("family", FAMILIES)
def test_an_ordinary_destination_passes_and_what_has_no_gateway_does_not(scene: Scene, family: Family) -> None:
    """With the node's own address, as if there were no policy."""
    rules: dict[str, Hops | None] = {str(SECOND_SERVER[family]): None, EVERYWHERE[family]: Hops(())}
    scene.sync(scene.cluster(rules))
    assert ask("pod-a", SECOND_SERVER[family]) == underlay(1)[FAMILIES.index(family)]
    assert refused("pod-a", family)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_prefix_decides_by_which_gateway_a_destination_is_reached(scene: Scene, family: Family) -> None:
    y, z = gateway("y", family), gateway("z", family)
    rules: dict[str, Hops | None] = {EVERYWHERE[family]: Hops((y.key,)), str(SECOND_SERVER[family]): Hops((z.key,))}
    scene.sync(scene.cluster(rules, y, z))
    assert ask("pod-a", SERVER[family]) == address("y", family)
    assert ask("pod-a", SECOND_SERVER[family]) == address("z", family)


# Networks


@contextmanager
def red(family: Family) -> Iterator[None]:
    """The table of network red on node b leads to the server by the second wire, and so does the way back."""
    there, _, _ = WIRE[family]
    back = f"{address('y', family)} via {WIRE[family][1]} dev red"
    before = f"{address('y', family)} via {underlay(2)[FAMILIES.index(family)]}"
    run("b", f"ip route add {SERVER[family]} via {there} dev red0 table {TABLE}")
    run("outside", f"ip route replace {back}")
    try:
        yield
    finally:
        run("outside", f"ip route replace {before}")
        run("b", f"ip route del {SERVER[family]} via {there} dev red0 table {TABLE}")


def leading_to(scene: Scene, family: Family, *names: str) -> ClusterState:
    """Gateway y leads to these networks, of which red alone exists."""
    y = gateway("y", family, networks=names)
    return replace(
        scene.sharing(family, y),
        external={"red": ExternalNetwork(ObjectRef("ExternalNetwork", "red"), TABLE)},
        routing=Routing(enabled=True, device_patterns=("red0",)),
    )


def seen_on(devices: Iterable[str], family: Family) -> dict[str, set[IPAddress]]:
    """Where from packets for the server came by each of these devices of the outside while the pod tried once."""
    with ExitStack() as captures:
        made = {device: captures.enter_context(capture("outside", device)) for device in devices}
        with suppress(OSError):
            ask("pod-a", SERVER[family], seconds=0.3)
        return {
            device: {packet.source for packet in each.packets() if packet.destination == SERVER[family]}
            for device, each in made.items()
        }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gateway_of_a_network_leaves_by_its_wire_and_hears_the_answer(scene: Scene, family: Family) -> None:
    """Although the node filters reverse paths strictly, and its main table leads to the server by another device."""
    with red(family):
        scene.sync(leading_to(scene, family, "red"))
        assert ask("pod-a", SERVER[family]) == address("y", family)
        assert seen_on(("red", "eth0"), family) == {"red": {address("y", family)}, "eth0": set()}


OTHERS = """table inet others {
  chain first { type filter hook postrouting priority 90; ct state new ct mark set 0xabcd3fff; }
  chain last { type filter hook forward priority 200; ct direction reply ct mark SEEN counter name kept; }
  counter kept { }
}"""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_onto_a_network_keeps_what_others_have_marked_it_with(scene: Scene, family: Family) -> None:
    """The bits that are ours are written whatever stood there, and the others are left: by both the answer is known."""
    with red(family):
        scene.sync(leading_to(scene, family, "red"))
        run("b", "nft -f -", OTHERS.replace("SEEN", f"{0xABCD0000 | IDS['y']:#x}"))
        try:
            assert ask("pod-a", SERVER[family]) == address("y", family)
            assert "packets 0 " not in run("b", "nft list counter inet others kept")
        finally:
            run("b", "nft delete table inet others")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "damage",
    [
        f"ip -{{family}} rule del fwmark {IDS['y']}/0x3fff",
        f"ip -{{family}} route flush table {TABLE}",
        "nft delete element inet sallyport wires {{ 22 . red0 }}",
    ],
)
def test_without_its_rule_or_its_table_nothing_of_a_gateway_leaves_by_another_wire(
    scene: Scene, family: Family, damage: str
) -> None:
    with red(family):
        scene.sync(leading_to(scene, family, "red"))
        run("b", damage.format(family=family))
        assert seen_on(("red", "eth0"), family) == {"red": set(), "eth0": set()}
        with suppress(AssertionError):
            run("b", f"ip route add {SERVER[family]} via {WIRE[family][0]} dev red0 table {TABLE}")
        scene.sync(leading_to(scene, family, "red"))
        assert ask("pod-a", SERVER[family]) == address("y", family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gateway_of_a_network_that_does_not_exist_lets_nothing_out(scene: Scene, family: Family) -> None:
    scene.sync(leading_to(scene, family, "blue"))
    assert refused("pod-a", family)
    assert seen_on(("red", "eth0"), family) == {"red": set(), "eth0": set()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_destination_that_a_network_has_no_route_for_is_not_reached_by_another_way(
    scene: Scene, family: Family
) -> None:
    with red(family):
        scene.sync(leading_to(scene, family, "red"))
        with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
            ask("pod-a", SECOND_SERVER[family], seconds=0.3)
        assert ask("pod-a", SERVER[family]) == address("y", family)
