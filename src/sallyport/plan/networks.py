"""External networks on one node: the tables that its exits lead to, and the BGP sessions that fill them."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from sallyport.model.addresses import family_of
from sallyport.model.kernel import Announced, Bootstrap, Element, Fib, KernelObject, Route, Rule, Session, Sysctl
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Exit, ExternalNetwork, Family, IPAddress, IPNetwork, Peering
from sallyport.plan.filters import session_filters
from sallyport.plan.steering import LAST_METRIC, MAIN_TABLE, Here
from sallyport.plan.ways import EVERYTHING

MAIN = ""
"""Name of what is no external network: the peers that belong to none, and the main table."""


def honoured(here: Here) -> dict[str, int]:
    """The kernel tables of the networks that this node serves: those that are in order, and whose table nobody else
    uses here."""
    return {
        name: network.table
        for name, network in sorted(here.state.external.items())
        if network.table is not None and network.table not in here.facts.foreign
    }


def table_of(exit_: Exit, exit_id: int, tables: Mapping[str, int], here: Here) -> int:
    """The table that an exit's packets are routed by: its one network's own, or one merged of all its networks."""
    if len(exit_.networks) == 1 and exit_.networks[0] in tables:
        return tables[exit_.networks[0]]
    return here.settings.table(exit_id)


def networking(here: Here) -> list[KernelObject]:
    """All that this node does for external networks, and for BGP peers of none."""
    made = [item for key in here.held if here.state.exits[key].networks for item in _leading_out(key, here)]
    speaking = _sessions(here)
    made += speaking
    if any(isinstance(item, Session) and item.network == MAIN for item in speaking):
        made += _exported(here)
    return made


def _leading_out(key: str, here: Here) -> list[KernelObject]:
    """What leads an exit that is on this node to its external networks, and keeps it off all others."""
    exit_, assignment, settings = here.state.exits[key], here.assignments[key], here.settings
    tables = honoured(here)
    table, family = table_of(exit_, assignment.id, tables, here), family_of(here.held[key])
    mark = settings.mark(assignment.id)
    made: list[KernelObject] = [
        Route(family, table, str(EVERYTHING[family]), LAST_METRIC, "unreachable"),
        Rule(family, _priority(settings), table, mark=mark, mask=settings.mark_mask),
        Element("networked", str(mark)),
    ]
    served = tuple(name for name in exit_.networks if name in tables)
    if served:
        made.append(Fib(table, served))
    wires = {device for name in served for device in wires_of(name, tables[name], here)}
    made += [Element("wires", f"{mark} . {device}") for device in sorted(wires)]
    address = here.held[key]
    made += [Announced(name, f"{address}/{address.max_prefixlen}") for name in served if not _kept(address, name, here)]
    return made


def _priority(settings: Settings) -> int:
    """Of the rules that lead exits to their networks' tables."""
    return settings.network_rule_priority or settings.rule_priority + 1


def wires_of(network: str, table: int, here: Here) -> set[str]:
    """The devices by which a network is reached: those of its peers, and those of routes that a user put into its
    table. Whatever BGP brings is resolved by these."""
    devices = {device for peering in _peerings(here, network) if (device := _device(peering, here))}
    return devices | set(here.facts.table_devices.get(table, ()))


def _peerings(here: Here, network: str) -> list[Peering]:
    return [
        item
        for item in here.state.peerings
        if item.network == network and here.facts.node in item.nodes and not item.blocked
    ]


def _link(address: IPAddress, here: Here) -> IPNetwork | None:
    """The directly connected network that an address is in, the narrowest one."""
    fitting = [net for net in here.facts.connected if net.version == address.version and address in net]
    return max(fitting, key=lambda net: net.prefixlen, default=None)


def _device(peering: Peering, here: Here) -> str:
    link = _link(peering.via or peering.address, here)
    return here.facts.connected[link] if link is not None else ""


def _sessions(here: Here) -> list[KernelObject]:
    """BGP sessions, the ways to their peers, and what replies from their devices need, for this node."""
    tables = honoured(here)
    made: list[KernelObject] = []
    external: set[str] = set()
    for peering in here.state.peerings:
        if here.facts.node not in peering.nodes or peering.blocked:
            continue
        if peering.network != MAIN and peering.network not in tables:
            continue
        made += _bootstrap(peering, here)
        if peering.network != MAIN and _is_beyond(peering, tables[peering.network], here):
            address, family = str(peering.address), family_of(peering.address)
            made.append(Rule(family, here.settings.rule_priority, tables[peering.network], to=address))
        made.append(_session(peering, here))
    for name, table in tables.items():
        if any(isinstance(item, Session) and item.network == name for item in made):
            made.append(Fib(table, (name,)))
            made += [
                Route(family, table, str(EVERYTHING[family]), LAST_METRIC, "unreachable") for family in _families(here)
            ]
            external |= wires_of(name, table, here)
    if here.state.routing.enabled and tables:
        external |= {device for device in here.facts.devices if matches(device, here.state.routing.device_patterns)}
    return made + _replies(external, here)


