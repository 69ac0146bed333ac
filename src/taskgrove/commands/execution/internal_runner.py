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
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from taskgrove.commands.aggregation.base import AggregationOutcome, parse_result
from taskgrove.commands.execution.coroutines import CoroutineEnd, CoroutineLoop, RunningCoroutine
from taskgrove.commands.execution.manager_aborts import ManagerAborts, has_abort_tasks
from taskgrove.commands.execution.promises import promise_in
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.task import LeafTask
from taskgrove.commands.tracking.update_context import checked_progress
from taskgrove.control_model import (
    IS_FINAL,
    ResultCode,
    TaskStatus,
    as_task_status,
)
from taskgrove.events import Cause, chain_of, exception_line, tango_errors_of

_UNCLEAR: Final = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_JOIN_S: Final = 5.0
_ACKNOWLEDGED: Final[dict[ResultCode | None, TaskStatus]] = {
    ResultCode.STARTED: TaskStatus.QUEUED,
    ResultCode.QUEUED: TaskStatus.QUEUED,
}


class _Convention(NamedTuple):
    """How a method wants to be called."""

    takes_callback: bool
    takes_abort_event: bool
    takes_progress: bool
    is_coroutine: bool


def _convention_of(function: Callable[..., Any]) -> _Convention:
    """Return how ``function`` wants to be called (SPEC S7.1)."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & _UNCLEAR or hasattr(function, "__wrapped__"):
        return _inspected(getattr(function, "__func__", function), function)
    # Plain functions and methods, read from their code: no inspection for each leaf.
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return _Convention(
        "task_callback" in names,
        "task_abort_event" in names,
        "progress_callback" in names,
        bool(code.co_flags & inspect.CO_COROUTINE),
    )


def _inspected(key: Callable[..., Any], function: Callable[..., Any]) -> _Convention:
    try:
        return _inspected_once(key)
    except BaseException:  # noqa: BLE001 - it cannot be hashed, or compared
        return _inspected_once.__wrapped__(function)


@functools.lru_cache(maxsize=1024)
def _inspected_once(function: Callable[..., Any]) -> _Convention:
    try:
        names = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a built-in without a signature
        names = set()
    call = getattr(function, "__call__", None)  # noqa: B004 - an object with async __call__
    return _Convention(
        "task_callback" in names,
        "task_abort_event" in names,
        "progress_callback" in names,
        inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call),
    )


def _misfit(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    exc: BaseException,
) -> Cause | None:
    """Return that a method was not called, because it does not take its argument; else None."""
    trace = exc.__traceback__
    if not isinstance(exc, TypeError) or trace is None or trace.tb_next is not None:
        return None  # raised inside of it
    try:
        signature = inspect.signature(function)
    except BaseException:  # noqa: BLE001 - foreign code; what it raised is told
        return None
    try:
        signature.bind(*args, **keywords)
    except TypeError:
        return Cause(kind="wrong_argument", chain=chain_of(exc), expected=str(signature))
    return None


class _TaskCallback:
    """The ``task_callback`` of the field's component managers, tied to one attempt."""

    __slots__ = ("_context", "called")

    def __init__(self, context: LeafContext) -> None:
        self._context = context
        self.called = False

    def __call__(
        self,
        status: TaskStatus | int | None = None,
        progress: int | None = None,
        result: Any = None,
        exception: BaseException | None = None,
        **fields: Any,
    ) -> None:
        self.called = True
        fields.pop("may_retry", None)  # the update of another attempt's, or task's, is not ours
        known = as_task_status(status)
        if exception is not None and result is None:
            result = (ResultCode.FAILED, exception_line(exception))
            if known is None:
                known = TaskStatus.FAILED
        if known is not None and IS_FINAL[known]:
            self._context.finish(known, result, may_retry=True, exception=exception, **fields)
        else:
            if isinstance(exception, BaseException):
                fields.setdefault("error", tango_errors_of(exception))
            self._context.update(status=known, progress=progress, result=result, **fields)


