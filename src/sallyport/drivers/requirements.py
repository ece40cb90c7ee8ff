"""What a command needs of its machine, asked before it changes anything."""

import os
import shutil

from sallyport.drivers.command import DriverError

PACKAGES = {"ip": "iproute2", "bridge": "iproute2", "nft": "nftables", "bird": "bird2", "conntrack": "conntrack"}
"""Debian package of each tool."""


def require(*tools: str) -> None:
    """Raise DriverError, one line with the next step in it, unless we are root and the tools are there."""
    if os.geteuid() != 0:
        raise DriverError("must run as root: it changes links, routes and nftables")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [tool for tool in tools if shutil.which(tool, path=path) is None]
    if missing:
        packages = sorted({PACKAGES.get(tool, tool) for tool in missing})
        raise DriverError(f"{', '.join(missing)} not found; install {' '.join(packages)}")
