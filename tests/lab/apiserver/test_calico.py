"""Calico's kinds, served from the CRDs in deploy/crds, as a user of kubectl sees them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sallyport.lab.apiserver import Server

from .conftest import Kubectl, serve_in_thread

pytestmark = pytest.mark.embedded

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
RED = """
apiVersion: projectcalico.org/v3
kind: ExternalNetwork
metadata: {name: red}
spec: {routeTableIndex: 500}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: router}
spec: {nodeSelector: "egress == 'true'", peerIP: 172.31.11.1, asNumber: 63400, externalNetwork: red}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: red-pool}
spec: {cidr: 10.10.10.0/30, blockSize: 32, nodeSelector: "!all()"}
---
apiVersion: operator.tigera.io/v1
kind: EgressGateway
metadata: {name: egress-gateway, namespace: default}
spec:
  ipPools: [{name: red-pool}]
  externalNetworks: [red]
  egressGatewayFailureDetection: {icmpProbe: {ips: [10.0.0.1]}}
  template: {spec: {affinity: {nodeAffinity: {anything: [1]}}}}
---
apiVersion: projectcalico.org/v3
kind: EgressGatewayPolicy
metadata: {name: by-destination}
spec: {rules: [{gateway: {selector: all(), namespaceSelector: all()}}]}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {bpfEnabled: false}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Kubectl]:
    """kubectl against a server with our CRDs and the objects above."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    url, end = serve_in_thread(Server([yaml.safe_load(file.read_text()) for file in sorted(CRDS.iterdir())]))
    kubectl = Kubectl(url, tmp_path)
    kubectl("create", "-f", "-", text=RED)
    yield kubectl
    end()


def table(kubectl: Kubectl, kind: str) -> list[list[str]]:
    """What `kubectl get` prints, a list of words for each line, without the age."""
    return [line.split()[:-1] for line in kubectl("get", kind).splitlines()]


def test_get_tells_what_matters_of_each_kind(cluster: Kubectl) -> None:
    established = '{"status":{"conditions":[{"type":"Established","status":"True"}]}}'
    cluster("patch", "bgppeer", "router", "--subresource=status", "--type=merge", "-p", established)
    usage = '{"status":{"usage":{"total":4,"used":1}}}'
    cluster("patch", "ippool", "red-pool", "--subresource=status", "--type=merge", "-p", usage)
    state = '{"status":{"state":"Ready","readyReplicas":1,"conditions":[]}}'
    cluster("patch", "egw", "egress-gateway", "--subresource=status", "--type=merge", "-p", state)
    ready = '{"status":{"conditions":[{"type":"Ready","status":"False"}]}}'
    cluster("patch", "extnet", "red", "--subresource=status", "--type=merge", "-p", ready)
    assert table(cluster, "extnet") == [["NAME", "TABLE", "READY"], ["red", "500", "False"]]
    assert table(cluster, "bgpp") == [
        ["NAME", "PEER", "AS", "NETWORK", "ESTABLISHED"],
        ["router", "172.31.11.1", "63400", "red", "True"],
    ]
    assert table(cluster, "ipp") == [["NAME", "CIDR", "USED", "TOTAL"], ["red-pool", "10.10.10.0/30", "1", "4"]]
    assert table(cluster, "egw") == [
        ["NAME", "STATE", "READY", "REPLICAS"],
        ["egress-gateway", "Ready", "1", "1"],
    ]


def test_defaults_are_filled_in_and_what_kubernetes_defines_is_kept_as_it_is(cluster: Kubectl) -> None:
    stored = json.loads(cluster("get", "egressgateway", "egress-gateway", "-o", "json"))["spec"]
    assert stored["replicas"] == 1
    assert stored["egressGatewayFailureDetection"] == {
        "healthTimeoutDataStoreSeconds": 90,
        "icmpProbe": {"ips": ["10.0.0.1"], "intervalSeconds": 5, "timeoutSeconds": 15},
    }
    assert stored["template"]["spec"]["affinity"] == {"nodeAffinity": {"anything": [1]}}


def test_felixs_other_options_are_stored_and_the_seeds_patch_applies(cluster: Kubectl) -> None:
    patch = '{"spec":{"egressIPSupport":"EnabledPerNamespace","externalNetworkSupport":"Enabled"}}'
    cluster("patch", "felixconfiguration", "default", "--type=merge", "-p", patch)
    assert json.loads(cluster("get", "felixconfiguration", "default", "-o", "json"))["spec"] == {
        "bpfEnabled": False,
        "egressIPSupport": "EnabledPerNamespace",
        "externalNetworkSupport": "Enabled",
    }
    assert table(cluster, "felix")[1] == ["default", "EnabledPerNamespace", "Enabled"]


@pytest.mark.parametrize(
    ("kind", "name", "patch", "reason"),
    [
        ("extnet", "red", '{"spec":{"routeTableIndex":254}}', "tables 253 to 255 are the kernel's own"),
        ("extnet", "red", '{"spec":{"routeTableIndex":830005}}', "tables 830001 to 846575 are those of exits"),
        ("bgpp", "router", '{"spec":{"node":"n1"}}', "node and nodeSelector cannot both be given"),
        ("bgpp", "router", '{"spec":{"network":"blue"}}', "network is not supported"),
        ("ipp", "red-pool", '{"spec":{"cidr":"10.10.10.0/29"}}', "cidr cannot be changed"),
        ("egw", "egress-gateway", '{"spec":{"aws":{"nativeIP":"Enabled"}}}', "only for a cloud"),
        ("egw", "egress-gateway", '{"spec":{"egressGatewayFailureDetection":{"icmpProbe":null}}}', "must be given"),
        ("egwp", "by-destination", '{"spec":{"rules":[{"description":"none"}]}}', "at least one rule"),
        ("felix", "default", '{"spec":{"routeTableRange":{"min":9,"max":8}}}', "min must not be greater than max"),
    ],
)
def test_rules_are_enforced_with_their_reasons(cluster: Kubectl, kind: str, name: str, patch: str, reason: str) -> None:
    done = cluster.run("patch", kind, name, "--type=merge", "-p", patch)
    assert done.returncode != 0
    assert reason in done.stderr
