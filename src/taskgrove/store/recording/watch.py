"""The watch over a recorder's writer: nobody waits for it longer than is bearable.

A writer may hang in a system call that no timeout reaches: a network disk, a stopped server. The
watch tells of it and lets those go who wait for the end of a run.

Threads: any thread may add a waiter; ``_changed`` guards them. The watch's own thread is
started with the first waiter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from taskgrove.store.recording.inbox import Waiter


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

    def add(self, waiter: Waiter) -> None:
        """Watch over a waiter from now on."""
        with self._changed:
            if self._closed:
                return
            self._waiters.append((time.monotonic() + self._patience_s, waiter))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="taskgrove-record-watch", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """End the thread."""
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
                if self._closed:
                    return
                now = time.monotonic()
                due = [waiter for at, waiter in self._waiters if at <= now]
                if not due:
                    left = min((at - now for at, _ in self._waiters), default=None)
                    self._changed.wait(left)
                    continue
                self._waiters = [item for item in self._waiters if item[0] > now]
            for waiter in due:
                if not waiter.is_released:
                    self._overdue(waiter)
                    waiter.release()
