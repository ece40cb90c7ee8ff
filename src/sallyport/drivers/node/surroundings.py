"""A node looked at without a change to it: its settings, tools and devices, and what others have in its kernel."""

import ctypes
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec

from sallyport.drivers.command import DriverError, Objects, queries, query, run
from sallyport.drivers.kernel import PROC, Kernel
from sallyport.drivers.node.listeners import listeners
from sallyport.drivers.node.rulesets import foreign_expressions, iptables, is_iptables, nftables
from sallyport.drivers.requirements import PACKAGES
from sallyport.model.fitness import BaseChain, Device, Programmed, Seen, Surroundings, Tool, Uplink
from sallyport.model.kernel import Kind, Link, Skeleton
from sallyport.model.settings import Settings
from sallyport.model.state import FAMILIES, Family
from sallyport.plan.skeleton import skeletons

_CAPABILITIES = {12: "NET_ADMIN", 13: "NET_RAW", 21: "SYS_ADMIN"}
"""Bits of a process's capabilities (linux/capability.h)."""
_VERSIONS = {"ip": "-V", "bridge": "-V", "nft": "--version", "bird": "--version", "conntrack": "--version"}
_NUMBER = re.compile(r"\bv?(\d+(?:\.\d+)+)")
_ERROR = 5
"""TIME_ERROR of adjtimex(2): nobody keeps the clock in step."""
_NOT_A_SELECTOR = frozenset({"priority", "table", "protocol", "fwmark", "fwmask", "srclen", "dstlen"})
_SAVERS = {"ip_tables_names": "iptables-legacy-save", "ip6_tables_names": "ip6tables-legacy-save"}


def look(settings: Settings, runtime_dir: Path, sysctls: Iterable[str]) -> Surroundings:
    """Everything. Raises DriverError where `ip` or `nft` is missing or may not ask."""
    listed = query(["ip", "-d", "-j", "address", "show"])
    uplinks = {family: found for family in FAMILIES if (found := _uplink(family, listed)) is not None}
    chains, unread = _chains(settings)
    devices = [*dict.fromkeys(["all", "default", *(uplink.device for uplink in uplinks.values())])]
    paths = [path.format(device=device) for path in sysctls for device in devices]
    return Surroundings(
        capabilities=_capabilities(),
        writable=os.access(PROC / "net/ipv4/conf/all/rp_filter", os.W_OK),
        clock=_in_step(),
        sysctls={path: _read(PROC / path) for path in paths},
        tools=tuple(tools()),
        uplinks=uplinks,
        devices=tuple(_device(item, settings) for item in listed),
        rules=tuple(_rules(settings)),
        tables=_tables(settings),
        hops=tuple(_hops(settings)),
        chains=tuple(chains),
        listeners=listeners(_number(runtime_dir / "bird.pid")),
        programmed=_programmed(settings, runtime_dir),
        unread=tuple(unread),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text.isdecimal() else None


def _capabilities() -> frozenset[str]:
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    return frozenset(name for number, name in _CAPABILITIES.items() if bits >> number & 1)


def _in_step() -> bool:
    """Whether the clock is kept in step, as the kernel was told."""
    return bool(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256)) != _ERROR)


def tools() -> Iterator[Tool]:
    """The programs that an agent runs."""
    for name, option in _VERSIONS.items():
        version = ""
        if shutil.which(name):
            done = run([name, option])
            match = _NUMBER.search(done.stdout + done.stderr)
            version = match[1] if match else "unknown"
        yield Tool(name, PACKAGES[name], version)


def _uplink(family: Family, listed: Objects) -> Uplink | None:
    """The device of the best default route."""
    routes = query(["ip", f"-{family}", "-j", "route", "show", "default"])
    best = min((item for item in routes if "dev" in item), key=lambda item: item.get("metric", 0), default=None)
    if best is None:
        return None
    item = next((entry for entry in listed if entry["ifname"] == best["dev"]), None)
    if item is None:
        return None
    addresses = [
        ip_address(entry["local"])
        for entry in item.get("addr_info", ())
        if entry.get("scope") == "global" and ip_address(entry["local"]).version == family
    ]
    advertised = best.get("protocol") == "ra"
    return Uplink(str(item["ifname"]), int(item["mtu"]), addresses[0] if addresses else None, advertised)


def _device(item: Mapping[str, Any], settings: Settings) -> Device:
    kind: Mapping[str, Any] = item.get("linkinfo", {})
    data: Mapping[str, Any] = kind.get("info_data", {})
    name = str(item["ifname"])
    ours = kind.get("info_kind") == "vxlan" and bool(data.get("gbp")) and data.get("id") == settings.vxlan_vni
    return Device(name, str(kind.get("info_kind", "")), int(item["mtu"]), int(data.get("port", 0)), ours)


