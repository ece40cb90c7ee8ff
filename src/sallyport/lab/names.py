"""Names of a lab's namespaces and links: each tells its owner and begins with the lab's own prefix."""

import hashlib

INTERFACE_LENGTH = 15
"""Bytes of an interface's name (linux/if.h, IFNAMSIZ less the closing zero)."""


def prefix(lab: str) -> str:
    """What all namespaces of a lab, and of no other, begin with: a lab's name holds no dot."""
    return f"sp.{lab}."


def namespace(lab: str, machine: str) -> str:
    """The network namespace of a machine."""
    return prefix(lab) + machine


def wire_namespace(lab: str) -> str:
    """The namespace that holds the switches, one bridge per subnet. No machine's name begins with a dot."""
    return prefix(lab) + ".wire"


def pod_namespace(lab: str, pod: tuple[str, str]) -> str:
    """The network namespace of a pod, by its namespace and name."""
    return f"{prefix(lab)}pod.{pod[0]}.{pod[1]}"


def port(machine: str, index: int) -> str:
    """The switch's end of a machine's link number `index`."""
    return short(f"{machine}.{index}")


def mac(machine: str, link: str) -> str:
    """The MAC of a machine's link: a locally administered one."""
    digest = hashlib.sha256(f"{machine}.{link}".encode()).digest()[:5]
    return ":".join(f"{byte:02x}" for byte in bytes([0x02]) + digest)


def pod_link(pod: tuple[str, str]) -> str:
    """The node's end of a pod's link."""
    return "veth" + hashlib.sha256("/".join(pod).encode()).hexdigest()[:10]


def short(name: str) -> str:
    """The name itself where it fits an interface, else its beginning and a digest of the whole."""
    if len(name) <= INTERFACE_LENGTH:
        return name
    return f"{name[:8]}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
