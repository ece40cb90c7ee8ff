"""Agents without processes: rounds of facts, plan, diff and steps on kernels in memory."""

from dataclasses import replace
from ipaddress import ip_address

from tests.fake_kernel import FakeKernel
from tests.properties import networks
from tests.properties.worlds import Snapshot
from tests.unit.plan.build import SETTINGS

from sallyport.model.kernel import Element, InterfaceAddress, KernelObject, Kind
from sallyport.model.plan import NodeFacts, NodePlan
from sallyport.plan.node import plan_node
from sallyport.reconcile.diff import diff
from sallyport.reconcile.sequence import Step, sequence


def bare() -> FakeKernel:
    """A node's kernel before its agent has ever run."""
    return FakeKernel(("lo", "eth0", "cni0", *networks.LINKS.values()))


def observed(snapshot: Snapshot, node: str, kernel: FakeKernel) -> NodeFacts:
    """What an agent without memory sees of its node: its own addresses by the record of them or by their looks."""
    seen = snapshot.facts(node)
    put = {ip_address(i.address): i.device for i in kernel.objects() if isinstance(i, InterfaceAddress)}
    held = {ip_address(i.member) for i in kernel.objects() if isinstance(i, Element) and i.set in ("held4", "held6")}
    return replace(seen, addresses={**put, **seen.addresses}, held=frozenset(held | put.keys()))


def planned(snapshot: Snapshot, node: str, kernel: FakeKernel) -> NodePlan:
    """The plan of an agent that looks at its node now."""
    return plan_node(snapshot.state, snapshot.assignments, observed(snapshot, node, kernel), SETTINGS)


def steps_to(snapshot: Snapshot, node: str, kernel: FakeKernel) -> tuple[Step, ...]:
    """What it would do."""
    plan = planned(snapshot, node, kernel)
    sysctls = [str(item.key) for item in plan.by_kind(Kind.SYSCTL)]
    return sequence(diff(plan.objects, kernel.read(sysctls)))


def settle(kernel: FakeKernel, snapshot: Snapshot, node: str) -> FakeKernel:
    """One round, which nothing may stand in the way of, and which leaves nothing to do for another one."""
    assert kernel.apply(steps_to(snapshot, node, kernel)) == []
    assert steps_to(snapshot, node, kernel) == ()
    return kernel


def fresh(snapshot: Snapshot, node: str) -> FakeKernel:
    """A kernel that never held anything else."""
    return settle(bare(), snapshot, node)


def lasting(kernel: FakeKernel) -> set[KernelObject]:
    """All that a kernel holds, but settings: those stay where they were made."""
    return {item for item in kernel.objects() if item.kind is not Kind.SYSCTL}
