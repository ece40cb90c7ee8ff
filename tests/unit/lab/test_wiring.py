"""Routes between a lab's machines, and where a cut is made."""

from sallyport.lab.topology import Topology
from sallyport.lab.topology_file import find, load, parse
from sallyport.lab.wiring import cut_pairs, machine

SECOND = """\
  - name: red-two
    addresses:
      - 172.31.11.2
      - "fd31:11::2"
      - {address: 105.8.10.253, on: red}
      - {address: "2001:db8:105::fd", on: red}
    bgp: {asn: 63400}

nodes:
"""


def two_red_routers() -> Topology:
    text, source = find("networks")
    assert text.count("\nnodes:\n") == 1
    return parse(text.replace("\nnodes:\n", SECOND), source)


def routes(topology: Topology, name: str) -> list[str]:
    item = topology.machine(name)
    assert item is not None
    return [line for line in machine(topology, item).inside if line.startswith("route ")]


def defaults(topology: Topology, name: str) -> list[str]:
    return [line.removeprefix("route add default via ") for line in routes(topology, name) if " default " in line]


def test_a_nodes_default_route_leads_to_the_router_of_its_first_subnet_wherever_that_stands_in_the_file() -> None:
    lab = load("networks")
    upside_down = Topology(
        lab.name, lab.subnets, lab.nodes, lab.control, lab.routers[::-1], lab.hosts, lab.service_networks
    )
    for topology in (lab, upside_down):
        for name in ("node-1", "node-2", "node-3", "control"):
            assert defaults(topology, name) == ["10.10.0.1", "fd10:10::1"]


def test_a_node_without_a_router_on_its_first_subnet_has_no_default_route() -> None:
    text, source = find("networks")
    on_red_link = text.replace('[10.10.0.1, "fd10:10::1", ', '[172.31.11.9, "fd31:11::9", ')
    assert on_red_link != text
    assert defaults(parse(on_red_link, source), "node-2") == []


def test_hosts_of_an_outside_network_answer_through_its_first_router() -> None:
    lab = two_red_routers()
    assert defaults(lab, "red-server") == ["105.8.10.254", "2001:db8:105::fe"]
    assert defaults(lab, "yellow-server") == ["105.8.10.254", "2001:db8:105::fe"]
    assert defaults(lab, "server") == ["203.0.113.1", "2001:db8:113::1"]


def test_a_bgp_router_hands_what_it_knows_no_way_for_to_the_next_one_of_its_network_and_never_back() -> None:
    lab = two_red_routers()
    assert defaults(lab, "red-router") == ["105.8.10.253", "2001:db8:105::fd"]
    assert routes(lab, "red-two") == []
    assert routes(lab, "yellow-router") == []
    assert routes(lab, "router") == []


def test_a_node_and_a_router_are_cut_on_the_link_that_joins_them() -> None:
    lab = load("networks")
    assert cut_pairs(lab, "node-2", "red-router") == [("node-2.1", "red-router.0"), ("red-router.0", "node-2.1")]
    assert cut_pairs(lab, "node-1", "red-router") == []
