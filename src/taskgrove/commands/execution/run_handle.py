"""A submitted tree, from outside.

Threads: every method may be called by any thread. A handle only reads its run (``run.py``).
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Generator
from typing import Any, Final

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.display import render_html
from taskgrove.commands.execution.live_run import Run
from taskgrove.commands.execution.waiting import waiting_for
from taskgrove.control_model import IS_FINAL, TaskStatus
from taskgrove.errors import (
    RunError,
    TaskAbortedError,
    TaskFailedError,
    TaskRejectedError,
    WaitTimeoutError,
)
from taskgrove.loops.pool import current_pool

_ERRORS: Final[dict[TaskStatus, type[RunError]]] = {
    TaskStatus.FAILED: TaskFailedError,
    TaskStatus.REJECTED: TaskRejectedError,
    TaskStatus.ABORTED: TaskAbortedError,
}


class RunHandle:
    """A submitted tree, from outside.

    Attributes:
        id: The run's id.
        task: The root of the tree.
        bus: The run's events; an observer that subscribes now gets all later ones.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.id = run.bus.run_id
        self.task = run.root
        self.bus = run.bus

    @property
    def status(self) -> TaskStatus:
        """The root's status; final only once the run is (with a recorder: once it is kept)."""
        self._check_process()
        status = self.task.tracker.overall_status
        if IS_FINAL[status] and not self._run.outcome.done():
            return TaskStatus.IN_PROGRESS
        return status

    @property
    def progress(self) -> int:
        """Percent done, 0..100."""
        return self.task.tracker.progress

    @property
    def outcome(self) -> AggregationOutcome | None:
        """The outcome, None until the run is final."""
        self._check_process()
        return self._run.outcome.result() if self._run.outcome.done() else None

    @property
    def ok(self) -> bool:
        """True once the run has ended and all went well."""
        outcome = self.outcome
        return outcome is not None and outcome.ok

    @property
    def abandoned(self) -> tuple[str, ...]:
        """Paths of leaves that were given up after the grace period."""
        return self._run.abandoned

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; True when the run is final.

        Args:
            timeout_s: The most to wait, in seconds; None waits as long as it takes.

        Raises:
            SelfWaitError: Without a timeout, in a step or callback of this run, or where every
                thread of the executor would wait: it would never end.
            UsageError: The process was forked after the run had begun, and has not its threads.
        """
        self._check_process()
        if timeout_s is None and not self._run.outcome.done():
            with waiting_for(self._run):
                concurrent.futures.wait([self._run.outcome])
        else:
            concurrent.futures.wait([self._run.outcome], timeout_s)
        return self._run.outcome.done()

    def abort(self, reason: str | None = None) -> bool:
        """Ask the run to stop; returns at once.

        Args:
            reason: Why, for the record; None says that it was asked for.

        Returns:
            True when this call began the abort, False when it had begun, or ended, before.
        """
        self._check_process()
        return self._run.abort(reason or "abort was asked for")

    def result(self, timeout_s: float | None = None) -> AggregationOutcome:
        """Return the outcome of a run that completed, degraded or not.

        Args:
            timeout_s: The most to wait, in seconds; None waits as long as it takes.

        Raises:
            WaitTimeoutError: The run is not final yet; it goes on.
            TaskFailedError: It failed; chained to the exception of the leaf, where there is one.
            TaskRejectedError: It was rejected.
            TaskAbortedError: It was aborted.
            SelfWaitError: As :meth:`wait`.
            UsageError: As :meth:`wait`.
        """
        if not self.wait(timeout_s):
            raise WaitTimeoutError(
                f"run {self.id} is not final after {timeout_s:g} s", path=self.task.path
            )
        outcome = self._run.outcome.result()
        error = _ERRORS.get(outcome.status)
        if error is not None:
            raise error(
                outcome.message or outcome.status.name, outcome=outcome, path=self.task.path
            ) from self._run.first_exception
        return outcome

    def __await__(self) -> Generator[Any, None, AggregationOutcome]:
        import asyncio  # noqa: PLC0415 - slow to import, and code that awaits has it

        self._check_process()
        # Shielded: a waiter that is cancelled does not take the outcome from the others.
        outcome = asyncio.shield(asyncio.wrap_future(self._run.outcome))
        engine = self._run.engine
        if self._run.outcome.done() or not (
            engine.has_thread_of_coroutines() or current_pool() is not None
        ):
            # A step may hand the handle, and with it its context, to another loop.
            return (yield from outcome.__await__())
        with waiting_for(self._run, holds_thread=False):
            return (yield from outcome.__await__())

    def _check_process(self) -> None:
        if not self._run.outcome.done():
            self._run.engine.check_process()

    def _repr_html_(self) -> str:
        return render_html(self)

    def __repr__(self) -> str:
        return f"<RunHandle {self.id} {self.task.path!r} {self.status.name} {self.progress} %>"
