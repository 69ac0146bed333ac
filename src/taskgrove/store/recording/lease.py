"""This process, as a record names it: host, boot, pid and start.

A pid alone may name another process tomorrow; together with its start time it does not.
"""

from __future__ import annotations

import functools
import os
import socket
from typing import Final, NamedTuple

from taskgrove.store.database.holders import boot_id

#: How often a lease is renewed, in seconds.
HEARTBEAT_S: Final = 2.0
#: Packages whose version may change how a run goes.
PACKAGES: Final = (
    "pytango",
    "ska-control-model",
    "msgspec",
    "pydantic",
    "PyYAML",
    "SQLAlchemy",
    "numpy",
    "h5py",
)


class LeaseHolder(NamedTuple):
    """A process, so that it can be told from every other.

    Attributes:
        host: The name of the machine.
        boot_id: The kernel's id of this boot; empty where it has none.
        pid: The process.
        pid_started: When it began, as ``psutil.Process.create_time``, in seconds.
    """

    host: str
    boot_id: str
    pid: int
    pid_started: float


def this_process() -> LeaseHolder:
    """Return this process."""
    return _holder(os.getpid())  # asked anew in a forked child


@functools.lru_cache(maxsize=4)
def _holder(pid: int) -> LeaseHolder:
    import psutil  # noqa: PLC0415 - an extra

    return LeaseHolder(
        socket.gethostname(), boot_id(), pid, float(psutil.Process(pid).create_time())
    )
