"""What is asked of a node before and while it works for us, what is seen there, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sallyport.model.kernel import KernelObject
from sallyport.model.state import Family, IPAddress


class Severity(StrEnum):
    """A PROBLEM keeps a node from its work, or is going to; a WARNING is to be known."""

    PROBLEM = "problem"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, with what, and what to do about it."""

    severity: Severity
    subject: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Trial:
    """Something that is done to a kernel where it hurts nobody, to see that it can: `text` for `nft -f`, or `objects`
    that are written and read back. `option` of its configuration brings it. What `needs` another one is not tried
    where that one failed."""

    name: str
    serves: str
    option: str
    text: str = ""
    objects: tuple[KernelObject, ...] = ()
    needs: str = ""
    family: Family | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended. `works` is None where it was not made; `reason` then says why, or what was refused."""

    trial: Trial
    works: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of the node's, and the Debian package that brings it. Without a version it is not there."""

    name: str
    package: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """A network device. `port` is the UDP port of a VXLAN one; `ours` that it is of the very kind that we make."""

    name: str
    kind: str = ""
    mtu: int = 0
    port: int = 0
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """A policy rule that is not ours. `table` is a table's number or name, `goto` and a priority, or another action's
    name. `selector` is what else than a mark it goes by, as `ip rule` says it, "" for
    nothing."""

    family: Family
    priority: int
    table: str
    mark: int = 0
    mask: int = 0
    selector: str = ""


ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class MarkChange:
    """What may become of a packet's mark: `ones` are bits that may be set, `kept` those that stay as they are."""

    ones: int = 0
    kept: int = ALL_BITS

    def then(self, other: "MarkChange") -> "MarkChange":
        """Either of both, or one after the other."""
        return MarkChange(self.ones | other.ones, self.kept & other.kept)


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A chain of somebody else's that the kernel calls by itself. `mark` is what becomes of marks in it and in what it
    jumps to; `translates` tells whether source addresses are changed there, `offloads` whether flows are put into a
    flowtable there, `drops` whether nothing passes that it does not let pass."""

    table: str
    name: str
    type: str
    hook: str
    priority: int
    mark: MarkChange = field(default_factory=MarkChange)
    translates: bool = False
    offloads: bool = False
    drops: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A port that somebody listens on; `process` is "" where that cannot be seen. `ours` is what belongs to us."""

    protocol: str
    port: int
    process: str = ""
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Uplink:
    """The device by which the outer packets of a family leave."""

    device: str
    mtu: int
    address: IPAddress | None = None
    advertised: bool = False
    """The default route was learned from router advertisements."""


@dataclass(frozen=True, slots=True)
class Programmed:
    """What an agent has left in this kernel. `renewed` says how many seconds ago it said that it lives, None that it
    has been silent for too long. `digests` are of our tables as they are, `expected` as this version makes them."""

    renewed: float | None = None
    digests: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    objects: int = 0
    configured: bool = False
    """There is a configuration for BIRD."""
    answering: bool = False
    """BIRD answers."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All that is seen of a node. `sysctls` have "" where there is no such setting; `unread` are things that could not
    be looked at, a sentence each."""

    capabilities: frozenset[str] = frozenset()
    writable: bool = True
    clock: bool = True
    sysctls: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[Tool, ...] = ()
    uplinks: Mapping[Family, Uplink] = field(default_factory=dict)
    devices: tuple[Device, ...] = ()
    rules: tuple[Seen, ...] = ()
    tables: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Who else has routes in a table with one of our numbers."""
    hops: tuple[int, ...] = ()
    """Next hops with one of our numbers that somebody else made."""
    chains: tuple[BaseChain, ...] = ()
    listeners: tuple[Listener, ...] = ()
    programmed: Programmed | None = None
    unread: tuple[str, ...] = ()
