"""Part one, Egresses: which source IP an outside server sees, request by request.

A cluster of six nodes is built out of network namespaces, the manifests of examples/antrea are applied as they stand,
and pods send requests to a server beyond a router. What is printed as "server saw" is the server's own word; what is
printed as "came from" is the node whose MAC address was on the captured frame in front of the router.
"""

from functools import partial

from rich.console import Console
from tools.demo.stage import Stage, Tally

from sallyport.lab.driving import Asked, Capture, Lab, answers, until

QUESTION = """Which source IP does the world outside of the cluster see?
A server outside tells the address that it saw; the router in front of it tells which node the frame came from.
"""
TOPOLOGY = "seed"
SYN = "ip and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn"
"""What is captured: the first packet of each IPv4 connection."""
SERVER = "203.0.113.10"
SERVER6 = "2001:db8:113::10"
PODS = {"prod/web-1": "node-1", "prod/web-2": "node-4", "prod/db-1": "node-3", "staging/web-1": "node-2"}


class Egresses(Stage):
    """The scenes, in order; `capture` is what arrives in front of the router to the server."""

    def __init__(self, lab: Lab, console: Console, tally: Tally, capture: Capture) -> None:
        super().__init__(lab, console, tally)
        self.capture = capture

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
        rows = []
        for pod, (source, node) in expected.items():
            asked = self.lab.ask(pod, "http", SERVER, timeout=2)
            came_from = self._came_from(asked)
            self.tally.requests += 1
            saw = asked.source or f"nothing ({asked.error})"
            failure = f"{pod}: not {source or 'dropped'} from {node or 'nowhere'}"
            verdict = self.verdict((asked.source, came_from) == (source, node), failure)
            rows.append((pod, PODS[pod], saw, came_from or "-", verdict))
        self.table(("pod", "runs on", "server saw", "came from", "expected"), rows)

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
        """No Egress is there."""
        self.title("Before any Egress, pods leave with the address of the node they run on")
        self.requests_from({pod: (f"10.10.0.10{node[-1]}", node) for pod, node in PODS.items()})

    def example(self) -> None:
        """The guide's first example, which is for one family."""
        self.title("The Egress resource: web pods of prod leave with 10.10.0.8, by a node of the pool; others do not")
        self.apply("antrea", "config.yaml", "pool.yaml", "egress.yaml")
        self.await_holders(egress_prod_web="10.10.0.8")
        self.kubectl("get", "egress")
        node = self.holder("egress-prod-web")
        own = {pod: (f"10.10.0.10{where[-1]}", where) for pod, where in PODS.items()}
        self.requests_from(own | dict.fromkeys(["prod/web-1", "prod/web-2"], ("10.10.0.8", node)))
        asked = self.lab.ask("prod/web-1", "http", SERVER6, timeout=1)
        self.tally.requests += 1
        self.say(f"   IPv6 of prod/web-1, for which there is no egress IP: {asked.source or 'dropped'}, as expected")
        if asked.source:
            self.tally.failures.append(f"IPv6 of prod/web-1 left as {asked.source}")

    def high_availability(self) -> None:
        """The guide's second example."""
        self.title("High availability: two Egresses, an IP each from one pool")
        self.apply("antrea", "ha-pool.yaml", "ha-egresses.yaml")
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
        """The holder of an address dies while requests are made."""
        node = self.holder("egress-prod-web")
        pod = "prod/web-1" if PODS["prod/web-1"] != node else "prod/web-2"
        self.title(f"{node}, which holds 10.10.0.11, loses power while {pod} sends 20 requests a second")
        with self.lab.asker(pod, "http", SERVER, timeout=0.2, count=120, interval=0.05) as child:
            asked: list[Asked] = []
            for answer in answers(child):
                asked.append(answer)
                if len(asked) == 20:
                    self.lab.sallyport("lab", "power-off", node, "--name", self.lab.name)
        self.tally.requests += len(asked)
        lost = [answer for answer in asked if not answer.source]
        wrong = {answer.source for answer in asked if answer.source} - {"10.10.0.11"}
        gap = sum(answer.seconds + 0.05 for answer in lost)
        self.say(f"   {len(asked) - len(lost)} requests seen from 10.10.0.11, {len(lost)} lost in {gap:.1f} s, ")
        self.say(f"   and {len(wrong)} seen from any other address. New holder: {self.holder('egress-prod-web')}")
        if wrong or self.holder("egress-prod-web") == node or not asked[-1].source:
            self.tally.failures.append(f"after the power-off: {wrong or 'no takeover'}")
        self.kubectl("get", "egress")
        self.lab.sallyport("lab", "power-on", node, "--name", self.lab.name)
        until(lambda: self.holder("egress-prod-web") == node, f"{node} has its IP again", 20)
        self.say(f"   power is back: {node} holds 10.10.0.11 again")

    def static(self) -> None:
        """The guide's third example."""
        self.title("Static Egress: addresses that are node-4's and node-5's own")
        self.kubectl("delete", "egress", "egress-prod-web", "egress-staging-web")
        self.apply("antrea", "static-egresses.yaml")
        self.await_holders(egress_prod="10.10.0.104", egress_staging="10.10.0.105")
        self.kubectl("get", "egress")
        prod = {pod: ("10.10.0.104", "node-4") for pod in PODS if pod.startswith("prod/")}
        self.requests_from(prod | {"staging/web-1": ("10.10.0.105", "node-5")})

    def node_gone(self) -> None:
        """A static address dies with its node."""
        self.title("node-4 loses power: nobody has its address, so prod is dropped, not let out by another one")
        self.lab.sallyport("lab", "power-off", "node-4", "--name", self.lab.name)
        self.requests_from({"prod/web-1": ("", ""), "staging/web-1": ("10.10.0.105", "node-5")})
        self.lab.sallyport("lab", "power-on", "node-4", "--name", self.lab.name)

    def after(self) -> None:
        """Egresses are deleted."""
        self.title("Without Egresses the ordinary path is back")
        self.kubectl("delete", "egress", "--all")
        pods = {pod: (f"10.10.0.10{node[-1]}", node) for pod, node in PODS.items() if node != "node-4"}
        for pod, (address, node) in pods.items():
            until(partial(self._is_seen, pod, address), f"{pod} seen from {node}'s address", 10)
        self.requests_from(pods)

    def _is_seen(self, pod: str, source: str) -> bool:
        return self.lab.ask(pod, "http", SERVER, timeout=0.5).source == source


def show(lab: Lab, console: Console, tally: Tally) -> None:
    """All scenes, on a lab of TOPOLOGY."""
    with lab.capture("router", SYN) as capture:
        scenes = Egresses(lab, console, tally, capture)
        scenes.pods("egresses.yaml")
        scenes.before()
        scenes.example()
        scenes.high_availability()
        scenes.power_off()
        scenes.static()
        scenes.node_gone()
        scenes.after()
