"""Who has which name, network and address in a topology file, and what clashes or lies in no place."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from sallyport.lab.topology import Attachment, Subnet
from sallyport.lab.written import Part, Reading
from sallyport.model.addresses import Claims, family_of, parse_address, parse_network, whole
from sallyport.model.state import AddressRange, Family, IPAddress, IPNetwork

CONTROL = "control"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST: dict[Family, int] = {4: 30, 6: 126}
# Subnets become bridges, and Linux gives no interface these names.
_NOT_A_SUBNET = ("all", "default", "lo")


@dataclass(slots=True)
class Allotment:
    """What is taken so far. Its methods read a part, note what is wrong with it and take what it names."""

    reading: Reading
    subnets: list[Subnet] = field(default_factory=list)
    doubtful: bool = False
    """A subnet could not be read whole, so nothing is said of an address that lies on none."""
    _machines: dict[str, str] = field(default_factory=lambda: {CONTROL: "the control plane's machine"})
    _networks: Claims = field(default_factory=Claims)
    _addresses: dict[tuple[str, IPAddress], str] = field(default_factory=dict)

    # Names

    def label(self, part: Part | None, longest: int = 63) -> str:
        """A label of a DNS name (RFC 1123, section 2.1); "" where none is written."""
        text = self.reading.text(part) or ""
        if part is not None and text and (len(text) > longest or not _LABEL.fullmatch(text)):
            rule = f"1 to {longest} lower case letters, digits and dashes, without a dash at either end"
            self.reading.note(part, f"{text!r} is no name: a name is {rule}")
        return text

    def machines(self, part: Part, names: Iterable[str]) -> None:
        """Take names for machines; of several clashes the first is told."""
        for name in filter(None, names):
            if name in self._machines:
                self.reading.note(part, f"{name} is the name of {self._machines[name]}")
                return
            self._machines[name] = f"another machine, in line {part.line}"

    # Networks

    def subnet(self, fields: Mapping[str, Part], outside: bool) -> tuple[Subnet, list[tuple[Part, IPNetwork]]]:
        """A subnet, or a network outside, from its `name` and `networks`. Claims nothing."""
        before = len(self.reading.faults)
        part, name = fields.get("name"), self.label(fields.get("name"))
        if part is not None and name in _NOT_A_SUBNET:
            self.reading.note(part, f"{name} is reserved: Linux gives no bridge this name")
        elif part is not None and name and any(subnet.name == name for subnet in self.subnets):
            self.reading.note(part, f"{name} is the name of another subnet or outside network")
        networks = self.networks(fields.get("networks"))
        self.doubtful |= len(self.reading.faults) > before
        self.subnets.append(Subnet(name, tuple(network for _, network in networks), outside))
        return self.subnets[-1], networks

    def networks(self, part: Part | None) -> list[tuple[Part, IPNetwork]]:
        """One network or more, at most one per family; nothing is taken."""
        found: list[tuple[Part, IPNetwork]] = []
        for item in self.reading.items(part, least=1):
            if (network := self._network(item)) is None:
                continue
            if any(other.version == network.version for _, other in found):
                self.reading.note(item, f"{network} is a second IPv{network.version} network; there is one per family")
            else:
                found.append((item, network))
        return found

    def claim(self, part: Part, span: AddressRange, owner: str) -> None:
        """Take addresses for a network of the cluster, which no other one may have."""
        if (other := self._networks.claim(span, owner)) is not None:
            self.reading.note(part, f"overlaps {other}")

    def apart(self, part: Part, network: IPNetwork) -> None:
        """A network outside must be apart from those of the cluster, though not from others outside."""
        if (other := self._networks.holder(whole(network))) is not None:
            self.reading.note(part, f"overlaps {other}")

    def prefix(self, part: Part) -> IPNetwork | None:
        """A network of any length, without an address in it. Claims nothing."""
        if (text := self.reading.text(part)) is None:
            return None
        try:
            network = parse_network(text)
        except ValueError as error:
            self.reading.note(part, str(error))
            return None
        if parse_address(text.partition("/")[0]) != network.network_address:
            self.reading.note(part, f"{text} is an address in a network; the network is {network}")
        return network

    def _network(self, part: Part) -> IPNetwork | None:
        network = self.prefix(part)
        if network is not None and network.prefixlen > (longest := _LONGEST[family_of(network)]):
            self.reading.note(part, f"{network} is too small; a /{longest} is the smallest")
        return network

    # Addresses

    def place(self, part: Part, subnets: Sequence[Subnet], owners: Sequence[str]) -> list[Attachment]:
        """The written address for the first owner, the ones after it for the others; empty where that cannot be."""
        address, on = self._address(part)
        if address is None:
            return []
        fits = [
            (subnet, network)
            for subnet in subnets
            for network in subnet.networks
            if on in (None, subnet.name) and address in network
        ]
        if len(fits) != 1:
            self._misplaced(part, address, [subnet.name for subnet, _ in fits], [subnet.name for subnet in subnets])
            return []
        subnet, network = fits[0]
        return self._take(part, address, subnet, network, owners)

    def peer(self, part: Part, networks: Sequence[IPNetwork]) -> IPAddress | None:
        """The written address of somebody else on one of the networks. Takes nothing."""
        address, _ = self._address(part)
        if address is not None and networks and not any(address in network for network in networks):
            self.reading.note(part, f"{address} lies on none of: {', '.join(map(str, networks))}")
        return address

    def free(self, subnet: Subnet, owner: str) -> list[Attachment]:
        """The last free address of each network of a subnet, taken; none of a network that has no free one."""
        found: list[Attachment] = []
        for network in subnet.networks:
            address = network.broadcast_address - 1
            while address in network and (subnet.name, address) in self._addresses:
                address -= 1
            if int(address) > int(network.network_address):
                self._addresses[subnet.name, address] = owner
                found.append(Attachment(subnet.name, address, network.prefixlen))
        return found

    def _address(self, part: Part) -> tuple[IPAddress | None, str | None]:
        """An address, and the name of the network it is said to be on."""
        on = None
        if isinstance(part.node, yaml.MappingNode):
            fields = self.reading.fields(part, ("address", "on"))
            if (on := self.reading.text(fields.get("on"))) is None or "address" not in fields:
                return None, None
            part = fields["address"]
        if (text := self.reading.text(part)) is None:
            return None, on
        try:
            return parse_address(text), on
        except ValueError as error:
            self.reading.note(part, str(error))
            return None, on

    def _misplaced(self, part: Part, address: IPAddress, fits: list[str], allowed: list[str]) -> None:
        if fits:
            choice = f"write {{address: {address}, on: {fits[0]}}} or name another"
            self.reading.note(part, f"{address} lies on {' and '.join(fits)}: {choice}")
        elif not self.doubtful and allowed:
            self.reading.note(part, f"{address} lies on none of: {', '.join(allowed)}")

    def _take(
        self, part: Part, first: IPAddress, subnet: Subnet, network: IPNetwork, owners: Sequence[str]
    ) -> list[Attachment]:
        end = int(network.broadcast_address) + (network.version == 6)
        if first == network.network_address:
            self.reading.note(part, f"{first} is the address of the network {network} itself")
        elif int(first) + len(owners) > end:
            self.reading.note(part, f"{network} has no room for {len(owners)} from {first} on")
        else:
            taken = [Attachment(subnet.name, first + index, network.prefixlen) for index in range(len(owners))]
            self._own(part, taken, owners)
            return taken
        return []

    def _own(self, part: Part, taken: Iterable[Attachment], owners: Iterable[str]) -> None:
        for item, owner in zip(taken, owners, strict=True):
            key = (item.subnet, item.address)
            if key in self._addresses:
                self.reading.note(part, f"{item.address} is taken by {self._addresses[key]}")
                return
            self._addresses[key] = owner
