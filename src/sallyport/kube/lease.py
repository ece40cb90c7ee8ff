"""Leases: the election of one leader, and the heartbeat of a node.

Source: https://kubernetes.io/docs/concepts/architecture/leases/ and k8s.io/client-go/tools/leaderelection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random

import structlog

from sallyport.apis.core import LEASES, Lease
from sallyport.kube.client import Client
from sallyport.kube.clock import Clock, SystemClock, within
from sallyport.kube.errors import AlreadyExists, ApiError, Conflict, NotFound, Unavailable

log = structlog.get_logger(__name__)

PATIENCE = 10.0
"""Seconds that a renewal of a node's lease may take, as a kubelet allows it (pkg/kubelet, nodeLeaseRenewInterval): with
more, one lost request could use up the whole lease."""


def micro_time(seconds: float) -> str:
    """Seconds since the epoch as the API's MicroTime."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def renew_lease(
    client: Client,
    namespace: str,
    name: str,
    holder: str,
    *,
    duration: timedelta,
    now: datetime,
    annotations: Mapping[str, str] | None = None,
) -> Lease:
    """Say that `holder` is alive `now`, and for `duration` (whole seconds) from then on; mostly one request. ApiError
    where the server did not take it within `PATIENCE` seconds."""
    meta = {"annotations": dict(annotations)} if annotations else {}
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": max(1, int(duration.total_seconds())),
        "renewTime": micro_time(now.timestamp()),
    }
    try:
        async with asyncio.timeout(PATIENCE):
            try:
                return await client.patch(LEASES, name, {"metadata": meta, "spec": spec}, namespace)
            except NotFound:
                body = {"metadata": {"name": name, "namespace": namespace, **meta}, "spec": spec}
                return await client.create(LEASES, body, namespace)
    except TimeoutError as error:
        message = f"no answer in {PATIENCE:g} s"
        raise Unavailable(0, "Unavailable", message, asked=f"patch {LEASES.path(namespace, name)}") from error


class Elector:
    """Holds a Lease, or waits until it may.

    A lease of another is dead once it did not change for its duration on *our* clock, so that the clocks of two
    machines need not agree. A leader that cannot renew for `renew` seconds steps down, before its lease of
    `lease` seconds ends; it tries every `retry` seconds. All are seconds; retry < renew < lease.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease: float = 15.0,
        renew: float = 10.0,
        retry: float = 2.0,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        if not 0 < retry < renew < lease:
            raise ValueError("an election needs 0 < retry < renew < lease")
        self.identity = identity
        self.leader = ""
        self._client, self._name, self._namespace = client, name, namespace
        self._lease, self._renew, self._retry = lease, renew, retry
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._seen: Lease | None = None
        self._seen_at = 0.0
        self._trouble = ""

    @property
    def leading(self) -> bool:
        """Whether we are the leader as far as we know."""
        return self.leader == self.identity

    async def run(
        self, on_started: Callable[[], Awaitable[None]], on_stopped: Callable[[], None] | None = None
    ) -> None:
        """Campaign, run `on_started` while we lead, and campaign again when the lease is lost.

        `on_started` is cancelled, and `on_stopped` called after its end, when we lose the lease. When it ends by
        itself or fails, or when we are cancelled, the lease is given up at once and `run` ends likewise.
        """
        while True:
            while not await self._try():
                await self._clock.sleep(self._retry * (1 + self._random.random() / 5))
            log.info("lease.acquired", lease=self._name, identity=self.identity)
            duty = asyncio.ensure_future(on_started())
            keeping = asyncio.create_task(self._keep())
            try:
                await asyncio.wait((duty, keeping), return_when=asyncio.FIRST_COMPLETED)
                if duty.done():
                    return duty.result()
                log.warning("lease.lost", lease=self._name, leader=self.leader)
            finally:
                for task in (keeping, duty):
                    task.cancel()
                await asyncio.gather(keeping, duty, return_exceptions=True)
                self._client.reach.forget()
                if on_stopped is not None:
                    on_stopped()
                await self._release()

    async def _keep(self) -> None:
        """Renew until it fails for too long, or another holds the lease."""
        deadline = self._clock.monotonic() + self._renew
        while True:
            await self._clock.sleep(self._retry)
            left = deadline - self._clock.monotonic()
            began = self._clock.monotonic()
            if left <= 0:
                return
            try:
                if await within(self._clock, left, self._try()):
                    deadline = began + self._renew
                elif not self.leading:
                    return
            except TimeoutError:
                return

    async def _try(self) -> bool:
        """One attempt to take or renew the lease; False also when the API server cannot be asked."""
        try:
            found = await self._client.get(LEASES, self._name, self._namespace)
            self._observe(found)
            if not self._free(found):
                return False
            taken = await self._client.patch(LEASES, self._name, self._claim(found), self._namespace)
        except NotFound:
            try:
                taken = await self._client.create(LEASES, self._claim(None), self._namespace)
            except ApiError as error:
                return self._failed(error)
        except ApiError as error:
            return self._failed(error)
        self._observe(taken)
        return self.leading

    def _failed(self, error: ApiError) -> bool:
        if isinstance(error, Conflict | AlreadyExists):
            return False
        if not self._client.reach.failed(self._name, error) and str(error) != self._trouble:
            log.warning("lease.refused", lease=self._name, error=str(error))
        self._trouble = str(error)
        return False

    def _observe(self, lease: Lease) -> None:
        self._client.reach.answered(self._name)
        self._trouble = ""
        if self._seen is None or lease.spec != self._seen.spec:
            self._seen_at = self._clock.monotonic()
        self._seen = lease
        self.leader = lease.spec.holder_identity or ""

    def _free(self, lease: Lease) -> bool:
        if self.leader in ("", self.identity):
            return True
        life = lease.spec.lease_duration_seconds or self._lease
        return self._clock.monotonic() - self._seen_at >= life

    def _claim(self, old: Lease | None) -> dict[str, object]:
        """The patch that makes the lease ours, refused by the server if it changed since `old` was read."""
        now = micro_time(self._clock.now())
        spec: dict[str, object] = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, int(self._lease)),
            "renewTime": now,
        }
        meta: dict[str, object] = {"name": self._name, "namespace": self._namespace}
        if old is None:
            spec |= {"acquireTime": now, "leaseTransitions": 0}
        else:
            meta["resourceVersion"] = old.metadata.resource_version
            if old.spec.holder_identity != self.identity:
                spec |= {"acquireTime": now, "leaseTransitions": (old.spec.lease_transitions or 0) + 1}
        return {"metadata": meta, "spec": spec}

    async def _release(self) -> None:
        """Let another lead at once instead of after the lease's end."""
        if not self.leading or self._seen is None:
            return
        self.leader = ""
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(self._clock.now())}
        meta = {"resourceVersion": self._seen.metadata.resource_version}
        with suppress(ApiError, TimeoutError):  # then it runs out by itself
            patch = self._client.patch(LEASES, self._name, {"metadata": meta, "spec": spec}, self._namespace)
            await within(self._clock, self._retry, patch)
