"""The string formats that structural schemas check (apiextensions' supported formats)."""

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

_DURATION = re.compile(r"[-+]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+|0")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*")
_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return check


def _cidr(text: str) -> object:
    if "/" not in text:
        raise ValueError("no prefix length")
    return ipaddress.ip_interface(text)


def _date_time(text: str) -> object:
    if "T" not in text.upper():
        raise ValueError("no time")
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _uri(text: str) -> object:
    if not urlsplit(text).scheme:
        raise ValueError("no scheme")
    return text


FORMATS: dict[str, Callable[[str], bool]] = {
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "cidr": _parses(_cidr),
    "mac": lambda text: bool(_MAC.fullmatch(text)),
    "uuid": _parses(uuid.UUID),
    "byte": _parses(lambda text: base64.b64decode(text, validate=True)),
    "date": _parses(date.fromisoformat),
    "date-time": _parses(_date_time),
    "datetime": _parses(_date_time),
    "duration": lambda text: bool(_DURATION.fullmatch(text)),
    "hostname": lambda text: len(text) <= 253 and bool(_HOSTNAME.fullmatch(text)),
    "uri": _parses(_uri),
    "email": lambda text: bool(_EMAIL.fullmatch(text)),
}
