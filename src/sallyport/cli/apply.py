"""`sallyport apply`: manifests as documents print them, into a cluster."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sallyport.apis.manifests import Manifest
from sallyport.cli.check import read_files
from sallyport.cli.failures import one_line
from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.kube.errors import ApiError, NotFound

MANAGER = "sallyport"


class _Served(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool


class _Resources(msgspec.Struct):
    resources: list[_Served]


@one_line("sallyport apply")
def apply(
    files: Annotated[list[Path], typer.Argument(help="Manifests, directories of them, or - for standard input.")],
    kubeconfig: Annotated[
        str | None, typer.Option(envvar="KUBECONFIG", help="Kubeconfig file; in-cluster when there is none.")
    ] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="For objects that name none.")] = "default",
) -> None:
    """Apply manifests, each on its own: one that is refused keeps no other from being applied.

    It takes what documents print, also where kubectl does not: a list of objects (`- apiVersion: …`). Server-side
    apply is used, so applying twice changes nothing, and a field left out the second time is given up.

    \b
        sallyport apply examples/antrea/pool.yaml examples/antrea/egress.yaml

    Exit status: 0 all applied, 1 something refused, 2 nothing could be tried.
    """
    try:
        manifests, flaws = read_files(files)
    except OSError as error:
        typer.echo(f"sallyport apply: {error}", err=True)
        raise typer.Exit(2) from None
    for flaw in flaws:
        typer.echo(f"{flaw.file}:{flaw.line}: {flaw.message}", err=True)
    refused = asyncio.run(_apply_all(manifests, kubeconfig, namespace))
    raise typer.Exit(1 if refused or flaws else 0)


async def _apply_all(manifests: list[Manifest], kubeconfig: str | None, namespace: str) -> int:
    refused = 0
    async with Client(load(kubeconfig)) as client:
        for manifest in manifests:
            try:
                typer.echo(f"{await _apply(client, manifest, namespace)} applied")
            except ApiError as error:
                if error.status == 0:
                    raise
                typer.echo(
                    f"{manifest.file}:{manifest.line}: {manifest.kind} {manifest.name}: {error.message}", err=True
                )
                refused += 1
    return refused


async def _apply(client: Client, manifest: Manifest, namespace: str) -> str:
    """The applied object as `plural.group/name`."""
    group, _, version = manifest.api_version.rpartition("/")
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    served = await _served(client, root, manifest)
    metadata: Any = manifest.data.get("metadata")
    own = metadata.get("namespace") if isinstance(metadata, dict) else None
    where = f"/namespaces/{own or namespace}" if served.namespaced else ""
    path = f"{root}{where}/{served.name}/{manifest.name}"
    await client.request(
        "PATCH",
        path,
        params={"fieldManager": MANAGER, "force": "true"},
        body=dict(manifest.data),
        content_type="application/apply-patch+yaml",
    )
    return f"{served.name}{'.' + group if group else ''}/{manifest.name}"


async def _served(client: Client, root: str, manifest: Manifest) -> _Served:
    try:
        found = msgspec.json.decode(await client.request("GET", root), type=_Resources)
    except NotFound:
        found = _Resources([])
    for item in found.resources:
        if item.kind == manifest.kind and "/" not in item.name:
            return item
    raise NotFound(404, "NotFound", f"{manifest.api_version} {manifest.kind} is not served; are its CRDs installed?")
