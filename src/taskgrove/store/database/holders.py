"""Whether the process that holds a lease still lives.

On the machine (the same boot, the same space of pids) that holds it, a lease is expired as soon as
its process is gone; elsewhere, when its heartbeat is older than several of its intervals.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from taskgrove.story.run_story import RunnerSign

#: A lease of another machine is expired after this many of its intervals ...
EXPIRED_INTERVALS: Final = 5.0
#: ... and never sooner than this, in seconds.
EXPIRED_LEAST_S: Final = 10.0
#: A sign of life is late after this many of its intervals.
_LATE_INTERVALS: Final = 3.0
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
    if _is_here(lease):
        process = _process_of(lease.pid)
        if process is None:
            return f"{who} is gone"
        if process.is_same(lease.pid_started) or is_fresh:
            return None
        return f"{who} is gone; the number is another process' now"
    return None if is_fresh else f"{who} has given no sign of life for {silent_s:,.0f} s"


def runner_sign(lease: Any, now_ns: int) -> RunnerSign:
    """Return the signs of life of the process that holds a lease, which is not expired.

    Args:
        lease: As :func:`why_expired`, with a process.
        now_ns: The time, UTC, nanoseconds since the epoch.
    """
    process = _process_of(lease.pid) if _is_here(lease) else None
    known = process is not None and process.is_same(lease.pid_started)
    return RunnerSign(
        lease.host,
        lease.pid,
        lease.heartbeat_ns,
        (now_ns - lease.heartbeat_ns) / 1e9 > _LATE_INTERVALS * lease.interval_s,
        process.is_stopped if known and process is not None else None,
    )


def _is_here(lease: Any) -> bool:
    return bool(lease.boot_id) and lease.boot_id == boot_id()


@functools.cache
def boot_id() -> str:
    """Return the kernel's name of this boot and this space of pids; empty: there is none.

    In a container of the same machine the same pid is another process.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


class _Process(NamedTuple):
    """A process as it is now.

    Attributes:
        started: When it began, in seconds.
        is_stopped: Whether a signal, or a debugger, has stopped it.
    """

    started: float
    is_stopped: bool

    def is_same(self, started: float) -> bool:
        """Return whether it is the process of its number that began then."""
        return abs(self.started - started) <= _START_SPREAD_S


def _process_of(pid: int) -> _Process | None:
    """Return a process; None when there is none (or a dead one)."""
    import psutil  # noqa: PLC0415 - an extra

    try:
        process = psutil.Process(pid)
        state = process.status()
        if state == psutil.STATUS_ZOMBIE:
            return None
        stopped = state in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
        return _Process(float(process.create_time()), stopped)
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return _Process(float(psutil.Process(pid).create_time()), False)
