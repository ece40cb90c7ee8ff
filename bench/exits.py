"""The same through an Egress with a pool, whose address another node holds, beside a plain VXLAN.

Plain is the tunnel that `paths` has: a VXLAN device between the nodes, and routes; its packets are not translated.
"""

from typing import Any

from bench import scene
from bench.detours import SECOND, Site
from bench.figures import Figure
from bench.paths import Ground, compared
from sallyport.lab.driving import Lab, until
from sallyport.lab.supervisor import take_down

CLIENT, SERVER, ADDRESS = "default/web", "203.0.113.10", "10.10.0.11"
OBJECTS: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "ExternalIPPool",
        "metadata": {"name": "pool"},
        "spec": {
            "ipRanges": [{"start": ADDRESS, "end": ADDRESS}],
            "nodeSelector": {"matchLabels": {"network-role": "egress-gateway"}},
        },
    },
    {
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "Egress",
        "metadata": {"name": "egress"},
        "spec": {"appliedTo": {"podSelector": {}}, "externalIPPool": "pool"},
    },
    scene.pod("default", "web", "node-1"),
)
SITE = Site(CLIENT, "eth0", "router", "underlay", 254, "exit")
"""The main table of node-2 leads out, by the device that leads to node-1 as well."""


def measure() -> list[Figure]:
    """Each way in each round; ratios are of ways within a round."""
    lab = Lab.up("two-nodes", "bne")
    try:
        scene.apply(lab, *OBJECTS)
        lab.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
        until(lambda: lab.ask(CLIENT, "tcp", SERVER).source == ADDRESS, f"the exit on {SECOND}", 30)
        return compared(Ground(lab, SITE, SERVER, "server"), ("plain", "exit"), (("exit", "plain"),))
    finally:
        take_down(lab.record)
