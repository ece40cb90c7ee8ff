"""Topology files: what they say, and how each mistake is told."""

import re
import textwrap
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from sallyport.lab import topology_file
from sallyport.lab.topology_file import TopologyError, find, load, parse, shipped

LAB = """\
name: small
subnets:
  - name: underlay
    networks: [10.10.0.0/16, "fd10:10::/64"]
outside:
  - name: red
    networks: [105.8.10.0/24]
    hosts:
      - {name: web, addresses: [105.8.10.1]}
routers:
  - {name: router, addresses: [10.10.0.1, "fd10:10::1", 105.8.10.254]}
nodes:
  - name: node-1
    labels: {role: a}
    addresses: [10.10.0.101, "fd10:10::101"]
    podNetworks: [10.244.1.0/24, "fd10:244::/64"]
serviceNetworks: [10.96.0.0/16, "fd10:96::/112"]
"""


def changed(*changes: tuple[str, str]) -> str:
    text = LAB
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def mistakes(*changes: tuple[str, str]) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        parse(changed(*changes), "f.yaml")
    return list(caught.value.lines)


def addresses(attachments: object) -> str:
    assert isinstance(attachments, tuple)
    return " ".join(map(str, attachments))


def test_a_file_becomes_the_lab_that_it_describes() -> None:
    lab = parse(LAB, "f.yaml")
    assert lab.name == "small"
    assert [(subnet.name, subnet.outside) for subnet in lab.subnets] == [("underlay", False), ("red", True)]
    assert lab.subnets[0].networks == (ip_network("10.10.0.0/16"), ip_network("fd10:10::/64"))
    assert [machine.name for machine in lab.machines()] == ["control", "router", "web", "node-1"]
    assert lab.routers[0].subnets() == ("underlay", "red")
    assert addresses(lab.hosts[0].attachments) == "105.8.10.1/24"
    (node,) = lab.nodes
    assert addresses(node.attachments) == "10.10.0.101/16 fd10:10::101/64"
    assert (node.labels, node.annotations) == ({"role": "a"}, {})
    assert node.pod_networks == (ip_network("10.244.1.0/24"), ip_network("fd10:244::/64"))
    assert lab.service_networks == (ip_network("10.96.0.0/16"), ip_network("fd10:96::/112"))


def test_the_control_plane_has_the_last_free_addresses_of_the_first_subnet() -> None:
    assert addresses(parse(LAB, "f").control.attachments) == "10.10.255.254/16 fd10:10::ffff:ffff:ffff:fffe/64"
    taken = changed(("10.10.0.1,", "10.10.255.254,"))
    assert addresses(parse(taken, "f").control.attachments[:1]) == "10.10.255.253/16"


def test_the_control_plane_has_the_addresses_that_are_given() -> None:
    lab = parse(changed(("nodes:", "controlPlane: {addresses: [10.10.0.2]}\nnodes:")), "f")
    assert addresses(lab.control.attachments) == "10.10.0.2/16"


def test_a_file_without_a_name_describes_a_lab_called_lab() -> None:
    assert parse(changed(("name: small\n", "")), "f").name == "lab"


def test_fields_that_are_left_empty_are_as_good_as_left_out() -> None:
    assert parse(changed(("labels: {role: a}", "labels:")), "f").nodes[0].labels == {}


def test_a_group_counts_up_from_its_addresses_and_cuts_its_pod_networks() -> None:
    group = 'nodes: {name: n, count: 300, addresses: [10.10.0.200, "fd10:10::fe"], labels: {a: b}, '
    before, _, after = LAB.partition("nodes:")
    text = f'{before}{group}podNetworks: [10.128.0.0/12, "fd10:244::/48"]}}\n{after[after.index("serviceNetworks") :]}'
    nodes = parse(text, "f").nodes
    assert [node.name for node in nodes[:2]] == ["n-1", "n-2"]
    assert len({node.name for node in nodes}) == len(nodes) == 300
    assert addresses(nodes[2].attachments) == "10.10.0.202/16 fd10:10::100/64"
    assert addresses(nodes[-1].attachments[:1]) == "10.10.1.243/16"
    assert nodes[299].pod_networks == (ip_network("10.129.43.0/24"), ip_network("fd10:244:0:12b::/64"))
    assert nodes[299].labels == {"a": "b"}


