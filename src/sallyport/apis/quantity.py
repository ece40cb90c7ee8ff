"""Kubernetes' quantities: numbers with a suffix (apimachinery, pkg/api/resource)."""

import re
from decimal import ROUND_CEILING, Decimal

_FORM = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?")
_BINARY = {letter + "i": 1024 ** (power + 1) for power, letter in enumerate("KMGTPE")}
_DECIMAL = {
    "": 0,
    "n": -9,
    "u": -6,
    "m": -3,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}


def parse_quantity(text: str) -> int:
    """The quantity rounded up to a whole number. Raises ValueError when it is none, or negative."""
    form = _FORM.fullmatch(text)
    if form is None:
        raise ValueError(f"{text!r} is not a quantity such as 100M")
    number, suffix = Decimal(form[1]), form[2] or ""
    if number < 0:
        raise ValueError(f"{text!r} must not be negative")
    if suffix in _BINARY:
        number *= _BINARY[suffix]
    elif suffix in _DECIMAL:
        number = number.scaleb(_DECIMAL[suffix])
    else:
        number = number.scaleb(int(suffix[1:]))
    return int(number.to_integral_value(rounding=ROUND_CEILING))
