"""Runs INTERNAL leaves: methods, functions and coroutine functions of this process.

Threads: ``start`` runs on a pool thread of the executor and calls the method there, so a
method may hold its thread as long as it likes. Coroutine functions run on one event loop,
which has a thread of its own, started with the first of them. ``_lock`` guards the table of
running coroutines.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Awaitable
from typing import Any

from taskgrove.commands.execution.coroutines import CoroutineEnd, CoroutineLoop, RunningCoroutine
from taskgrove.commands.execution.manager_aborts import ManagerAborts, has_abort_tasks
from taskgrove.commands.execution.method_call import Convention, MethodCall
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.task import LeafTask
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, exception_line


class InternalRunner:
    """The runner of INTERNAL leaves.

    Args:
        join_s: How long coroutines that run at its end may take to clean up, in seconds.
    """

    def __init__(self, join_s: float = 5.0) -> None:
        self._lock = threading.Lock()
        self._loop = CoroutineLoop(join_s)
        self._managers = ManagerAborts()
        self._running: dict[LeafContext, RunningCoroutine] = {}

    @property
    def is_own_thread(self) -> bool:
        """True on the thread that runs the coroutines."""
        return self._loop.is_own_thread

    def limits(self, leaf: LeafTask) -> LeafLimits:
        """Return the limits: nothing is enforced on a method that takes no abort event."""
        try:
            convention = Convention.of(leaf.resolve())
        except (AttributeError, TypeError):
            return LeafLimits("none", "reported", f"{leaf.command_name} does not exist")
        except BaseException as exc:  # noqa: BLE001 - its start meets it again, and tells it
            return LeafLimits("none", "reported", f"looking it up raised {exception_line(exc)}")
        if convention.takes_abort_event:
            return LeafLimits("ask", "enforced")
        if convention.is_coroutine:
            return LeafLimits("kill", "enforced")
        if has_abort_tasks(leaf):
            return LeafLimits("ask", "reported", "abort_tasks ends every task of its manager")
        return LeafLimits(
            "none",
            "reported",
            f"{leaf.command_name} takes no task_abort_event: once it runs it can neither be"
            " aborted nor held to a limit, only reported",
        )

    def start(self, context: LeafContext) -> None:
        """Call the method; return when it returned, or when its coroutine was scheduled."""
        function = context.leaf.resolve()
        call = MethodCall(context, function)
        args, keywords = call.arguments()
        context.update(status=TaskStatus.IN_PROGRESS)
        try:
            value = function(*args, **keywords)
            if value is not None and inspect.isawaitable(value):
                self._spawn(call, value)
                return
        except BaseException as exc:  # noqa: BLE001 - whatever it raises is an outcome
            call.raised(exc, when_called=True)
            return
        call.returned(value)

    def abort(self, context: LeafContext, reason: str) -> None:  # noqa: ARG002 - the event tells
        """Cancel a coroutine that takes no abort event; others have been told by theirs.

        A manager that queues the tasks of its methods has an abort event of its own: only its
        ``abort_tasks`` reaches them. It ends all of them, as a device's Abort does, so a limit
        calls it only where the leaf has ``abort_on_timeout``.
        """
        with self._lock:
            coroutine = self._running.get(context)
        if coroutine is not None:
            coroutine.cancel()
        if not context.is_over or context.leaf.abort_on_timeout:
            self._managers.abort(context)

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Refuse: a method ends with its process."""
        context.finish(
            TaskStatus.FAILED,
            (ResultCode.FAILED, f"{outside_id} ran in a process that has ended"),
            cause=Cause(kind="lost", outside_id=outside_id),
        )

    def close(self) -> None:
        """Cancel the coroutines and end the event loop's thread."""
        self._loop.close()

    def _spawn(self, call: MethodCall, awaitable: Awaitable[Any]) -> None:
        context = call.context
        coroutine = self._loop.spawn(awaitable, functools.partial(self._ended, call))
        if coroutine is None:  # its leaf was abandoned, and everything else has ended since
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            call.aborted("not awaited: it came after the end of the executor", "not_started")
            return
        if not call.convention.takes_abort_event:
            with self._lock:
                self._running[context] = coroutine
            if context.abort_event.is_set():
                coroutine.cancel()  # the abort came before there was something to cancel
        coroutine.begin()

    def _ended(self, call: MethodCall, end: CoroutineEnd) -> None:
        with self._lock:
            self._running.pop(call.context, None)
        # On another thread: foreign code may be called, and all coroutines share the loop.
        call.context.submit(functools.partial(_settle, call, end))


def _settle(call: MethodCall, end: CoroutineEnd) -> None:
    if end.cancelled:
        call.aborted("cancelled before it came to its end")
    elif end.exception is not None:
        call.raised(end.exception)
    else:
        try:
            call.returned(end.value)
        except BaseException as exc:  # noqa: BLE001 - the value's own code
            call.raised(exc)
