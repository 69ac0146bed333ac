"""Whether whoever holds a lease still lives.

On the machine (the same boot, the same space of pids) that holds it, a lease is expired as soon as
its process is gone; elsewhere, when its heartbeat is older than several of its intervals.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Final

#: A lease of another machine is expired after this many of its intervals ...
EXPIRED_INTERVALS: Final = 5.0
#: ... and never sooner than this, in seconds.
EXPIRED_LEAST_S: Final = 10.0
#: Two readings of when a process began may differ by this much, in seconds.
_START_SPREAD_S: Final = 1.0


def why_expired(lease: Any, now_ns: int) -> str | None:
    """Return why a lease is expired, as words for people; None while it is not.

    Args:
        lease: A row with the columns of ``leases``, by attribute; ``pid`` None: there is none.
        now_ns: The time, UTC, nanoseconds since the epoch.
    """
    if lease.pid is None:
        return "nobody holds it"
    silent_s = (now_ns - lease.heartbeat_ns) / 1e9
    # A clock that was set back makes a heartbeat of the future: that is a sign of life, too.
    is_fresh = silent_s <= max(EXPIRED_LEAST_S, EXPIRED_INTERVALS * lease.interval_s)
    who = f"its process {lease.pid} on {lease.host}"
    if lease.boot_id and lease.boot_id == boot_id():
        started = _start_of(lease.pid)
        if started is None:
            return f"{who} is gone"
        if abs(started - lease.pid_started) <= _START_SPREAD_S or is_fresh:
            return None
        return f"{who} is gone; the number is another process' now"
    return None if is_fresh else f"{who} has given no sign of life for {silent_s:,.0f} s"


@functools.cache
def boot_id() -> str:
    """Return what the kernel calls this boot and this space of pids; empty: it does not tell.

    In a container of the same machine the same pid is another process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(pid: int) -> float | None:
    """Return when a process began, in seconds; None when there is none (or a dead one)."""
    import psutil  # noqa: PLC0415 - an extra

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.create_time())
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return float(psutil.Process(pid).create_time())