def test_networks_outside_may_have_the_same_addresses_where_routers_keep_them_apart() -> None:
    yellow = "  - {name: yellow, networks: [105.8.10.0/24], hosts: [{name: db, addresses: [105.8.10.1]}]}\nrouters:"
    second = "  - {name: second, addresses: [10.10.0.2, {address: 105.8.10.254, on: yellow}]}\nnodes:"
    first = ("105.8.10.254]", "{address: 105.8.10.254, on: red}]")
    lab = parse(changed(first, ("routers:", yellow), ("nodes:", second)), "f")
    assert [router.subnets() for router in lab.routers] == [("underlay", "red"), ("underlay", "yellow")]
    assert {host.attachments[0].address for host in lab.hosts} == {ip_address("105.8.10.1")}

    both = ("105.8.10.254]", "{address: 105.8.10.254, on: red}, {address: 105.8.10.253, on: yellow}]")
    assert mistakes(both, ("routers:", yellow)) == [
        "f.yaml:12: routers[0]: router stands on red and yellow, whose networks overlap: it could not tell them apart"
    ]
    assert mistakes(("routers:", yellow), ("nodes:", second)) == [
        "f.yaml:6: outside[0]: no router has an address on red",
        "f.yaml:12: routers[0].addresses[2]: 105.8.10.254 lies on red and yellow: "
        "write {address: 105.8.10.254, on: red} or name another",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("name: small", "name: Small", "1: name: 'Small' is no name: a name is 1 to 16 lower case letters"),
        ("name: small", "name: seventeen-letters", "1: name: 'seventeen-letters' is no name"),
        ("name: small", "name: 7", '1: name: must be text: write "7" in quotes'),
        ("name: small", "name: [a]", "1: name: must be text"),
        ("name: small", 'name: ""', "1: name: must not be empty"),
        ("name: underlay", "name: -a", "3: subnets[0].name: '-a' is no name"),
        ("name: underlay", "name: lo", "3: subnets[0].name: lo is reserved"),
        ("name: red", "name: underlay", "6: outside[0].name: underlay is the name of another subnet"),
        ("name: web", "name: node-1", "13: nodes[0].name: node-1 is the name of another machine, in line 9"),
        ("name: node-1", "name: control", "13: nodes[0].name: control is the name of the control plane's machine"),
        ("labels:", "lables:", "14: nodes[0].lables: is no known field; did you mean labels?"),
        ("labels:", "zzz:", "14: nodes[0].zzz: is no known field; known are name, addresses, podNetworks"),
        ("labels: {role: a}", "labels: {role: yes}", '14: nodes[0].labels.role: must be text: write "yes" in quotes'),
        ("labels: {role: a}", "labels: {role: a b}", "14: nodes[0].labels.role: label value 'a b' must be"),
        ("labels: {role: a}", "labels: {a b: c}", "14: nodes[0].labels.a b: label key 'a b'"),
        ("labels: {role: a}", "labels: [role]", "14: nodes[0].labels: must be a mapping from text to text"),
        ("labels: {role: a}", "annotations: {a/b/c: d}", "14: nodes[0].annotations.a/b/c: is no annotation key"),
        ("labels: {role: a}", "name: b", "14: nodes[0].name: is given twice, first in line 13"),
        ("labels: {role: a}", "count: 0", "14: nodes[0].count: must be a whole number from 1 to 5000"),
        ("labels: {role: a}", "count: two", "14: nodes[0].count: must be a whole number from 1 to 5000"),
        ("10.10.0.0/16", "10.10.0.0", "4: subnets[0].networks[0]: '10.10.0.0' is not a network in CIDR notation"),
        ("10.10.0.0/16", "10.10.0.9/16", "4: subnets[0].networks[0]: 10.10.0.9/16 is an address in a network"),
        ("10.10.0.0/16,", "10.10.0.0/16, 10.11.0.0/16,", "4: subnets[0].networks[1]: 10.11.0.0/16 is a second IPv4"),
        (
            "0/24]\n    hosts",
            "0/24, fd10:244::/60]\n    hosts",
            "7: outside[0].networks[1]: overlaps pod network fd10:244",
        ),
        ("10.244.1.0/24", "10.10.3.0/24", "16: nodes[0].podNetworks[0]: overlaps 10.10.0.0/16 of subnet underlay"),
        ("10.244.1.0/24", "10.244.1.0/31", "16: nodes[0].podNetworks[0]: 10.244.1.0/31 is too small; a /30 is"),
        ("fd10:244::/64", "fd10:244::/127", "16: nodes[0].podNetworks[1]: fd10:244::/127 is too small; a /126 is"),
        ("10.96.0.0/16", "10.0.0.0/8", "17: serviceNetworks[0]: overlaps 10.10.0.0/16 of subnet underlay"),
        ("[10.10.0.101", "[10.11.0.101", "15: nodes[0].addresses[0]: 10.11.0.101 lies on none of: underlay"),
        ("[10.10.0.101", "[105.8.10.7", "15: nodes[0].addresses[0]: 105.8.10.7 lies on none of: underlay"),
        ("[10.10.0.101", "[10.10.0.1", "15: nodes[0].addresses[0]: 10.10.0.1 is taken by router"),
        ("[10.10.0.101", "[10.10.0.0", "15: nodes[0].addresses[0]: 10.10.0.0 is the address of the network"),
        ("[10.10.0.101", "[10.10.255.255", "15: nodes[0].addresses[0]: 10.10.0.0/16 has no room for 1 from"),
        ("[10.10.0.101", "[10.10.0", "15: nodes[0].addresses[0]: '10.10.0' is not an IP address"),
        ("[10.10.0.101", "[{address: 10.10.0.101}", "15: nodes[0].addresses[0].on: is missing"),
        ("[105.8.10.1]", "[10.10.0.7]", "9: outside[0].hosts[0].addresses[0]: 10.10.0.7 lies on none of: red"),
        (", 105.8.10.254]", "]", "6: outside[0]: no router has an address on red"),
        (
            ', "fd10:10::101"]',
            "]",
            "13: nodes[0]: has no IPv6 address on underlay, its first subnet, which its",
        ),
        (', "fd10:244::/64"]', "]", "13: nodes[0]: has no IPv6 pod network, and the cluster has IPv6 services"),
        ('[10.96.0.0/16, "fd10:96::/112"]', "10.96.0.0/16", "17: serviceNetworks: must be a list"),
        ('[10.96.0.0/16, "fd10:96::/112"]', "[]", "17: serviceNetworks: must have 1 or more items"),
        ("nodes:", "controlPlane: 7\nnodes:", "12: controlPlane: must be a mapping with addresses"),
        (
            "nodes:",
            'controlPlane: {addresses: ["fd10:10::2"]}\nnodes:',
            "12: controlPlane: there is no IPv4 address for the control plane, and the first service network is IPv4",
        ),
    ],
)
def test_a_mistake_is_told_once_with_its_line_field_and_reason(old: str, new: str, line: str) -> None:
    (told,) = mistakes((old, new))
    assert told.startswith(f"f.yaml:{line}"), told


