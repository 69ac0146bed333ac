"""The parts that all runs of one executor share: threads, the timer and the runners."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Final

from taskgrove.commands.execution.internal_runner import InternalRunner
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.task import TaskExecutionType
from taskgrove.errors import UsageError
from taskgrove.loops.loop import Loop, TimerEntry
from taskgrove.loops.pool import Pool
from taskgrove.loops.threads import Action

#: Threads for deadlines and aborts; started only when there is something for them.
_CONTROL_THREADS: Final = 4


class Engine:
    """The parts that all runs of one executor share: threads, the timer and the runners."""

    def __init__(
        self, max_workers: int, grace_s: float, runners: Mapping[TaskExecutionType, LeafRunner]
    ) -> None:
        self.grace_s = grace_s
        self._pid = os.getpid()
        self.runners = runners
        self.pool = Pool(max_workers, "taskgrove-worker")
        self.control = Pool(_CONTROL_THREADS, "taskgrove-control")
        self._timer = Loop("taskgrove-timer")

    def at(self, instant: float, action: Action) -> TimerEntry:
        """Have ``action`` run on a control thread at ``instant`` (``time.monotonic()``, seconds).

        It may call foreign code, which must not delay the next timer.
        """
        return self._timer.at(instant, partial(self.control.submit, action))

    def check_process(self) -> None:
        """Raise UsageError in a process that was forked: the threads stayed in the other one."""
        if os.getpid() != self._pid:
            raise UsageError(
                f"the executor was made in process {self._pid}, whose threads a forked process"
                " does not have",
                hint="make an executor in the process that uses it",
            )

    def has_thread_of_coroutines(self) -> bool:
        """Return whether the calling thread runs the coroutines of its INTERNAL leaves."""
        runner = self.runners.get(TaskExecutionType.INTERNAL)
        return isinstance(runner, InternalRunner) and runner.is_own_thread

    @property
    def is_own_thread(self) -> bool:
        """True on a thread of the pool or on a control thread."""
        return self.pool.current_worker is not None or self.control.current_worker is not None

    def close(self) -> None:
        """Let all threads end once their work is done; returns at once."""
        self._timer.stop(0.0)
        self.pool.close()
        self.control.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads to end, for each kind at most ``timeout_s`` seconds."""
        self._timer.stop(timeout_s)
        self.pool.join(timeout_s)
        self.control.join(timeout_s)
