"""Pool: a bounded number of threads, whose lost slots can be replaced.

``concurrent.futures`` is not used because it joins every thread at exit: a method that
ignores its abort would keep the program alive for ever.

Threads: every public method may be called by any thread. ``Pool._lock`` guards the sets of
workers; it is not held while a job runs.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from contextlib import nullcontext
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

from taskgrove.foreign_code import LOGGING
from taskgrove.loops.threads import Action, ThreadContext, spawn

_LOGGER = logging.getLogger(__name__)

Item = TypeVar("Item")
Found = TypeVar("Found")


class Worker:
    """One thread of a pool.

    Attributes:
        pool: The pool.
        abandoned: True when its slot was given to another thread: it ends when it can.
    """

    __slots__ = ("abandoned", "pool", "thread")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.abandoned = False
        self.thread: threading.Thread | None = None


class _Here(threading.local):
    worker: Worker | None = None


_HERE: Final = _Here()


def current_pool() -> Pool | None:
    """Return the pool whose thread the calling one is; None: of none, or it lost its place."""
    worker = _HERE.worker
    return None if worker is None or worker.abandoned else worker.pool


class Pool:
    """A bounded pool of daemon threads, started as work comes.

    Args:
        max_workers: How many jobs run at once, at least 1.
        name: Prefix of the threads' names.
        thread_context: Makes the context manager that each thread lives inside, such as
            ``tango.EnsureOmniThread``.
    """

    def __init__(
        self,
        max_workers: int,
        name: str,
        thread_context: ThreadContext = nullcontext,
    ) -> None:
        self.max_workers = max_workers
        self._name = name
        self._thread_context = thread_context
        self._queue: SimpleQueue[Action | None] = SimpleQueue()
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

    def submit(self, job: Action) -> None:
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
        with self._lock:
            if self._closed or len(self._workers) < self.max_workers:
                # Started under the lock, so that whoever sees the worker can join it.
                try:
                    name = f"{self._name}-{next(self._numbers)}"
                    worker.thread = spawn(name, partial(self._work, worker))
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
            with self._thread_context():
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


def call_for_each(
    function: Callable[[Item], Found], items: Iterable[Item], *, at_once: int, name: str
) -> list[Found]:
    """Return ``function(item)`` for each item, in order; several are called at once.

    Args:
        function: Called on threads of a pool that ends with the call.
        items: What the function is called with.
        at_once: How many calls run at once, at least 1.
        name: Prefix of the threads' names.

    Raises:
        BaseException: What the function raised for the first item for which it raised.
    """
    answers: list[Future[Found]] = []
    pool = Pool(at_once, name)
    try:
        for item in items:
            answers.append(Future())
            pool.submit(partial(_answer, answers[-1], function, item))
        wait(answers)
    finally:
        pool.close()
    return [answer.result() for answer in answers]


def _answer(answer: Future[Found], function: Callable[[Item], Found], item: Item) -> None:
    try:
        answer.set_result(function(item))
    except BaseException as exc:  # noqa: BLE001 - raised again by the thread that asks
        answer.set_exception(exc)
