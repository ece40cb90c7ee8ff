"""What a client's chains say of a packet: by which exit it goes, and why (plan/chains.py writes them)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import ip_network

from sallyport.model.kernel import Chain
from sallyport.model.state import IPAddress

Chains = Callable[[str], Chain | None]
"""A kernel's chains by name."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer: an egress id, None for the ordinary way; `noted` when it is new in the connection's mark. `steps`
    tell which chains decided and by what, in their order."""

    id: int | None
    steps: tuple[str, ...] = ()
    noted: bool = False


def stands(target: str, chains: Chains) -> bool:
    """Whether a client's element can be there: the kernel takes none that names a chain that is not, or is in part."""
    if not target or target.isdecimal():
        return True
    chain = chains(target)
    return chain is not None and all(stands(further, chains) for _, further in chain.destinations)


def choices(target: str, destination: IPAddress, connection: int, nowhere: int, chains: Chains) -> tuple[Choice, ...]:
    """All that may come of it; several where new connections are shared out among exits.

    `target` is the value of the client's element, `connection` the egress id in the connection's mark (0: none), and
    `nowhere` the id that leads nowhere. A chain that ends without a word leaves the packet its ordinary way.
    """
    if target.isdecimal():
        return (Choice(int(target)),)
    chain = chains(target)
    if chain is None:
        return (Choice(None),)
    if chain.name.startswith("spread_"):
        return _spread(chain, connection, nowhere)
    for network, further in chain.destinations:
        if destination in ip_network(network):
            step = f"{chain.name}: {network}"
            found = choices(further, destination, connection, nowhere, chains)
            return tuple(replace(item, steps=(step, *item.steps)) for item in found)
    return (Choice(None, (f"{chain.name}: no network has {destination}",)),)


def _spread(chain: Chain, connection: int, nowhere: int) -> tuple[Choice, ...]:
    if connection in chain.kept:
        return (Choice(connection, (f"{chain.name}: its connection has id {connection}",)),)
    if not chain.fresh:
        return (Choice(nowhere, (f"{chain.name}: no exit takes new connections",)),)
    shown = ", ".join(map(str, chain.fresh))
    step = f"{chain.name}: new connections go by {shown}"
    return tuple(Choice(item, (step,), noted=True) for item in chain.fresh)
