"""The one thread of a client on which its commands change state.

Everything that happens (an event, a reply, the outcome of a poll, a timer) is a function put
into one inbox and called here, one at a time: what it touches needs no lock.

Threads: any thread may call :meth:`Dispatcher.post` and :meth:`Dispatcher.submit`;
:meth:`Dispatcher.at` belongs to the dispatcher thread.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

from taskgrove.tango.client.failure import Failure, classify
from taskgrove.tango.client.rpc_lanes import RpcLanes

_LOGGER = logging.getLogger(__name__)

Done: TypeAlias = Callable[[Any, Failure | None], object]


class Dispatcher:
    """One thread with an inbox and timers, and the lanes for what may block.

    Args:
        name: What the threads are named after.
        thread_context: See :class:`~taskgrove.tango.client.rpc_lanes.RpcLanes`.
    """

    def __init__(
        self, name: str, thread_context: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        #: Items are ``(function, *arguments)``; a producer in a hurry may put one directly.
        self.inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._stopping = False
        self._lanes = RpcLanes(name, thread_context)
        self._thread = threading.Thread(target=self._run, name=f"{name}-dispatcher", daemon=True)
        self._thread.start()

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have ``function(*args)`` called on the dispatcher thread."""
        self.inbox.put((function, *args))

    def at(self, delay_s: float, function: Callable[[], object]) -> None:
        """Have a function called ``delay_s`` seconds from now; on the dispatcher thread only."""
        due = time.monotonic() + max(0.0, delay_s)
        heapq.heappush(self._timers, (due, next(self._order), function))

    def submit(self, job: Callable[[], Any], done: Done, *, slow: bool = False) -> None:
        """Run a blocking job on a lane; ``done(value, failure)`` comes back to the dispatcher.

        Args:
            job: What to run.
            done: Called with the job's value, or with what its exception proves.
            slow: True for a job that is likely to block.
        """

        def work() -> None:
            try:
                value = job()
            except BaseException as exc:  # noqa: BLE001 - the receiver decides what it means
                self.inbox.put((done, None, classify(exc)))
            else:
                self.inbox.put((done, value, None))

        self._lanes.submit(work, slow=slow)

    def stop(self, timeout_s: float) -> None:
        """End the dispatcher thread after what is in the inbox; the lanes go on."""
        self.post(self._stop)
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def close_lanes(
        self, last_jobs: Sequence[tuple[Callable[[], object], bool]], timeout_s: float
    ) -> bool:
        """Run the last jobs, given with their ``slow``, and end the lanes' threads.

        Returns:
            True when all of them have ended within ``timeout_s`` seconds.
        """
        for job, slow in last_jobs:
            self._lanes.submit(job, slow=slow)
        return self._lanes.close(timeout_s)

    def _stop(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        get, timers = self.inbox.get, self._timers
        while not self._stopping:
            wait = max(0.0, timers[0][0] - time.monotonic()) if timers else None
            try:
                item = get(timeout=wait)
            except queue.Empty:
                pass
            else:
                self._guarded(item[0], *item[1:])
            while timers and timers[0][0] <= time.monotonic():
                self._guarded(heapq.heappop(timers)[2])

    def _guarded(self, function: Callable[..., object], *args: Any) -> None:
        try:
            function(*args)
        except BaseException:  # without this thread every command would wait for ever
            _LOGGER.exception("the dispatcher of the command client met an unexpected error")
