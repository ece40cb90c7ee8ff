"""Everything that a translation reads: one snapshot of the cluster for both front-ends."""

from dataclasses import dataclass

from sallyport.apis.antrea import objects
from sallyport.apis.calico.objects import CalicoObjects


@dataclass(frozen=True, slots=True)
class Objects(objects.Objects):
    """A snapshot; the objects of Kubernetes itself serve both front-ends."""

    calico: CalicoObjects = CalicoObjects()  # noqa: RUF009  (frozen, and empty)