def test_all_mistakes_are_told_in_the_order_of_their_lines() -> None:
    told = mistakes(("name: web", "name: Web"), ("name: node-1", "nmae: node-1"), ("10.96.0.0/16", "x"))
    assert [line.split(": ")[:2] for line in told] == [
        ["f.yaml:9", "outside[0].hosts[0].name"],
        ["f.yaml:13", "nodes[0].name"],
        ["f.yaml:13", "nodes[0].nmae"],
        ["f.yaml:17", "serviceNetworks[0]"],
    ]


def test_a_subnet_that_cannot_be_read_is_not_held_against_the_addresses_on_it() -> None:
    (told,) = mistakes(("10.10.0.0/16", "10.10.0.0/99"))
    assert told == "f.yaml:4: subnets[0].networks[0]: '10.10.0.0/99' is not a network in CIDR notation"


@pytest.mark.parametrize(
    "nodes", ["", "[]", "{name: n, count: 0, addresses: [10.10.0.9], podNetworks: [10.200.0.0/16]}"]
)
def test_a_lab_has_a_node(nodes: str) -> None:
    before, _, after = LAB.partition("nodes:")
    with pytest.raises(TopologyError, match=r"nodes(\.count)?: (is missing|must)"):
        parse(f"{before}nodes: {nodes}\n{after[after.index('serviceNetworks') :]}", "f")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            "addresses: [10.10.255.250], podNetworks: [10.128.0.0/16]",
            "10.10.0.0/16 has no room for 9 from 10.10.255.250",
        ),
        ("addresses: [10.10.0.98], podNetworks: [10.128.0.0/16]", "10.10.0.101 is taken by node-1"),
        ("addresses: [10.10.0.8], podNetworks: [10.128.0.0/21]", "10.128.0.0/21 is too small for 9 nodes"),
        ("addresses: [10.10.0.8], podNetworks: [10.128.0.0/25]", "10.128.0.0/25 is too small for 9 nodes"),
        ("addresses: [10.10.0.8], podNetworks: [10.240.0.0/12]", ""),
        ("addresses: [10.10.0.8], podNetworks: [10.244.0.0/16]", "overlaps pod network 10.244.1.0/24 of node-1"),
    ],
)
def test_a_group_needs_room_for_all_of_its_nodes(fields: str, reason: str) -> None:
    lab = changed(
        (', "fd10:96::/112"', ""), ("serviceNetworks", f"  - {{name: n, count: 9, {fields}}}\nserviceNetworks")
    )
    if not reason:
        assert len(parse(lab, "f").nodes) == 10
        return
    with pytest.raises(TopologyError) as caught:
        parse(lab, "f")
    (told,) = caught.value.lines
    assert reason in told


