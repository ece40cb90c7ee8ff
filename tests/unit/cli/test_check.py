"""`sallyport check` says of manifests what would be stored and not work: each thing once, and where."""

from typing import Any

import pytest
import yaml
from tests.unit.cli.running import HERE, run

EXAMPLES = HERE.parents[2] / "examples"
Object = dict[str, Any]


def made(kind: str, name: str, spec: Object | None = None, **meta: Any) -> Object:
    versions = {"Node": "v1", "Namespace": "v1", "Pod": "v1", "EgressGateway": "operator.tigera.io/v1"}
    namespace = {"namespace": "default"} if kind in ("EgressGateway", "Pod") else {}
    metadata = {"name": name, **namespace, **meta}
    version = versions.get(kind, "crd.antrea.io/v1beta1" if kind.startswith(("Egress", "External")) else "")
    if kind in ("ExternalNetwork", "EgressGatewayPolicy") or not version:
        version = "projectcalico.org/v3"
    return {"apiVersion": version, "kind": kind, "metadata": metadata} | ({"spec": spec} if spec is not None else {})


def node(name: str, taints: list[Object] | None = None, **labels: str) -> Object:
    return made("Node", name, {"taints": taints or []}, labels=labels)


def gateway(name: str = "egw", template: Object | None = None, **spec: Any) -> Object:
    template = {"metadata": {"labels": {"code": "red"}}, "spec": template or {}}
    return made("EgressGateway", name, {"ipPools": [{"name": "pool"}], "template": template, **spec})


def pool(cidr: str = "10.10.10.0/29") -> Object:
    return made("IPPool", "pool", {"cidr": cidr, "blockSize": 32})


def peer(selector: str = "egress == 'true'", **spec: Any) -> Object:
    return made(
        "BGPPeer",
        "router",
        {"nodeSelector": selector, "peerIP": "10.0.0.1", "asNumber": 1, "externalNetwork": "red", **spec},
    )


RED = made("ExternalNetwork", "red", {"routeTableIndex": 500})
ON = made(
    "FelixConfiguration",
    "default",
    {"egressIPSupport": "EnabledPerNamespaceOrPerPod", "externalNetworkSupport": "Enabled"},
)
FITTING = [RED, ON, pool(), peer()]
NODES = [node("n1", egress="true"), node("n2")]
ANNOTATION = "egress.projectcalico.org/"
AT = f"metadata.annotations.{ANNOTATION}"
UNSELECTED = "selects no gateway of these files: what it is about is dropped"


def remarks(*objects: Object) -> list[str]:
    """What is said, each as FIELD: REASON, or the reason alone."""
    result = run("check", "-", text=yaml.safe_dump_all(objects))
    assert result.exit_code == 0, result.stdout
    return [line.split(": ", 1)[1].replace("warning: ", "") for line in result.stdout.splitlines()]


def client(**annotations: str) -> Object:
    return made("Namespace", "apps", annotations={f"{ANNOTATION}{name}": text for name, text in annotations.items()})


def test_the_manifests_of_the_guide_fit_together_with_the_nodes_that_it_labels() -> None:
    result = run("check", str(EXAMPLES / "calico"), str(HERE / "networks.yaml"))
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_gateway_that_may_run_on_no_node_of_its_networks_is_told() -> None:
    """Of the nodes that it asks for, it gets those with a peer: upstream's guide leaves it to the user that there are
    any."""
    field = "spec.template.spec.nodeSelector: "
    beside = gateway(template={"nodeSelector": {"kubernetes.io/hostname": "n2"}}, externalNetworks=["red"])
    told = f"{field}no Node of these files that it may run on has a peer of network red: its pods wait"
    assert remarks(*FITTING, *NODES, beside) == [told]
    assert remarks(*FITTING, *NODES, gateway(externalNetworks=["red"])) == []
    assert remarks(*FITTING, *NODES, gateway()) == []  # on no network, every node will do
    assert remarks(*FITTING, beside) == []  # without nodes nothing is known


def affinity(**term: Any) -> Object:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}


CONTROL = {"key": "control-plane", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("template", "taints"),
    [
        (affinity(matchExpressions=[{"key": "egress", "operator": "In", "values": ["true"]}]), []),
        (affinity(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["n1"]}]), []),
        ({"nodeSelector": {"kubernetes.io/hostname": "n1", "kubernetes.io/os": "linux"}}, []),
        ({}, [CONTROL]),
        ({"tolerations": [{"key": "other", "operator": "Exists"}]}, [CONTROL]),
        ({"tolerations": [{"key": "control-plane", "value": "no"}]}, [CONTROL]),
    ],
)
def test_affinity_and_taints_keep_gateways_off_nodes_too(template: Object, taints: list[Object]) -> None:
    nodes = [node("n1"), node("n2", taints, egress="yes")]
    told = remarks(
        RED, ON, pool(), peer("egress == 'yes'"), *nodes, gateway(template=template, externalNetworks=["red"])
    )
    assert [line.partition(": ")[2].partition(" its pods")[0][:7] for line in told] == ["no Node"]


