"""A network namespace for as long as some work takes, without a name: whatever becomes of us, nothing is left of it."""

import ctypes
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sallyport.drivers.command import DriverError

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000


def apart(work: Callable[[], T]) -> T:
    """Do `work` in a new network namespace, to which the children that it starts belong, too. It is a thread's own
    and ends with it. Raises DriverError where the kernel does not permit one."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: _within(work)).result()


def _within(work: Callable[[], T]) -> T:
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise DriverError(f"no network namespace can be made to try the kernel in: {reason}; it takes CAP_SYS_ADMIN")
    return work()
