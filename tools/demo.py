"""The main job on real packets: which source IP an outside server sees, request by request (`make demo`).

A cluster of six nodes is built out of network namespaces, the manifests of examples/antrea are applied as they stand,
and pods send requests to a server beyond a router. What is printed as "server saw" is the server's own word; what is
printed as "came from" is the node whose MAC address was on the captured frame in front of the router.
"""

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sallyport.drivers.command import DriverError
from sallyport.drivers.requirements import require
from sallyport.lab.driving import Asked, Capture, Lab, answers, until

ROOT = Path(__file__).parent.parent
SERVER = "203.0.113.10"
SERVER6 = "2001:db8:113::10"
NAME = f"demo-{os.getpid()}"[:16]
PODS = {"prod/web-1": "node-1", "prod/web-2": "node-4", "prod/db-1": "node-3", "staging/web-1": "node-2"}


class Demo:
    """The scenes, in order. `failures` are the requests that did not go as they were to."""

    def __init__(self, lab: Lab, capture: Capture, console: Console) -> None:
        self.lab, self.capture, self.console = lab, capture, console
        self.failures: list[str] = []
        self.requests = 0

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)

    def title(self, number: int, text: str) -> None:
        self.say(f"\n[bold]{number}. {text}[/bold]")

    def apply(self, *files: str) -> None:
        for file in files:
            self.say(f"   $ sallyport apply examples/antrea/{file}")
        done = self.lab.sallyport("apply", *(str(ROOT / "examples" / "antrea" / file) for file in files))
        for line in done.stdout.splitlines():
            self.say(f"   {line}")

    def kubectl(self, *arguments: str) -> None:
        self.say(f"   $ kubectl {' '.join(arguments)}")
        for line in self.lab.kubectl(*arguments).splitlines():
            self.say(f"   {line}")

    def holder(self, name: str) -> str:
        """The node that holds an Egress's IP, as its status says."""
        return str(self.lab.objects("egress", name)[0].get("status", {}).get("egressNode", ""))

    def await_holders(self, **addresses: str) -> None:
        """Wait until each Egress (underscores for dashes) has the address and a node that holds it."""

        def settled() -> bool:
            found = {item["metadata"]["name"]: item.get("status", {}) for item in self.lab.objects("egress")}
            return all(
                found.get(name.replace("_", "-"), {}).get("egressIP") == address for name, address in addresses.items()
            )

        until(settled, f"{addresses} held", 15)

    def requests_from(self, expected: dict[str, tuple[str, str]]) -> None:
        """A request from each pod, and for each who was seen; `expected` is source and node by pod, "" for dropped."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in ("   pod", "runs on", "server saw", "came from", "expected"):
            table.add_column(column, no_wrap=True)
        for pod, (source, node) in expected.items():
            asked = self.lab.ask(pod, "http", SERVER, timeout=2)
            came_from = self._came_from(asked)
            ok = (asked.source, came_from) == (source, node)
            self.requests += 1
            verdict = "as expected" if ok else f"[red]not {source or 'dropped'} from {node or 'nowhere'}[/red]"
            saw = asked.source or f"nothing ({asked.error})"
            table.add_row(f"   {pod}", PODS[pod], saw, came_from or "-", verdict)
            if not ok:
                self.failures.append(f"{pod}: {asked.source or asked.error} from {came_from or 'nowhere'}")
        self.console.print(table, highlight=False)

    def _came_from(self, asked: Asked) -> str:
        """The node whose MAC was on the frame that brought this request in front of the router."""
        if not asked.source:
            return ""
        macs = self.lab.node_macs()
        for frame in reversed(self.capture.settle()):  # the newest first: ports come again
            if (frame.source, frame.port) == (asked.source, asked.port):
                return macs.get(frame.mac, "a node that is off")
        return "no captured frame"

    def before(self) -> None:
        self.title(1, "Before any Egress, pods leave with the address of the node they run on")
        self.requests_from({pod: (f"10.10.0.10{node[-1]}", node) for pod, node in PODS.items()})

    def example(self) -> None:
        self.title(
            2, "The Egress resource: web pods of prod leave with 10.10.0.8, by a node of the pool; others do not"
        )
        self.apply("config.yaml", "pool.yaml", "egress.yaml")
        self.await_holders(egress_prod_web="10.10.0.8")
        self.kubectl("get", "egress")
        node = self.holder("egress-prod-web")
        own = {pod: (f"10.10.0.10{where[-1]}", where) for pod, where in PODS.items()}
        self.requests_from(own | dict.fromkeys(["prod/web-1", "prod/web-2"], ("10.10.0.8", node)))
        asked = self.lab.ask("prod/web-1", "http", SERVER6, timeout=1)
        self.requests += 1
        self.say(f"   IPv6 of prod/web-1, for which there is no egress IP: {asked.source or 'dropped'}, as expected")
        if asked.source:
            self.failures.append(f"IPv6 of prod/web-1 left as {asked.source}")

    def high_availability(self) -> None:
        self.title(3, "High availability: two Egresses, an IP each from one pool")
        self.apply("ha-pool.yaml", "ha-egresses.yaml")
        self.await_holders(egress_prod_web="10.10.0.11", egress_staging_web="10.10.0.12")
        self.kubectl("get", "egress")
        self.kubectl("get", "externalippool")
        self._ha_requests()

    def _ha_requests(self) -> None:
        prod, staging = self.holder("egress-prod-web"), self.holder("egress-staging-web")
        self.requests_from(
            {
                "prod/web-1": ("10.10.0.11", prod),
                "prod/db-1": ("10.10.0.103", "node-3"),
                "staging/web-1": ("10.10.0.12", staging),
            }
        )

    def power_off(self) -> None:
        node = self.holder("egress-prod-web")
        pod = "prod/web-1" if PODS["prod/web-1"] != node else "prod/web-2"
        self.title(4, f"{node}, which holds 10.10.0.11, loses power while {pod} sends 20 requests a second")
        with self.lab.asker(pod, "http", SERVER, timeout=0.2, count=120, interval=0.05) as child:
            asked: list[Asked] = []
            for answer in answers(child):
                asked.append(answer)
                if len(asked) == 20:
                    self.lab.sallyport("lab", "power-off", node, "--name", self.lab.name)
        self.requests += len(asked)
        lost = [answer for answer in asked if not answer.source]
        wrong = {answer.source for answer in asked if answer.source} - {"10.10.0.11"}
        gap = sum(answer.seconds + 0.05 for answer in lost)
        self.say(f"   {len(asked) - len(lost)} requests seen from 10.10.0.11, {len(lost)} lost in {gap:.1f} s, ")
        self.say(f"   and {len(wrong)} seen from any other address. New holder: {self.holder('egress-prod-web')}")
        if wrong or self.holder("egress-prod-web") == node or not asked[-1].source:
            self.failures.append(f"after the power-off: {wrong or 'no takeover'}")
        self.kubectl("get", "egress")
        self.lab.sallyport("lab", "power-on", node, "--name", self.lab.name)
        until(lambda: self.holder("egress-prod-web") == node, f"{node} has its IP again", 20)
        self.say(f"   power is back: {node} holds 10.10.0.11 again")

    def static(self) -> None:
        self.title(5, "Static Egress: addresses that are node-4's and node-5's own")
        self.kubectl("delete", "egress", "egress-prod-web", "egress-staging-web")
        self.apply("static-egresses.yaml")
        self.await_holders(egress_prod="10.10.0.104", egress_staging="10.10.0.105")
        self.kubectl("get", "egress")
        prod = {pod: ("10.10.0.104", "node-4") for pod in PODS if pod.startswith("prod/")}
        self.requests_from(prod | {"staging/web-1": ("10.10.0.105", "node-5")})

    def node_gone(self) -> None:
        self.title(6, "node-4 loses power: nobody has its address, so prod is dropped, not let out by another one")
        self.lab.sallyport("lab", "power-off", "node-4", "--name", self.lab.name)
        self.requests_from({"prod/web-1": ("", ""), "staging/web-1": ("10.10.0.105", "node-5")})
        self.lab.sallyport("lab", "power-on", "node-4", "--name", self.lab.name)

    def after(self) -> None:
        self.title(7, "Without Egresses the ordinary path is back")
        self.kubectl("delete", "egress", "--all")
        until(lambda: self.lab.ask("prod/web-1", "http", SERVER).source == "10.10.0.101", "node-1's address", 10)
        pods = {pod: node for pod, node in PODS.items() if node != "node-4"}
        self.requests_from({pod: (f"10.10.0.10{node[-1]}", node) for pod, node in pods.items()})


def main() -> int:
    console = Console(width=120, no_color=not sys.stdout.isatty())
    try:
        require("ip", "nft", "bird", "tcpdump")
    except DriverError as error:
        console.print(f"demo: {error}", highlight=False)
        return 2
    console.print("Sallyport: which source IP does the world outside of the cluster see?\n", highlight=False)
    try:
        lab = Lab.up("seed", NAME, lambda line: console.print(f"   {line}", highlight=False))
    except DriverError as error:
        console.print(f"demo: {error}", highlight=False)
        return 1
    try:
        lab.kubectl("apply", "-f", str(ROOT / "examples" / "demo" / "pods.yaml"))
        lab.kubectl("wait", "pod", "--all", "-A", "--for=condition=Ready", "--timeout=30s")
        with lab.capture("router", "ip and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn") as capture:
            demo = Demo(lab, capture, console)
            for scene in (
                demo.before,
                demo.example,
                demo.high_availability,
                demo.power_off,
                demo.static,
                demo.node_gone,
                demo.after,
            ):
                scene()
    finally:
        lab.down()
    if demo.failures:
        console.print(f"\n{len(demo.failures)} of {demo.requests} requests went otherwise:", highlight=False)
        for failure in demo.failures:
            console.print(f"   {failure}", highlight=False)
        return 1
    console.print(f"\nAll {demo.requests} requests went as they were to.", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