def _rules(settings: Settings) -> Iterator[Seen]:
    for family in FAMILIES:
        for item in queries(f"ip -{family}", ["rule show"])[0]:
            if item.get("protocol") == str(settings.route_protocol):
                continue
            mark = int(item.get("fwmark", "0"), 0)
            mask = int(item.get("fwmask", "0xffffffff" if "fwmark" in item else "0"), 0)
            yield Seen(family, int(item["priority"]), _target(item), mark, mask, _selector(item))


def _target(item: Mapping[str, Any]) -> str:
    if "l3mdev" in item:
        return "l3mdev"
    return f"goto {item['goto']}" if "goto" in item else str(item.get("table") or item.get("action"))


def _selector(item: Mapping[str, Any]) -> str:
    """What else than a mark a rule goes by."""
    words = []
    for key, value in item.items():
        if key in _NOT_A_SELECTOR or key in ("action", "goto", "l3mdev") or value == "all":
            continue
        length = item.get({"src": "srclen", "dst": "dstlen"}.get(key, ""))
        text = f"{value}/{length}" if length is not None else str(value)
        words.append(f"{({'src': 'from', 'dst': 'to'}).get(key, key)} {text}".strip())
    return " ".join(words)


def _tables(settings: Settings) -> dict[int, tuple[str, ...]]:
    """Whose routes there are in tables of our numbers besides ours and BIRD's."""
    known = ("bird", str(settings.route_protocol))
    found: dict[int, set[str]] = {}
    for family in FAMILIES:
        for item in query(["ip", f"-{family}", "-j", "route", "show", "table", "all"]):
            table, protocol = str(item.get("table", "main")), str(item.get("protocol", "boot"))
            if table.isdecimal() and int(table) in settings.tables and protocol not in known:
                found.setdefault(int(table), set()).add(protocol)
    return {table: tuple(sorted(names)) for table, names in sorted(found.items())}


def _hops(settings: Settings) -> Iterator[int]:
    ours = range(settings.next_hop_base, settings.next_hop_base + settings.nowhere_id + 1)
    for item in query(["ip", "-j", "nexthop", "show"]):
        if item["id"] in ours and item.get("protocol") != str(settings.route_protocol):
            yield int(item["id"])


def _chains(settings: Settings) -> tuple[list[BaseChain], list[str]]:
    """Base chains that are not ours, and what could not be read."""
    done = run(["nft", "-j", "-t", "list", "ruleset"])
    if done.returncode != 0:
        raise DriverError(f"nft list ruleset: {done.stderr.strip()}")
    listing = msgspec.json.decode(done.stdout, type=dict[str, Objects])["nftables"] if done.stdout else []
    own = (settings.table_name,)
    found, unread = nftables(listing, own), []
    if foreign_expressions(listing, own):
        savers = [name for name in ("iptables-nft-save", "ip6tables-nft-save") if shutil.which(name)]
        found = [replace(item, drops=item.drops and not (savers and is_iptables(item))) for item in found]
        found += [chain for name in savers for chain in iptables(run([name]).stdout, name.removesuffix("-save"))]
        if not savers:
            unread.append("rules of iptables-nft are there, and iptables, which could read them, is not")
    for names, saver in _SAVERS.items():
        if not _read(Path("/proc/thread-self/net") / names):
            continue
        if shutil.which(saver):
            found += iptables(run([saver]).stdout, saver.removesuffix("-save"))
        else:
            unread.append(f"rules of {saver.removesuffix('-save')} are there, and it, which could read them, is not")
    return found, unread


def _programmed(settings: Settings, runtime_dir: Path) -> Programmed | None:
    """What an agent has left here, None where there is nothing of one."""
    kernel = Kernel(settings, runtime_dir)
    actual = kernel.read()
    links = [item for item in actual[Kind.LINK].values() if isinstance(item, Link) and item.vni]
    count = sum(len(items) for kind, items in actual.items() if kind is not Kind.LINK) + len(links)
    if not count:
        return None
    digests = {item.key: item.digest for item in actual[Kind.SKELETON].values() if isinstance(item, Skeleton)}
    expected = {item.key: item.digest for item in skeletons(settings, links)}
    return Programmed(
        renewed=_renewed(settings),
        digests=tuple(digests.get(key, "") for key in sorted(expected)),
        expected=tuple(expected[key] for key in sorted(expected)),
        objects=count,
        configured=bool(kernel.bird.configured()),
        answering=kernel.bird.answers(),
    )


def _renewed(settings: Settings) -> float | None:
    """How long ago the dead-man element was renewed; None when it is gone."""
    done = run(["nft", "-j", "list", "set", "inet", settings.table_name, "alive"])
    listing = msgspec.json.decode(done.stdout, type=dict[str, Objects])["nftables"] if done.stdout else []
    for item in listing:
        for entry in item.get("set", {}).get("elem", ()):
            return float(entry["elem"]["timeout"] - entry["elem"]["expires"])
    return None
