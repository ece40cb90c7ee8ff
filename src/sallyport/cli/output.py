"""How commands print what they found."""

from enum import StrEnum


class Output(StrEnum):
    """TEXT is for people and editors."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
