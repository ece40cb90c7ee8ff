"""What a process is told at start, from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = "sallyport-system"
"""Where our leases live."""
LEASE_PREFIX = "sallyport-agent-"
"""Name of an agent's lease, less its node's name."""


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """`kubeconfig` None means in-cluster credentials or the user's default file; `runtime_dir` holds BIRD's files."""

    kubeconfig: str | None
    runtime_dir: Path
    node: str


def from_environment(environ: Mapping[str, str]) -> ProcessSettings:
    """Settings from SALLYPORT_KUBECONFIG, SALLYPORT_RUNTIME_DIR and SALLYPORT_NODE_NAME (or NODE_NAME)."""
    return ProcessSettings(
        kubeconfig=environ.get("SALLYPORT_KUBECONFIG") or None,
        runtime_dir=Path(environ.get("SALLYPORT_RUNTIME_DIR") or "/run/sallyport"),
        node=environ.get("SALLYPORT_NODE_NAME") or environ.get("NODE_NAME") or "",
    )
