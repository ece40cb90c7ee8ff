"""Kubernetes' own API server is killed and started again, and refuses a token that it has given out."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator

import msgspec
import pytest
from tests.lab.labs import lab_of, scene_of
from tests.lab.scene import GATEWAYS, SIDES, Scene, becomes, egress, hosted, ip_pool, on, pod
from tests.lab.test_api_server import SERVED, TOLD, Log

from sallyport.kube.client import Client
from sallyport.kube.credentials import load
from sallyport.lab.controlplane.accounts import SERVICE_ACCOUNTS
from sallyport.lab.driving import Lab, until
from sallyport.processes.settings import NAMESPACE as SALLYPORT

pytestmark = [
    pytest.mark.lab,
    pytest.mark.root,
    pytest.mark.kubernetes,
    pytest.mark.alone,
    pytest.mark.timeout(300),
]

PROCESSES = ("controller", "agent-node-1", "agent-node-2", "agent-node-3")


@pytest.fixture(scope="module")
def standing() -> Iterator[Scene]:
    """A lab of this module's own."""
    with lab_of("default", f"t{os.getpid()}r", kind="kubernetes") as lab, scene_of(lab) as scene:
        yield scene


@pytest.fixture
def served(scene: Scene) -> Scene:
    """The scene in which the pod of node-1 leaves by node-3 in both families."""
    for family, ip in SERVED.items():
        pool = f"two-{family}"
        scene.apply(ip_pool(pool, ip, nodes=GATEWAYS), egress(f"web-{family}", on(1), pool=pool))
    for family, side in SIDES.items():
        scene.comes_to_leave(pod(1), side, SERVED[family], "node-3", 10.0)
    becomes(lambda: [scene.held(f"web-{family}") for family in SERVED], [(ip, "node-3") for ip in SERVED.values()])
    return scene


def serve_one_more(scene: Scene) -> None:
    """A change that is made now arrives."""
    side = SIDES[4]
    scene.apply(ip_pool("at-2", side.spare(2), nodes=hosted(2)), egress("more", on(2), pool="at-2"))
    scene.comes_to_leave(pod(2), side, side.spare(2), "node-2", 40.0)


def answers(lab: Lab) -> bool:
    return lab.kubectl("get", "--raw", "/readyz", check=False) == "ok"


def test_an_api_server_that_is_killed_and_started_again_costs_nothing(served: Scene) -> None:
    """No request is lost, no Egress is written to, and each process tells of it in two lines."""
    lab = served.lab
    before = {name: served.status(name) for name in ("web-4", "web-6")}
    logs = {process: Log(lab, process) for process in PROCESSES}
    old = lab.record.child("apiserver")
    assert old is not None
    with served.only(*SERVED.values()), served.flowing(pod(1), *SIDES.values()) as flows:
        os.kill(old.pid, signal.SIGKILL)
        until(lambda: lab.record.child("apiserver") not in (None, old), "it is started again", 30)
        until(lambda: answers(lab), "it answers", 60)
        becomes(lambda: {process: log.outages()[-1:] for process, log in logs.items()}, LAST, 60)
    assert {answer.source for asked in flows.values() for answer in asked} == set(SERVED.values())
    assert {name: served.status(name) for name in before} == before
    serve_one_more(served)


LAST = dict.fromkeys(PROCESSES, TOLD[-1:])


def bound_token(lab: Lab, secret: str) -> str:
    """A token of the agents' account that holds for as long as a Secret is there."""
    spec = {"expirationSeconds": 3600, "boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": secret}}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}

    async def issued() -> str:
        async with Client(load(str(lab.record.kubeconfig))) as client:
            path = SERVICE_ACCOUNTS.path(SALLYPORT, "sallyport-agent", "token")
            answer = msgspec.json.decode(await client.request("POST", path, body=body))
            return str(answer["status"]["token"])

    return asyncio.run(issued())


def test_a_token_that_is_refused_is_read_again_from_its_file(served: Scene) -> None:
    """As when the kubelet has put a new one there. Until then what is in the kernel goes on, and it is told why changes
    wait; then nobody has to start the agent again."""
    lab = served.lab
    file = lab.record.directory / "control-plane" / "sallyport-agent.token"
    lasting, secret = file.read_text(), {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bound"}}
    lab.kubectl("create", "-n", SALLYPORT, "-f", "-", text=json.dumps(secret))
    old = lab.record.child("agent-node-1")
    assert old is not None
    try:
        file.write_text(bound_token(lab, "bound"))
        first = Log(lab, "agent-node-1")
        os.kill(old.pid, signal.SIGKILL)
        until(lambda: bool(first.entries("agent.doorstep_open")), "the next agent has the token", 30)
        log = Log(lab, "agent-node-1")
        with served.only(*SERVED.values()), served.flowing(pod(1), *SIDES.values()) as flows:
            lab.kubectl("delete", "secret", "-n", SALLYPORT, "bound")
            until(lambda: log.outages() == ["api.trouble"], "the token is refused", 60)
            trouble = log.entries("api.trouble")[0]["trouble"]
            file.write_text(lasting)
            until(lambda: log.outages() == TOLD, "the new one is taken", 30)
    finally:
        file.write_text(lasting)
    assert trouble == "the API server does not accept our credentials"
    assert {answer.source for asked in flows.values() for answer in asked} == set(SERVED.values())
    serve_one_more(served)
