"""Connections that the kernel tracks: forgetting those whose translation no longer fits."""

from collections.abc import Iterable
from ipaddress import ip_address

from sallyport.drivers.command import run
from sallyport.model.state import IPAddress


def forget(addresses: Iterable[IPAddress], mask: int) -> list[str]:
    """Drop the entries of connections that these addresses have opened: each goes on, as a new one.

    Those with an egress id in their mark, which `mask` selects, are kept: they have a gateway of their own, and would
    lose it with their mark. That no entry was there is no failure: conntrack(8) exits with 1 then, and says so.
    """
    failures: list[str] = []
    for address in addresses:
        family = f"ipv{ip_address(address).version}"
        done = run(["conntrack", "-D", "-f", family, "-s", str(address), "-m", f"0/{mask:#x}"])
        if done.returncode != 0 and "0 flow entries" not in done.stderr:
            failures.append(f"conntrack of {address}: {done.stderr.strip()}")
    return failures
