"""Trials, made: each thing is written into a kernel as the agent writes it, and read back."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sallyport.drivers.command import run
from sallyport.drivers.kernel import PROC, Kernel
from sallyport.drivers.node.apart import apart
from sallyport.model.fitness import Outcome, Trial
from sallyport.model.kernel import KernelObject, Kind, Sysctl
from sallyport.model.settings import Settings
from sallyport.reconcile.diff import diff
from sallyport.reconcile.sequence import sequence

INHERITED = ("net/ipv6/conf/all/disable_ipv6", "net/ipv6/conf/default/disable_ipv6")
"""Settings that new devices of the node begin with and that decide what can be tried there."""
NO_IPV6 = "IPv6 is not in this kernel"


def attempt(trials: Iterable[Trial], settings: Settings, runtime_dir: Path) -> list[Outcome]:
    """Make trials in a network namespace of their own that begins as this one. Raises DriverError where there can be
    none, or a tool is missing. `runtime_dir` is an empty directory."""
    inherited = {path: text for path in INHERITED if (text := _value(path))}
    return apart(lambda: _attempt(trials, Kernel(settings, runtime_dir), inherited))


def _attempt(trials: Iterable[Trial], kernel: Kernel, inherited: Mapping[str, str]) -> list[Outcome]:
    for path, text in inherited.items():
        (PROC / path).write_text(text)
    run(["ip", "link", "set", "lo", "up"])
    done: dict[str, Outcome] = {}
    for trial in trials:
        needed = done.get(trial.needs)
        if needed is not None and not needed.works:
            done[trial.name] = Outcome(trial, None, f"not tried without {trial.needs}")
        elif trial.family == 6 and not inherited:
            done[trial.name] = Outcome(trial, None, NO_IPV6)
        else:
            reason = _loaded(trial.text) if trial.text else _written(kernel, trial.objects)
            done[trial.name] = Outcome(trial, not reason, reason)
    return list(done.values())


def _loaded(text: str) -> str:
    """Why nft or the kernel did not take a small table, which is removed again; "" if they did."""
    done = run(["nft", "-f", "-"], text)
    if done.returncode != 0:
        first = next(iter(done.stderr.strip().splitlines()), "refused")
        return first.partition("Error: ")[2] or first
    run(["nft", "delete", *text.split()[:3]])
    return ""


def _written(kernel: Kernel, objects: tuple[KernelObject, ...]) -> str:
    """Why some of these are not in the kernel when they are read back; "" if all are."""
    failures = kernel.apply(sequence(diff(objects, {})))
    if failures:
        return failures[0]
    found = kernel.read([item.path for item in objects if isinstance(item, Sysctl)])
    missing = [item for item in objects if found.get(Kind(item.kind), {}).get(item.key) != item]
    return f"{missing[0].kind.name.lower()} {missing[0].key} does not read back as it was written" if missing else ""


def _value(path: str) -> str:
    try:
        return (PROC / path).read_text().strip()
    except OSError:
        return ""
