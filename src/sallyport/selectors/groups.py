"""Which things are in which groups, while things come, go and change groups."""

from bisect import bisect_left
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

Member = TypeVar("Member", bound=tuple[Any, ...])
Group = TypeVar("Group", bound=Hashable)

FEW = 8
"""Changes of one group that are made one by one; of more, the group is sorted anew."""


class Groups(Generic[Member, Group]):
    """Members of groups, in order. `of` has the groups of each member, in the order in which they were given, and lacks
    those that are in none."""

    def __init__(self) -> None:
        self._of: dict[Member, tuple[Group, ...]] = {}
        self.of: Mapping[Member, tuple[Group, ...]] = MappingProxyType(self._of)
        self._members: dict[Group, tuple[Member, ...]] = {}
        self._moved: dict[Group, dict[Member, bool]] = {}
        self._touched: set[Group] = set()
        self._changed: set[Member] = set()

    def put(self, member: Member, groups: tuple[Group, ...]) -> None:
        """Put a member into these groups and no others."""
        before = self._of.get(member, ())
        if before == groups:
            return
        self._changed.add(member)
        if groups:
            self._of[member] = groups
        else:
            del self._of[member]
        for group in before:
            if group not in groups:
                self._moved.setdefault(group, {})[member] = False
        for group in groups:
            if group not in before:
                self._moved.setdefault(group, {})[member] = True

    def members(self, group: Group) -> tuple[Member, ...]:
        """Who is in a group, in order; nobody in one that was never heard of."""
        self._settle(group)
        return self._members.get(group, ())

    def __contains__(self, group: Group) -> bool:
        return bool(self.members(group))

    def groups(self) -> list[Group]:
        """Groups that have a member, in no particular order."""
        for group in list(self._moved):
            self._settle(group)
        return list(self._members)

    def take_changed(self) -> set[Member]:
        """Members that have come into a group or out of one since this was asked last."""
        changed, self._changed = self._changed, set()
        return changed

    def take_touched(self) -> set[Group]:
        """Groups that have got or lost a member since this was asked last."""
        touched = self._touched.union(self._moved)
        self._touched = set()
        for group in touched:
            self._settle(group)
        self._touched = set()
        return touched

    def _settle(self, group: Group) -> None:
        moved = self._moved.pop(group, None)
        if moved is None:
            return
        self._touched.add(group)
        members = _merged(self._members.get(group, ()), moved)
        if members:
            self._members[group] = members
        else:
            self._members.pop(group, None)


def _merged(members: tuple[Member, ...], moved: Mapping[Member, bool]) -> tuple[Member, ...]:
    if len(moved) > FEW:
        kept = [member for member in members if moved.get(member, True)]
        come = [member for member, comes in moved.items() if comes]
        return tuple(sorted({*kept, *come}))
    for member, comes in moved.items():
        place = bisect_left(members, member)
        there = place < len(members) and members[place] == member
        if comes and not there:
            members = (*members[:place], member, *members[place:])
        elif there and not comes:
            members = (*members[:place], *members[place + 1 :])
    return members
