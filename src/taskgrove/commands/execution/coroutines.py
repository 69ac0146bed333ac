"""One event loop on a thread of its own, for the coroutines of an executor.

Threads: every method may be called by any thread. ``_lock`` guards the thread's start and stop;
``_run`` and the methods named ``_on_loop`` run on the thread itself.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from taskgrove.foreign_code import LOGGING
from taskgrove.loops.threads import spawn

if TYPE_CHECKING:
    import asyncio

_LOGGER = logging.getLogger(__name__)


class CoroutineEnd(NamedTuple):
    """How a coroutine ended, its own clean-up included.

    Attributes:
        value: The value that it returned.
        exception: The exception that it raised, or None.
        cancelled: Whether it ended as one that was cancelled.
    """

    value: Any = None
    exception: BaseException | None = None
    cancelled: bool = False


class RunningCoroutine:
    """A coroutine on the loop, from outside."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        awaitable: Awaitable[Any],
        ended: Callable[[CoroutineEnd], object],
    ) -> None:
        self._loop = loop
        self._awaitable = awaitable
        self._ended = ended
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[CoroutineEnd] | None = None
        self._cancel_asked = False

    def begin(self) -> None:
        """Have it begun; returns at once.

        Raises:
            RuntimeError: The loop was closed meanwhile.
        """
        self._loop.call_soon_threadsafe(self._begin_on_loop)

    def cancel(self) -> None:
        """Ask it to stop; it has ended once its own clean-up has."""
        self._cancel_asked = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has cancelled everything
            self._loop.call_soon_threadsafe(self._cancel_on_loop)

    def _begin_on_loop(self) -> None:
        task = self._loop.create_task(_guarded(self._awaitable), context=self._context)
        self._task = task
        task.add_done_callback(self._end_on_loop)
        if self._cancel_asked:
            task.cancel()

    def _cancel_on_loop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end_on_loop(self, task: asyncio.Task[CoroutineEnd]) -> None:
        if inspect.iscoroutine(self._awaitable):
            self._awaitable.close()  # one that was cancelled before its first step
        self._ended(CoroutineEnd(cancelled=True) if task.cancelled() else task.result())


class CoroutineLoop:
    """The event loop, started with the first coroutine.

    Args:
        join_s: How long coroutines that run at the end may take to clean up, in seconds.
    """

    def __init__(self, join_s: float) -> None:
        self._join_s = join_s
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def is_own_thread(self) -> bool:
        """True on the loop's thread."""
        return threading.current_thread() is self._thread

    def spawn(
        self, awaitable: Awaitable[Any], ended: Callable[[CoroutineEnd], object]
    ) -> RunningCoroutine | None:
        """Return a coroutine that is yet to begin; None once the loop is closed.

        Args:
            awaitable: A coroutine, or another awaitable.
            ended: Called with its end, on the loop's thread: it must not block.
        """
        import asyncio  # noqa: PLC0415 - slow to import, and only coroutines need it

        with self._lock:
            if self._closed:
                return None
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = spawn("taskgrove-coroutines", partial(self._run, self._loop))
            return RunningCoroutine(self._loop, awaitable, ended)

    def close(self) -> None:
        """Cancel the coroutines that still run, and end the thread."""
        with self._lock:
            self._closed = True
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(self._join_s + 1.0)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        import asyncio  # noqa: PLC0415

        asyncio.set_event_loop(loop)
        try:
            # An exit or interrupt that a task of a step raises comes out of the loop, and any
            # step may stop the loop: the other steps still need it.
            while not self._closed and not loop.is_closed():
                _logged(loop.run_forever)
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                waiting = asyncio.wait(left, timeout=self._join_s)
                _logged(lambda: loop.run_until_complete(waiting))
            _logged(lambda: loop.run_until_complete(loop.shutdown_asyncgens()))
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _logged(function: Callable[[], object]) -> None:
    try:
        function()
    except BaseException:
        with LOGGING:
            _LOGGER.exception("a coroutine raised an exit or an interrupt")


async def _guarded(awaitable: Awaitable[Any]) -> CoroutineEnd:
    """Await it and return its value or its exception, cancellation excepted."""
    import asyncio  # noqa: PLC0415

    try:
        return CoroutineEnd(await awaitable)
    except asyncio.CancelledError:
        raise
    except BaseException as exc:  # noqa: BLE001 - whatever it raises is an outcome
        return CoroutineEnd(exception=exc)
