"""One analysis as a leaf of a tree: what it tells becomes what the tree knows of the leaf.

Of the log only warnings and errors become notes, and no more than :data:`NOTED_LINES` of them:
the whole output is in the files of the working folder.

Threads: :meth:`LeafFollower.begin`, :meth:`LeafFollower.cancel` and :meth:`LeafFollower.fail` may
be called by any thread; events arrive one at a time on a thread of the supervisor. ``_lock``
guards the handle and what was asked before there was one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from taskgrove.analysis.channel.child_result import holds_plots
from taskgrove.analysis.leaves.earlier_values import RunnerResults
from taskgrove.analysis.leaves.parameters import WrittenParameters
from taskgrove.analysis.results import TaskStatus as AnalysisStatus
from taskgrove.analysis.running.analysis_events import AnalysisEvent
from taskgrove.analysis.running.no_start import cause_of_no_start
from taskgrove.commands.leaf_runner import LeafContext
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, cause_of
from taskgrove.events.foreign_values import readable
from taskgrove.foreign_code import guarded

if TYPE_CHECKING:
    from taskgrove.analysis.executor import AnalysisExecutor
    from taskgrove.analysis.running.handle import AnalysisHandle
    from taskgrove.analysis.running.outcome import AnalysisOutcome

_LOGGER = logging.getLogger(__name__)

#: How many lines of an analysis' log become notes of its leaf.
NOTED_LINES: Final = 20
#: A longer line is cut, in characters.
_LINE_LIMIT: Final = 1000

#: Called with the context of a leaf and each event of its analysis.
Listener: TypeAlias = Callable[[LeafContext, AnalysisEvent], object]

_ENDS: Final = {
    AnalysisStatus.COMPLETED: (TaskStatus.COMPLETED, ResultCode.OK),
    AnalysisStatus.FAILED: (TaskStatus.FAILED, ResultCode.FAILED),
    AnalysisStatus.CANCELLED: (TaskStatus.ABORTED, ResultCode.ABORTED),
    AnalysisStatus.TIMEDOUT: (TaskStatus.FAILED, ResultCode.FAILED),
}


class LeafFollower:
    """One attempt at one ANALYSIS leaf.

    Args:
        context: The attempt.
        executor: What runs its analysis.
        ended: Called once, with the context, when its process is over.
        written: Where its program and its limit stand.
        results: Keeps what it has completed with, for the analyses after it.
        listener: Hears every event.

    Attributes:
        context: The attempt.
    """

    def __init__(
        self,
        context: LeafContext,
        executor: AnalysisExecutor,
        ended: Callable[[LeafContext], object],
        written: WrittenParameters,
        results: RunnerResults,
        listener: Listener | None = None,
    ) -> None:
        self.context = context
        self._executor = executor
        self._when_ended = ended
        self._written = written
        self._results = results
        self._listener = listener
        self._lock = threading.Lock()
        self._handle: AnalysisHandle | None = None
        self._cancelled: tuple[str, bool, float | None] | None = None
        self._began = 0.0
        self._noted = 0
        self._unnoted = 0
        self._told_start = False

    def begin(self) -> None:
        """Start the process; returns when it runs, or when it is known that it never will."""
        if self.context.is_over:  # its limit, or an abort, was quicker
            self._when_ended(self.context)
            return
        if self._is_called_off():
            self._when_ended(self.context)
            return
        self._began = time.monotonic()
        self.context.begin_limit()
        handle = self._executor.start()
        with self._lock:
            self._handle = handle
            cancelled = self._cancelled
        if cancelled is not None:
            reason, at_limit, within_s = cancelled
            handle.cancel(reason, at_limit=at_limit, within_s=within_s)
        self._tell_start(handle.identity)
        handle.on_event(self._hear)

    def _is_called_off(self) -> bool:
        """End the leaf, if it was asked to end before its process began; True if so."""
        with self._lock:
            asked = self._cancelled
        if asked is None and not self.context.abort_event.is_set():
            return False
        reason, at_limit, _ = asked or ("it was asked to stop", False, None)
        text, cause = f"not started: {reason}", Cause(kind="not_started", said=reason)
        if at_limit:
            result = (ResultCode.FAILED, self._named(text))
            self.context.finish(TaskStatus.FAILED, result, cause=cause)
        else:
            self.context.finish(TaskStatus.ABORTED, (ResultCode.ABORTED, text), cause=cause)
        return True

    def cancel(self, reason: str, within_s: float | None = None) -> None:
        """Have the processes ended; returns at once.

        Args:
            reason: Why; unless it is the leaf's limit.
            within_s: The most between SIGTERM and SIGKILL, in seconds; a limit gives them all
                the time that is their own.
        """
        deadline = self.context.deadline
        at_limit = self.context.is_over and deadline is not None and time.monotonic() >= deadline
        if at_limit:
            self.end(self._limit_words(), at_limit=True)
        else:
            self.end(reason, at_limit=False, within_s=within_s)
        self.context.note("abort-acknowledged", "SIGTERM is sent to its processes, then SIGKILL")

    def end(self, reason: str, *, at_limit: bool, within_s: float | None = None) -> None:
        """Have the processes ended, without a note; returns at once."""
        with self._lock:
            handle = self._handle
            self._cancelled = (reason, at_limit, within_s)
        if handle is not None:
            handle.cancel(reason, at_limit=at_limit, within_s=within_s)

    def _limit_words(self) -> str:
        own_s, deadline = self.context.leaf.timeout, self.context.deadline
        if own_s is not None and deadline is not None and deadline >= self._began + own_s:
            return f"timed out after {own_s:g} s"
        return "timed out: a limit above it expired"

    def fail(self, text: str, exc: BaseException) -> None:
        """End the leaf because its process could not be started."""
        result = (ResultCode.FAILED, self._named(text))
        self.context.finish(TaskStatus.FAILED, result, cause=cause_of_no_start(exc))
        self._when_ended(self.context)

    def _with_origin(self, cause: Cause | None) -> Cause | None:
        """Return a cause with the place where a program, or a limit of its own, was written."""
        if cause is None or cause.place is not None:
            return cause
        limit = self._written.limit
        is_own = (cause.kind, cause.limit_owner, self.context.leaf.timeout)
        if cause.kind == "not_launched":
            return msgspec.structs.replace(cause, place=self._written.program)
        if limit is not None and is_own == ("timed_out", None, None):
            return msgspec.structs.replace(cause, limit_owner=limit.file, place=limit)
        return cause

    def _named(self, cause: str) -> str:
        # So a cause reads as ``pyfai-integrate: frame 12: …`` at the root, whatever is above.
        return f"{self.context.leaf.name}: {cause}"

    def _tell_start(self, identity: str | None) -> None:
        with self._lock:
            if identity is None or self._told_start:
                return
            self._told_start = True
        self.context.started("process", identity)
        self.context.update(status=TaskStatus.IN_PROGRESS, progress=0)

    def _hear(self, event: AnalysisEvent) -> None:
        if self._listener is not None:
            # First: who waits for the end of the leaf has heard the end of the analysis by then.
            guarded(self._listener, self.context, event)
        try:
            self._take(event)
        except BaseException as exc:  # the leaf must have an end, whatever happened here
            _LOGGER.exception("what %s told could not be taken", self.context.path)
            if event.kind == "done":
                self.context.finish(
                    TaskStatus.FAILED,
                    (ResultCode.FAILED, self._named(f"its end could not be told: {readable(exc)}")),
                    cause=cause_of(exc),
                )
        finally:
            if event.kind == "done":
                self._when_ended(self.context)

    def _take(self, event: AnalysisEvent) -> None:
        context = self.context
        if event.kind == "started" and self._handle is not None:
            self._tell_start(self._handle.identity)
        elif event.kind == "progress" and event.progress is not None:
            context.update(status=TaskStatus.IN_PROGRESS, progress=int(event.progress))
        elif event.kind in {"stopped", "resumed"}:
            context.note("info", f"{event.kind}: {event.text}" if event.text else event.kind)
        elif event.kind == "log":
            self._take_line(event)
        elif event.kind == "done" and event.outcome is not None:
            self._take_end(event.outcome)

    def _tell_unpublished(self, outcome: AnalysisOutcome) -> None:
        if self._executor.spec.publisher is None and holds_plots(
            (outcome.result.payload, outcome.result.summary)
        ):
            self.context.note(
                "info", "its summary plots are not published: no folder for pages is given"
            )

    def _take_line(self, event: AnalysisEvent) -> None:
        if event.level < logging.WARNING or event.source in {"stdout", "stderr"}:
            return
        if self._noted >= NOTED_LINES:
            self._unnoted += 1
            return
        self._noted += 1
        from taskgrove.analysis.running.error_line import plain_lines  # noqa: PLC0415 - seldom

        text = "\n".join(plain_lines(event.text)).strip()
        if len(text) > _LINE_LIMIT:
            text = f"… {text[-_LINE_LIMIT:]}"  # the end of a traceback says more than its beginning
        level = logging.getLevelName(event.level)
        self.context.note("info", f"{level}: {text}", level=level)

    def _take_end(self, outcome: AnalysisOutcome) -> None:
        context = self.context
        for text in outcome.notes:
            context.note("info", text)
        if self._unnoted:
            context.note("info", f"{self._unnoted} more warnings of its log are not noted")
        file = None if outcome.why is None else outcome.why.output_file
        if file is not None:
            context.note("info", f"its output is in {file}", file=file)
        context.tell(outcome.detail, outcome.detail.summary or outcome.cause)
        for page in outcome.pages:
            context.tell(page.detail(), f"page {page.display_name}: {page.file}")
        self._tell_unpublished(outcome)
        status, code = _ENDS[outcome.status]
        if status is TaskStatus.COMPLETED:
            if self._executor.spec.origin is not None:
                self._results.keep(self._executor.spec.origin, outcome.detail)
            fields: dict[str, Any] = {}
            if context.leaf.kept_result is not None:
                from taskgrove.analysis.describing import read_payload  # noqa: PLC0415 - seldom

                fields["result_value"] = read_payload(outcome.detail.payload)
            context.finish(status, (code, _as_text(outcome.result.summary)), **fields)
            return
        # Ended for certain once there is an exit status: then it may be tried again.
        may_retry = status is TaskStatus.FAILED and outcome.return_code is not None
        text = self._named(outcome.cause)
        cause = self._with_origin(outcome.why)
        context.finish(status, (code, text), may_retry=may_retry, cause=cause)


def _as_text(summary: Any) -> str:
    """Return a summary as a message; LUTE's users give dicts and lists of plots, too."""
    return summary if isinstance(summary, str) else ""
