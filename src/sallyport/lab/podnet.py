"""The lab's CNI: a pod gets a namespace, a link to its node's bridge, and an address of each pod network."""

from collections.abc import Iterable

from sallyport.drivers.command import DriverError, batch
from sallyport.lab import names, namespaces
from sallyport.lab.topology import NodeMachine
from sallyport.lab.wiring import POD_BRIDGE, POD_SYSCTLS
from sallyport.model.state import IPAddress, IPNetwork

FIRST_POD = 2
"""Offset of the first pod's address in its network: 0 is the network's own, 1 the node's."""


class PodNetwork:
    """Addresses in use on each node, and what makes and removes a pod's namespace. One call at a time."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._used: dict[str, dict[tuple[str, str], tuple[IPAddress, ...]]] = {}

    def attach(self, node: NodeMachine, pod: tuple[str, str]) -> tuple[IPAddress, ...]:
        """Make the pod's namespace and return its addresses, the lowest free ones. DriverError when that fails."""
        used = self._used.setdefault(node.name, {})
        taken = {address for addresses in used.values() for address in addresses}
        addresses = tuple(_free(network, taken) for network in node.pod_networks)
        used[pod] = addresses
        space, host = names.pod_namespace(self._lab, pod), names.namespace(self._lab, node.name)
        link = names.pod_link(pod)
        namespaces.destroy([space] if namespaces.existing(space) else [])
        self._must(batch("ip", [f"netns add {space}"]))
        namespaces.set_sysctls(space, POD_SYSCTLS)
        self._must(batch("ip", [f"link add {link} netns {host} type veth peer name eth0 netns {space}"]))
        self._must(batch(f"ip -n {host}", [f"link set {link} master {POD_BRIDGE} up"]))
        self._must(batch(f"ip -n {space}", _inside(node, addresses)))
        return addresses

    def detach(self, node: str, pod: tuple[str, str]) -> None:
        """Remove the pod's link and namespace, and free its addresses. Twice is once."""
        namespaces.unplug(names.namespace(self._lab, node), [names.pod_link(pod)])
        namespaces.destroy([names.pod_namespace(self._lab, pod)])
        self._used.get(node, {}).pop(pod, None)

    @staticmethod
    def _must(failures: list[str]) -> None:
        if failures:
            raise DriverError(failures[0])


def _inside(node: NodeMachine, addresses: Iterable[IPAddress]) -> list[str]:
    lines = ["link set lo up", "link set eth0 up"]
    for address, network in zip(addresses, node.pod_networks, strict=True):
        option = " nodad" if address.version == 6 else ""
        lines.append(f"address add {address}/{network.prefixlen} dev eth0{option}")
        lines.append(f"route add default via {network.network_address + 1} dev eth0")
    return lines


def _free(network: IPNetwork, taken: set[IPAddress]) -> IPAddress:
    for offset in range(FIRST_POD, network.num_addresses - 1):
        if (address := network.network_address + offset) not in taken:
            return address
    raise DriverError(f"pod network {network} is full")
