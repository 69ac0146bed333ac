"""A fixed number of threads for calls that may block.

Polls, resubscriptions and Abort are calls to devices, and a device that hangs holds its
caller for seconds. Jobs for devices that answered last time go to the *fast* lane, jobs for
devices that did not go to the *slow* one, so a few that hang never delay the others.

Threads: any thread may call :meth:`RpcLanes.submit`; the lanes' own threads run the jobs.
The number of threads is fixed and does not depend on the work. ``SimpleQueue`` is the only
thing that they share.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue
from typing import Any, Final

_LOGGER = logging.getLogger(__name__)

#: Threads of each lane.
FAST_THREADS: Final = 4
SLOW_THREADS: Final = 2

#: The calls to devices that have not returned, of all clients.
_CALLS_OUT: Final[set[object]] = set()


def calls_are_out() -> bool:
    """Return True while a call to a device has not returned.

    PyTango's end waits for it, and Python's end breaks its thread off, which C++ answers by
    ending the process as by a crash.
    """
    return bool(_CALLS_OUT)


@contextmanager
def call_out() -> Iterator[None]:
    """Count what is called within as out until it has returned."""
    call = object()
    _CALLS_OUT.add(call)
    try:
        yield
    finally:
        _CALLS_OUT.discard(call)


class RpcLanes:
    """Two small pools of threads for blocking calls.

    Args:
        name: What the threads are named after.
        thread_context: Called once in each thread; the thread lives inside the context
            manager that it returns (``tango.EnsureOmniThread``).
    """

    def __init__(
        self, name: str, thread_context: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self._thread_context = thread_context
        self._fast: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._slow: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        lanes = [self._fast] * FAST_THREADS + [self._slow] * SLOW_THREADS
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"{name}-rpc-{i}", daemon=True)
            for i, lane in enumerate(lanes)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[], object], *, slow: bool = False) -> None:
        """Run ``job`` on a thread of a lane; an exception that it raises is logged.

        Args:
            job: What to run.
            slow: True for a job that is likely to block.
        """
        (self._slow if slow else self._fast).put(job)

    def close(self, timeout_s: float) -> bool:
        """Let the threads end after the jobs that wait.

        Args:
            timeout_s: How long to wait for all of them together, in seconds.

        Returns:
            True when every thread has ended; one that still hangs in a call ends with it.
        """
        deadline = time.monotonic() + timeout_s
        for lane, count in ((self._fast, FAST_THREADS), (self._slow, SLOW_THREADS)):
            for _ in range(count):
                lane.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, lane: SimpleQueue[Callable[[], object] | None]) -> None:
        with self._thread_context():
            while (job := lane.get()) is not None:
                try:
                    with call_out():
                        job()
                except BaseException:
                    _LOGGER.exception("a call to a device ended with an unexpected error")
