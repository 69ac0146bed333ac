"""The life of one submitted tree: it begins, is perhaps aborted, and has one outcome.

Threads: any thread may abort a run, and any thread may end a leaf of it. ``Run.lock`` guards the
states of the run and of its leaves, the counters of the composites and the set of active leaves;
trackers, runners, recorders and callbacks are only called after its release.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.execution.aborts import abort_leaf, call_abort
from taskgrove.commands.execution.composed_events import emit_composed
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.device_turn import DeviceTurn
from taskgrove.commands.execution.engine import Engine
from taskgrove.commands.execution.leaf_run import LeafRun
from taskgrove.commands.execution.run_machine import (
    ABORT,
    ABORT_ALL,
    AWAIT,
    BEGIN,
    CONTINUE,
    END,
    GIVE_UP,
    GRANT,
    KEPT,
    MOVES,
    PAUSE,
    PAUSED,
    SUBMITTED,
    WAITING,
    WITHDRAW,
    RunRequest,
    RunState,
)
from taskgrove.commands.execution.schedule import Schedule
from taskgrove.commands.execution.steering_acts import PAUSES_BEFORE, Steering
from taskgrove.commands.execution.timeouts import begin_own_limit
from taskgrove.commands.execution.unbegun import end_without_parent, missing_ends
from taskgrove.commands.prior import Prior, take_over
from taskgrove.commands.run_recorder import DeviceKeeper, RequestSource, RunAbout, RunRecorder
from taskgrove.commands.task import Task
from taskgrove.commands.tracking.tracker_events import TrackerEvents
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import EventBus, NoteDetail, Observer, exception_line, loggable
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.foreign_code import LOGGING
from taskgrove.moves import REFUSE


class Run:
    """One submitted tree (the ``LeafOwner`` of its leaves).

    Args:
        engine: The parts that the runs of the executor share.
        root: The tree.
        bus: The run's events.
        prior: Facts that are known of leaves before the run begins, by path.
        recorder: The recorder, or None.
        goes_on: Whether a run of the record goes on: its tree is not published again.
        start_nothing: Why no leaf may be started: a leaf of which nothing is known ends ABORTED.
        start_clean_up: Whether the leaves of clean-ups may be started all the same.
        holds: Whether a leaf that fails is held where no setting of the tree says so.
        pause_before: The paths of nodes: the run pauses when one of them is about to start.
        when_final: Called once, when the run is final or was withdrawn.
        logger: Where faults of the run are logged.

    Attributes:
        state: Where the run is.
        abort_reason: Why it was aborted, or None.
        abort_request: The request of an operator that aborted it, or None.
        finally_stop: Why its clean-ups are stopped, too, or None.
        pause_request: The request of an operator that last paused it, or None.
        changed_ns: When it was last paused or aborted, UTC, nanoseconds since the epoch.
        first_exception: The first exception that a leaf ended with, or None.
        abandoned: Paths of leaves that were given up after the grace period.
        outcome: Has the outcome once the run is final.
    """

    def __init__(
        self,
        engine: Engine,
        root: Task,
        bus: EventBus,
        prior: Mapping[str, Prior],
        *,
        recorder: RunRecorder | None,
        goes_on: bool,
        start_nothing: str | None,
        start_clean_up: bool = False,
        holds: bool = False,
        pause_before: Iterable[str] = (),
        when_final: Callable[[Run], object],
        logger: logging.Logger,
    ) -> None:
        self.engine = engine
        self.root = root
        self.bus = bus
        self.lock = threading.Lock()
        self.state = SUBMITTED
        self.abort_reason: str | None = None
        self.abort_request: SteeringRequest | None = None
        self.finally_stop: str | None = None
        self.pause_request: SteeringRequest | None = None
        self.changed_ns = 0
        self.first_exception: BaseException | None = None
        self.abandoned: tuple[str, ...] = ()
        self.outcome: concurrent.futures.Future[AggregationOutcome] = concurrent.futures.Future()
        self.outcome.set_running_or_notify_cancel()
        self._goes_on = goes_on
        self._prior = prior
        self._recorder = recorder
        self._start_nothing = start_nothing
        self._holds = holds
        self._when_final = when_final
        self._logger = logger
        self.schedule = Schedule(
            self, prior, start_nothing, holds=holds, start_clean_up=start_clean_up
        )
        self._pause_before = tuple(pause_before)
        for path in self._pause_before:
            self.schedule.gate.pause_before(path)
        self.ended = self.schedule.ended
        self.take_failure = self.schedule.take_failure
        self.ended_late = self.schedule.holding.ended_late
        self.begin_own_limit = begin_own_limit
        self.call_abort = call_abort
        self._turn: DeviceTurn | None = None
        if root.exclusive and not goes_on and isinstance(recorder, DeviceKeeper):
            self._turn = DeviceTurn(self, recorder, root.exclusive)
        self._steering = Steering(self)
        self.steer = self._steering.steer

    def _move(
        self,
        request: RunRequest,
        *,
        abort_reason: str | None = None,
        steering: SteeringRequest | None = None,
    ) -> RunState | None:
        """Make the move that the table holds for a request; return the state before, or None."""
        with self.lock:
            before = self.state
            cell = MOVES[before, request]
            if isinstance(cell, RunState):
                self.state = cell
                self.schedule.waiting.is_paused = cell is PAUSED
                self.schedule.waiting.set_gate()
                if request is PAUSE:
                    self.pause_request, self.changed_ns = steering, SYSTEM_CLOCK.wall_ns()
                elif request is ABORT_ALL:
                    self.finally_stop = abort_reason
                if abort_reason is not None and self.abort_reason is None:
                    self.abort_reason, self.abort_request = abort_reason, steering
                    self.changed_ns = SYSTEM_CLOCK.wall_ns()
                return before
        if cell is REFUSE:
            text = "run %s of %s: %s is refused in state %s"
            with LOGGING:
                name = request.name
                self._logger.error(text, self.bus.run_id, self.root.path, name, before.name)
        return None

    # -- its life ---------------------------------------------------------------------------

    def submit(self, about: RunAbout, observers: Iterable[Observer]) -> None:
        """Make the run known to its recorder and its observers, and have it begun."""
        try:
            if self._recorder is not None:
                if not about.command:
                    about = dataclasses.replace(about, command=self.root.name)
                run_id, resumed = self.bus.run_id, self._goes_on
                observer = self._recorder.begin_run(run_id, about, resumed=resumed)
                self.bus.subscribe(observer, essential=True)
                if isinstance(self._recorder, RequestSource):
                    self._recorder.take_requests(run_id, self.steer)
            for observer in observers:
                self.bus.subscribe(observer)
            # Not on the pool: methods that hang there must not keep a run from being aborted.
            self.engine.control.submit(self.begin)
        except BaseException:
            self.withdraw()
            raise

    def withdraw(self) -> None:
        """Take back a run whose submission failed: the executor must not wait for it."""
        if self._move(WITHDRAW):
            self._steering.begin()
            self._when_final(self)

    def begin(self) -> None:
        """Start the tree; runs on a control thread."""
        if not self._move(BEGIN if self._turn is None else AWAIT):
            return
        try:
            self._tell_what_is_known()
            for path in self._pause_before:
                self.tell(PAUSES_BEFORE, NoteDetail("pause-before"), path)
            self._steering.begin()
            self.root.tracker.when_closed(self._end)
            if self._turn is None or self.abort_reason is not None:
                self.schedule.begin(self.root)
            else:
                self._turn.begin()
        except BaseException as exc:
            # Whatever stops a run from beginning still gives it exactly one end.
            self.remember(exc)
            try:
                self.root.tracker.fail(exc)
            except BaseException as further:  # noqa: BLE001 - a callback's, and told with the rest
                self.remember(further)
            self._end()
            self._steering.begin()
            with LOGGING:
                self._logger.error(
                    "run %s could not begin", self.bus.run_id, exc_info=loggable(exc)
                )

    def granted(self, text: str, detail: NoteDetail) -> None:
        """Start the first step: the run holds its devices."""
        if self._move(GRANT):
            self.tell(text, detail)
            self.schedule.begin(self.root)

    def give_up_turn(self, reject: Callable[[], object]) -> None:
        """End the run by ``reject``: it has waited for its devices long enough."""
        if self._move(GIVE_UP):
            reject()

    def _tell_what_is_known(self) -> None:
        """Publish the tree as it was composed, or the ends that its record does not hold yet."""
        root, bus = self.root, self.bus
        if self._prior:
            take_over(root, self._prior)  # the trackers are not bound to the bus yet
        for path, node in root.walk():
            if isinstance(node, Task):
                node.tracker.bind(bus, path)
        if self._goes_on:
            self._tell_missing_ends()
        elif bus.active:
            emit_composed(root, bus, self.engine.runners, holds_by_default=self._holds)
            if not root.subtasks:  # complete from the start: nothing else would tell
                TrackerEvents(bus, root.path).task_finished(root.tracker.outcome(), {})

    def _tell_missing_ends(self) -> None:
        """Publish the ends that follow from the record and never reached it (recovery)."""
        if self._start_nothing is not None and self.bus.active:
            self.bus.emit(
                self.root.path,
                "note",
                message=f"picked up again: {self._start_nothing}",
                detail=NoteDetail(topic="recovered"),
            )
        missing = missing_ends(self.root, self._prior)
        for path, node, verdict in reversed(missing):  # children before their parents
            if verdict is None:
                node.tracker.tell_completion()
            else:
                end_without_parent(self.bus, path, node, verdict)

    def abort(
        self,
        reason: str,
        *,
        stop_finally: bool = False,
        again: bool = True,
        steering: SteeringRequest | None = None,
    ) -> bool:
        """Ask everything to stop; returns at once. False when it was asked before.

        Args:
            reason: Why.
            stop_finally: Whether the clean-up is to stop, too.
            again: Whether a second abort stops a clean-up that is at work.
            steering: The request of an operator, or None.
        """
        if again and self.abort_reason is not None and self.schedule.cleans_up:
            stop_finally = True
        request = ABORT_ALL if stop_finally else ABORT
        if self.root.tracker.is_complete:
            return False
        before = self._move(request, abort_reason=reason, steering=steering)
        if before is None:
            return False
        data = {"reason": reason}
        if stop_finally:
            data["finally"] = "stop"
        self.tell(f"asked to stop: {reason}", NoteDetail("abort-asked", data, request=steering))
        self.engine.control.submit(self._abort_active)
        if before is WAITING:  # nothing has been started, and nothing will be: every leaf ends so
            self.engine.control.submit(functools.partial(self.schedule.begin, self.root))
        return True

    def pause(self, request: SteeringRequest | None, before: str = "") -> bool:
        """Let nothing further start; leaves that run go on. False where nothing can be paused.

        Args:
            request: The request of an operator, or None.
            before: The path of the node that was about to start, where it is the reason.
        """
        if not self._move(PAUSE, steering=request):
            return False
        taken = self.schedule.gate.withdraw_queued()
        text = "paused: no further step starts, and limits of running steps go on"
        data = {"before": before} if before else {}
        self.tell(text, NoteDetail("paused", data, request=request))
        self.schedule.gate.park_queued(taken)
        return True

    def go_on(self, request: SteeringRequest | None) -> bool:
        """End a pause; False where there is none."""
        if not self._move(CONTINUE):
            return False
        self.tell("continued", NoteDetail("continued", request=request))
        self.engine.control.submit(self.schedule.release)
        return True

    def tell(self, text: str, detail: NoteDetail, path: str | None = None) -> None:
        """Publish a note about a node; None: about the root."""
        if self.bus.active:
            self.bus.emit(path or self.root.path, "note", message=text, detail=detail)

    def _abort_active(self) -> None:
        with self.lock:
            active = list(self.schedule.active)
        active = [leaf_run for leaf_run in active if leaf_run.stop_reason is not None]
        # Leaves that have not begun go first, so that none starts while others are being asked.
        for leaf_run in sorted(active, key=lambda item: item.state):
            self.engine.control.submit(functools.partial(abort_leaf, leaf_run))
        self.schedule.abort_waiting()

    def _end(self) -> None:
        try:
            outcome = self.root.tracker.outcome()
        except BaseException as exc:  # noqa: BLE001 - there is no tracker: it could not begin
            text = f"internal error: {exception_line(exc)}"
            outcome = AggregationOutcome(TaskStatus.FAILED, ResultCode.FAILED, text, "FAILED")
        if not self._move(END):
            return
        self._steering.end()
        report = functools.partial(self._report, outcome)
        if self._recorder is None:
            report()
            return
        try:
            self._recorder.end_run(self.bus.run_id, outcome, report)
        except BaseException as exc:
            # A recorder that breaks its promise must not keep the outcome from its waiters.
            report()
            with LOGGING:
                text = "run %s: its recorder failed at the end"
                self._logger.error(text, self.bus.run_id, exc_info=loggable(exc))

    def _report(self, outcome: AggregationOutcome) -> None:
        if self._move(KEPT):
            self.outcome.set_result(outcome)
            self._when_final(self)

    # -- called by its leaves ---------------------------------------------------------------

    @property
    def has_clean_up(self) -> bool:
        """Whether a clean-up is at work, or to come."""
        return any(
            isinstance(node, Task) and node.is_finally and not node.tracker.is_complete
            for _, node in self.root.walk()
        )

    def stop_reason(self, composite: Composite) -> str | None:
        """Return why nothing in a composite starts any more, and what runs is stopped, or None."""
        return self.finally_stop if composite.in_finally else self.abort_reason

    def remember(self, exc: BaseException) -> None:
        """Keep the first exception, to chain the error of ``handle.result()`` to it."""
        with self.lock:
            if self.first_exception is None:
                self.first_exception = exc

    def abandon(self, leaf_run: LeafRun) -> None:
        """Keep the path of a leaf whose work goes on without it."""
        with self.lock:
            self.abandoned = (*self.abandoned, leaf_run.path)
