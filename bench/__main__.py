"""`python -m bench [NAME …]`: run benchmarks, all of them if none is named, and write docs/performance.md anew."""

import os
import signal
import sys

from bench import (
    agent,
    bulk,
    chain,
    controller,
    events,
    exits,
    flows,
    gateways,
    lab,
    networks,
    packets,
    paths,
    planning,
    takeover,
)
from bench.document import write
from bench.figures import record

BENCHMARKS = {
    "planning": planning,
    "controller": controller,
    "bulk": bulk,
    "events": events,
    "chain": chain,
    "agent": agent,
    "takeover": takeover,
    "lab": lab,
    "networks": networks,
    "gateways": gateways,
    "flows": flows,
    "paths": paths,
    "exits": exits,
    "packets": packets,
}
"""Each has a docstring that says what it measures, and a function `measure` that does."""


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what a benchmark has started ends with it
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"bench: no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"{name}:")
        load = os.getloadavg()[0]
        record(name, BENCHMARKS[name].measure(), load)
        write({key: module.__doc__ or "" for key, module in BENCHMARKS.items()})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
