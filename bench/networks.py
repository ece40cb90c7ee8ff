"""External networks: from a BGP session to routes in the kernel, one route and 100,000 of them."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from bench import scene
from bench.figures import Figure
from bench.heard import routes
from sallyport.drivers.bird import Bird
from sallyport.lab.driving import Lab, until

NODE = "node-2"
TABLE = scene.TABLES["red"]
ANNOUNCED = bytes((105, 8, 10))
"""What destinations of red's own network begin with."""
MANY = 100_000
BLOCK = bytes((198,))
"""What destinations of the many begin with: they are addresses of 198.18.0.0/15 (RFC 2544)."""
RUNS, MANY_RUNS, ROUNDS = 7, 3, 5
QUIET = 20.0
"""Seconds for which an agent is watched that has nothing to do: several of its rounds."""
_TICKS = os.sysconf("SC_CLK_TCK")
_SESSION = re.compile(r"(?:1002-| )bgp-red\s+BGP\s+\S+\s+\S+\s+([\d:.]+)\s+Established")


def measure() -> list[Figure]:
    """Seconds from a peer that is applied, and from its session, to routes; what many routes cost."""
    with scene.lab("bnw") as lab:
        return [*_one_route(lab), *_many_routes(lab)]


def _one_route(lab: Lab) -> Iterator[Figure]:
    applied, answered, established = [], [], []
    for _ in range(RUNS):
        with routes(lab.space(NODE), TABLE, ANNOUNCED) as heard:
            began = time.time()
            scene.apply(lab, scene.peer("red"))
            answered.append(time.time() - began)
            until(lambda: bool(heard.times), "the network's route is in the kernel", 30)
        applied.append(heard.times[0] - began)
        established.append(heard.times[0] - _established(lab))
        _remove_peer(lab)
    yield Figure("kubectl apply of a BGPPeer until its route is in the kernel", "s", tuple(applied))
    yield Figure("of these: kubectl itself", "s", tuple(answered))
    yield Figure("session Established until the route is in the kernel", "s", tuple(established))


def _bird(lab: Lab) -> Bird:
    return Bird(lab.record.runtime(NODE))


def _established(lab: Lab) -> float:
    """When the node's session with red came up, in seconds since the epoch, from BIRD's time of day."""
    found = next((match for line in _bird(lab).ask("show protocols") if (match := _SESSION.match(line))), None)
    if found is None:
        raise AssertionError("the session is not Established")
    now = datetime.now()
    moment = datetime.combine(now.date(), datetime.strptime(found[1], "%H:%M:%S.%f").time())
    return (moment if moment <= now else moment - timedelta(days=1)).timestamp()


def _remove_peer(lab: Lab) -> None:
    """And wait until the table is empty and the router's sessions are gone."""
    lab.kubectl("delete", "bgppeer", "red")
    until(lambda: _count(lab) == 0, "the table is emptied", 180)


def _count(lab: Lab) -> int:
    """BIRD's routes in the kernel's table."""
    return len(lab.execute(NODE, *f"ip -4 route show table {TABLE} proto bird".split(), check=False).splitlines())


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: seconds of CPU, those of its ended children with it, and MiB of memory now."""

    cpu: float
    memory: float


def usage(pid: int) -> Usage:
    """As /proc tells it (proc(5): fields 14 to 17 of stat, VmRSS of status)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{pid}/status").read_text()
    memory = re.search(r"VmRSS:\s+(\d+) kB", status)
    return Usage(sum(map(int, fields[11:15])) / _TICKS, int(memory[1]) / 1024 if memory else 0.0)