def test_the_names_of_a_group_may_clash_with_a_node() -> None:
    group = "  - {name: node, count: 2, addresses: [10.10.0.8], podNetworks: [10.128.0.0/16]}\nserviceNetworks"
    (told,) = mistakes((', "fd10:96::/112"', ""), ("serviceNetworks", group))
    assert told == "f.yaml:17: nodes[1].name: node-1 is the name of another machine, in line 13"


def test_a_subnet_without_a_free_address_has_no_room_for_the_control_plane() -> None:
    text = """\
subnets: [{name: u, networks: [10.10.0.0/30]}]
nodes: {name: n, count: 2, addresses: [10.10.0.1], podNetworks: [10.128.0.0/16]}
serviceNetworks: [10.96.0.0/16]
"""
    with pytest.raises(TopologyError, match=r"f:1: subnets: there is no IPv4 address for the control plane"):
        parse(text, "f")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "f:1: is empty"),
        ("a: [\n", "f:2: not YAML: "),
        ("a: b\n---\nc: d\n", "f:2: not YAML: but found another document"),
        ("a: \0", "f:1: not YAML: "),
        ("- a\n", "f:1: must be a mapping with subnets, nodes, serviceNetworks"),
        ("[" * 5000, "f:1: is nested too deeply"),
        ("? [a]\n: b\n", "f:1: has a key that is not text"),
    ],
)
def test_text_that_is_no_topology_is_pointed_at(text: str, line: str) -> None:
    with pytest.raises(TopologyError) as caught:
        parse(text, "f")
    assert caught.value.lines[0].startswith(line)


@pytest.mark.parametrize("name", shipped())
def test_each_shipped_topology_is_a_lab_of_its_own_name_with_a_server_outside(name: str) -> None:
    lab = load(name)
    assert lab.name == name
    assert [node.name for node in lab.nodes] == [f"node-{number}" for number in range(1, len(lab.nodes) + 1)]
    assert any({"network-role", "egress"} & set(node.labels) for node in lab.nodes)
    server = lab.machine("server")
    assert server is not None
    assert addresses(server.attachments) in (
        "203.0.113.10/24 2001:db8:113::10/64",
        "203.0.113.10/24",
        "2001:db8:113::10/64",
    )


def test_the_shipped_topologies_are_those_that_the_documentation_names() -> None:
    sizes = {name: len(load(name).nodes) for name in shipped()}
    assert sizes == {"default": 3, "ipv4": 3, "ipv6": 3, "networks": 3, "seed": 6, "two-nodes": 2}
    assert [network.version for network in load("ipv6").service_networks] == [6]
    assert [str(item.attachments[0]) for item in load("seed").nodes[3:5]] == ["10.10.0.104/16", "10.10.0.105/16"]


def test_a_topology_is_found_by_its_name_or_by_the_path_of_its_file(tmp_path: Path) -> None:
    text, source = find("default")
    assert text.startswith("# Three nodes")
    assert Path(source).name == "default.yaml"
    own = tmp_path / "own.yaml"
    own.write_text(LAB)
    assert find(str(own)) == (LAB, str(own))
    with pytest.raises(FileNotFoundError, match=r"defalt: no such file, and no topology of that name: default, ipv4"):
        find("defalt")
    with pytest.raises(FileNotFoundError):
        find(str(tmp_path / "none.yaml"))


def test_a_file_that_is_not_utf8_is_told_by_its_name(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_bytes(b"name: \xff\n")
    with pytest.raises(TopologyError, match=r"own\.yaml:1: is not UTF-8 text"):
        load(str(own))


def test_the_examples_of_the_documentation_are_labs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "lab.md").read_text()
    (large,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(parse(large, "lab.md").nodes) == 53
    indented = [line for line in (topology_file.__doc__ or "").splitlines() if line.startswith("    ")]
    schema = parse(textwrap.dedent("\n".join(indented)), "docstring")
    assert [node.name for node in schema.nodes[:2]] == ["node-1", "worker-1"]
    assert len(schema.nodes) == 51


def test_the_documentation_names_every_shipped_topology() -> None:
    page = (Path(__file__).parents[3] / "docs" / "lab.md").read_text()
    assert tuple(sorted(re.findall(r"^\| `([a-z0-9-]+)` \| \d+ \|", page, re.MULTILINE))) == shipped()
