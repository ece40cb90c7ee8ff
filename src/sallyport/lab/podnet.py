"""The lab's CNI: a pod gets a namespace, a link to its node's bridge, and an address of each pod network.

Asked of the kernel itself (rtnetlink(7)) and not by commands: each of them would take longer than all of it, and a lab
may have hundreds of pods.
"""

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from sallyport.drivers.command import DriverError
from sallyport.drivers.rtnetlink import FAMILY, GATEWAY, NO_DAD, OIF, ROUTE
from sallyport.drivers.wire import CREATE, EXCLUDE, Link, Message, attribute, nest, number, text
from sallyport.lab import names, namespaces
from sallyport.lab.topology import NodeMachine
from sallyport.lab.wiring import POD_BRIDGE, POD_SYSCTLS
from sallyport.model.state import Family, IPAddress, IPNetwork

FIRST_POD = 2
"""Offset of the first pod's address in its network: 0 is the network's own, 1 the node's."""
_NEW_LINK, _DELETE_LINK, _GET_LINK, _NEW_ADDRESS, _NEW_ROUTE = 16, 17, 18, 20, 24
_LINK, _ADDRESS = struct.Struct("=BxHiII"), struct.Struct("=4BI")
"""struct ifinfomsg: family, type, index, flags, which flags; struct ifaddrmsg: family, length, flags, scope, index."""
_UP = 1
_MAC, _NAME, _MASTER, _INFO, _NAMESPACE = 1, 3, 10, 18, 28
_KIND, _DATA, _PEER = 1, 2, 1
"""Attributes of links, and of veth devices (linux/if_link.h, linux/veth.h)."""
_THERE, _OWN = 1, 2
"""Attributes of addresses (linux/if_addr.h)."""
_MAIN, _BOOT, _UNICAST = 254, 3, 1
"""Table, protocol and type of a route as `ip` makes it (linux/rtnetlink.h)."""
_LOOPBACK = 1
"""Its index, in every namespace."""


class PodNetwork:
    """Addresses in use on each node, and what makes and removes a pod's namespace. May be called by many threads."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._used: dict[str, dict[tuple[str, str], tuple[IPAddress, ...]]] = {}
        self._choosing = threading.Lock()

    def attach(self, node: NodeMachine, pod: tuple[str, str]) -> tuple[IPAddress, ...]:
        """Make the pod's namespace and return its addresses, the lowest free ones. DriverError when that fails."""
        addresses = self._take(node, pod)
        space, host = names.pod_namespace(self._lab, pod), names.namespace(self._lab, node.name)
        if (namespaces.RUN / space).exists():
            namespaces.destroy([space])
        try:
            namespaces.make(space, POD_SYSCTLS, partial(_connect, host, names.pod_link(pod), node, addresses))
        except OSError as error:
            raise DriverError(f"network of pod {'/'.join(pod)}: {error.strerror}") from error
        return addresses

    def _take(self, node: NodeMachine, pod: tuple[str, str]) -> tuple[IPAddress, ...]:
        with self._choosing:
            used = self._used.setdefault(node.name, {})
            taken = {address for owner, addresses in used.items() if owner != pod for address in addresses}
            used[pod] = tuple(_free(network, taken) for network in node.pod_networks)
            return used[pod]

    def detach(self, node: str, pod: tuple[str, str]) -> None:
        """Remove the pod's link and namespace, and free its addresses. Twice is once."""
        with contextlib.suppress(FileNotFoundError):  # the node is off
            namespaces.inside(names.namespace(self._lab, node), partial(_disconnect, names.pod_link(pod)))
        namespaces.destroy([names.pod_namespace(self._lab, pod)])
        with self._choosing:
            self._used.get(node, {}).pop(pod, None)


def _free(network: IPNetwork, taken: set[IPAddress]) -> IPAddress:
    for offset in range(FIRST_POD, network.num_addresses - 1):
        if (address := network.network_address + offset) not in taken:
            return address
    raise DriverError(f"pod network {network} is full")


def _connect(host: str, link: str, node: NodeMachine, addresses: Sequence[IPAddress]) -> None:
    """Link the namespace that this thread is in to a node's bridge. Leaves the thread in the node's."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        with Link(socket.NETLINK_ROUTE) as inner:
            namespaces.enter(host)
            with Link(socket.NETLINK_ROUTE) as outer:
                # The next pod of an address comes at once, sooner than its neighbours forget the MAC of the last one.
                mac = bytes.fromhex(names.mac(node.name, str(addresses[0])).replace(":", ""))
                _do(outer, [_pair(link, socket.if_nametoindex(POD_BRIDGE), own, mac)])
            (index,) = struct.unpack_from("=4xi", inner.get(_GET_LINK, _link() + text(_NAME, "eth0")))
            _do(inner, [*(_up(each) for each in (_LOOPBACK, index)), *_settings(index, node, addresses)])
    finally:
        os.close(own)


def _disconnect(link: str) -> None:
    """Remove a link of the namespace that this thread is in; one that is gone already is no error."""
    with Link(socket.NETLINK_ROUTE) as own:
        _do(own, [(_DELETE_LINK, 0, _link() + text(_NAME, link))], forgiven=errno.ENODEV)


def _do(link: Link, requests: Sequence[Message], forgiven: int = 0) -> None:
    for refused in link.ask(requests):
        if refused is not None and refused.errno != forgiven:
            raise refused


def _link(index: int = 0, flags: int = 0) -> bytes:
    return _LINK.pack(0, 0, index, flags, flags)


def _pair(name: str, bridge: int, other: int, mac: bytes) -> Message:
    """An end of that name, up, on a bridge, and eth0 in the namespace that a file descriptor stands for."""
    peer = _link() + text(_NAME, "eth0") + attribute(_MAC, mac) + number(_NAMESPACE, other)
    kind = nest(_INFO, text(_KIND, "veth"), nest(_DATA, attribute(_PEER, peer)))
    return _NEW_LINK, CREATE | EXCLUDE, _link(flags=_UP) + text(_NAME, name) + number(_MASTER, bridge) + kind


def _up(index: int) -> Message:
    return _NEW_LINK, 0, _link(index, _UP)


def _settings(index: int, node: NodeMachine, addresses: Iterable[IPAddress]) -> Iterator[Message]:
    """Addresses and default routes."""
    for address, network in zip(addresses, node.pod_networks, strict=True):
        family: Family = 4 if address.version == 4 else 6
        head = _ADDRESS.pack(FAMILY[family], network.prefixlen, NO_DAD if family == 6 else 0, 0, index)
        own = attribute(_OWN, address.packed) + attribute(_THERE, address.packed)
        yield _NEW_ADDRESS, CREATE | EXCLUDE, head + own
        route = ROUTE.pack(FAMILY[family], 0, 0, 0, _MAIN, _BOOT, 0, _UNICAST, 0)
        via = attribute(GATEWAY, (network.network_address + 1).packed)
        yield _NEW_ROUTE, CREATE | EXCLUDE, route + via + number(OIF, index)
