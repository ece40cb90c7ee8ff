"""`python -m bench [NAME …]`: run benchmarks, all of them if none is named."""

import sys

from bench import planning, takeover
from bench.figures import record

BENCHMARKS = {"planning": planning.measure, "takeover": takeover.measure}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"bench: no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"{name}:")
        record(name, BENCHMARKS[name]())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
