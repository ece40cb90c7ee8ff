"""The programs of a Kubernetes control plane: which, of what version, and where this machine keeps them."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sallyport.drivers.command import DriverError
from sallyport.lab.record import Kind

KUBERNETES = "1.36.3"
ETCD = "3.6.8"
"""The versions that tools/kubernetes/go.mod pins."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One program: its Go package, its version (MAJOR.MINOR.PATCH), and the arguments that make it tell that."""

    name: str
    package: str
    version: str = KUBERNETES
    ask: tuple[str, ...] = ("--version",)

    def accepts(self, told: str) -> bool:
        """Whether what the program tells of its version will do: that of this minor version."""
        found = re.search(r"\d+\.\d+\.\d+", told)
        return found is not None and found[0].split(".")[:2] == self.version.split(".")[:2]


ASSETS = (
    Asset("etcd", "go.etcd.io/etcd/server/v3", ETCD),
    Asset("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Asset("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Asset("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Asset("kubectl", "k8s.io/kubernetes/cmd/kubectl", ask=("version", "--client")),
)


def cache(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's directory for all that `make kube-assets` keeps (XDG Base Directory Specification)."""
    base = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home(), ".cache")
    return Path(base, "sallyport", "kube")


def directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the programs of this version are, or will be."""
    return cache(environ) / f"v{KUBERNETES}"


def find(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory with all of the programs. DriverError that says how to get them, where one is missing."""
    place = directory(environ)
    missing = [item.name for item in ASSETS if not os.access(place / item.name, os.X_OK)]
    if missing:
        raise DriverError(f"{', '.join(missing)} of Kubernetes {KUBERNETES} missing in {place}: run `make kube-assets`")
    return place


def with_kubectl(path: str, kind: Kind) -> str:
    """A search path on which, for a lab with Kubernetes' own programs, the kubectl of their version comes first."""
    return f"{directory()}{os.pathsep}{path}" if kind == "kubernetes" else path
