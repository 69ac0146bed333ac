"""One call of a method: its calling convention, and the meaning of its answer.

Threads: a call is made by one thread; its ``task_callback`` may be called by any thread.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, Final, NamedTuple

from taskgrove.commands.aggregation.base import AggregationOutcome, parse_result
from taskgrove.commands.execution.promises import promise_in
from taskgrove.commands.leaf_runner import LeafContext
from taskgrove.commands.tracking.updates import checked_progress
from taskgrove.control_model import IS_FINAL, ResultCode, TaskStatus, as_task_status
from taskgrove.events import Cause, chain_of, exception_line, tango_errors_of
from taskgrove.events.cause import CauseKind

_UNCLEAR: Final = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS
_ACKNOWLEDGED: Final[dict[ResultCode | None, TaskStatus]] = {
    ResultCode.STARTED: TaskStatus.QUEUED,
    ResultCode.QUEUED: TaskStatus.QUEUED,
}
_CODES: Final[dict[TaskStatus, ResultCode]] = {
    TaskStatus.COMPLETED: ResultCode.OK,
    TaskStatus.REJECTED: ResultCode.REJECTED,
    TaskStatus.ABORTED: ResultCode.ABORTED,
    TaskStatus.FAILED: ResultCode.FAILED,
}


class Convention(NamedTuple):
    """How a method wants to be called."""

    takes_callback: bool
    takes_abort_event: bool
    takes_progress: bool
    is_coroutine: bool

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Convention:
        """Return how a function wants to be called; it is not called for that."""
        code = getattr(function, "__code__", None)
        if code is None or code.co_flags & _UNCLEAR or hasattr(function, "__wrapped__"):
            try:
                return _inspected(getattr(function, "__func__", function))
            except BaseException:  # noqa: BLE001 - it cannot be hashed, or compared
                return _inspected.__wrapped__(function)
        # Plain functions and methods, read from their code: no inspection for each leaf.
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return _convention(names, bool(code.co_flags & inspect.CO_COROUTINE))


_PLAIN: Final = Convention(False, False, False, False)
_OFFERED: Final = frozenset({"task_callback", "task_abort_event", "progress_callback"})


def _convention(names: Collection[str], is_coroutine: bool) -> Convention:
    if not is_coroutine and _OFFERED.isdisjoint(names):  # most methods
        return _PLAIN
    return Convention(
        "task_callback" in names,
        "task_abort_event" in names,
        "progress_callback" in names,
        is_coroutine,
    )


@functools.lru_cache(maxsize=1024)
def _inspected(function: Callable[..., Any]) -> Convention:
    try:
        names = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a built-in without a signature
        names = set()
    call = getattr(function, "__call__", None)  # noqa: B004 - an object with async __call__
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
    return _convention(names, is_coroutine)


class MethodCall:
    """One call of a method for one attempt at its leaf.

    Args:
        context: The attempt.
        function: The method.

    Attributes:
        context: The attempt.
        convention: How the method wants to be called.
    """

    __slots__ = ("_function", "_told", "context", "convention")

    def __init__(self, context: LeafContext, function: Callable[..., Any]) -> None:
        self.context = context
        self.convention = Convention.of(function)
        self._function = function
        #: Whether the method has called its task_callback.
        self._told = False

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments and the keywords of the call."""
        argin = self.context.leaf.argin
        keywords: dict[str, Any] = {}
        if self.convention.takes_callback:
            keywords["task_callback"] = self.task_callback
        if self.convention.takes_abort_event:
            keywords["task_abort_event"] = self.context.abort_event
        if self.convention.takes_progress:
            keywords["progress_callback"] = self._tell_progress
        return () if argin is None else (argin,), keywords

    def task_callback(
        self,
        status: TaskStatus | int | None = None,
        progress: int | None = None,
        result: Any = None,
        exception: BaseException | None = None,
        **fields: Any,
    ) -> None:
        """Take a report of a component manager about its task."""
        self._told = True
        fields.pop("may_retry", None)  # the update of another attempt's, or task's, is not ours
        known = as_task_status(status)
        if exception is not None and result is None:
            result = (ResultCode.FAILED, exception_line(exception))
            if known is None:
                known = TaskStatus.FAILED
        if known is not None and IS_FINAL[known]:
            self.context.finish(known, result, may_retry=True, exception=exception, **fields)
        else:
            if isinstance(exception, BaseException):
                fields.setdefault("error", tango_errors_of(exception))
            self.context.update(status=known, progress=progress, result=result, **fields)

    def _tell_progress(self, progress: Any = None, *_: Any, **__: Any) -> None:
        percent = checked_progress(progress)
        if percent is not None:
            self.context.update(progress=percent)

    def returned(self, value: Any) -> None:
        """Take the value that the method, or its coroutine, returned."""
        context, convention = self.context, self.convention
        if convention.takes_callback and context.is_over:
            return  # the callback has reported the end; the value adds nothing
        if value is None:
            if convention.takes_abort_event and context.abort_event.is_set():
                # It was asked to stop and did not report that it reached its end.
                self.aborted("returned after it was asked to stop")
            else:
                context.finish(TaskStatus.COMPLETED)
        elif (promise := promise_in(value)) is not None:
            self._broken(promise)
        elif type(value) is AggregationOutcome:  # of a tree that the method has run
            context.finish(value.status, value, health_state=value.health_state)
        else:
            self._answered(value)

    def raised(self, exc: BaseException, *, when_called: bool = False) -> None:
        """Take an exception of the method.

        Args:
            exc: The exception.
            when_called: Whether the call raised it, so that its arguments may be wrong.
        """
        self.context.finish(
            TaskStatus.FAILED,
            (ResultCode.FAILED, exception_line(exc)),
            may_retry=True,
            exception=exc,
            cause=self._misfit(exc) if when_called else None,
        )

    def aborted(self, text: str, kind: CauseKind = "aborted") -> None:
        """End the attempt ABORTED."""
        self.context.finish(TaskStatus.ABORTED, (ResultCode.ABORTED, text), cause=Cause(kind=kind))

    def _broken(self, text: str) -> None:
        self.context.finish(
            TaskStatus.FAILED, (ResultCode.FAILED, text), cause=Cause(kind="promised")
        )

    def _misfit(self, exc: BaseException) -> Cause | None:
        """Return that the method was not called, because it does not take its argument."""
        trace = exc.__traceback__
        # One frame is that of the caller; a second one is inside of the method.
        if not isinstance(exc, TypeError) or trace is None or trace.tb_next is not None:
            return None
        try:
            signature = inspect.signature(self._function)
        except BaseException:  # noqa: BLE001 - foreign code; the call's own exception is reported
            return None
        args, keywords = self.arguments()
        try:
            signature.bind(*args, **keywords)
        except TypeError:
            return Cause(kind="wrong_argument", chain=chain_of(exc), expected=str(signature))
        return None

    def _answered(self, value: Any) -> None:
        parsed = parse_result(value)
        acknowledged = parsed.acknowledged
        if acknowledged is None and self.convention.takes_callback:
            # Component managers also acknowledge with a code, or with the status' number.
            acknowledged = _ACKNOWLEDGED.get(parsed.code)
        if acknowledged is not None:
            self._acknowledged(acknowledged, parsed.message)
            return
        status = TaskStatus.COMPLETED
        fields: dict[str, Any] = {}
        if self.context.leaf.function is not None and not _is_meant_as_result(value):
            # A plain function may return any value: only some values are meant as results.
            if self.context.leaf.kept_result is not None:
                fields["result_value"] = value
            value = (ResultCode.OK, value if isinstance(value, str) else "")
        elif parsed.code is ResultCode.ABORTED and self.context.abort_event.is_set():
            status = TaskStatus.ABORTED
        self.context.finish(status, value, may_retry=True, **fields)

    def _acknowledged(self, status: TaskStatus, text: str) -> None:
        if IS_FINAL[status]:
            fields: dict[str, Any] = {}
            if status is TaskStatus.REJECTED and self.context.attempt == 1 and not self._told:
                fields["begun"] = False  # the call was the question: it was refused
            self.context.finish(status, (_CODES[status], text), may_retry=True, **fields)
        elif self.convention.takes_callback:
            self.context.update(status=status)
        else:
            self._broken(
                f"returned {status.name} but takes no task_callback, so its end can never be told"
            )


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
