"""The product's validator in the place of its admission webhook."""

from sallyport.apis.antrea.types import GROUP, POOLS
from sallyport.apis.antrea.validate import admission_faults
from sallyport.lab.apiserver.errors import Object, qualify
from sallyport.lab.apiserver.rest import Review
from sallyport.lab.apiserver.store import Store


def reviewer(store: Store) -> Review:
    """A review of Antrea's kinds against the pools in `store`."""

    def review(group: str, kind: str, new: Object, old: Object | None) -> list[str]:
        if group != GROUP:
            return []
        pools = store.objects(qualify(POOLS.plural, GROUP))
        return [
            fault.reason if fault.field in fault.reason else f"{fault.field}: {fault.reason}"
            for fault in admission_faults(kind, new, old, pools)
        ]

    return review
