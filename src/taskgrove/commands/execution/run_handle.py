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
from taskgrove.commands.execution.run_machine import PAUSED
from taskgrove.commands.execution.waiting import waiting_for
from taskgrove.control_model import IS_FINAL, TaskStatus
from taskgrove.errors import (
    RunError,
    SelfWaitError,
    TaskAbortedError,
    TaskFailedError,
    TaskRejectedError,
    WaitTimeoutError,
)
from taskgrove.events.new_request import new_request
from taskgrove.events.steering_request import (
    SteeringAnswer,
    SteeringRequest,
    SteeringVerb,
    TakeAnswer,
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

    def abort(self, reason: str | None = None, *, stop_finally: bool = False) -> bool:
        """Ask the run to stop; returns at once.

        The clean-up (``finally``) of each sequence that has begun still runs. A second call while
        one is at work stops it.

        Args:
            reason: Why, for the record; None says that it was asked for.
            stop_finally: Whether the clean-up is to stop, too.

        Returns:
            True when this call began the abort, or stopped the clean-up; False when that was asked
            before, or the run had ended.
        """
        self._check_process()
        return self._run.abort(reason or "abort was asked for", stop_finally=stop_finally)

    # -- steering -------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """True while the run starts nothing further, because it was paused."""
        return self._run.state is PAUSED

    @property
    def held(self) -> tuple[str, ...]:
        """Paths of the steps on which a decision is open, in the order in which they failed."""
        return tuple(step.path for step in self._run.schedule.waiting.open())

    def pause(
        self, why: str = "", *, before: str | None = None, who: str | None = None
    ) -> SteeringAnswer:
        """Let no further step and no further attempt start; steps that run go on.

        Args:
            why: The reason, in words.
            before: Pause only when this node, or one that this pattern matches, is about to start.
            who: Who asks; None: the user of this process.
        """
        return self._ask("pause", before or "", why, who)

    def continue_run(self, why: str = "", *, who: str | None = None) -> SteeringAnswer:
        """End a pause.

        Args:
            why: The reason, in words.
            who: Who asks; None: the user of this process.
        """
        return self._ask("continue", "", why, who)

    def retry(
        self, path: str, why: str = "", *, who: str | None = None, abort_first: bool = False
    ) -> SteeringAnswer:
        """Try failed steps again that wait for a decision, with all their time and attempts anew.

        Args:
            path: A node, or a pattern; every step at it and below it that waits for a decision.
            why: The reason, in words.
            who: Who asks; None: the user of this process.
            abort_first: Whether an earlier attempt that may still be at work is asked to stop, and
                waited for, at most the grace period of the executor.
        """
        return self._ask("retry", path, why, who, abort_first=abort_first)

    def accept(self, path: str, why: str = "", *, who: str | None = None) -> SteeringAnswer:
        """Accept the failure of steps that wait for a decision: they end COMPLETED and OK.

        Args:
            path: A node, or a pattern; every step at it and below it that waits for a decision.
            why: The reason, in words.
            who: Who asks; None: the user of this process.
        """
        return self._ask("accept", path, why, who)

    def fail(self, path: str, why: str = "", *, who: str | None = None) -> SteeringAnswer:
        """Let the failure stand of steps that wait for a decision.

        Args:
            path: A node, or a pattern; every step at it and below it that waits for a decision.
            why: The reason, in words.
            who: Who asks; None: the user of this process.
        """
        return self._ask("fail", path, why, who)

    def skip(self, path: str, why: str = "", *, who: str | None = None) -> SteeringAnswer:
        """Let a failure stand and the later steps run all the same, or leave out steps.

        Args:
            path: A node, or a pattern: every step at it and below it that waits for a decision.
                Where there is none, steps that have not begun are left out.
            why: The reason, in words.
            who: Who asks; None: the user of this process.
        """
        return self._ask("skip", path, why, who)

    def steer(self, request: SteeringRequest, take_answer: TakeAnswer) -> None:
        """Hand a request to the run, and return at once.

        Args:
            request: The request; the same id is carried out once.
            take_answer: Called once with the answer, on any thread; it must not block.
        """
        self._check_process()
        self._run.steer(request, take_answer)

    def _ask(
        self, verb: SteeringVerb, path: str, why: str, who: str | None, *, abort_first: bool = False
    ) -> SteeringAnswer:
        if self.bus.is_calling_here:
            raise SelfWaitError(
                f"an observer of {self.task.path} waits for the answer of that run",
                hint="hand the request over with steer(), which returns at once",
            )
        request = new_request(verb, path, why=why, who=who, abort_first=abort_first)
        answer: concurrent.futures.Future[SteeringAnswer] = concurrent.futures.Future()
        self.steer(request, answer.set_result)
        return answer.result()

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
