"""A node's sign of life, as its kubelet gives it: a Lease in kube-node-lease.

The node controller of Kubernetes watches it and, where it ends, makes the node's condition Ready unknown and keeps pods
away.
"""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import structlog

from sallyport.kube.client import Client
from sallyport.kube.errors import ApiError
from sallyport.kube.lease import renew_lease

log = structlog.get_logger(__name__)

NAMESPACE = "kube-node-lease"
DURATION = timedelta(seconds=40)
"""For how long a Lease holds, and between two renewals: a kubelet's own (nodeLeaseDurationSeconds, and a quarter)."""
INTERVAL = 10.0


async def renew(client: Client, powered: Collection[str], now: Callable[[], datetime]) -> None:
    """Renew the Leases of the nodes that are `powered` at each time, until cancelled."""
    while True:
        for node in sorted(powered):
            try:
                await renew_lease(client, NAMESPACE, node, node, duration=DURATION, now=now())
            except ApiError as error:
                log.warning("lab.lease_failed", node=node, error=str(error))
        await asyncio.sleep(INTERVAL)
