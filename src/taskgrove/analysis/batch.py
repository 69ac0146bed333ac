"""SIGTERM from a batch system: its meaning, and the end of the run that follows.

A scheduler sends SIGTERM some time before it kills: at the end of the time limit, or because
a user has cancelled the job. Either ends an analysis that is not at fault.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

from taskgrove.errors import UsageError

#: So close to the end of an allocation a SIGTERM means its time limit, in seconds: schedulers
#: send it half a minute to a minute before they kill.
LIMIT_MARGIN_S: Final = 120.0
_JOB_VARIABLES: Final = (("SLURM_JOB_ID", "Slurm"), ("PBS_JOBID", "PBS"), ("LSB_JOBID", "LSF"))


@dataclass(frozen=True, slots=True)
class Allocation:
    """A batch job that this process belongs to.

    Attributes:
        system: Whose it is: ``Slurm``, ``PBS`` or ``LSF``.
        job: Its id.
        ends_at: When its time is up, in seconds since the epoch; None: not known.
    """

    system: str
    job: str
    ends_at: float | None = None

    @property
    def name(self) -> str:
        """Its name for people."""
        return f"{self.system} job {self.job}"

    @property
    def is_at_limit(self) -> bool:
        """Whether its time is up, or nearly."""
        return self.ends_at is not None and time.time() >= self.ends_at - LIMIT_MARGIN_S


def allocation_of(environment: Mapping[str, str]) -> Allocation | None:
    """Return the allocation that an environment describes, or None."""
    for name, system in _JOB_VARIABLES:
        job = environment.get(name)
        if job:
            end = environment.get("SLURM_JOB_END_TIME", "")
            return Allocation(system, job, float(end) if end.isdecimal() else None)
    return None


@contextmanager
def sigterm_calls(end: Callable[[str, bool], object]) -> Iterator[None]:
    """Have SIGTERM to *this* process call ``end`` while the block runs.

    Args:
        end: Called once in the main thread with the reason (``SIGTERM from outside, in Slurm
            job 7``) and whether the allocation's time is up; it cancels the run.

    Raises:
        UsageError: This is not the main thread; only that can hear signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("only the main thread can listen to signals")
    heard = False

    def listen(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal heard
        if heard:
            return
        heard = True
        allocation = allocation_of(os.environ)
        where = "" if allocation is None else f", in {allocation.name}"
        at_limit = allocation is not None and allocation.is_at_limit
        end(f"SIGTERM from outside{where}{' at its time limit' if at_limit else ''}", at_limit)

    before = signal.signal(signal.SIGTERM, listen)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
