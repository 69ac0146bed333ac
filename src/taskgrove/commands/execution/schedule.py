"""The order in which the nodes of a run start.

No thread ever waits for a child. When a leaf ends, the thread that ended the leaf also starts
whatever comes next: the next step of a sequence, or the end of a composite and so upwards. That
is a loop over a list of steps, never a recursion, so a sequence may be 10,000 long and a tree
hundreds deep.

Threads: any thread may end a leaf. The lock of the run guards the counters of the composites and
the set of active leaves; trackers, runners and callbacks are only called after its release.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from typing import NamedTuple

from taskgrove.commands.execution.aborts import abort_leaf
from taskgrove.commands.execution.attempts import Attempt
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.holding import Holding
from taskgrove.commands.execution.leaf_machine import WITHDRAW
from taskgrove.commands.execution.leaf_run import LeafOwner, LeafRun
from taskgrove.commands.execution.timeouts import limit_cause, watch
from taskgrove.commands.execution.unbegun import Unbegun, end_child, end_steps, leave_out
from taskgrove.commands.execution.waiting_steps import (
    DELAYED,
    PARKED,
    SKIP,
    START,
    WaitingStep,
    WaitingSteps,
)
from taskgrove.commands.prior import Prior, PriorEnd, PriorStart, PriorWork, report_end
from taskgrove.commands.task import BaseTask, LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, NoteDetail, chain_of, exception_line
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.foreign_code import guarded


class _Step(NamedTuple):
    """A child that is to start, or that has ended."""

    child: BaseTask
    composite: Composite
    has_ended: bool = False


class Schedule:
    """The order in which the nodes of a run start.

    Args:
        run: The run that the attempts at leaves belong to.
        prior: Facts that are known of leaves before the run begins, by path.
        start_nothing: Why no leaf may be started: a leaf of which nothing is known ends ABORTED.
        holds: Whether a leaf that fails is held where no setting of the tree says so.

    Attributes:
        active: The attempts that are under way.
        waiting: The steps that wait for an operator, or for their next attempt.
        holding: The time after a failed attempt.
    """

    def __init__(
        self,
        run: LeafOwner,
        prior: Mapping[str, Prior],
        start_nothing: str | None,
        *,
        holds: bool = False,
    ) -> None:
        self._run = run
        self._prior = prior
        self._start_nothing = start_nothing
        self.active: set[LeafRun] = set()
        self.waiting = WaitingSteps(run.lock)
        self.holding = Holding(run, self.waiting, again=self._again, idle=self._idle, holds=holds)

    def begin(self, task: Task) -> None:
        """Start the root."""
        if not task.tracker.is_complete:  # from the start, or from the record
            if task.path in self.waiting.pause_before:
                self._run.pause(self.waiting.pause_before[task.path], task.path)
            root = Composite(task, None, task.path, began_ns=self._began_ns(task.path))
            self._advance([_Step(child, root) for child in self._first_of(root)])

    def _is_recorded(self, path: str) -> bool:
        known = self._prior.get(path)
        return isinstance(known, PriorEnd) and known.recorded

    def _began_ns(self, path: str) -> int | None:
        """Return when a composite had begun before this process took it up, or None."""
        known = self._prior.get(path)
        return known.began_ns if isinstance(known, PriorStart) else None

    def ended(self, leaf_run: LeafRun) -> None:
        """Go on after an attempt that has ended for good."""
        composite = leaf_run.composite
        with self._run.lock:
            self._take_from_active(leaf_run)
            composite.remaining -= 1
            remaining = composite.remaining
        if composite.undecided:
            self.holding.judge(composite)
        if composite.is_sequence or not remaining:
            steps: list[_Step] = []
            self._after(leaf_run.leaf, composite, remaining, steps)
            self._advance(steps)

    def take_failure(
        self, leaf_run: LeafRun, ended: Attempt, exception: BaseException | None
    ) -> bool:
        """Take an attempt that failed and is not the end of its leaf; False: it is."""
        stopped = self._run.abort_reason is not None or self._start_nothing is not None
        if stopped or ended.status is TaskStatus.ABORTED or ended.went_well:
            return False
        return self.holding.take(leaf_run, ended, exception)

    def _again(
        self,
        leaf_run: LeafRun,
        attempts: tuple[Attempt, ...],
        before_round: int,
        request: SteeringRequest | None,
    ) -> None:
        """Launch the attempt that follows; any thread may call this."""
        leaf_run.tell(*attempts[-1].note("retry", leaf_run.last_attempt, request=request))
        following = LeafRun(
            self._run, leaf_run.leaf, leaf_run.composite, leaf_run.runner,
            earlier=attempts, before_round=before_round,
        )  # fmt: skip
        if self._refuse(following):
            self.ended(following)
        else:
            self._launch(following)

    def _idle(self, leaf_run: LeafRun) -> None:
        with self._run.lock:
            self._take_from_active(leaf_run)

    def _take_from_active(self, leaf_run: LeafRun) -> None:
        clock = leaf_run.composite.clock
        if clock is not None and leaf_run in self.active:
            clock.count(-1, 0)
        self.active.discard(leaf_run)

    def _advance(self, steps: list[_Step]) -> None:
        while steps:
            child, composite, has_ended = steps.pop()
            if not has_ended:
                self._start(child, composite, steps)
                continue
            with self._run.lock:
                composite.remaining -= 1
                remaining = composite.remaining
            self._after(child, composite, remaining, steps)

    def _first_of(self, composite: Composite) -> list[BaseTask]:
        children = composite.task.subtasks
        if composite.is_sequence:
            composite.next_index = 1
            return children[:1]
        return children[::-1]

    def _start(self, node: BaseTask, composite: Composite, steps: list[_Step]) -> None:
        if self.waiting.gated and self._is_kept(node, composite, steps):
            return
        if isinstance(node, Task):
            path = f"{composite.path}/{node.name}"
            if not node.subtasks and not self._is_recorded(path):
                # Complete from the start: nothing else would report its end.
                end_child(node, composite, TaskStatus.COMPLETED, (ResultCode.OK, ""))
            if node.tracker.is_complete:
                steps.append(_Step(node, composite, has_ended=True))
                return
            nested = Composite(node, composite, path, began_ns=self._began_ns(path))
            steps.extend(_Step(child, nested) for child in self._first_of(nested))
            return
        assert isinstance(node, LeafTask)
        known = self._prior.get(f"{composite.path}/{node.name}") if self._prior else None
        if isinstance(known, PriorEnd):
            self._take_over(node, composite, known)
            steps.append(_Step(node, composite, has_ended=True))
            return
        runner = self._run.engine.runners[node.task_type]
        work = known if isinstance(known, PriorWork) else None
        leaf_run = LeafRun(self._run, node, composite, runner, work=work)
        if self._refuse(leaf_run):
            steps.append(_Step(node, composite, has_ended=True))
        else:
            self._launch(leaf_run)

    def _take_over(self, leaf: LeafTask, composite: Composite, known: PriorEnd) -> None:
        """Take over the end of a leaf that is not started."""
        if known.recorded:
            return
        bus = self._run.bus
        if known.note and bus.active:
            path = f"{composite.path}/{leaf.name}"
            bus.emit(path, "note", message=known.note, detail=known.facts)
        guarded(report_end, leaf, known)

    def _refuse(self, leaf_run: LeafRun) -> bool:
        """End a leaf that must not start any more; True when it was ended."""
        if leaf_run.outside_id is not None:
            return False  # its work runs already: it is followed, and then stopped
        reason, limit = self._run.abort_reason, leaf_run.limit
        status, code = TaskStatus.ABORTED, ResultCode.ABORTED
        if reason is not None:
            text, cause = reason, Cause(kind="not_started", said=reason)
        elif self._start_nothing is not None:
            leaf_run.composite.leave_unbegun(leaf_run.leaf)
            text, cause = self._start_nothing, Cause(kind="never_begun")
        elif limit is not None and limit.at <= time.monotonic():
            status, code = TaskStatus.FAILED, ResultCode.FAILED
            text = f"the limit of {limit.length_s:g} s set by {limit.owner} expired"
            cause = limit_cause(leaf_run, "not_started")
        else:
            return False
        leaf_run.cut_off(status, code, f"not started: {text}", cause)
        return True

    def _launch(self, leaf_run: LeafRun) -> None:
        run, composite = self._run, leaf_run.composite
        with run.lock:
            is_kept = self.waiting.gated and self._keeps(leaf_run)
            if not is_kept:
                self.active.add(leaf_run)
                if composite.clock is not None:
                    composite.clock.count(1, 0)
                    leaf_run.limit = composite.clock.first()
            aborting = run.abort_reason is not None
        if is_kept:  # a pause came in between, or a mark
            self._keep_unlaunched(leaf_run)
            return
        if leaf_run.outside_id is None:  # else once it is followed, or its end would be a lie
            watch(leaf_run)
        if aborting:  # the abort came in between, and may have missed it
            run.engine.control.submit(functools.partial(abort_leaf, leaf_run))
        try:
            run.engine.pool.submit(leaf_run)
        except BaseException as exc:  # noqa: BLE001 - the machine has no thread for it
            words = (ResultCode.FAILED, f"not started: {exception_line(exc)}")
            cause = Cause(kind="not_started", chain=chain_of(exc))
            end = functools.partial(
                leaf_run.finish, TaskStatus.FAILED, words, exception=exc, cause=cause
            )
            try:  # on another thread, where there is one: the next steps may need threads, too
                run.engine.control.submit(end)
            except BaseException:  # noqa: BLE001 - then here: the leaf must have an end
                end()

    def _after(
        self,
        child: BaseTask,
        composite: Composite,
        remaining: int,
        steps: list[_Step],
    ) -> None:
        """Append the steps that follow the end of a child, of which ``remaining`` are left."""
        if remaining:
            if not composite.is_sequence:
                return
            if composite.task.skip_subtasks and self._run.abort_reason is None:
                words = composite.broken_by(child)
                if words is not None:
                    self._skip_rest(composite, words, f"{composite.path}/{child.name}")
                    self._composite_done(composite, steps)
                    return
            following = composite.task.subtasks[composite.next_index]
            composite.next_index += 1
            steps.append(_Step(following, composite))
            return
        self._composite_done(composite, steps)

    def _composite_done(self, composite: Composite, steps: list[_Step]) -> None:
        if composite.parent is None:
            return
        composite.forgive_above()
        done = _Step(composite.task, composite.parent, has_ended=True)
        if composite.tracker.is_complete:
            steps.append(done)
        else:
            # Another thread is just handing a child's completion up; it goes on from there,
            # because the next steps may depend on the outcome of this composite.
            composite.tracker.when_closed(lambda: self._advance([done]))

    # -- pauses, and steps that are left out --------------------------------------------------

    def _is_kept(self, node: BaseTask, composite: Composite, steps: list[_Step]) -> bool:
        """Park a step, or leave it out; False: it may start."""
        is_clean_up = composite.in_finally or (isinstance(node, Task) and node.is_finally)
        stops = self._run.abort_reason is not None or self._start_nothing is not None
        path = f"{composite.path}/{node.name}"
        if is_clean_up or stops or path in self._prior:
            return False
        waiting = self.waiting
        with self._run.lock:
            why = waiting.left_out.pop(path, None)
            pauses = path in waiting.pause_before
            pause = waiting.pause_before.pop(path, None)
            waiting.set_gate()
        if why is not None:
            leave_out(self._run.bus, composite, node, why)
            steps.append(_Step(node, composite, has_ended=True))
            return True
        if pauses:
            self._run.pause(pause, path)
        return self._park(node, composite)

    def _park(self, node: BaseTask, composite: Composite) -> bool:
        """Keep a step from starting until the pause is over; False where there is no pause."""
        step = WaitingStep(node, composite)
        if not self.waiting.park(step):
            return False
        if self._run.bus.active:
            text, detail = "its turn has come, and the run is paused", NoteDetail(topic="parked")
            self._run.bus.emit(step.path, "note", message=text, detail=detail)
        return True

    def _keeps(self, leaf_run: LeafRun) -> bool:
        """Return whether an attempt must not start now (lock held)."""
        if (
            leaf_run.outside_id is not None
            or leaf_run.composite.in_finally
            or self._start_nothing is not None
            or self._run.abort_reason is not None
        ):
            return False
        is_marked = not leaf_run.earlier and self.waiting.mark_on(leaf_run.path) is not None
        return self.waiting.is_paused or is_marked

    def _keep_unlaunched(self, leaf_run: LeafRun) -> None:
        """Park an attempt of which nothing has begun, or leave its step out."""
        leaf_run.drop_timer()
        leaf, composite, waiting = leaf_run.leaf, leaf_run.composite, self.waiting
        if leaf_run.earlier:
            self.holding.park(leaf_run)
            return
        with self._run.lock:
            mark = waiting.mark_on(leaf_run.path)
            why = None if mark is None else waiting.left_out.get(mark)
            pauses = why is None and mark is not None
            pause = waiting.pause_before.pop(mark, None) if mark is not None and pauses else None
            waiting.set_gate()
        if why is not None:
            self.leave_out(leaf, composite, why)
            return
        if pauses:
            self._run.pause(pause, mark or "")
        if not self._park(leaf, composite):
            self._advance([_Step(leaf, composite)])

    def leave_out_later(self, path: str, request: SteeringRequest) -> bool:
        """Have a step left out when its turn comes; False where it has begun."""
        with self._run.lock:
            if self._has_begun(path):
                return False
            self.waiting.left_out[path] = request
            self.waiting.set_gate()
            return True

    def pause_before(self, path: str, request: SteeringRequest | None = None) -> bool:
        """Have the run paused when a step is about to start; False where it has begun."""
        with self._run.lock:
            if self._has_begun(path):
                return False
            self.waiting.pause_before[path] = request
            self.waiting.set_gate()
            return True

    def has_begun(self, path: str) -> bool:
        """Return whether an attempt is under way, or something waits, at a path or below."""
        with self._run.lock:
            return self._has_begun(path)

    def _has_begun(self, path: str) -> bool:
        below = f"{path}/"
        return self.waiting.has_begun(path) or any(
            leaf_run.path == path or leaf_run.path.startswith(below) for leaf_run in self.active
        )

    def take_unbegun(self, path: str) -> Composite | None:
        """Take back a step that is parked, or waits for a thread; None: there is none."""
        step = self.waiting.find(path)
        if step is not None:
            parked = step.stage is PARKED and self.waiting.move(step, SKIP) is not None
            return step.composite if parked else None
        with self._run.lock:
            found = next((item for item in self.active if item.path == path), None)
        if found is None or found.earlier or found.move(WITHDRAW) is None:
            return None
        self._idle(found)
        found.drop_timer()
        return found.composite

    def withdraw_queued(self) -> list[LeafRun]:
        """Take back the attempts that wait for a thread; they are to be parked."""
        with self._run.lock:
            active = [leaf_run for leaf_run in self.active if not leaf_run.composite.in_finally]
        taken = [leaf_run for leaf_run in active if leaf_run.move(WITHDRAW) is not None]
        for leaf_run in taken:
            self._idle(leaf_run)
        return taken

    def park_queued(self, taken: list[LeafRun]) -> None:
        """Park the attempts that were taken back."""
        for leaf_run in taken:
            self._keep_unlaunched(leaf_run)

    def release(self) -> None:
        """Start all that is parked: the pause is over, or the run is aborted."""
        steps: list[_Step] = []
        for step in self.waiting.all():
            if step.stage is PARKED:
                if self.waiting.move(step, START) is not None:
                    steps.append(_Step(step.node, step.composite))
            elif step.stage is DELAYED and step.is_due:
                self.holding.go_on(step)
        steps.reverse()
        self._advance(steps)

    def abort_waiting(self) -> None:
        """End all that waits, because the run is aborted."""
        for step in self.waiting.open():
            self.holding.abort(step)
        self.release()

    def leave_out(self, node: BaseTask, composite: Composite, why: SteeringRequest) -> None:
        """Leave out a step whose turn has come, and go on."""
        leave_out(self._run.bus, composite, node, why)
        self._advance([_Step(node, composite, has_ended=True)])

    def _skip_rest(self, composite: Composite, words: str, because_of: str) -> None:
        """Make casualties of the steps that are left."""
        message = f"skipped: {words}"
        cause = Cause(kind="skipped", because_of=because_of)
        verdict = Unbegun(
            TaskStatus.REJECTED, ResultCode.REJECTED, message, skipped=True, cause=cause
        )
        rest = composite.task.subtasks[composite.next_index :]
        end_steps(self._run.bus, composite, rest, verdict, self._is_recorded)
