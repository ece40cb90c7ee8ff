"""Ways beside Sallyport's from the same pod to the same server, over a VXLAN device of their own from node-1 to node-2.

While another way than Sallyport's is taken, the tables of Sallyport and of the lab's CNI are dormant on both nodes, and
its policy rules are gone: they cost the others nothing. The agents, which would mend that, are frozen all the time.
Connections are tracked on every way, as they are on any node of Kubernetes.
"""

import os
import signal
from dataclasses import dataclass
from typing import Any

from bench import scene
from sallyport.drivers.command import DriverError, batch, query
from sallyport.lab import namespaces
from sallyport.lab.driving import Lab
from sallyport.lab.wiring import POD_BRIDGE
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES

FIRST, SECOND = "node-1", "node-2"
HOP = "plain/hop"
"""The pod on node-2 that the last way leads through."""
VNI, UDP_PORT = 77, 4791
MTU = 1450
"""Sallyport's, so that packets are of the same size: the kernel's own, 1500, would have them sent in fragments."""
PLAIN, TO_POD = 7700, 7701
"""Tables of the plain ways: the tunnel from either side, and the pod in between."""
INSIDE = {FIRST: "10.77.0.1", SECOND: "10.77.0.2"}
"""Addresses of the plain VXLAN device."""
BEYOND = "10.20.9.1"
"""What the plain ways translate to: an address that the router finds at node-2."""
OURS = (Settings().table_name, "lab_cni")
"""The nftables tables, of family inet, that only the gateway's way meets."""


@dataclass(frozen=True, slots=True)
class Way:
    """`rules` are arguments of `ip rule`, by node; `translated` says whether node-2 translates. The way without rules
    is the gateway's."""

    name: str
    rules: tuple[tuple[str, str], ...] = ()
    translated: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """Where the ways lead: from which pod, by which of node-2's devices, to which router and over which subnet, by
    which of node-2's tables. `ours` is the name of Sallyport's way."""

    client: str
    wire: str
    router: str
    subnet: str
    table: int
    ours: str


GATEWAY = Site(scene.CLIENT, "eth1", "red-router", "red-link", scene.TABLES["red"], "gateway")
_OUT_AND_BACK = (
    (FIRST, f"priority 100 iif {POD_BRIDGE} from {{client}} lookup {PLAIN}"),
    (SECOND, f"priority 100 to {{client}} lookup {PLAIN}"),
)
_TO_WIRE = (SECOND, "priority 101 iif plain lookup {table}")
_OVER_POD = (
    (SECOND, f"priority 101 iif plain lookup {TO_POD}"),
    (SECOND, f"priority 102 iif {POD_BRIDGE} from {BEYOND} lookup {{table}}"),
    (SECOND, f"priority 103 to {BEYOND} lookup {TO_POD}"),
)
WAYS = (
    Way("plain", (*_OUT_AND_BACK, _TO_WIRE)),
    Way("translated", (*_OUT_AND_BACK, _TO_WIRE), translated=True),
    Way("ours"),
    Way("pod", (*_OUT_AND_BACK, *_OVER_POD)),
)