@pytest.mark.parametrize(
    ("template", "taints"),
    [
        ({"tolerations": [{"key": "control-plane", "operator": "Exists"}]}, [CONTROL]),
        ({"tolerations": [{"operator": "Exists"}]}, [CONTROL]),
        ({}, [{"key": "control-plane", "effect": "PreferNoSchedule"}]),
        (affinity(matchExpressions=[{"key": "cores", "operator": "Gt", "values": ["4"]}]), []),
    ],
)
def test_what_does_not_keep_gateways_off_a_node_lets_them_land(template: Object, taints: list[Object]) -> None:
    nodes = [node("n1"), node("n2", taints, egress="true")]
    assert remarks(*FITTING, *nodes, gateway(template=template, externalNetworks=["red"])) == []


@pytest.mark.parametrize(
    ("objects", "remark"),
    [
        (
            [RED],
            "no BGPPeer in these files is of this network; without one its table is empty, unless you fill it",
        ),
        (
            [RED, ON, peer("egress == 'yes'"), *NODES],
            "spec.nodeSelector: selects no Node of these files: no session is made",
        ),
        (
            [*FITTING, *NODES, gateway(template={"nodeSelector": {"disk": "ssd"}}, externalNetworks=["red"])],
            "spec.template.spec.nodeSelector: no Node of these files fits its nodeSelector, node affinity and "
            "tolerations: its pods wait",
        ),
        (
            [pool("10.10.10.0/31"), gateway(replicas=2)],
            "spec.replicas: the IPv4 pools have no address to spare: in a rollout a gateway goes before the next comes",
        ),
        (
            [pool("10.10.10.0/31"), gateway(replicas=3)],
            "spec.replicas: 3 replicas, but the IPv4 pools hold 2 addresses",
        ),
        (
            [pool(), gateway("a", replicas=5), gateway("b", replicas=4)],
            "spec.replicas: IPPool pool has 8 addresses, but with default/a 9 replicas are to have one",
        ),
        (
            [pool(), gateway(), ON, client(selector="code == 'blue'", namespaceSelector="all()")],
            f"{AT}selector: {UNSELECTED}",
        ),
        (
            [pool(), gateway(), ON, client(selector="code == 'red'")],  # gateways of the namespace apps only
            f"{AT}selector: {UNSELECTED}",
        ),
        (
            [
                pool(),
                gateway(),
                made(
                    "EgressGatewayPolicy",
                    "p",
                    {"rules": [{"gateway": {"selector": "code == 'blue'", "namespaceSelector": "all()"}}]},
                ),
            ],
            f"spec.rules[0].gateway.selector: {UNSELECTED}",
        ),
        (
            [client(maxNextHops="2")],
            f"{AT}maxNextHops: has no effect without {ANNOTATION}selector on the same object",
        ),
        (
            [made("FelixConfiguration", "default", {}), client(selector="all()")],
            f"{AT}selector: has no effect: egressIPSupport of FelixConfiguration default is Disabled",
        ),
        (
            [RED, peer(), made("FelixConfiguration", "default", {})],
            "spec.externalNetwork: externalNetworkSupport is not Enabled in FelixConfiguration default",
        ),
    ],
)
def test_what_does_not_fit_is_one_remark(objects: list[Object], remark: str) -> None:
    assert remarks(*objects) == [remark]


@pytest.mark.parametrize(
    ("objects", "remark"),
    [
        (
            [RED, peer(), made("ExternalNetwork", "again", {"routeTableIndex": 500})],
            "table 500 is that of ExternalNetwork",
        ),
        ([peer(externalNetwork="blue")], "ExternalNetwork blue does not exist in these files"),
        ([RED, peer(filters=["absent"])], "spec.filters[0]: BGPFilter absent does not exist in these files"),
        ([ON, client(egressGatewayPolicy="absent")], "EgressGatewayPolicy absent does not exist in these files"),
        ([ON, client(selector="a = 'b'")], "is no selector"),
        ([ON, client(selector="all()", namespaceSelector="a = 'b'")], "namespaceSelector: "),
        ([ON, client(selector="all()", maxNextHops="two")], "'two' must be a number, 0 or more"),
    ],
)
def test_what_reviewers_and_planners_both_see_is_said_once(objects: list[Object], remark: str) -> None:
    """With a node and a pod in the files the translation sees all of this too, and says it in other words."""
    pod = made("Pod", "app", {"nodeName": "n1"}, namespace="apps")
    found = remarks(*objects, node("n1", egress="true"), pod)
    assert len([line for line in found if remark in line]) == 1
    assert [line for line in found if remark not in line and "no BGPPeer" not in line] == []


def test_passwords_and_options_that_are_elsewhere_are_no_fault() -> None:
    secret = {"secretKeyRef": {"name": "bgp", "key": "red"}}
    assert remarks(RED, peer(password=secret), *NODES) == []


def test_a_pool_that_is_elsewhere_is_said_once() -> None:
    egress = made("Egress", "e", {"appliedTo": {"podSelector": {}}, "externalIPPool": "elsewhere"})
    assert remarks(egress, node("n1")) == [
        "spec.externalIPPool: ExternalIPPool elsewhere is not in these files; it must exist where they are applied"
    ]
