"""Loop: one thread with an inbox and timers. SelectorLoop: the same, and descriptors.

All that a loop calls is called on its own thread, one function at a time, so the state that only
these functions use needs no lock. A function that raises is logged; the loop goes on.

Threads: any thread may call ``post``, ``at``, ``after`` and ``stop``, and cancel a timer.
``_lock`` guards the timers, and the start of the thread. The methods of :class:`SelectorLoop`
that watch descriptors belong to the loop's own thread.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from queue import Empty, SimpleQueue
from typing import Any, Final

from taskgrove.foreign_code import LOGGING
from taskgrove.loops.threads import Action, ThreadContext, spawn

_LOGGER = logging.getLogger(__name__)

_NEVER: Final = float("inf")
_LONGEST_WAIT_S: Final = 3600.0
#: From this many timers on, cancelled ones are removed before they are due.
_MANY_TIMERS: Final = 1000


class TimerEntry:
    """One action that is due at an instant (``time.monotonic()``, seconds)."""

    __slots__ = ("action", "at")

    def __init__(self, at: float, action: Action) -> None:
        self.at = at
        self.action: Action | None = action

    def cancel(self) -> None:
        """Forget the action; safe at any time, on any thread."""
        self.action = None


class Loop:
    """One daemon thread, started by the first thing it is asked for.

    Args:
        name: The thread's name.
        thread_context: Makes the context manager that the thread lives inside.

    Attributes:
        inbox: Items are ``(function, *arguments)``. Once the loop has started, a producer in a
            hurry may put an item directly.
    """

    def __init__(self, name: str, thread_context: ThreadContext = nullcontext) -> None:
        self.name = name
        self.inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._thread_context = thread_context
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ident: int | None = None
        self._stopping = False
        self._timers: list[tuple[float, int, TimerEntry]] = []
        self._next_at = _NEVER
        self._many_timers = _MANY_TIMERS
        self._numbers = itertools.count()

    @property
    def is_own_thread(self) -> bool:
        """True on the loop's thread."""
        return threading.get_ident() == self._ident

    @property
    def is_alive(self) -> bool:
        """True while the loop's thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread, unless it has been started or the loop has been stopped.

        Raises:
            RuntimeError: The machine has no further thread; a later call tries again.
        """
        with self._lock:
            if self._thread is None and not self._stopping:
                self._thread = spawn(self.name, self._run)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` called, after all that was posted before."""
        self.inbox.put((function, *args))
        if self._thread is None:
            self.start()

    def at(self, instant: float, action: Action) -> TimerEntry:
        """Have ``action`` called at an instant (``time.monotonic()``, seconds)."""
        entry = TimerEntry(instant, action)
        with self._lock:
            timers = self._timers
            heapq.heappush(timers, (instant, next(self._numbers), entry))
            if len(timers) > self._many_timers:  # most of them are cancelled limits
                timers[:] = [item for item in timers if item[2].action is not None]
                heapq.heapify(timers)
                self._many_timers = 2 * len(timers) + _MANY_TIMERS
            self._next_at = timers[0][0]
            is_next = timers[0][2] is entry
        if self._thread is None:
            self.start()
        elif is_next and not self.is_own_thread:
            self._wake()
        return entry

    def after(self, delay_s: float, action: Action) -> TimerEntry:
        """Have ``action`` called ``delay_s`` seconds from now."""
        return self.at(time.monotonic() + max(0.0, delay_s), action)

    def stop(self, timeout_s: float) -> bool:
        """End the thread after what is in the inbox; timers that are not due are forgotten.

        Args:
            timeout_s: The most to wait for the end, in seconds. The loop's own thread does not
                wait.

        Returns:
            True when the thread has ended.
        """
        with self._lock:
            if self._thread is None:
                self._stopping = True
                return True
        self.post(self._stop)
        return self.join(timeout_s)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end of the thread; its own thread does not wait. True when it has ended."""
        if self._thread is not None and not self.is_own_thread:
            self._thread.join(timeout_s)
        return not self.is_alive

    def _stop(self) -> None:
        self._stopping = True

    def _wake(self) -> None:
        self.inbox.put((_nothing,))

    def _run(self) -> None:
        self._ident = threading.get_ident()
        try:
            with self._thread_context():
                while not self._stopping:
                    self._take(self._wait_s())
                    if self._next_at != _NEVER:
                        self._run_due()
        finally:
            self._ident = None

    def _wait_s(self) -> float | None:
        if self._next_at == _NEVER:
            return None
        return min(max(0.0, self._next_at - time.monotonic()), _LONGEST_WAIT_S)

    def _take(self, wait_s: float | None) -> None:
        """Wait for something to do, and do it."""
        try:
            item = self.inbox.get(timeout=wait_s)
        except Empty:
            return
        self._guarded(*item)

    def _run_due(self) -> None:
        now = time.monotonic()
        while self._next_at <= now and not self._stopping:
            with self._lock:
                entry = heapq.heappop(self._timers)[2]
                while self._timers and self._timers[0][2].action is None:
                    heapq.heappop(self._timers)
                self._next_at = self._timers[0][0] if self._timers else _NEVER
            if entry.action is not None:
                self._guarded(entry.action)

    def _guarded(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except BaseException:  # without this thread all that it serves would wait for ever
            with LOGGING:
                _LOGGER.exception("thread %s continues after an unexpected error", self.name)


class SelectorLoop(Loop):
    """A loop that also waits for descriptors.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._selector = selectors.DefaultSelector()
        self._wake_lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, None)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` called, after all that was posted before."""
        super().post(function, *args)
        if not self.is_own_thread:
            self._wake()

    def watch(self, thing: Any, events: int, callback: Action) -> None:
        """Have ``callback`` called whenever a descriptor is ready."""
        self._selector.register(thing, events, callback)

    def rewatch(self, thing: Any, events: int, callback: Action) -> None:
        """Change what a watched descriptor is watched for."""
        self._selector.modify(thing, events, callback)

    def unwatch(self, thing: Any) -> None:
        """Leave a descriptor alone; call this before the descriptor is closed."""
        self._selector.unregister(thing)

    def close_descriptors(self) -> None:
        """Close the loop's own descriptors: after its end, or where it could not start."""
        with self._wake_lock:
            descriptor, self._wake_fd = self._wake_fd, -1
        if descriptor >= 0:
            self._selector.close()
            os.close(descriptor)

    def _wake(self) -> None:
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def _take(self, wait_s: float | None) -> None:
        if not self.inbox.empty():
            wait_s = 0.0
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                os.eventfd_read(self._wake_fd)
            elif self._is_watched(key):
                self._guarded(key.data)
        while not self.inbox.empty() and not self._stopping:
            self._guarded(*self.inbox.get_nowait())

    def _is_watched(self, key: selectors.SelectorKey) -> bool:
        """Whether a ready descriptor has not been left alone since."""
        now = self._selector.get_map().get(key.fd)
        return now is not None and now.data is key.data


def _nothing() -> None:
    """Wake a loop that waits for its inbox."""
