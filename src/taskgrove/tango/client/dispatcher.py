"""The thread of a client on which its commands change state, and the threads of its calls.

Everything that happens (an event, a reply, the outcome of a poll, a timer) is a function that is
called on one thread, one at a time: the state that it changes needs no lock.

Polls, resubscriptions and Abort are calls to devices, and a device that hangs holds its caller
for seconds. Jobs for devices that answered last time go to the *fast* lane, jobs for devices that
did not go to the *slow* one, so a few devices that hang never delay the others.

Threads: any thread may call every method. The number of threads is bounded and does not depend on
the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from taskgrove.loops.loop import Loop
from taskgrove.loops.pool import Pool
from taskgrove.loops.threads import Action, ThreadContext
from taskgrove.tango.client.failure import Failure, classify

#: Threads of each lane.
FAST_THREADS: Final = 4
SLOW_THREADS: Final = 2

Done: TypeAlias = Callable[[Any, Failure | None], object]

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
    """Count a call as out until it has returned; decorates a function, too."""
    call = object()
    _CALLS_OUT.add(call)
    try:
        yield
    finally:
        _CALLS_OUT.discard(call)


class Dispatcher(Loop):
    """One thread with an inbox and timers, and the lanes for calls that may block.

    Args:
        name: The beginning of the threads' names.
        thread_context: Makes the context manager that each thread of a lane lives inside
            (``tango.EnsureOmniThread``).
    """

    def __init__(self, name: str, thread_context: ThreadContext) -> None:
        super().__init__(f"{name}-dispatcher")
        self._fast = Pool(FAST_THREADS, f"{name}-rpc-fast", thread_context)
        self._slow = Pool(SLOW_THREADS, f"{name}-rpc-slow", thread_context)
        self.start()

    def submit(self, job: Callable[[], Any], done: Done, *, slow: bool = False) -> None:
        """Run a blocking job on a lane; ``done(value, failure)`` comes back to the dispatcher.

        Args:
            job: The job.
            done: Called with the value of the job, or with the failure that its exception proves.
            slow: True for a job that is likely to block.
        """

        def work() -> None:
            try:
                value = call_out()(job)()
            except BaseException as exc:  # noqa: BLE001 - the receiver decides what it means
                self.post(done, None, classify(exc))
            else:
                self.post(done, value, None)

        (self._slow if slow else self._fast).submit(work)

    def close_lanes(self, last_jobs: Sequence[tuple[Action, bool]], timeout_s: float) -> bool:
        """Run the last jobs, given with their ``slow``, and end the lanes' threads.

        Returns:
            True when all of them have ended within ``timeout_s`` seconds; a thread that still
            hangs in a call ends with the call.
        """
        for job, slow in last_jobs:
            (self._slow if slow else self._fast).submit(call_out()(job))
        deadline = time.monotonic() + timeout_s
        self._fast.close()
        self._slow.close()
        fast_ended = self._fast.join(timeout_s)
        return self._slow.join(max(0.0, deadline - time.monotonic())) and fast_ended
