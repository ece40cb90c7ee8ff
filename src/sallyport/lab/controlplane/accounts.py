"""What a real API server is told at first: our kinds, and accounts with the rights that deploy/rbac gives them."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sallyport.apis.crd import render
from sallyport.apis.definitions import DEFINITIONS
from sallyport.apis.resource import Resource
from sallyport.drivers.command import DriverError
from sallyport.kube.client import Client
from sallyport.lab.waiting import until
from sallyport.processes.settings import NAMESPACE

RBAC = Path(__file__).parents[4] / "deploy" / "rbac"
"""The manifests as a cluster gets them; they are in a checkout, as is what builds the API server."""
KUBELET = "sallyport-lab:kubelet"
"""The user that the lab's kubelet is, for all nodes."""
TOKEN_LIFE = 365 * 24 * 3600
"""Seconds. The kubelet of a cluster renews tokens each hour; a lab's hold for longer than it does."""

Object = dict[str, Any]


def _resource(group: str, kind: str, *, namespaced: bool) -> Resource[Object]:
    return Resource(group, "v1", f"{kind.lower()}s", kind, namespaced, dict)


_RBAC_GROUP = "rbac.authorization.k8s.io"
CRDS = _resource("apiextensions.k8s.io", "CustomResourceDefinition", namespaced=False)
CLUSTER_ROLE_BINDINGS = _resource(_RBAC_GROUP, "ClusterRoleBinding", namespaced=False)
SERVICE_ACCOUNTS = _resource("", "ServiceAccount", namespaced=True)
_KINDS = {
    resource.kind: resource
    for resource in (
        _resource("", "Namespace", namespaced=False),
        SERVICE_ACCOUNTS,
        _resource(_RBAC_GROUP, "ClusterRole", namespaced=False),
        CLUSTER_ROLE_BINDINGS,
        _resource(_RBAC_GROUP, "Role", namespaced=True),
        _resource(_RBAC_GROUP, "RoleBinding", namespaced=True),
    )
}
"""The kinds that the manifests hold."""
KUBELET_BINDING: Object = {
    "metadata": {"name": KUBELET},
    "roleRef": {"apiGroup": _RBAC_GROUP, "kind": "ClusterRole", "name": "system:node"},
    "subjects": [{"apiGroup": _RBAC_GROUP, "kind": "User", "name": KUBELET}],
}
"""Kubernetes' own role of kubelets. Its node authorizer would want a user of his own for each node."""


def manifests(directory: Path = RBAC) -> Iterator[Object]:
    """The objects of deploy/rbac, those that others need first. DriverError where there are none."""
    found = [item for path in sorted(directory.glob("*.yaml")) for item in yaml.safe_load_all(path.read_text()) if item]
    if not found:
        raise DriverError(f"no manifests in {directory}: a lab with Kubernetes' own control plane needs a checkout")
    order = list(_KINDS)
    yield from sorted(found, key=lambda item: order.index(item["kind"]))


async def define(client: Client) -> None:
    """Have our kinds served. DriverError when that takes too long."""
    await asyncio.gather(*(client.create(CRDS, render(definition)) for definition in DEFINITIONS))

    async def served() -> bool:
        page = await client.list_page(CRDS)
        return all(_established(item) for item in page.items)

    await until(served, "the CustomResourceDefinitions are not established")


def _established(item: Object) -> bool:
    conditions = item.get("status", {}).get("conditions") or ()  # null at first
    return any((entry["type"], entry["status"]) == ("Established", "True") for entry in conditions)


async def permit(client: Client) -> None:
    """Make our accounts and the kubelet's, with their rights."""
    await client.create(CLUSTER_ROLE_BINDINGS, KUBELET_BINDING)
    for item in manifests():
        await client.create(_KINDS[item["kind"]], item, item["metadata"].get("namespace"))


async def pods_admitted(client: Client) -> None:
    """Return once pods may be made in the first namespace: they are refused until Kubernetes' controllers have made
    its account. DriverError when that takes too long."""

    async def made() -> bool:
        page = await client.list_page(SERVICE_ACCOUNTS, "default")
        return any(item["metadata"]["name"] == "default" for item in page.items)

    await until(made, "the controller manager has made no account for pods")


class _Issued(msgspec.Struct):
    class Status(msgspec.Struct):
        token: str

    status: Status


async def token(client: Client, account: str) -> str:
    """A token of one of our accounts, which its pods would find mounted."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_LIFE},
    }
    answer = await client.request("POST", SERVICE_ACCOUNTS.path(NAMESPACE, account, "token"), body=body)
    return msgspec.json.decode(answer, type=_Issued).status.token
