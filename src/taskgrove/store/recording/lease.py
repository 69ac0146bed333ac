"""Who keeps a run alive: the host, the boot, the process and when it began.

A pid alone may name another process tomorrow; with its start time it does not.
"""

from __future__ import annotations

import functools
import getpass
import os
import socket
from typing import Final, NamedTuple

from taskgrove.store.database.holders import boot_id

#: How often a lease is renewed, in seconds.
HEARTBEAT_S: Final = 2.0


class LeaseHolder(NamedTuple):
    """A process, so that it can be told from every other.

    Attributes:
        host: The name of the machine.
        boot_id: What the kernel calls this boot; empty where it does not tell.
        pid: The process.
        pid_started: When it began, as ``psutil.Process.create_time``, in seconds.
    """

    host: str
    boot_id: str
    pid: int
    pid_started: float


def this_process() -> LeaseHolder:
    """Return who this process is."""
    return _holder(os.getpid())  # asked anew in a forked child


@functools.lru_cache(maxsize=4)
def _holder(pid: int) -> LeaseHolder:
    import psutil  # noqa: PLC0415 - an extra

    return LeaseHolder(
        socket.gethostname(), boot_id(), pid, float(psutil.Process(pid).create_time())
    )


@functools.cache
def user_name() -> str:
    """Return the user as whom this process runs: a name, or the number where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