def _tell_progress(context: LeafContext, progress: Any = None, *_: Any, **__: Any) -> None:
    """Take what a method tells by its ``progress_callback``."""
    percent = checked_progress(progress)
    if percent is not None:
        context.update(progress=percent)


class InternalRunner:
    """The runner of INTERNAL leaves.

    Args:
        join_s: How long coroutines that are left at its end may take to clean up, in seconds.
    """

    def __init__(self, join_s: float = _JOIN_S) -> None:
        self._lock = threading.Lock()
        self._loop = CoroutineLoop(join_s)
        self._managers = ManagerAborts()
        self._running: dict[LeafContext, RunningCoroutine] = {}

    @property
    def is_own_thread(self) -> bool:
        """True on the thread that runs the coroutines."""
        return self._loop.is_own_thread

    def limits(self, leaf: LeafTask) -> LeafLimits:
        """Say what can be enforced: a method that never looks at its abort event, nothing."""
        try:
            convention = _convention_of(leaf.resolve())
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
        leaf = context.leaf
        function = leaf.resolve()
        convention = _convention_of(function)
        args = () if leaf.argin is None else (leaf.argin,)
        keywords: dict[str, Any] = {}
        callback = None
        if convention.takes_callback:
            callback = keywords["task_callback"] = _TaskCallback(context)
        if convention.takes_abort_event:
            keywords["task_abort_event"] = context.abort_event
        if convention.takes_progress:
            keywords["progress_callback"] = functools.partial(_tell_progress, context)
        context.update(status=TaskStatus.IN_PROGRESS)
        try:
            value = function(*args, **keywords)
            if value is not None and inspect.isawaitable(value):
                self._spawn(context, value, convention, callback)
                return
        except BaseException as exc:  # noqa: BLE001 - S7.6: whatever it raises is an outcome
            self._raised(context, exc, _misfit(function, args, keywords, exc))
            return
        self._returned(context, value, convention, callback)

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

    # -- what came of it ----------------------------------------------------------------

    @staticmethod
    def _returned(
        context: LeafContext,
        value: Any,
        convention: _Convention,
        callback: _TaskCallback | None,
    ) -> None:
        if callback is not None and context.is_over:
            return  # the callback has told the end; what is returned adds nothing
        if value is None:
            if convention.takes_abort_event and context.abort_event.is_set():
                # It was asked to stop and did not say that it came to its end.
                context.finish(
                    TaskStatus.ABORTED,
                    (ResultCode.ABORTED, "returned after it was asked to stop"),
                    cause=Cause(kind="aborted"),
                )
            else:
                context.finish(TaskStatus.COMPLETED)
        elif (promise := promise_in(value)) is not None:
            context.finish(
                TaskStatus.FAILED, (ResultCode.FAILED, promise), cause=Cause(kind="promised")
            )
        elif type(value) is AggregationOutcome:  # of a tree that the method has run
            context.finish(value.status, value, health_state=value.health_state)
        else:
            InternalRunner._told(context, value, callback)

    @staticmethod
    def _told(context: LeafContext, value: Any, callback: _TaskCallback | None) -> None:
        parsed = parse_result(value)
        if parsed.acknowledged is not None:
            InternalRunner._acknowledged(context, parsed.acknowledged, parsed.message, callback)
            return
        if callback is not None and parsed.code in _ACKNOWLEDGED:
            # Component managers also acknowledge with a code, or with the status' number.
            InternalRunner._acknowledged(
                context, _ACKNOWLEDGED[parsed.code], parsed.message, callback
            )
            return
        status = TaskStatus.COMPLETED
        if context.leaf.function is not None and not _is_meant_as_result(value):
            # A plain function may return its value: only what is meant as a result is one.
            value = (ResultCode.OK, value if isinstance(value, str) else "")
        elif parsed.code is ResultCode.ABORTED and context.abort_event.is_set():
            status = TaskStatus.ABORTED
        context.finish(status, value, may_retry=True)

    @staticmethod
    def _acknowledged(
        context: LeafContext, status: TaskStatus, text: str, callback: _TaskCallback | None
    ) -> None:
        if IS_FINAL[status]:
            code = {
                TaskStatus.COMPLETED: ResultCode.OK,
                TaskStatus.REJECTED: ResultCode.REJECTED,
                TaskStatus.ABORTED: ResultCode.ABORTED,
            }.get(status, ResultCode.FAILED)
            fields: dict[str, Any] = {}
            told_before = callback is not None and callback.called
            if status is TaskStatus.REJECTED and context.attempt == 1 and not told_before:
                fields["begun"] = False  # the call was the question: it was refused
            context.finish(status, (code, text), may_retry=True, **fields)
        elif callback is None:
            context.finish(
                TaskStatus.FAILED,
                (
                    ResultCode.FAILED,
                    f"returned {status.name} but takes no task_callback, so its end can never"
                    " be told",
                ),
                cause=Cause(kind="promised"),
            )
        else:
            context.update(status=status)

    @staticmethod
    def _raised(context: LeafContext, exc: BaseException, cause: Cause | None = None) -> None:
        context.finish(
            TaskStatus.FAILED,
            (ResultCode.FAILED, exception_line(exc)),
            may_retry=True,
            exception=exc,
            cause=cause,
        )

    # -- coroutines ---------------------------------------------------------------------

    def _spawn(
        self,
        context: LeafContext,
        awaitable: Awaitable[Any],
        convention: _Convention,
        callback: _TaskCallback | None,
    ) -> None:
        coroutine = self._loop.spawn(
            awaitable, functools.partial(self._ended, context, convention, callback)
        )
        if coroutine is None:  # its leaf was abandoned, and everything else has ended since
            if inspect.iscoroutine(awaitable):
                awaitable.close()
            text = "not awaited: it came after the end of the executor"
            cause = Cause(kind="not_started")
            context.finish(TaskStatus.ABORTED, (ResultCode.ABORTED, text), cause=cause)
            return
        if not convention.takes_abort_event:
            with self._lock:
                self._running[context] = coroutine
            if context.abort_event.is_set():
                coroutine.cancel()  # the abort came before there was something to cancel
        coroutine.begin()

    def _ended(
        self,
        context: LeafContext,
        convention: _Convention,
        callback: _TaskCallback | None,
        end: CoroutineEnd,
    ) -> None:
        with self._lock:
            self._running.pop(context, None)
        # On another thread: what follows may call foreign code, and the loop is shared.
        context.submit(functools.partial(self._settle, context, convention, callback, end))

    def _settle(
        self,
        context: LeafContext,
        convention: _Convention,
        callback: _TaskCallback | None,
        end: CoroutineEnd,
    ) -> None:
        if end.cancelled:
            context.finish(
                TaskStatus.ABORTED,
                (ResultCode.ABORTED, "cancelled before it came to its end"),
                cause=Cause(kind="aborted"),
            )
            return
        if end.exception is not None:
            self._raised(context, end.exception)
            return
        try:
            self._returned(context, end.value, convention, callback)
        except BaseException as exc:  # noqa: BLE001 - the value's own code
            self._raised(context, exc)


def _is_meant_as_result(value: Any) -> bool:
    if isinstance(value, (bool, ResultCode)) or type(value).__name__ == "ResultCode":
        return True
    if isinstance(value, str):  # a printed pair; any other text is a message
        return value.lstrip()[:1] in ("[", "(") and parse_result(value).code is not None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        return False
    first, second = value
    if isinstance(first, (tuple, list)) and isinstance(second, (tuple, list)):
        if len(first) != 1 or len(second) != 1:
            return False
        first, second = first[0], second[0]
    if second is None and (isinstance(first, str) or type(first).__name__ == "ResultCode"):
        second = ""
    if not isinstance(second, str):
        return False
    parsed = parse_result((first, ""))  # which has something to say where it knows no such code
    return parsed.code is not ResultCode.UNKNOWN or not parsed.message
