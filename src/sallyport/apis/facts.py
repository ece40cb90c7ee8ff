"""A node's facts as its agent publishes them: JSON in an annotation of the agent's Lease.

They are for people and for the command line, which plans a node as its agent does; no agent plans by another's.
"""

import msgspec
from msgspec import Struct

from sallyport.model.addresses import parse_address, parse_network
from sallyport.model.plan import Liveness, NodeFacts, Uplink
from sallyport.model.state import FAMILIES, Family

FACTS_ANNOTATION = "sallyport.io/facts"


class _Uplink(Struct, frozen=True):
    device: str
    address: str
    subnets: tuple[str, ...]
    mtu: int


class _Facts(Struct, frozen=True, rename="camel", omit_defaults=True):
    node: str
    uplinks: dict[str, _Uplink] = {}
    addresses: dict[str, str] = {}
    held: tuple[str, ...] = ()
    peers: dict[str, Liveness] = {}
    reply_devices: tuple[str, ...] = ()


def encode(facts: NodeFacts) -> str:
    """Facts as one line of JSON; equal facts give equal text, so that an unchanged annotation is not written again."""
    return msgspec.json.encode(
        _Facts(
            node=facts.node,
            uplinks={str(family): _written(facts.uplinks[family]) for family in sorted(facts.uplinks)},
            addresses={
                str(address): facts.addresses[address]
                for address in sorted(facts.addresses, key=lambda item: (item.version, int(item)))
            },
            held=tuple(str(item) for item in sorted(facts.held, key=lambda item: (item.version, int(item)))),
            peers={name: facts.peers[name] for name in sorted(facts.peers)},
            reply_devices=facts.reply_devices,
        )
    ).decode()


def decode(text: str) -> NodeFacts:
    """Facts from an annotation. Raises ValueError, a sentence that says what is wrong with the text."""
    try:
        written = msgspec.json.decode(text, type=_Facts)
    except msgspec.DecodeError as error:
        raise ValueError(f"these are no facts of a node: {error}") from None
    return NodeFacts(
        node=written.node,
        uplinks={_family(name): _uplink(_family(name), item) for name, item in written.uplinks.items()},
        addresses={parse_address(address): device for address, device in written.addresses.items()},
        held=frozenset(parse_address(item) for item in written.held),
        peers=written.peers,
        reply_devices=written.reply_devices,
    )


def _written(uplink: Uplink) -> _Uplink:
    subnets = tuple(str(item) for item in uplink.subnets)
    return _Uplink(uplink.device, str(uplink.address), subnets, uplink.mtu)


def _uplink(family: Family, written: _Uplink) -> Uplink:
    address = parse_address(written.address)
    subnets = tuple(parse_network(item) for item in written.subnets)
    for part in (address, *subnets):
        if part.version != family:
            raise ValueError(f"the IPv{family} uplink has {part}, which is not IPv{family}")
    return Uplink(written.device, address, subnets, written.mtu)


def _family(name: str) -> Family:
    for family in FAMILIES:
        if name == str(family):
            return family
    raise ValueError(f"there is an uplink for family {name!r}, which is neither 4 nor 6")
