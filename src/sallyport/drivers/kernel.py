"""One door to everything a node holds of ours: `read` it all, `apply` steps in their order."""

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sallyport.drivers import links, netlink, rtnetlink
from sallyport.drivers.bird import Bird
from sallyport.drivers.nftables import Tables
from sallyport.drivers.wire import Link
from sallyport.model.kernel import KernelObject, Kind, Sysctl
from sallyport.model.settings import Settings
from sallyport.reconcile.sequence import Step

PROC = links.PROC


class Kernel:
    """The kernel of this network namespace and its BIRD. `interfaces` are all that there were at the last `read`,
    `devices` the indexes of our own; None and nothing before it."""

    def __init__(self, settings: Settings, runtime_dir: Path) -> None:
        self._settings = settings
        self.tables = Tables(settings)
        self.bird = Bird(runtime_dir, settings.route_protocol)
        self.interfaces: tuple[rtnetlink.Interface, ...] | None = None
        self.devices: frozenset[int] = frozenset()

    def read(self, sysctls: Iterable[str] = ()) -> dict[Kind, dict[object, KernelObject]]:
        """All that is ours, and the present values of `sysctls`."""
        settings = self._settings
        found: dict[Kind, dict[object, KernelObject]] = self.tables.read()
        held = [key[1] for key in found[Kind.EXIT_ELEMENT] if isinstance(key, tuple) and str(key[0]).startswith("held")]
        with Link(socket.NETLINK_ROUTE) as link:
            listed = rtnetlink.interfaces(link)
            devices = links.read_links(listed, settings)
            indexes = {item.name: item.index for item in listed if item.name in devices}
            self.interfaces, self.devices = listed, frozenset(indexes.values())
            found |= netlink.read(link, indexes, settings)
        found[Kind.LINK] = dict(devices)
        found[Kind.SYSCTL] = self.sysctls(sysctls)
        found[Kind.ADDRESS] = dict(links.read_addresses(listed, held))
        for kind, items in self.bird.read().items():
            found[kind] = dict(items)
        return found

    def sysctls(self, paths: Iterable[str]) -> dict[object, KernelObject]:
        """The present values of settings; "" for one that is not there."""
        return {path: Sysctl(path, _value(path)) for path in paths}

    def apply(self, steps: Iterable[Step]) -> list[str]:
        """Carry the steps out; a line for each object that could not be made or removed."""
        failures: list[str] = []
        for step in steps:
            failures += self._apply(step.kind, step.upserts, step.deletes)
        return failures

    def _apply(self, kind: Kind, upserts: tuple[Any, ...], deletes: tuple[Any, ...]) -> list[str]:
        settings = self._settings
        match kind:
            case Kind.LINK:
                with Link(socket.NETLINK_ROUTE) as link:
                    present = links.read_links(rtnetlink.interfaces(link), settings)
                return links.write_links(upserts, present) + links.delete_links(deletes)
            case Kind.SYSCTL:
                return [failure for item in upserts if (failure := _set(item))]
            case Kind.SKELETON:
                return self.tables.load(upserts) + self.tables.drop(deletes)
            case Kind.EXIT_ELEMENT | Kind.CLIENT_ELEMENT:
                return self.tables.change(upserts, deletes)
            case Kind.CHAIN:
                return self.tables.change_chains(upserts, deletes)
            case Kind.ADDRESS:
                return links.write_addresses(upserts, deletes)
            case Kind.FIB | Kind.PEER | Kind.SESSION:
                return self.bird.change(upserts, deletes)
            case _:
                return self._route(kind, upserts, deletes)

    def _route(self, kind: Kind, upserts: tuple[Any, ...], deletes: tuple[Any, ...]) -> list[str]:
        protocol = self._settings.route_protocol
        with Link(socket.NETLINK_ROUTE) as link:
            match kind:
                case Kind.NEIGHBOR:
                    return netlink.write_neighbors(link, upserts, deletes)
                case Kind.FDB:
                    return netlink.write_fdb(link, upserts, deletes)
                case Kind.NEXT_HOP:
                    return netlink.write_next_hops(link, upserts, deletes, protocol)
                case Kind.ROUTE:
                    return netlink.write_routes(link, upserts, deletes, protocol)
                case _:
                    return netlink.write_rules(link, upserts, deletes, protocol)


def _value(path: str) -> str:
    try:
        return (PROC / path).read_text().strip()
    except OSError:
        return ""


def _set(item: Sysctl) -> str:
    try:
        (PROC / item.path).write_text(item.value)
    except OSError as error:
        return f"sysctl {item.path}: {error.strerror}"
    return ""
