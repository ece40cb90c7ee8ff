"""What an administrator may set, and the numbers by which the agent recognises its own kernel objects."""

from dataclasses import dataclass

_LISTS = 256
"""Of tables, in a kernel (`FIB_TABLE_HASHSZ` in include/net/ip_fib.h)."""
_OF_THE_SYSTEM = 3
"""The last of them, in which the tables are that each packet looks for."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Defaults fit most clusters. Marks must lie within the low 16 bits: VXLAN's group policy field carries those.

    `mark_mask` selects the bits that hold the egress id; bits 14 and 15 are kube-proxy's, the upper 16 Calico's.
    `connection_label` is the bit of conntrack's 128 label bits that tells of a connection that began with a mark.
    At the priority after `rule_priority` packets are first asked for their mark. The rules of marks stand in a tree,
    which takes 6145 priorities from `tree_priority` on (`plan.rules`); others can have none there. Where
    `rule_priority` is not before it, all rules stand side by side instead, each at the expense of every packet.
    `network_rule_priority` is that of the rules of exits with external networks (0: as that of the others). They stand
    side by side, and so do the others where it comes after their first and not after the tree.
    `dead_after` seconds without renewal by its agent, a node falls silent for the egress IPs it holds.
    """

    mark_mask: int = 0x3FFF
    vxlan_vni: int = 4097
    vxlan_port: int = 4790
    rule_priority: int = 20000
    tree_priority: int = 20001
    network_rule_priority: int = 0
    route_protocol: int = 83
    table_base: int = 830_000
    next_hop_base: int = 83_000_000
    connection_label: int = 83
    table_name: str = "sallyport"
    device_prefix: str = "sp-vx"
    interval_ms: int = 100
    multiplier: int = 3
    dead_after: int = 8
    guard: bool = True

    @property
    def mark_shift(self) -> int:
        """How far left of bit 0 the egress id sits in the mark."""
        return (self.mark_mask & -self.mark_mask).bit_length() - 1

    @property
    def nowhere_id(self) -> int:
        """The id of clients that have no way out: its table holds nothing but `unreachable`."""
        return self.mark_mask >> self.mark_shift

    @property
    def highest_id(self) -> int:
        """The highest id that an exit can have."""
        return self.nowhere_id - 1

    def mark(self, exit_id: int) -> int:
        """The firewall mark that carries an egress id."""
        return exit_id << self.mark_shift

    def table(self, exit_id: int) -> int:
        """The kernel table of an exit; fwmark rules lead to it.

        The kernel keeps tables in 256 lists by the lowest byte of their numbers, and goes through a list whenever a
        packet is led to a table of it (`fib_get_table` in net/ipv4/fib_frontend.c). No number of ours is in the lists
        of `default`, `main` and `local` (253 to 255), which every packet is led to, whoever's it is.
        """
        start = self.table_base % _LISTS
        block, place = divmod(start + exit_id, _LISTS - _OF_THE_SYSTEM)
        return self.table_base - start + block * _LISTS + place

    @property
    def tables(self) -> range:
        """From the first table of an exit to the last; not all in between are."""
        return range(self.table(1), self.table(self.nowhere_id) + 1)

    def device(self, outer_family: int) -> str:
        """The VXLAN device for that outer family."""
        return f"{self.device_prefix}{outer_family}"
