"""Command lines of Kubernetes' programs in a lab. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sallyport.lab.controlplane.plane import API_PORT
from sallyport.lab.topology import Topology

ETCD_URL = "http://127.0.0.1:2379"
"""On the loopback of the machine `control`, where nothing but the control plane runs; so without TLS."""
PEER_URL = "http://127.0.0.1:2380"
ISSUER = "https://kubernetes.default.svc"
"""Who service-account tokens say has made them."""
AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
"""
"""Who asked for what, and whether it was granted: what the rights of our processes are compared with."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where a control plane's files are: programs in `assets`, all else below `state`."""

    assets: Path
    state: Path

    def program(self, name: str) -> str:
        """The path of a program."""
        return str(self.assets / name)

    def pki(self, name: str) -> str:
        """The path of a key or certificate."""
        return str(self.state / "pki" / name)

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of one of its users."""
        return self.state / f"{name}.kubeconfig"

    @property
    def audit_policy(self) -> Path:
        """What of each request is written down."""
        return self.state / "audit-policy.yaml"


def etcd(files: Files) -> list[str]:
    """A store of one member that waits for no disk: a lab does not outlive its machine's next start."""
    return [
        files.program("etcd"),
        "--name=lab",
        f"--data-dir={files.state / 'etcd'}",
        f"--listen-client-urls={ETCD_URL}",
        f"--advertise-client-urls={ETCD_URL}",
        f"--listen-peer-urls={PEER_URL}",
        f"--initial-advertise-peer-urls={PEER_URL}",
        f"--initial-cluster=lab={PEER_URL}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server(files: Files, topology: Topology, audit: Path) -> list[str]:
    """With rights asked of everybody, and, as on OpenShift, also about owners that are to wait for what they own."""
    networks = ",".join(str(network) for network in topology.service_networks)
    return [
        files.program("kube-apiserver"),
        f"--etcd-servers={ETCD_URL}",
        "--bind-address=::",
        f"--secure-port={API_PORT}",
        f"--advertise-address={topology.control.attachments[0].address}",
        f"--tls-cert-file={files.pki('kube-apiserver.crt')}",
        f"--tls-private-key-file={files.pki('kube-apiserver.key')}",
        f"--client-ca-file={files.pki('ca.crt')}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        f"--service-cluster-ip-range={networks}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={files.pki('service-accounts.pub')}",
        f"--service-account-signing-key-file={files.pki('service-accounts.key')}",
        f"--audit-policy-file={files.audit_policy}",
        f"--audit-log-path={audit}",
        "--profiling=false",
    ]


def controller_manager(files: Files) -> list[str]:
    """Every controller of Kubernetes; one of a kind, so that none is elected."""
    return [
        files.program("kube-controller-manager"),
        *_as_user(files, "kube-controller-manager"),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={files.pki('service-accounts.key')}",
        f"--root-ca-file={files.pki('ca.crt')}",
    ]


def scheduler(files: Files) -> list[str]:
    """Kubernetes' scheduler with its own settings."""
    return [files.program("kube-scheduler"), *_as_user(files, "kube-scheduler")]


def _as_user(files: Files, name: str) -> Sequence[str]:
    return (
        f"--kubeconfig={files.kubeconfig(name)}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
    )
