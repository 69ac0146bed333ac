"""One thread that supervises all analyses of a process.

It sleeps until a program writes, ends, or a time has come: descriptors of pipes, channels and
processes (pidfd) wait in one selector. It calls no foreign code: callbacks, tasklets and
publishers run on small pools, so that none of them delays a limit.

The thread, the pools, the ledger and its guardian live while there is an analysis, and a moment
longer; all of it is one :class:`SupervisorLoop`.

Threads: every method of :class:`AnalysisSupervisor`, and :meth:`SupervisorLoop.call`,
:meth:`SupervisorLoop.release` and the pools may be used by any thread. ``_lock``
guards which loop is current, how many analyses each has, since when it has none, and whether it
closes or is gone. The other methods of a loop belong to its own thread. A loop that closes is not
leased any more: what is started meanwhile begins anew.
"""

from __future__ import annotations

import atexit
import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from taskgrove.analysis.running.ledger import Ledger, end_all_leftovers
from taskgrove.loops.pool import Pool

_LOGGER = logging.getLogger(__name__)

#: How long the thread outlives its last analysis, in seconds: the next one starts sooner.
LINGER_S: Final = 0.5
#: How long before closing gives up what still runs is killed, in seconds.
CLOSE_MARGIN_S: Final = 5.0
#: Threads for what comes before a start, for what comes after an end, and for callbacks.
_WORKERS: Final = 4
_JOIN_S: Final = 1.0
_MANY_TIMERS: Final = 1000
_LONGEST_SLEEP_S: Final = 3600.0


class Supervised(Protocol):
    """An analysis, as its loop knows it."""

    def ask_to_end(self, reason: str, within_s: float | None = None) -> None:
        """Begin to end it, with SIGKILL within a time; called by the loop's thread."""
        ...


class Timer:
    """Something that is due at an instant."""

    __slots__ = ("action", "at", "number")

    def __init__(self, at: float, number: int, action: Callable[[], object]) -> None:
        self.at = at
        self.number = number
        self.action: Callable[[], object] | None = action

    def __lt__(self, other: Timer) -> bool:
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self) -> None:
        """Forget it."""
        self.action = None


