"""One thread that supervises all analyses of a process.

It sleeps until a program writes, ends, or a time has come: descriptors of pipes, channels and
processes (pidfd) wait in one selector. It calls no foreign code: callbacks, tasklets and
publishers run on small pools, so that none of them delays a limit.

The thread, the pools, the guardian live while there is an analysis, and a moment
longer; all of it is one :class:`SupervisorLoop`.

Threads: any thread may call every method of :class:`AnalysisSupervisor`, of the pools and of
:class:`~taskgrove.loops.loop.Loop`, and :meth:`SupervisorLoop.release`. ``_lock`` guards which
loop is current, how many analyses each has, since when it is idle, and whether it closes. The
other methods of a loop belong to its own thread. A loop that closes is not leased any more: an
analysis that is started meanwhile has a new one.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import threading
import time
from pathlib import Path
from typing import Final, Protocol

from taskgrove.analysis.running.guardian import Guardian, end_all_leftovers
from taskgrove.loops.loop import SelectorLoop, TimerEntry
from taskgrove.loops.pool import Pool

_LOGGER = logging.getLogger(__name__)

#: How long the thread outlives its last analysis, in seconds: the next one starts sooner.
LINGER_S: Final = 0.5
#: How long before closing gives up what still runs is killed, in seconds.
CLOSE_MARGIN_S: Final = 5.0
#: Threads for what comes before a start, for what comes after an end, and for callbacks.
_WORKERS: Final = 4
_JOIN_S: Final = 1.0


class Supervised(Protocol):
    """An analysis, as its loop knows it."""

    def ask_to_end(self, reason: str, within_s: float | None = None) -> None:
        """Begin to end it, with SIGKILL within a time; called by the loop's thread."""
        ...


class SupervisorLoop(SelectorLoop):
    """The thread and all that belongs to it."""

    def __init__(self, owner: AnalysisSupervisor, ledger_folder: Path | None) -> None:
        super().__init__("taskgrove-analyses")
        self._owner = owner
        self._ledger_folder = ledger_folder
        self._marks = itertools.count(1)
        self._supervised: set[Supervised] = set()
        self._ending: tuple[str, float] | None = None
        #: What the owner's lock guards: the leases, and the timer of an idle loop.
        self.analyses = 0
        self.closing = False
        self.linger: TimerEntry | None = None
        self.guardian = Guardian(ledger_folder)
        self.starters = Pool(_WORKERS, "taskgrove-analysis-start")
        self.workers = Pool(_WORKERS, "taskgrove-analysis-end")
        self.callers = Pool(_WORKERS, "taskgrove-analysis-callback")

    def next_mark(self) -> str:
        """Return a mark for the environment of a new analysis."""
        return f"{self.guardian.mark}.{next(self._marks)}"

    def release(self) -> None:
        """Report that an analysis, for which the loop was leased, is over."""
        self._owner.released(self)

    def add(self, supervised: Supervised) -> None:
        """Know of an analysis, to end it when the process ends, or now if all were to end."""
        self._supervised.add(supervised)
        if self._ending is not None:  # it began while the others were asked
            reason, kill_by = self._ending
            supervised.ask_to_end(reason, max(0.0, kill_by - time.monotonic()))

    def discard(self, supervised: Supervised) -> None:
        """Forget an analysis."""
        self._supervised.discard(supervised)

    def end_all(self, reason: str, within_s: float) -> None:
        """Ask every analysis to end, with SIGKILL after ``within_s`` seconds at the latest."""
        self._ending = (reason, time.monotonic() + within_s)
        for supervised in tuple(self._supervised):
            supervised.ask_to_end(reason, within_s)

    def end_if_idle(self) -> None:
        """End the thread, unless there is an analysis."""
        if self._owner.may_end(self):
            self._stop()

    def _run(self) -> None:
        try:
            self._guarded(self.guardian.open)
            self._guarded(self.workers.submit, lambda: end_all_leftovers(self._ledger_folder))
            super()._run()
        finally:
            self._owner.left(self)
            self._close()

    def _close(self) -> None:
        pools = (self.starters, self.workers, self.callers)
        for pool in pools:
            pool.close()
        self.guardian.close()
        self.close_descriptors()
        joined = [pool.join(_JOIN_S) for pool in pools]
        if not all(joined):
            _LOGGER.warning("a callback or tasklet of an analysis hangs; its thread is left behind")


