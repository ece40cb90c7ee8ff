"""Request paths of the Kubernetes API."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; empty strings for what it leaves out."""

    group: str
    version: str
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""


def parse(path: str) -> Target | None:
    """The target of ``api/v1/…`` or ``apis/GROUP/VERSION/…``; None for any other path."""
    parts = path.split("/")
    if parts[0] == "api" and len(parts) >= 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and not (group == "" and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    plural, name, *sub = [*rest, "", ""][: max(len(rest), 2)]
    return Target(group, version, namespace, plural, name, "/".join(sub))
