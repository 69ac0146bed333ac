"""The watch over a recorder's writer: nobody waits for it longer than is bearable.

A writer may hang in a system call that no timeout reaches: a network disk, a stopped server. The
watch tells of it and lets those go who wait for the end of a run.

Threads: any thread may add a waiter; ``_changed`` guards them. The watch's own thread is
started with the first waiter; when it ends, it lets those go who still wait.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from taskgrove.store.recording.inbox import Waiter

_LOGGER = logging.getLogger(__name__)


class Watch:
    """Releases waiters whose time is over.

    Args:
        patience_s: How long one waits, in seconds.
        overdue: Called with a waiter whose time is over, before it is released.
    """

    def __init__(self, patience_s: float, overdue: Callable[[Waiter], None]) -> None:
        self._patience_s = patience_s
        self._overdue = overdue
        self._changed = threading.Condition()
        self._waiters: list[tuple[float, Waiter]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def add(self, waiter: Waiter) -> bool:
        """Watch over a waiter from now on; False when the watch is closed."""
        with self._changed:
            if self._closed:
                return False
            self._waiters.append((time.monotonic() + self._patience_s, waiter))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="taskgrove-record-watch", daemon=True
                )
                self._thread.start()
            self._changed.notify()
        return True

    def close(self, timeout_s: float) -> None:
        """End the thread; whoever still waits is let go, because nobody watches any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._waiters = [item for item in self._waiters if not item[1].is_released]
                now = time.monotonic()
                due = [waiter for at, waiter in self._waiters if self._closed or at <= now]
                if not due:
                    if self._closed:
                        return
                    left = min((at - now for at, _ in self._waiters), default=None)
                    self._changed.wait(left)
                    continue
                self._waiters = [item for item in self._waiters if item[1] not in due]
            for waiter in due:
                self._let_go(waiter)

    def _let_go(self, waiter: Waiter) -> None:
        if waiter.is_released:
            return
        try:
            self._overdue(waiter)
            waiter.release()
        except BaseException:  # the others wait, too
            _LOGGER.exception("run %s: what waited for its end raised", waiter.run_id)
