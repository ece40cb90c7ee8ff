"""The functions that Kubernetes adds to CEL (apiserver/pkg/cel/library), as far as they are supported here.

An IP address or network is represented by its canonical text, so that ``==`` compares values.
"""

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

from cel import stdlib

_CORE = frozenset(
    [
        "size",
        "has",
        "all",
        "exists",
        "exists_one",
        "map",
        "filter",
        "int",
        "uint",
        "double",
        "string",
        "bytes",
        "timestamp",
        "duration",
        "type",
        "dyn",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ]
)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(text)
    if isinstance(found, ipaddress.IPv6Address) and (found.ipv4_mapped or found.scope_id):
        raise ValueError(f"{text}: IPv4-mapped and zoned addresses are not allowed")
    return found


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    if "/" not in text:
        raise ValueError(f"{text}: no prefix length")
    return ipaddress.ip_interface(text)


def _holds(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _contains_ip(network: str, text: str) -> bool:
    return _address(text) in _interface(network).network


def _contains_cidr(network: str, text: str) -> bool:
    outer, inner = _interface(network).network, _interface(text).network
    if isinstance(outer, ipaddress.IPv4Network) and isinstance(inner, ipaddress.IPv4Network):
        return inner.subnet_of(outer)
    if isinstance(outer, ipaddress.IPv6Network) and isinstance(inner, ipaddress.IPv6Network):
        return inner.subnet_of(outer)
    return False


def _is_url(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme and parts.netloc) or text.startswith("/")


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[0] if found else ""


def _find_all(text: str, pattern: str, *most: int) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found[: most[0]] if most and most[0] >= 0 else found


def _index_of(container: Any, item: Any, *start: int) -> int:
    if isinstance(container, str):
        return container.find(item, *start)
    return next((place for place, found in enumerate(container) if found == item), -1)


def _last_index_of(container: Any, item: Any) -> int:
    if isinstance(container, str):
        return container.rfind(item)
    return next((place for place in reversed(range(len(container))) if container[place] == item), -1)


def _is_sorted(items: list[Any]) -> bool:
    return all(one <= two for one, two in pairwise(items))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **stdlib.STDLIB_FUNCTIONS,
    "isIP": _holds(_address),
    "ip": lambda text: str(_address(text.split("/")[0])),
    "isCIDR": _holds(_interface),
    "cidr": lambda text: str(_interface(text)),
    "family": lambda text: 6 if ":" in text else 4,
    "isLoopback": lambda text: _address(text).is_loopback,
    "isUnspecified": lambda text: _address(text).is_unspecified,
    "isLinkLocalMulticast": lambda text: (
        _address(text) in ipaddress.ip_network("ff02::/16" if ":" in text else "224.0.0.0/24")
    ),
    "isLinkLocalUnicast": lambda text: _address(text).is_link_local,
    "isGlobalUnicast": lambda text: (
        not (
            _address(text).is_loopback
            or _address(text).is_unspecified
            or _address(text).is_multicast
            or _address(text).is_link_local
        )
    ),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_cidr,
    "prefixLength": lambda text: _interface(text).network.prefixlen,
    "masked": lambda text: str(_interface(text).network),
    "isURL": _is_url,
    "find": _find,
    "findAll": _find_all,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "isSorted": _is_sorted,
    "min": lambda *items: min(items[0] if len(items) == 1 else items),
    "max": lambda *items: max(items[0] if len(items) == 1 else items),
    "sum": lambda items: sum(items),
}


@lru_cache(maxsize=2048)
def used(names: tuple[str, ...]) -> tuple[str, ...]:
    """Which of ``FUNCTIONS`` a program needs, from the last parts of the names that it calls."""
    return tuple(name for name in FUNCTIONS if name.rsplit(".", 1)[-1] in names or name in names)


def supported(name: str) -> bool:
    """Whether a function that a rule uses is there. Operators are named with underscores or a leading ``@``."""
    tail = name.rsplit(".", 1)[-1]
    operator = not name[:1].isalpha()
    known = {entry.rsplit(".", 1)[-1] for entry in FUNCTIONS}
    return operator or tail in known or tail in _CORE
