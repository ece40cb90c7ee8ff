"""What texts in Calico's fields mean: AS numbers, durations, peers' addresses, communities, names of interfaces."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sallyport.model.addresses import parse_address
from sallyport.model.state import IPAddress

MAX_AS_NUMBER = 4294967295
COMMUNITY_PARTS: Mapping[int, int] = {2: 65535, 3: 4294967295}
"""The largest number in a community of so many parts (RFC 1997, RFC 8092)."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)"
DURATION = rf"^(0|({_PART})+)$"
"""Pattern of what `parse_duration` takes."""
AS_NUMBER = r"^[0-9]{1,10}$|^[0-9]{1,5}\.[0-9]{1,5}$"
"""Pattern of what `parse_as_number` takes as text, up to the size of the numbers."""


def parse_duration(text: str) -> float:
    """Seconds of a duration as Go writes it (1m30s, 500ms, 0). Raises ValueError, for negative ones too."""
    if not re.fullmatch(DURATION.strip("^$"), text):
        raise ValueError(f"{text!r} is not a duration such as 10s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))


def parse_as_number(value: int | str) -> int:
    """An AS number, plain or dotted (RFC 5396). Raises ValueError, for 0 too."""
    if isinstance(value, str) and not re.fullmatch(AS_NUMBER, value):
        raise ValueError(f"{value!r} is not an AS number such as 64512 or 1.10")
    high, dot, low = str(value).partition(".")
    if dot and (int(high) > 65535 or int(low) > 65535):
        raise ValueError(f"AS number {value!r}: each part must be at most 65535")
    number = (int(high) << 16) + int(low) if dot else int(high)
    if not 1 <= number <= MAX_AS_NUMBER:
        raise ValueError(f"AS number {value!r} must be 1 to {MAX_AS_NUMBER}")
    return number


def parse_peer(text: str) -> tuple[IPAddress, int | None]:
    """Address and port of a peer, None for no port: 10.0.0.1, 10.0.0.1:179, fd00::1 or [fd00::1]:179.

    Raises ValueError with a sentence that names the text.
    """
    form = re.fullmatch(
        r"\[(?P<six>[^\]]*)\]:(?P<port6>\d{1,5})|(?P<four>[0-9.]+):(?P<port4>\d{1,5})|(?P<bare>.*)", text
    )
    if form is None or form["bare"] is not None:
        return parse_address(text), None
    address = parse_address(form["six"] if form["four"] is None else form["four"])
    port = int(form["port4"] or form["port6"])
    if (form["six"] is not None) != (address.version == 6):
        raise ValueError(f"{text!r}: brackets are for IPv6 addresses")
    if not 1 <= port <= 65535:
        raise ValueError(f"{text!r}: port {port} must be 1 to 65535")
    return address, port


def parse_community(text: str) -> tuple[int, ...]:
    """The two or three numbers of a community. Raises ValueError with a sentence that names the text."""
    parts = text.split(":")
    largest = COMMUNITY_PARTS.get(len(parts))
    if largest is None or not all(re.fullmatch("[0-9]{1,10}", part) for part in parts):
        raise ValueError(f"{text!r} is not a community such as 65000:100 or 65000:1:2")
    numbers = tuple(map(int, parts))
    if max(numbers) > largest:
        raise ValueError(f"community {text!r}: each part must be at most {largest}")
    return numbers


@dataclass(frozen=True, slots=True)
class InterfacePattern:
    """Names of interfaces, and expressions of which one must be found in a name."""

    names: frozenset[str] = frozenset()
    expressions: tuple[re.Pattern[str], ...] = ()

    def matches(self, name: str) -> bool:
        """Whether an interface of that name is meant."""
        return name in self.names or any(item.search(name) for item in self.expressions)


def parse_interfaces(text: str) -> InterfacePattern:
    """A comma list of names and of expressions between slashes (egressIPHostIfacePattern); "" means no interface.

    A comma within slashes belongs to the expression. Raises ValueError with a sentence that names the faulty part.
    """
    names: set[str] = set()
    expressions: list[re.Pattern[str]] = []
    rest = text.strip()
    while rest:
        form = re.match(r"\s*(?:/(?P<expression>.*?)/|(?P<name>[^\s,/][^\s,]*))\s*(?:,|$)", rest)
        if form is None:
            raise ValueError(f"{rest!r} is neither an interface's name nor an expression between slashes")
        if form["name"] is not None:
            names.add(form["name"])
        else:
            try:
                expressions.append(re.compile(form["expression"]))
            except re.error as error:
                raise ValueError(f"/{form['expression']}/ is not a regular expression: {error}") from None
        rest = rest[form.end() :].strip()
    return InterfacePattern(frozenset(names), tuple(expressions))