class AnalysisSupervisor:
    """Where executors have their analyses supervised; most use :func:`default_supervisor`.

    Args:
        linger_s: How long its thread outlives the last analysis, in seconds.
        ledger_folder: Where it keeps what it has started; None: a private folder of the user.
    """

    def __init__(self, *, linger_s: float = LINGER_S, ledger_folder: Path | None = None) -> None:
        self._linger_s = linger_s
        self._ledger_folder = ledger_folder
        self._lock = threading.Lock()
        self._loop: SupervisorLoop | None = None
        self._former: SupervisorLoop | None = None

    @property
    def guardian_pid(self) -> int | None:
        """The process that ends all analyses should this one be killed; None while idle."""
        with self._lock:
            loop = self._loop
        return None if loop is None else loop.guardian.pid

    def lease(self) -> SupervisorLoop:
        """Return the loop for one more analysis; :meth:`SupervisorLoop.release` gives it back."""
        with self._lock:
            loop = self._loop
            if loop is None or loop.closing:
                loop = SupervisorLoop(self, self._ledger_folder)
                try:
                    loop.start()
                except BaseException:  # no more threads: the next analysis tries anew
                    loop.close_descriptors()
                    raise
                self._former, self._loop = self._loop or self._former, loop
            loop.analyses += 1
            if loop.linger is not None:
                loop.linger.cancel()
        return loop

    def released(self, loop: SupervisorLoop) -> None:
        """Count an analysis of a loop as over."""
        with self._lock:
            loop.analyses -= 1
            if not loop.analyses:
                linger_s = 0.0 if loop.closing else self._linger_s
                loop.linger = loop.after(linger_s, loop.end_if_idle)

    def may_end(self, loop: SupervisorLoop) -> bool:
        """Return whether a loop has nothing to do any more; it is then no longer leased."""
        with self._lock:
            if loop.analyses:
                return False
            self._leave(loop)
            return True

    def left(self, loop: SupervisorLoop) -> None:
        """Know that a loop's thread ends, for whatever reason: it is no longer leased."""
        with self._lock:
            self._leave(loop)

    def _leave(self, loop: SupervisorLoop) -> None:
        if self._loop is loop:
            self._former, self._loop = loop, None

    def close(
        self, timeout_s: float = 15.0, *, reason: str = "its executor's process ends"
    ) -> bool:
        """End all analyses, and the thread with all that belongs to it.

        Another analysis may be started later; the supervisor then begins anew.

        Args:
            timeout_s: The most to wait for all of that, in seconds; what does not end by itself
                is killed before that time is up, whatever its own grace period is.
            reason: Why, for those that run.

        Returns:
            True when all have ended in time.
        """
        deadline = time.monotonic() + timeout_s
        within_s = max(0.0, timeout_s - CLOSE_MARGIN_S)
        with self._lock:
            loops = [loop for loop in (self._former, self._loop) if loop is not None]
            for loop in loops:
                loop.closing = True
        for loop in loops:
            loop.post(loop.end_all, reason, within_s)
            loop.post(loop.end_if_idle)
        if any(loop.is_own_thread for loop in loops):
            return False
        for loop in loops:
            loop.join(deadline - time.monotonic())
        return not any(loop.is_alive for loop in loops)


_default_lock = threading.Lock()
_default: AnalysisSupervisor | None = None


def default_supervisor() -> AnalysisSupervisor:
    """Return the supervisor that all executors of this process share unless told otherwise.

    What still runs when the interpreter ends is ended.
    """
    global _default  # noqa: PLW0603 - there is one for each process
    with _default_lock:
        if _default is None:
            _default = AnalysisSupervisor()
            atexit.register(_default.close)
        return _default


def _forget_default() -> None:
    """Begin anew in a forked process: its parent's thread is not there."""
    global _default, _default_lock  # noqa: PLW0603
    _default_lock = threading.Lock()
    if _default is not None:
        atexit.unregister(_default.close)
    _default = None


os.register_at_fork(after_in_child=_forget_default)
