"""What a lab needs of a control plane, whichever it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sallyport.kube.client import Client
from sallyport.lab.record import Kind

API_PORT = 6443
"""Where the API server listens inside of the lab."""

SERVER = "apiserver"
"""The process of the API server, of either kind, as `lab status` and the log files name it."""

PROGRAMS = ("etcd", SERVER, "kube-controller-manager", "kube-scheduler", "doorway")
"""All processes of Kubernetes' control plane."""


class Keep(Protocol):
    """Starts a process that runs as long as the lab does, and is started again when it ends."""

    async def __call__(
        self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
    ) -> object:
        """`argv` under a name; `pass_fds` stay open in it."""


class Plane(Protocol):
    """One control plane. The paths are kubeconfig files; they hold from the end of `start` or `furnish` on."""

    @property
    def title(self) -> str:
        """What it is, for a line of progress."""

    @property
    def whole(self) -> bool:
        """Whether it schedules pods and runs the controllers of Deployments itself."""

    @property
    def controller(self) -> Path:
        """For our controller."""

    @property
    def agent(self) -> Path:
        """For our agents."""

    @property
    def kubelet(self) -> Path:
        """For the lab's kubelet, which runs outside of the lab."""

    async def start(self, keep: Keep) -> None:
        """Start the API server, and write the kubeconfig files of users."""

    async def furnish(self, client: Client, keep: Keep) -> None:
        """Have the kinds of ours served, and all accounts there; `client` may do everything."""


def processes(kind: Kind) -> tuple[str, ...]:
    """Names of the processes on the machine `control`, our controller included."""
    return (SERVER, "controller") if kind == "embedded" else (*PROGRAMS, "controller")
