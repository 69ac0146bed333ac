"""Threads of the executor: a bounded pool whose lost slots can be replaced, and a timer.

``concurrent.futures`` is not used because it joins every thread at exit: a method that
ignores its abort would keep the program alive for ever (SPEC S7.5).

Threads: every public method may be called by any thread. ``WorkerPool._lock`` guards the
sets of workers, ``Timer._condition`` the heap; neither is held while a job runs.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from taskgrove.foreign_code import LOGGING

_LOGGER = logging.getLogger(__name__)

Job: TypeAlias = Callable[[], object]


class Worker:
    """One thread of a pool.

    Attributes:
        pool: The pool.
        abandoned: True when its slot was given to another thread: it ends when it can.
    """

    __slots__ = ("abandoned", "pool", "thread")

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.abandoned = False
        self.thread: threading.Thread | None = None


class _Here(threading.local):
    worker: Worker | None = None


_HERE: Final = _Here()


def current_pool() -> WorkerPool | None:
    """Return the pool whose thread the calling one is; None: of none, or it lost its place."""
    worker = _HERE.worker
    return None if worker is None or worker.abandoned else worker.pool


class WorkerPool:
    """A bounded pool of daemon threads, started as work comes.

    Args:
        max_workers: How many jobs run at once, at least 1.
        name: Prefix of the threads' names.
    """

    def __init__(self, max_workers: int, name: str) -> None:
        self.max_workers = max_workers
        self._name = name
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._replaced: set[Worker] = set()
        self._idle = 0
        self._numbers = itertools.count(1)
        self._closed = False

    @property
    def current_worker(self) -> Worker | None:
        """The pool's worker that the calling thread is, or None."""
        worker = _HERE.worker
        return worker if worker is not None and worker.pool is self else None

    def submit(self, job: Job) -> None:
        """Run ``job`` on a thread of the pool.

        Raises:
            RuntimeError: The machine has no thread for it; it runs if one can be started later.
        """
        self._queue.put(job)
        if len(self._workers) >= self.max_workers and not self._closed:
            return
        with self._lock:
            # Once it is closed no thread stays: what idled has ended, what works will. A job
            # that comes late has one of its own, which ends after it.
            # Each job takes the promise of one idle thread, or a thread of its own: two
            # jobs that wait for each other both run, as long as the bound allows it.
            if self._idle and not self._closed:
                self._idle -= 1
                return
        self._grow()

    def replace(self, worker: Worker) -> None:
        """Give the slot of a worker that hangs to a new thread."""
        with self._lock:
            if worker.abandoned or worker not in self._workers:
                return
            worker.abandoned = True
            self._workers.discard(worker)
            self._replaced.add(worker)
        self._grow()

    def close(self) -> None:
        """Let every thread end after the jobs that are queued; returns at once."""
        with self._lock:
            self._closed = True
            # One that was replaced as its job returned waits for another one.
            count = len(self._workers) + len(self._replaced)
        for _ in range(count):
            self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the threads to end; True when all have.

        Args:
            timeout_s: The most to wait for all of them, in seconds.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            workers = list(self._workers)
        for worker in workers:
            if worker.thread is not None and worker.thread is not threading.current_thread():
                worker.thread.join(max(0.0, deadline - time.monotonic()))
        return not any(w.thread is not None and w.thread.is_alive() for w in workers)

    def _grow(self) -> None:
        worker = Worker(self)
        worker.thread = threading.Thread(
            target=self._work,
            args=(worker,),
            name=f"{self._name}-{next(self._numbers)}",
            daemon=True,
        )
        with self._lock:
            if self._closed or len(self._workers) < self.max_workers:
                # Started under the lock, so that whoever sees the worker can join it.
                try:
                    worker.thread.start()
                except RuntimeError:
                    if not self._workers:
                        raise
                    return  # the machine has no further thread; one that is there takes the job
                self._workers.add(worker)
                if self._closed:  # close() has not counted it
                    self._queue.put(None)

    def _work(self, worker: Worker) -> None:
        _HERE.worker = worker
        queue = self._queue
        try:
            while not worker.abandoned:
                try:
                    job = queue.get_nowait()
                except Empty:
                    with self._lock:
                        self._idle += 1
                    job = queue.get()
                if job is None:
                    return
                try:
                    job()
                except BaseException:  # whoever waits for the thread would wait for ever
                    with LOGGING:
                        _LOGGER.exception("a job of pool %s raised", self._name)
                del job  # an idle thread keeps nothing of the last run alive
        finally:
            with self._lock:
                self._workers.discard(worker)
                self._replaced.discard(worker)


class TimerEntry:
    """One instant at which something is due."""

    __slots__ = ("action", "at", "number")

    def __init__(self, at: float, number: int, action: Callable[[], object]) -> None:
        self.at = at
        self.number = number
        self.action: Callable[[], object] | None = action

    def __lt__(self, other: TimerEntry) -> bool:
        return (self.at, self.number) < (other.at, other.number)

    def cancel(self) -> None:
        """Forget the action; safe at any time."""
        self.action = None


class Timer:
    """One thread that hands actions to a pool when they are due.

    Args:
        pool: Where due actions run: they may call foreign code, which must not hold up
            the next one.
        name: The thread's name.
    """

    def __init__(self, pool: WorkerPool, name: str) -> None:
        self._pool = pool
        self._name = name
        self._condition = threading.Condition()
        self._heap: list[TimerEntry] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def at(self, instant: float, action: Callable[[], object]) -> TimerEntry:
        """Have ``action`` run at ``instant`` (``time.monotonic()``, seconds)."""
        entry = TimerEntry(instant, next(self._numbers), action)
        with self._condition:
            heapq.heappush(self._heap, entry)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._watch, name=self._name, daemon=True)
                self._thread.start()
            if self._heap[0] is entry:
                self._condition.notify()
        return entry

    def close(self, timeout_s: float = 5.0) -> None:
        """End the thread; what is not yet due is forgotten."""
        with self._condition:
            self._closed = True
            self._heap.clear()
            self._condition.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _watch(self) -> None:
        while True:
            with self._condition:
                while not self._closed:
                    while self._heap and self._heap[0].action is None:
                        heapq.heappop(self._heap)
                    if not self._heap:
                        self._condition.wait()
                        continue
                    wait_s = self._heap[0].at - time.monotonic()
                    if wait_s <= 0:
                        break
                    self._condition.wait(min(wait_s, 3600.0))
                if self._closed:
                    return
                action = heapq.heappop(self._heap).action
            if action is None:
                continue
            try:
                self._pool.submit(action)
            except BaseException:  # no thread could be started; every later limit needs this one
                with LOGGING:
                    _LOGGER.exception("what was due could not be begun")
