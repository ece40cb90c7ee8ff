"""Connections that the kernel tracks: forgetting those whose translation no longer fits."""

from collections.abc import Iterable
from ipaddress import ip_address

from sallyport.drivers.command import run
from sallyport.model.state import IPAddress


def forget(addresses: Iterable[IPAddress]) -> list[str]:
    """Drop the entries of connections that these addresses have opened: each goes on, as a new one.

    That no entry was there is no failure: conntrack(8) exits with 1 then, and says so.
    """
    failures: list[str] = []
    for address in addresses:
        family = f"ipv{ip_address(address).version}"
        done = run(["conntrack", "-D", "-f", family, "-s", str(address)])
        if done.returncode != 0 and "0 flow entries" not in done.stderr:
            failures.append(f"conntrack of {address}: {done.stderr.strip()}")
    return failures
