"""One door to everything a node holds of ours: `read` it all, `apply` steps in their order."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sallyport.drivers import links, netlink
from sallyport.drivers.bird import Bird
from sallyport.drivers.nftables import Tables
from sallyport.model.kernel import KernelObject, Kind, Sysctl
from sallyport.model.settings import Settings
from sallyport.reconcile.sequence import Step

PROC = links.PROC


class Kernel:
    """The kernel of this network namespace and its BIRD."""

    def __init__(self, settings: Settings, runtime_dir: Path) -> None:
        self._settings = settings
        self.tables = Tables(settings)
        self.bird = Bird(runtime_dir, settings.route_protocol)

    def read(self, sysctls: Iterable[str] = ()) -> dict[Kind, dict[object, KernelObject]]:
        """All that is ours, and the present values of `sysctls`."""
        settings = self._settings
        found: dict[Kind, dict[object, KernelObject]] = self.tables.read()
        held = [key[1] for key in found[Kind.EXIT_ELEMENT] if isinstance(key, tuple) and str(key[0]).startswith("held")]
        listed = links.interfaces()
        devices = links.read_links(listed, settings)
        found[Kind.LINK] = dict(devices)
        found[Kind.SYSCTL] = self.sysctls(sysctls)
        found[Kind.ADDRESS] = dict(links.read_addresses(listed, held))
        found |= netlink.read([str(name) for name in devices], settings)
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
                present = links.read_links(links.interfaces(), settings)
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
        settings = self._settings
        match kind:
            case Kind.NEIGHBOR:
                return netlink.write_neighbors(upserts, deletes)
            case Kind.FDB:
                return netlink.write_fdb(upserts, deletes)
            case Kind.NEXT_HOP:
                return netlink.write_next_hops(upserts, deletes, settings)
            case Kind.ROUTE:
                return netlink.write_routes(upserts, deletes, settings)
            case _:
                return netlink.write_rules(upserts, deletes, settings)


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