class Detours:
    """All of the ways, of which one is taken at a time, in a lab with one exit on node-2, while the block runs."""

    def __init__(self, lab: Lab, site: Site = GATEWAY) -> None:
        self._lab, self._site = lab, site
        self.ways = {way.name if way.rules else site.ours: way for way in WAYS}
        self.client = ""
        self._rules: dict[tuple[str, int], list[str]] = {}
        self._taken = next(way for way in WAYS if not way.rules)
        self._agents = [child for node in INSIDE if (child := lab.record.child(f"agent-{node}")) is not None]

    def __enter__(self) -> "Detours":
        space, _, name = HOP.partition("/")
        self._lab.kubectl("create", "namespace", space)
        scene.apply(self._lab, scene.pod(space, name, SECOND))
        self._lab.kubectl("wait", "-n", space, f"pod/{name}", "--for=condition=Ready", "--timeout=30s")
        for child in self._agents:
            os.kill(child.pid, signal.SIGSTOP)
        self.client = self._address(self._site.client)
        self._furnish()
        return self

    def __exit__(self, *_: object) -> None:
        self.take(self._site.ours)
        for child in self._agents:
            os.kill(child.pid, signal.SIGCONT)

    def take(self, name: str) -> None:
        """Packets of the client take that way from now on."""
        way, filled = self.ways[name], {"client": self.client, "table": self._site.table}
        for node, rule in self._taken.rules:
            self._ip(node, f"rule del {rule.format(**filled)}")
        if bool(way.rules) != bool(self._taken.rules):
            self._set_aside(bool(way.rules))
        for node in INSIDE:
            for table in OURS:
                self._nft(
                    node, f"add table inet {table} {{ flags dormant; }}" if way.rules else f"add table inet {table}"
                )
        self._nft(SECOND, "add table ip bench\ndelete table ip bench")
        if way.translated:
            self._translate(SECOND, self._site.wire)
        for node, rule in way.rules:
            self._ip(node, f"rule add {rule.format(**filled)}")
        self._taken = way

    def _set_aside(self, away: bool) -> None:
        """Take our policy rules away, which would make the kernel look at each packet's mark, or put them back."""
        for node in INSIDE:
            for family in FAMILIES:
                within, key = f"ip -{family} -n {self._lab.space(node)}", (node, family)
                if away:
                    listed = query([*within.split(), "-j", "-N", "rule", "show"])
                    ours = [item for item in listed if item.get("protocol") == str(Settings().route_protocol)]
                    self._rules[key] = [_words(item) for item in ours]
                verb = "del" if away else "add"
                lines = [f"rule {verb} {words}" for words in self._rules[key]]
                if failures := batch(within, lines):
                    raise DriverError(failures[0])

    def _furnish(self) -> None:
        """The tunnel, the routes, and the pod in between, all of which wait for a rule to lead to them."""
        for node, other in ((FIRST, SECOND), (SECOND, FIRST)):
            ends = f"local {self._underlay(node)} remote {self._underlay(other)}"
            self._ip(
                node,
                f"link add plain mtu {MTU} type vxlan id {VNI} dstport {UDP_PORT} {ends}",
                f"address add {INSIDE[node]}/24 dev plain",
                "link set plain up",
            )
            # What comes by a way that main does not know would be dropped, and a pod in between is a detour on a link.
            wire = self._site.wire
            off = [f"net/ipv4/conf/{device}/rp_filter" for device in ("all", "plain", wire, POD_BRIDGE)]
            off += [f"net/ipv4/conf/{device}/send_redirects" for device in ("all", POD_BRIDGE)]
            there = off if node == SECOND else [path for path in off if f"/{wire}/" not in path]
            namespaces.set_sysctls(self._lab.space(node), [(path, "0") for path in there])
        hop = self._address(HOP)
        self._ip(FIRST, f"route add default via {INSIDE[SECOND]} dev plain table {PLAIN}")
        self._ip(
            SECOND,
            f"route add {self.client} via {INSIDE[FIRST]} dev plain table {PLAIN}",
            f"route add default via {hop} dev {POD_BRIDGE} table {TO_POD}",
        )
        redirects = [(f"net/ipv4/conf/{device}/send_redirects", "0") for device in ("all", "eth0")]
        namespaces.set_sysctls(self._lab.space(HOP), [("net/ipv4/ip_forward", "1"), *redirects])
        self._translate(HOP, "eth0")
        home = self._home()
        self._ip(self._site.router, f"route add {self.client} via {home}", f"route add {BEYOND} via {home}")

    def _translate(self, where: str, device: str) -> None:
        rule = f"oifname {device} ip saddr {self.client} snat ip to {BEYOND}"
        hook = "type nat hook postrouting priority 100"
        self._nft(where, f"add table ip bench\nadd chain ip bench c {{ {hook}; }}\nadd rule ip bench c {rule}")

    def _home(self) -> str:
        """The address of node-2 on the link to the router."""
        machine = self._lab.topology.machine(SECOND)
        places = machine.attachments if machine else ()
        return next(
            str(item.address) for item in places if (item.subnet, item.address.version) == (self._site.subnet, 4)
        )

    def _underlay(self, node: str) -> str:
        machine = self._lab.topology.machine(node)
        return str(machine.attachments[0].address) if machine else ""

    def _address(self, pod: str) -> str:
        space, _, name = pod.partition("/")
        return str(self._lab.objects("pod", name, "-n", space)[0]["status"]["podIP"])

    def _ip(self, where: str, *lines: str) -> None:
        if failures := batch(f"ip -n {self._lab.space(where)}", lines):
            raise DriverError(failures[0])

    def _nft(self, where: str, text: str) -> None:
        namespaces.nft(self._lab.space(where), text + "\n")


_ACTIONS = (("goto", "goto"), ("lookup", "table"))


def _words(rule: dict[str, Any]) -> str:
    """A policy rule as `ip` lists it, as arguments that make it."""
    action = next((f"{word} {rule[key]}" for word, key in _ACTIONS if key in rule), "nop")
    selectors = [f"{name} {rule[key]}" for name, key in (("from", "src"), ("iif", "iif")) if key in rule]
    if "fwmark" in rule:
        negated = "not " if "not" in rule else ""
        selectors.append(f"{negated}fwmark {rule['fwmark']}/{rule.get('fwmask', '0xffffffff')}")
    if "dport" in rule:
        selectors.append(f"ipproto 17 dport {rule['dport']}")
    return " ".join([f"priority {rule['priority']}", *selectors, f"{action} protocol {rule['protocol']}"])