def _families(here: Here) -> list[Family]:
    return [family for family in FAMILIES if family in here.facts.uplinks]


def _bootstrap(peering: Peering, here: Here) -> list[KernelObject]:
    """The way to a peer, in its network's table: its link, and the router on the link that leads to one beyond."""
    if peering.network == MAIN:
        return []
    made: list[KernelObject] = []
    link = _link(peering.via or peering.address, here)
    if link is not None:
        made.append(Bootstrap(peering.network, str(link), here.facts.connected[link]))
    if peering.via is not None:
        made.append(
            Bootstrap(peering.network, f"{peering.address}/{peering.address.max_prefixlen}", "", str(peering.via))
        )
    return made


def _is_beyond(peering: Peering, table: int, here: Here) -> bool:
    """Whether what this node says to a peer goes by the network's table, since none of its links has it: the way there
    is one that the peer names, or that a user has put into that table. The main one would lead it anywhere."""
    if _link(peering.address, here) is not None:
        return False
    return peering.via is not None or bool(here.facts.table_devices.get(table))


def _session(peering: Peering, here: Here) -> Session:
    node = here.state.nodes.get(here.facts.node)  # a peer may name a node that is not there any more, or not yet
    source = node.address(family_of(peering.address)) if node is not None and peering.use_node_ip else None
    secret = hashlib.sha256(peering.password.encode()).hexdigest()[:12] if peering.password else ""
    direct = peering.via is None and not peering.hops
    return Session(
        name=peering.ref.name,
        network=peering.network,
        address=str(peering.address),
        asn=peering.asn,
        own_asn=peering.own_asn,
        port=peering.port,
        source=str(source or ""),
        via=str(peering.via or ""),
        device=_device(peering, here) if direct else "",
        hops=peering.hops,
        bfd=peering.bfd,
        long_lived=peering.long_lived,
        restart_time=peering.restart_time,
        keepalive=peering.keepalive,
        own_asn_in_path=peering.own_asn_in_path,
        next_hop=peering.next_hop,
        digest=secret,
        filters=session_filters(peering.filters, internal=peering.asn == peering.own_asn),
        password=peering.password,
    )


def _replies(devices: Iterable[str], here: Here) -> list[KernelObject]:
    """Strict reverse-path filtering looks for the way back in the main table, which has none to an external network.
    With `src_valid_mark` it looks by the packet's mark; the reply itself is still routed by the main table, whose rule
    has to come before that of the mark."""
    made: list[KernelObject] = []
    first = min(here.settings.rule_priority, _priority(here.settings) - 1)
    for device in sorted(devices):
        made.append(Sysctl(f"net/ipv4/conf/{device}/src_valid_mark", "1"))
        made.append(Element("externals", device))
        made.append(Rule(4, first, MAIN_TABLE, iif=device))
    return made


def matches(device: str, patterns: Sequence[str]) -> bool:
    """Whether a device's name is one of the patterns, or fits one written as /regular expression/."""
    for pattern in patterns:
        if pattern.startswith("/") and pattern.endswith("/") and len(pattern) > 1:
            if re.search(pattern[1:-1], device):
                return True
        elif pattern == device:
            return True
    return False


def _exported(here: Here) -> list[KernelObject]:
    """Addresses of exits without a network of their own that are bound to this node, told to the peers of none."""
    return [
        Announced(MAIN, f"{address}/{address.max_prefixlen}")
        for key, address in sorted(here.held.items())
        if (exit_ := here.state.exits[key]).node and not exit_.networks and not _kept(address, MAIN, here)
    ]


def _kept(address: IPAddress, network: str, here: Here) -> bool:
    """Whether peers are not told of an address: its pool is not exported, or it is the node's own and they are on its
    link. These need not be told, and would take it for a host that is reached by itself."""
    if any(address in pool for pool in here.state.routing.unexported):
        return True
    node = here.state.nodes.get(here.facts.node)
    if node is None or address not in node.addresses:
        return False
    links = [_link(item.via or item.address, here) for item in _peerings(here, network)]
    return network == MAIN or any(link is not None and address in link for link in links)


def standing(here: Here) -> dict[str, str]:
    """Of each exit that is bound to this node, why it does not lead where it should, "" where it does, as far as the
    plan can tell."""
    tables, found = honoured(here), {}
    for key, exit_ in here.state.exits.items():
        if exit_.node != here.facts.node:
            continue
        lacking = [name for name in exit_.networks if name not in tables]
        if key not in here.held:
            found[key] = "it has no address yet"
        elif lacking and len(lacking) == len(exit_.networks):
            found[key] = "; ".join(_lacking(name, here.state.external.get(name), here) for name in lacking)
        else:
            found[key] = ""
    return found


def _lacking(name: str, network: ExternalNetwork | None, here: Here) -> str:
    if network is None:
        return f"external network {name} does not exist"
    if network.table is None:
        return f"external network {name} cannot be honoured"
    return f"table {network.table} of external network {name} is in use here: {here.facts.foreign[network.table]}"
