"""The protocol of leaf runners, and the context that the executor gives to a runner.

A runner executes one kind of leaf (:class:`~taskgrove.commands.task.TaskExecutionType`): methods
of this process, commands of TANGO devices, or analysis programs. The executor uses nothing of a
runner but this protocol.

Threads: the executor calls :meth:`LeafRunner.start` and :meth:`LeafRunner.attach` on one of its
pool threads, and :meth:`LeafRunner.abort` on one of its few control threads, which ``abort`` must
not block. Any thread may call any method of a :class:`LeafContext` at any time, also after the
end of the leaf (a late fact becomes a note).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from taskgrove.commands.task import LeafTask
from taskgrove.control_model import TaskStatus
from taskgrove.events import AnalysisDetail, Cause, NoteDetail, PageDetail, exception_line


class Refusal(str):
    """Why a leaf could not start, in words, found before anything was started.

    Args:
        text: The words.
        cause: The same as data; None: the words come from outside.
        path: The path of the leaf, where it is known.
    """

    __slots__ = ("cause", "path")
    cause: Cause
    path: str

    def __new__(cls, text: str, cause: Cause | None = None, path: str = "") -> Refusal:
        """Make one."""
        refusal = super().__new__(cls, text)
        refusal.cause = Cause(kind="refused", said=text) if cause is None else cause
        refusal.path = path
        return refusal


@dataclass(frozen=True, slots=True)
class LeafLimits:
    """The limits that a runner can enforce on one leaf.

    Attributes:
        abort: ``kill``: the runner ends the work itself; ``ask``: the work is asked and may
            refuse; ``none``: nothing reaches the work once it runs.
        timeout: ``enforced``: the work ends when its limit expires; ``reported``: the outcome
            tells of the expiry, and the work may go on.
        note: Why, as a sentence for people; empty where there is nothing to say.
        queues: True: the leaf may have to wait in its runner; its own limit begins when the
            runner calls :meth:`LeafContext.begin_limit`, not when it is started.
    """

    abort: Literal["kill", "ask", "none"]
    timeout: Literal["enforced", "reported"]
    note: str = ""
    queues: bool = False


def limits_of(runner: LeafRunner, leaf: LeafTask) -> LeafLimits:
    """Return the limits of a leaf; a runner whose ``limits`` fails enforces nothing."""
    try:
        limits = runner.limits(leaf)
        if issubclass(type(limits), LeafLimits):
            return limits
        raise TypeError(f"limits gave an object of type {type(limits).__name__}")
    except BaseException as exc:  # noqa: BLE001 - told with the limit of the leaf
        words = exception_line(exc)
        return LeafLimits("none", "reported", f"its runner cannot say what it enforces: {words}")


class LeafContext(Protocol):
    """One attempt at one leaf, as its runner sees it."""

    @property
    def leaf(self) -> LeafTask:
        """The leaf to execute."""
        ...

    @property
    def path(self) -> str:
        """The path of the leaf in its tree."""
        ...

    @property
    def run_id(self) -> str:
        """The run that the leaf belongs to."""
        ...

    @property
    def attempt(self) -> int:
        """Number of this attempt, from 1."""
        ...

    @property
    def deadline(self) -> float | None:
        """Instant (``time.monotonic()``, seconds) at which the leaf's limit expires, or None."""
        ...

    @property
    def abort_event(self) -> threading.Event:
        """Set when the leaf is asked to stop."""
        ...

    @property
    def is_over(self) -> bool:
        """True once the end of the attempt is decided: its runner need not wait any longer."""
        ...

    def update(
        self,
        *,
        status: TaskStatus | int | None = None,
        progress: int | None = None,
        result: Any = None,
        **fields: Any,
    ) -> None:
        """Report a status, progress or a result; a final status ends it as :meth:`finish` does.

        Args:
            status: The status, where it is known.
            progress: Percent done, 0..100.
            result: The result, in any form that ``parse_result`` reads.
            **fields: As ``TaskTracker.update_task`` takes them: ``devices``, ``error``, ...
        """
        ...

    def finish(
        self,
        status: TaskStatus | int,
        result: Any = None,
        *,
        may_retry: bool = False,
        cause: Cause | None = None,
        **fields: Any,
    ) -> bool:
        """End this attempt; the first call counts, a later one becomes a note.

        Args:
            status: COMPLETED, FAILED, ABORTED or REJECTED.
            result: The result, in any form that ``parse_result`` reads.
            may_retry: True only where it is proved that the work never started or has
                ended; the leaf's ``retries`` are used then.
            cause: Why it ended so, as data, for the event of the end or the note of a retry.
            **fields: As ``TaskTracker.update_task`` takes them.

        Returns:
            True when this call ended the attempt.
        """
        ...

    def started(self, outside_kind: str, outside_id: str) -> None:
        """Record the id under which the work runs outside, before waiting for it.

        Args:
            outside_kind: ``command``, ``process`` or ``job``.
            outside_id: The id.
        """
        ...

    def begin_limit(self) -> None:
        """Begin the leaf's own limit; a runner whose leaves queue calls this when one begins."""
        ...

    def note(self, topic: str, text: str, **data: str) -> None:
        """Publish a note about the leaf.

        Args:
            topic: A topic of :class:`~taskgrove.events.NoteDetail`, such as
                ``abort-acknowledged`` or ``reconciled``.
            text: A sentence for people.
            **data: Small facts that belong to it.
        """
        ...

    def tell(self, detail: AnalysisDetail | PageDetail | NoteDetail, text: str = "") -> None:
        """Publish a note that carries a typed fact: an analysis described, a page, a cause.

        Args:
            detail: The fact.
            text: A sentence for people.
        """
        ...

    def submit(self, function: Callable[[], object]) -> None:
        """Run ``function`` on a control thread of the executor, soon; it must not block."""
        ...


class LeafRunner(Protocol):
    """Executes leaves of one kind."""

    def limits(self, leaf: LeafTask) -> LeafLimits:
        """Return the limits that can be enforced on ``leaf``; pure and quick."""
        ...

    def start(self, context: LeafContext) -> None:
        """Start the leaf; return when it runs or has ended.

        Work of a device or a process must not hold the calling thread: return, and report
        through ``context`` later. An exception ends the leaf FAILED with ``ExceptionType: text``
        as its cause.
        """
        ...

    def abort(self, context: LeafContext, reason: str) -> None:
        """Ask a started leaf to stop; must not block.

        This may be called while ``start`` or ``attach`` is still running. After ``attach`` it is
        called once more, because the runner may not have known the work the first time.

        Publish the note ``abort-acknowledged`` when the work has heard the request, or
        ``abort-unheard`` with the data ``fate`` (``not sent``, ``not acknowledged`` or
        ``not needed``): the end of a leaf with ``abort_on_timeout`` waits for this answer.
        Report the end with ``context.finish``, whatever the end is.
        """
        ...

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Follow work that already runs, by the id that was recorded when it started."""
        ...
