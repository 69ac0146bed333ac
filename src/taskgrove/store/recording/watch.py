"""The watch over a recorder's writer: nobody waits for the writer longer than is bearable.

A writer may hang in a system call that no timeout reaches: a network disk, a stopped server. The
watch reports that, and releases the callers that wait for the end of a run.

Threads: any thread may call :meth:`Watch.add` and :meth:`Watch.close`; ``_lock`` guards the
waiters. Waiters are released on the thread of a loop, which the first waiter starts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from taskgrove.loops.loop import Loop
from taskgrove.store.recording.inbox import Waiter

_LOGGER = logging.getLogger(__name__)


class Watch:
    """Releases waiters whose time is over.

    Args:
        patience_s: How long a caller waits, in seconds.
        overdue: Called with a waiter whose time is over, before it is released.
    """

    def __init__(self, patience_s: float, overdue: Callable[[Waiter], None]) -> None:
        self._patience_s = patience_s
        self._overdue = overdue
        self._lock = threading.Lock()
        self._waiters: set[Waiter] = set()
        self._loop = Loop("taskgrove-record-watch")
        self._closed = False

    def add(self, waiter: Waiter) -> bool:
        """Watch over a waiter from now on; False when the watch is closed."""
        with self._lock:
            if self._closed:
                return False
            self._waiters.add(waiter)
        self._loop.after(self._patience_s, partial(self._let_go, waiter))
        return True

    def close(self, timeout_s: float) -> None:
        """Release all who still wait, because nobody watches any more, and end the thread."""
        with self._lock:
            self._closed = True
            waiters = tuple(self._waiters)
        for waiter in waiters:
            self._loop.post(self._let_go, waiter)
        self._loop.stop(timeout_s)

    def _let_go(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiters.discard(waiter)
        if waiter.is_released:
            return
        try:
            self._overdue(waiter)
            waiter.release()
        except BaseException:  # the others wait, too
            _LOGGER.exception("run %s: what waited for its end raised", waiter.run_id)