class SupervisorLoop:
    """The thread and all that belongs to it."""

    def __init__(self, owner: AnalysisSupervisor, ledger_folder: Path | None) -> None:
        self._owner = owner
        self._ledger_folder = ledger_folder
        self._selector = selectors.DefaultSelector()
        self._commands: deque[Callable[[], object]] = deque()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._timers: list[Timer] = []
        self._many_timers = _MANY_TIMERS
        self._numbers = itertools.count(1)
        self._supervised: set[Supervised] = set()
        self._over = False
        self._ending: tuple[str, float] | None = None
        self.analyses = 0
        self.idle_since = 0.0
        self.closing = False
        self.gone = False
        self.ledger = Ledger(ledger_folder)
        self.starters = Pool(_WORKERS, "taskgrove-analysis-start")
        self.workers = Pool(_WORKERS, "taskgrove-analysis-end")
        self.callers = Pool(_WORKERS, "taskgrove-analysis-callback")
        self.thread = threading.Thread(target=self._run, name="taskgrove-analyses", daemon=True)

    def call(self, function: Callable[[], object]) -> None:
        """Have ``function`` called by the thread, soon."""
        self._commands.append(function)
        if threading.current_thread() is not self.thread:
            self._owner.wake(self)

    def next_mark(self) -> str:
        """Return a mark for the environment of a new analysis."""
        return f"{self.ledger.mark}.{next(self._numbers)}"

    def release(self) -> None:
        """Tell that an analysis, for which the loop was leased, is over."""
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

    def watch(self, thing: Any, events: int, callback: Callable[[], object]) -> None:
        """Have ``callback`` called whenever a descriptor is ready."""
        self._selector.register(thing, events, callback)

    def rewatch(self, thing: Any, events: int, callback: Callable[[], object]) -> None:
        """Change what a watched descriptor is watched for."""
        self._selector.modify(thing, events, callback)

    def unwatch(self, thing: Any) -> None:
        """Leave a descriptor alone; before it is closed."""
        self._selector.unregister(thing)

    def at(self, instant: float, action: Callable[[], object]) -> Timer:
        """Have ``action`` called at an instant (``time.monotonic()``, seconds)."""
        timer = Timer(instant, next(self._numbers), action)
        heapq.heappush(self._timers, timer)
        if len(self._timers) > self._many_timers:  # most of them are cancelled limits
            self._timers = [item for item in self._timers if item.action is not None]
            heapq.heapify(self._timers)
            self._many_timers = 2 * len(self._timers) + _MANY_TIMERS
        return timer

    def signal_wake(self) -> None:
        """Wake the thread; the owner calls it under its lock, while the loop exists."""
        os.eventfd_write(self._wake, 1)

    def discard_unstarted(self) -> None:
        """Close what a loop holds whose thread could not be started."""
        self._selector.close()
        os.close(self._wake)

    def _run(self) -> None:
        try:
            self._selector.register(self._wake, selectors.EVENT_READ, None)
            _guarded(self.ledger.open)
            _guarded(lambda: self.workers.submit(lambda: end_all_leftovers(self._ledger_folder)))
            while not self._over:
                for key, _ in self._selector.select(self._sleep_s()):
                    if key.data is None:
                        os.eventfd_read(self._wake)
                    elif self._is_watched(key):
                        _guarded(key.data)
                self._run_due()
                while self._commands:
                    _guarded(self._commands.popleft())
                self._over = self._owner.may_end(self)
        finally:
            self._owner.left(self)
            self._close()

    def _is_watched(self, key: selectors.SelectorKey) -> bool:
        """Whether what was found ready together with others has not been left alone since."""
        now = self._selector.get_map().get(key.fd)
        return now is not None and now.data is key.data

    def _sleep_s(self) -> float:
        if self._commands:
            return 0.0
        while self._timers and self._timers[0].action is None:
            heapq.heappop(self._timers)
        wait_s = self._timers[0].at - time.monotonic() if self._timers else _LONGEST_SLEEP_S
        return min(max(0.0, wait_s), self._owner.linger_left_s(self))

    def _run_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            action = heapq.heappop(self._timers).action
            if action is not None:
                _guarded(action)

    def _close(self) -> None:
        pools = (self.starters, self.workers, self.callers)
        for pool in pools:
            pool.close()
        self.ledger.close()
        self._selector.close()
        os.close(self._wake)
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
        return None if loop is None else loop.ledger.guardian_pid

    def lease(self) -> SupervisorLoop:
        """Return the loop for one more analysis; :meth:`SupervisorLoop.release` gives it back."""
        with self._lock:
            loop = self._loop
            if loop is None or loop.closing:
                loop = SupervisorLoop(self, self._ledger_folder)
                try:
                    loop.thread.start()
                except BaseException:  # no more threads: the next analysis tries anew
                    loop.discard_unstarted()
                    raise
                self._former, self._loop = self._loop or self._former, loop
            loop.analyses += 1
        return loop

    def released(self, loop: SupervisorLoop) -> None:
        """Count an analysis of a loop as over."""
        with self._lock:
            loop.analyses -= 1
            if not loop.analyses:
                loop.idle_since = time.monotonic()
                if not loop.gone:
                    loop.signal_wake()

    def wake(self, loop: SupervisorLoop) -> None:
        """Wake a loop's thread, if it still runs."""
        with self._lock:
            if not loop.gone:
                loop.signal_wake()

    def linger_left_s(self, loop: SupervisorLoop) -> float:
        """Return how long an idle loop may still sleep, in seconds."""
        with self._lock:
            if loop.analyses:
                return _LONGEST_SLEEP_S
            if loop.closing:
                return 0.0
            return max(0.0, loop.idle_since + self._linger_s - time.monotonic())

    def may_end(self, loop: SupervisorLoop) -> bool:
        """Return whether a loop has nothing to do any more; it is then no longer leased."""
        with self._lock:
            lingered = time.monotonic() >= loop.idle_since + self._linger_s
            if loop.analyses or not (lingered or loop.closing):
                return False
            self._leave(loop)
            return True

    def left(self, loop: SupervisorLoop) -> None:
        """Know that a loop's thread ends, for whatever reason: it is no longer leased."""
        with self._lock:
            self._leave(loop)

    def _leave(self, loop: SupervisorLoop) -> None:
        loop.gone = True
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
            loop.call(partial(loop.end_all, reason, within_s))
        threads = [loop.thread for loop in loops]
        if threading.current_thread() in threads:
            return False
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)


def _guarded(function: Callable[[], object]) -> None:
    """Call what must not end the thread, whatever happens in it."""
    try:
        function()
    except BaseException:
        _LOGGER.exception("the supervisor of analyses went on after an error of its own")


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
