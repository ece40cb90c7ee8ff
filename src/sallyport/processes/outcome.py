"""What a round has come to: pods whose exit is here now, and exits that the kernel does not hold after all."""

from sallyport.model.kernel import Element, InterfaceAddress
from sallyport.model.plan import NodePlan
from sallyport.model.state import ClusterState, IPAddress
from sallyport.reconcile.diff import Actual

_HERE = ("local", "shared")


def come_home(previous: NodePlan, plan: NodePlan, state: ClusterState) -> list[IPAddress]:
    """Addresses of pods whose exit is on this node now and was not before, be it that they were free or that it was on
    another node. Their connections have the translation of that time, with which the last check lets none out."""
    before = {(item.pod, item.family): item.state for item in previous.decisions}
    return [
        address
        for item in plan.decisions
        if item.state in _HERE and before.get((item.pod, item.family), "local") not in _HERE
        for address in state.clients[item.pod].addresses
        if address.version == item.family
    ]


def not_held(plan: NodePlan, actual: Actual, failures: list[str]) -> dict[str, str]:
    """Why exits of the plan are not held after all, by name: what makes them up is not in the kernel as read back."""
    there = {item for objects in actual.values() for item in objects.values()}
    missing = [item for item in plan.objects if item not in there]
    found: dict[str, str] = {}
    for name, address in plan.held.items():
        text = str(address)
        if any(
            (isinstance(item, InterfaceAddress) and item.address == text)
            or (isinstance(item, Element) and text in (item.member, item.value))
            for item in missing
        ):
            found[name] = next((line for line in failures if text in line), failures[0])
    return found
