"""Why a pod's packet goes as it goes: what decides about its destination, by which gateway it leaves, and why it does
not take the routes that other external networks have."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network

from sallyport.cli.replay import Replay
from sallyport.model.addresses import family_of
from sallyport.model.kernel import Fib, Rule
from sallyport.model.plan import NodePlan
from sallyport.model.state import Destination, Exit, Hops, IPAddress, PodKey, Policy
from sallyport.trace import Trace
from sallyport.trace.routes import Lead, lead

ANNOTATED = ("Namespace", "Pod")
"""Kinds whose annotations select gateways; every other kind that a policy comes from is one of policies."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What decides about one destination of a pod: a policy, and its rule; None where the policy blocks everything."""

    policy: Policy
    rule: Destination | None

    @property
    def hops(self) -> Hops | None:
        """The exits that the rule sends to; None is the ordinary way, or that everything is blocked."""
        return self.rule.hops if self.rule else None

    @property
    def by(self) -> str:
        """The policy or the annotated object, with the rule, in words."""
        ref = self.policy.ref
        if self.hops is not None and self.hops.own:
            return f"{ref}, which is a gateway itself"
        if ref.kind in ANNOTATED:
            return f"annotations of {ref}"
        named = f"{ref} by annotation of {self.policy.named_by}" if self.policy.named_by else str(ref)
        return f"{named}, rule {self.rule.network}" if self.rule else named


def ruling(made: Replay, pod: PodKey, destination: IPAddress) -> Ruling | None:
    """Which policy decides about a destination of a pod: the first one that has it, by its longest prefix. A rule whose
    gateways are all of the other family decides only where nothing below it does. None: no policy does."""
    family = family_of(destination)
    of_family = {key for key, item in made.state.exits.items() if item.family in (None, family)}
    waiting: Ruling | None = None
    for policy in made.state.policies:
        if pod not in policy.clients:
            continue
        if policy.blocked:
            return Ruling(policy, None)
        fitting = [item for item in policy.destinations if destination in item.network]
        for rule in sorted(fitting, key=lambda item: -item.network.prefixlen):
            lacking = rule.hops is not None and bool(rule.hops.exits) and of_family.isdisjoint(rule.hops.exits)
            if not lacking:
                return Ruling(policy, rule) if rule.hops is not None or waiting is None else waiting
            waiting = waiting or Ruling(policy, rule)
    return waiting


@dataclass(frozen=True, slots=True)
class Refused:
    """A route of another external network to the same destination, and why it was not taken. `node` has the route."""

    network: str
    route: str
    router: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Passage:
    """By what one way of a packet leads out: the exit's key, its gateway's pod ("" where it is none), and address.

    `node` is the gateway's, `table` the number of the routing table there that its packets go by (0: the main one) and
    `served` the networks that fill it; `fault` says why the way does not stand, by the node's own account, "" if it
    does. `refused` are routes of other networks.
    """

    exit: str
    gateway: str = ""
    address: IPAddress | None = None
    node: str = ""
    table: int = 0
    served: tuple[str, ...] = ()
    fault: str = ""
    refused: tuple[Refused, ...] = ()


def passage(made: Replay, way: Trace, destination: IPAddress, plans: Mapping[str, NodePlan]) -> Passage:
    """What is to be told of a way beyond its hops; `plans` are those of all nodes that have a part in it."""
    settings = made.settings
    marks = [hop.mark & settings.mark_mask for hop in way.hops if hop.mark & settings.mark_mask]
    number = marks[-1] >> settings.mark_shift if marks else 0
    key = next((key for key, item in made.assignments.items() if number and item.id == number), "")
    exit_ = made.state.exits.get(key)
    if exit_ is None or not exit_.node:
        return Passage(key)
    objects = plans[exit_.node].objects if exit_.node in plans else ()
    mark = settings.mark(number)
    tables = {item.table: () for item in objects if isinstance(item, Rule) and item.mark == mark and exit_.networks}
    filled = {item.table: item.networks for item in objects if isinstance(item, Fib) and item.table in tables}
    table, served = next(iter({**tables, **filled}.items()), (0, ()))
    report = made.reports.get(exit_.node)
    found = Passage(
        exit=key,
        gateway=f"{exit_.ref.namespace}/{exit_.ref.name}",
        address=made.assignments[key].address,
        node=exit_.node,
        table=table,
        served=served,
        fault=report.standing.get(key, "") if report else "",
    )
    return replace(found, refused=tuple(_refused(made, way, destination, found)))


def _refused(made: Replay, way: Trace, destination: IPAddress, by: Passage) -> Iterator[Refused]:
    """Routes to the destination that other networks have, on the gateway's own node or else on another one."""
    taken = way.network.split(" or ")
    for network in sorted(made.state.external.keys() - set(taken)):
        for node in sorted(made.reports, key=lambda name: (name != by.node, name)):
            found = lead(destination, (network,), made.reports[node])
            if found is not None and found.routes:
                reason = _reason(made.state.exits[by.exit], network, found, way, by)
                yield Refused(network, found.prefix, " or ".join(found.routers), node, reason)
                break


def _reason(exit_: Exit, network: str, found: Lead, way: Trace, by: Passage) -> str:
    if network not in exit_.networks:
        return f"gateway {by.gateway} is not on it"
    if network not in by.served:
        return f"node {by.node} does not serve it"
    if way.route and found.length < ip_network(way.route).prefixlen:
        return "its prefix is shorter"
    return f"{way.network} comes first in the list" if way.route == found.prefix else "it is not known what comes first"
