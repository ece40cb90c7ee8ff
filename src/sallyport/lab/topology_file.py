"""A topology file: the YAML that describes a lab, and everything that is wrong in it.

    name: example              # of the lab: lower case letters, digits and dashes, at most 16; "lab" if not given
    subnets:                   # the underlay: layer-2 segments that nodes stand on
      - name: underlay
        networks: [10.10.0.0/16, "fd10:10::/64"]            # at most one per family
      - {name: red-link, networks: [172.31.11.0/24]}
    outside:                   # networks beyond a router; two of them may have the same addresses
      - name: internet
        networks: [203.0.113.0/24]
        hosts:
          - {name: server, addresses: [203.0.113.10]}
      - {name: red, networks: [105.8.10.0/24]}
    routers:                   # each address lies on a subnet or an outside network
      - {name: router, addresses: [10.10.0.1, 203.0.113.1]}
      - name: red-router
        addresses: [172.31.11.1, 105.8.10.254]
        bgp:                   # it runs BGP, for nodes that peer with it
          asn: 63400
          announces: [105.8.10.0/24]                        # by default its outside networks
          peers: [172.31.11.101]                            # by default every address of its subnets of the underlay
          password: secret                                  # of TCP MD5
          bfd: true                                         # answers BFD
    nodes:                     # a list of nodes, of groups of nodes (those have a count), or one group without a list
      - name: node-1
        labels: {zone: a}
        annotations: {}
        addresses: [10.10.0.101, 172.31.11.101]             # on its first subnet it is a node of the cluster
        podNetworks: [10.244.1.0/24]
      - {name: worker, count: 50, addresses: [10.10.1.1], podNetworks: [10.245.0.0/16]}
    controlPlane:              # its machine is `control`; by default the last free addresses of the first subnet
      addresses: [10.10.255.254]
    serviceNetworks: [10.96.0.0/16]                         # the families of these are the cluster's

A group is named worker-1, worker-2 and so on; its addresses count up from those given, and its pod networks are cut
from those given, a /24 (IPv4) or /64 (IPv6) per node. Where an address lies on several outside networks, write
`{address: 105.8.10.254, on: red}` in its place.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from ipaddress import ip_network
from itertools import combinations, islice
from pathlib import Path

import yaml

from sallyport.lab.allotment import CONTROL, Allotment
from sallyport.lab.topology import Attachment, Bgp, Machine, NodeMachine, Router, Subnet, Topology
from sallyport.lab.written import Part, Reading
from sallyport.model.addresses import family_of, whole
from sallyport.model.state import AddressRange, Family, IPNetwork
from sallyport.selectors.kubernetes import key_fault, value_fault

NODE_LIMIT = 5000
"""Nodes in one group: what Kubernetes is made for (https://kubernetes.io/docs/setup/best-practices/cluster-large/)."""

AS_LIMIT = 2**32 - 2
"""The last AS number that may be used (RFC 7300)."""

_SHIPPED = "topologies"
_SUFFIXES = (".yaml", ".yml")
# The kernel's limit (linux/tcp.h, TCP_MD5SIG_MAXKEYLEN); BIRD's text knows no way to write a quotation mark.
_PASSWORD = re.compile(r"[!#-~]{1,80}")
_POD_LENGTH: dict[Family, int] = {4: 24, 6: 64}


class TopologyError(ValueError):
    """A file that describes no lab. `lines` are all mistakes in it, each as FILE:LINE: FIELD: REASON."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


def shipped() -> tuple[str, ...]:
    """Names of the topologies that come with Sallyport."""
    names = (item.name for item in resources.files(__package__).joinpath(_SHIPPED).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def find(name_or_path: str) -> tuple[str, str]:
    """The text of a shipped topology or of a file, and where it stands. Raises OSError, TopologyError if not UTF-8."""
    path = Path(name_or_path)
    if name_or_path in shipped():
        path = Path(str(resources.files(__package__).joinpath(_SHIPPED, f"{name_or_path}.yaml")))
    elif path.suffix not in _SUFFIXES and not path.exists():
        raise FileNotFoundError(f"{name_or_path}: no such file, and no topology of that name: {', '.join(shipped())}")
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except UnicodeDecodeError:
        raise TopologyError([f"{path}:1: is not UTF-8 text"]) from None


def load(name_or_path: str) -> Topology:
    """A shipped topology or that of a file. Raises OSError where there is none to read, TopologyError."""
    return parse(*find(name_or_path))


def parse(text: str, source: str) -> Topology:
    """The lab that the text describes. Raises TopologyError; `source` is what its lines call the file."""
    reading = Reading()
    root = reading.document(text)
    topology = _Draft(reading, Allotment(reading)).topology(root) if root is not None else None
    if topology is None or reading.faults:
        faults = sorted(set(reading.faults))
        raise TopologyError([": ".join(filter(None, (f"{source}:{f.line}", f.field, f.reason))) for f in faults])
    return topology


@dataclass(frozen=True, slots=True)
class _Outside:
    """An outside network that is read but for its hosts."""

    part: Part
    subnet: Subnet
    networks: Sequence[tuple[Part, IPNetwork]]
    hosts: Sequence[Part]


@dataclass(slots=True)
class _Draft:
    """A topology while it is read. Where something is wrong, what is read goes on with what there is."""

    reading: Reading
    allotment: Allotment
    families: tuple[Family, ...] = ()
    """Those of the service networks, the first one first."""

    def topology(self, root: Part) -> Topology:
        required, optional = ("subnets", "nodes", "serviceNetworks"), ("name", "outside", "routers", "controlPlane")
        fields = self.reading.fields(root, required, optional)
        name = self.allotment.label(fields.get("name"), 16) or "lab"
        underlay = [self._subnet(part) for part in self.reading.items(fields.get("subnets"), least=1)]
        services = self._services(fields.get("serviceNetworks"))
        beyond = [self._outside(part) for part in self.reading.items(fields.get("outside"))]
        routers = [self._router(part) for part in self.reading.items(fields.get("routers"))]
        hosts = [self._host(part, outside.subnet) for outside in beyond for part in outside.hosts]
        nodes = [node for part in self._groups(fields.get("nodes")) for node in self._nodes(part, underlay)]
        for outside in beyond:
            self._check_outside(outside, routers)
        control = Machine(CONTROL, self._control(fields.get("controlPlane"), fields.get("subnets"), underlay))
        subnets = tuple(self.allotment.subnets)
        return Topology(name, subnets, tuple(nodes), control, tuple(routers), tuple(hosts), services)

    def _subnet(self, part: Part) -> Subnet:
        subnet, networks = self.allotment.subnet(self.reading.fields(part, ("name", "networks")), outside=False)
        for item, network in networks:
            self.allotment.claim(item, whole(network), f"{network} of subnet {subnet.name}")
        return subnet

    def _services(self, part: Part | None) -> tuple[IPNetwork, ...]:
        networks = self.allotment.networks(part)
        for item, network in networks:
            self.allotment.claim(item, whole(network), f"service network {network}")
        self.families = tuple(family_of(network) for _, network in networks)
        return tuple(network for _, network in networks)

    def _outside(self, part: Part) -> _Outside:
        fields = self.reading.fields(part, ("name", "networks"), ("hosts",))
        subnet, networks = self.allotment.subnet(fields, outside=True)
        return _Outside(part, subnet, networks, self.reading.items(fields.get("hosts")))

    def _check_outside(self, outside: _Outside, routers: Iterable[Machine]) -> None:
        for item, network in outside.networks:
            self.allotment.apart(item, network)
        if outside.networks and not any(outside.subnet.name in router.subnets() for router in routers):
            self.reading.note(outside.part, f"no router has an address on {outside.subnet.name}")

    def _router(self, part: Part) -> Router:
        fields = self.reading.fields(part, ("name", "addresses"), ("bgp",))
        machine = self._machine(part, fields, self.allotment.subnets)
        joined = [subnet for subnet in self.allotment.subnets if subnet.name in machine.subnets()]
        for one, other in combinations(joined, 2):
            if any(a.version == b.version and a.overlaps(b) for a in one.networks for b in other.networks):
                reason = f"{machine.name} stands on {one.name} and {other.name}, whose networks overlap"
                self.reading.note(part, f"{reason}: it could not tell them apart")
        bgp = self._bgp(fields["bgp"], machine, joined) if "bgp" in fields else None
        return Router(machine.name, machine.attachments, bgp)

    def _bgp(self, part: Part, router: Machine, joined: Iterable[Subnet]) -> Bgp:
        fields = self.reading.fields(part, ("asn",), ("announces", "peers", "password", "bfd"))
        asn = self.reading.number(fields.get("asn"), 1, AS_LIMIT)
        own = {(item.subnet, item.address) for item in router.attachments}
        held = [(s.outside, n) for s in joined for n in s.networks if any(on == s.name and a in n for on, a in own)]
        near = tuple(network for outside, network in held if not outside)
        if held and not near:
            self.reading.note(
                part, "needs an address of the router on a subnet of the underlay, for nodes to peer with"
            )
        announces = tuple(network for outside, network in held if outside)
        if "announces" in fields:
            read = map(self.allotment.prefix, self.reading.items(fields["announces"]))
            announces = tuple(network for network in read if network is not None)
        peers = near
        if "peers" in fields:
            named = (self.allotment.peer(each, near) for each in self.reading.items(fields["peers"], least=1))
            peers = tuple(ip_network(address) for address in named if address is not None)
        password, bfd = self._password(fields.get("password")), self.reading.flag(fields.get("bfd"))
        return Bgp(asn or 0, announces, peers, password, bfd)

    def _password(self, part: Part | None) -> str:
        text = self.reading.text(part) or ""
        if part is not None and not _PASSWORD.fullmatch(text or "-"):
            self.reading.note(part, "must be at most 80 characters of ASCII that can be seen, and no quotation mark")
        return text

    def _host(self, part: Part, subnet: Subnet) -> Machine:
        return self._machine(part, self.reading.fields(part, ("name", "addresses")), (subnet,))

    def _machine(self, part: Part, fields: Mapping[str, Part], subnets: Sequence[Subnet]) -> Machine:
        """The name and addresses of a router or an outside host."""
        name = self.allotment.label(fields.get("name"))
        self.allotment.machines(fields.get("name", part), [name])
        parts = self.reading.items(fields.get("addresses"), least=1)
        return Machine(name, tuple(item for part in parts for item in self.allotment.place(part, subnets, [name])))

    def _control(self, part: Part | None, first: Part | None, underlay: Sequence[Subnet]) -> tuple[Attachment, ...]:
        """The control plane's addresses; without a part of its own, free ones of the first subnet."""
        if part is None:
            found = self.allotment.free(underlay[0], CONTROL) if underlay else []
            complete = bool(underlay) and not self.allotment.doubtful
        else:
            parts = self.reading.items(self.reading.fields(part, ("addresses",)).get("addresses"), least=1)
            rows = [self.allotment.place(item, underlay, [CONTROL]) for item in parts]
            found = [item for row in rows for item in row]
            complete = bool(rows) and all(rows)
        # The API server tells the cluster one address of its own, of the first service network's family.
        family = self.families[0] if self.families else None
        where = part or first
        if where and complete and family and not any(item.address.version == family for item in found):
            reason = f"there is no IPv{family} address for the control plane"
            self.reading.note(where, f"{reason}, and the first service network is IPv{family}")
        return tuple(found)

    # Nodes

    def _groups(self, part: Part | None) -> list[Part]:
        if part is not None and isinstance(part.node, yaml.MappingNode):
            return [part]
        return self.reading.items(part, least=1)

    def _nodes(self, part: Part, underlay: Sequence[Subnet]) -> list[NodeMachine]:
        """One node, or all of a group."""
        required, optional = ("name", "addresses", "podNetworks"), ("count", "labels", "annotations")
        fields = self.reading.fields(part, required, optional)
        count = self.reading.number(fields.get("count"), 1, NODE_LIMIT)
        # A group's names grow by a dash and up to four digits.
        name = self.allotment.label(fields.get("name"), 63 if count is None else 58)
        names = [name] if count is None else [f"{name}-{number}" for number in range(1, count + 1)]
        self.allotment.machines(fields.get("name", part), names if name else [])
        labels, annotations = self._labels(fields.get("labels")), self._annotations(fields.get("annotations"))
        rows = [
            self.allotment.place(item, underlay, names) for item in self.reading.items(fields.get("addresses"), least=1)
        ]
        pods = [
            self._pod_networks(item, network, name, count)
            for item, network in self.allotment.networks(fields.get("podNetworks"))
        ]
        if rows and pods and all(rows) and all(pods):
            home = Machine(name, tuple(row[0] for row in rows)).home()
            self._check_families(part, home, [networks[0] for networks in pods])
        return [
            NodeMachine(
                each,
                tuple(row[index] for row in rows if row),
                labels,
                annotations,
                tuple(networks[index] for networks in pods if networks),
            )
            for index, each in enumerate(names)
        ]

    def _pod_networks(self, part: Part, network: IPNetwork, name: str, count: int | None) -> list[IPNetwork]:
        """The network of each node: the written one, or what is cut from it for a group."""
        found = [network]
        if count is not None:
            length = _POD_LENGTH[family_of(network)]
            if network.prefixlen > length or 2 ** (length - network.prefixlen) < count:
                self.reading.note(part, f"{network} is too small for {count} nodes, which take a /{length} each")
                return []
            found = list(islice(network.subnets(new_prefix=length), count))
        span = AddressRange(found[0].network_address, found[-1].broadcast_address)
        self.allotment.claim(part, span, f"pod network {network} of {name}")
        return found

    def _check_families(self, part: Part, home: Sequence[Attachment], pods: Sequence[IPNetwork]) -> None:
        """Services of a family need pods of it on every node, and pods of a family an address of their node, on the
        subnet where it is a node."""
        pod_families = {family_of(network) for network in pods}
        for family in self.families:
            if family not in pod_families:
                self.reading.note(part, f"has no IPv{family} pod network, and the cluster has IPv{family} services")
        for family in sorted(pod_families - {family_of(item.address) for item in home}):
            reason = f"has no IPv{family} address on {home[0].subnet}, its first subnet"
            self.reading.note(part, f"{reason}, which its IPv{family} pod network needs")

    def _labels(self, part: Part | None) -> dict[str, str]:
        read = self.reading.texts(part)
        for key, (item, value) in read.items():
            for reason in filter(None, (key_fault(key), value_fault(value))):
                self.reading.note(item, reason)
        return {key: value for key, (_, value) in read.items()}

    def _annotations(self, part: Part | None) -> dict[str, str]:
        read = self.reading.texts(part)
        for key, (item, _) in read.items():
            # Kubernetes takes capitals before the slash of an annotation's key, and of a label's key not.
            if key_fault(key.lower()) is not None:
                self.reading.note(item, "is no annotation key: that is a name, or a DNS name, a slash and a name")
        return {key: value for key, (_, value) in read.items()}