def _many_routes(lab: Lab) -> Iterator[Figure]:
    """The router is given more to announce; nothing of the lab's own is changed for that."""
    _announce_many(lab)
    agent = _agent(lab)
    # The process runs before the routes come, as it does where a network has been there for long.
    scene.apply(lab, scene.peer("yellow"))
    until(lambda: _bird_pid(lab) != 0, "BIRD runs")
    few = _resources(lab, agent)
    rounds_before = _rounds(lab)
    loaded, withdrawn, busy, routing, grown = [], [], [], [], []
    for run in range(MANY_RUNS):
        before, bird = usage(agent), usage(_bird_pid(lab))
        with routes(lab.space(NODE), TABLE, BLOCK) as heard:
            scene.apply(lab, scene.peer("red"))
            until(lambda: len(heard.times) >= MANY, f"{MANY} routes are in the kernel", 120)
        loaded.append(heard.times[-1] - _established(lab))
        busy.append(usage(agent).cpu - before.cpu)
        routing.append(usage(_bird_pid(lab)).cpu - bird.cpu)
        grown.append(usage(_bird_pid(lab)).memory)
        if run == MANY_RUNS - 1:
            break
        with routes(lab.space(NODE), TABLE, BLOCK, deleted=True) as heard:
            began = time.time()
            _remove_peer(lab)
            withdrawn.append(heard.times[-1] - began)
    yield Figure(f"session Established until {MANY} routes are in the kernel", "s", tuple(loaded))
    yield Figure(f"kubectl delete of the BGPPeer until the {MANY} are gone", "s", tuple(withdrawn))
    yield Figure("CPU that BIRD uses while they come", "s", tuple(routing))
    yield Figure(f"BIRD's memory with {MANY} routes", "MiB", tuple(grown))
    yield Figure("CPU that the agent uses while they come, its commands included", "s", tuple(busy))
    yield from few
    yield from rounds_before
    yield from _resources(lab, agent, f"with {MANY} routes")
    yield from _rounds(lab, f"with {MANY} routes")


def _announce_many(lab: Lab) -> None:
    folder = lab.record.runtime("red-router")
    hosts = (f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(2 * 65536))
    lines = [f"  route {host}/32 blackhole;" for host in islice(hosts, MANY)]
    text = (folder / "bird.conf").read_text()
    config = folder / "many.conf"
    config.write_text("\n".join([text, "protocol static many {", "  ipv4;", *lines, "}", ""]))
    answer = Bird(folder).ask(f'configure "{config}"')
    if not any(line[:4] in ("0003", "0004") for line in answer):
        raise AssertionError(f"the router does not take its configuration: {answer}")


def _agent(lab: Lab) -> int:
    child = lab.record.child(f"agent-{NODE}")
    if child is None:
        raise AssertionError(f"the agent of {NODE} does not run")
    return child.pid


def _bird_pid(lab: Lab) -> int:
    file = lab.record.runtime(NODE) / "bird.pid"
    return int(file.read_text() or 0) if file.exists() else 0


def _resources(lab: Lab, agent: int, when: str = "without them") -> list[Figure]:
    """The agent at rest, and the memory of both processes."""
    before = usage(agent)
    time.sleep(QUIET)  # nothing is waited for: this is the time over which its CPU is counted
    after = usage(agent)
    found = [
        Figure(f"a core's share that the agent uses at rest, {when}", "%", (100 * (after.cpu - before.cpu) / QUIET,)),
        Figure(f"the agent's memory, {when}", "MiB", (after.memory,)),
    ]
    return found if when.startswith("with ") else [*found, _memory(lab, when)]


def _memory(lab: Lab, when: str) -> Figure:
    return Figure(f"BIRD's memory, {when}", "MiB", (usage(_bird_pid(lab)).memory,))


def _rounds(lab: Lab, when: str = "without them") -> list[Figure]:
    """A second agent's rounds beside the one that runs: both find the kernel as it should be."""
    given = {
        "SALLYPORT_KUBECONFIG": lab.record.inner_kubeconfig,
        "SALLYPORT_RUNTIME_DIR": lab.record.runtime(NODE),
        "SALLYPORT_SERVICE_CIDRS": ",".join(map(str, lab.topology.service_networks)),
    }
    argv = [
        *(f"{name}={value}" for name, value in given.items()),
        sys.executable,
        "-m",
        "bench.rounds",
        NODE,
        str(ROUNDS),
    ]
    found = json.loads(lab.execute(NODE, "env", *argv))
    return [
        Figure(f"one round of the agent (sync), {when}", "s", tuple(found["sync"])),
        Figure(f"one look at BIRD's routes, {when}", "s", tuple(found["look"])),
    ]
