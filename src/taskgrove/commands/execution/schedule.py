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

from taskgrove.commands.execution.aborts import abort_leaf, unstarted
from taskgrove.commands.execution.attempts import Attempt
from taskgrove.commands.execution.composite import Composite, Step, forgive_recorded
from taskgrove.commands.execution.gate import Gate
from taskgrove.commands.execution.holding import Holding
from taskgrove.commands.execution.leaf_run import LeafOwner, LeafRun
from taskgrove.commands.execution.timeouts import limit_cause, watch
from taskgrove.commands.execution.unbegun import (
    Unbegun,
    end_child,
    end_clean_up,
    end_steps,
    leave_out,
)
from taskgrove.commands.execution.waiting_steps import (
    DELAYED,
    PARKED,
    START,
    WaitingSteps,
)
from taskgrove.commands.prior import Prior, PriorEnd, PriorStart, PriorWork, report_end
from taskgrove.commands.task import BaseTask, LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, chain_of, exception_line
from taskgrove.events.steering_request import SteeringRequest
from taskgrove.foreign_code import guarded


class Schedule:
    """The order in which the nodes of a run start.

    Args:
        run: The run that the attempts at leaves belong to.
        prior: Facts that are known of leaves before the run begins, by path.
        start_nothing: Why no leaf may be started: a leaf of which nothing is known ends ABORTED.
        holds: Whether a leaf that fails is held where no setting of the tree says so.
        start_clean_up: Whether the leaves of clean-ups may be started all the same.

    Attributes:
        active: The attempts that are under way, in the order of their launch.
        waiting: The steps that wait for an operator, or for their next attempt.
        holding: The time after a failed attempt.
        gate: Keeps steps from starting: a pause, or an operator who leaves them out.
    """

    def __init__(
        self,
        run: LeafOwner,
        prior: Mapping[str, Prior],
        start_nothing: str | None,
        *,
        holds: bool = False,
        start_clean_up: bool = False,
    ) -> None:
        self._run = run
        self._prior = prior
        self._start_nothing = start_nothing
        self._start_clean_up = start_clean_up
        self.active: dict[LeafRun, None] = {}
        self.waiting = WaitingSteps(run.lock)
        self.holding = Holding(run, self.waiting, again=self._again, idle=self.idle, holds=holds)
        self.gate = Gate(self, run, is_open=start_nothing is not None)

    def begin(self, task: Task) -> None:
        """Start the root."""
        if not task.tracker.is_complete:  # from the start, or from the record
            self.gate.pass_root(task.path)
            root = Composite(task, None, task.path, began_ns=self._began_ns(task.path))
            self.advance([Step(child, root) for child in self._first_of(root)])

    def is_known(self, path: str) -> bool:
        """Return whether facts on a node were known before the run began."""
        return path in self._prior

    def _is_recorded(self, path: str) -> bool:
        known = self._prior.get(path)
        return isinstance(known, PriorEnd) and known.recorded

    def _is_skipped_over(self, path: str) -> bool:
        known = self._prior.get(path)
        return isinstance(known, PriorEnd) and known.is_skipped_over

    def _began_ns(self, path: str) -> int | None:
        """Return when a composite had begun before this process took it up, or None."""
        known = self._prior.get(path)
        return known.began_ns if isinstance(known, PriorStart) else None

    def ended(self, leaf_run: LeafRun) -> None:
        """Go on after an attempt that has ended for good."""
        composite = leaf_run.composite
        with self._run.lock:
            if composite.clock is None:
                self.active.pop(leaf_run, None)
            else:
                self._take_from_active(leaf_run)
            composite.remaining -= 1
            remaining = composite.remaining
        if composite.undecided:
            self.holding.judge(composite)
        if composite.is_sequence or not remaining:
            steps: list[Step] = []
            self._after(leaf_run.leaf, composite, remaining, steps)
            self.advance(steps)

    def take_failure(
        self, leaf_run: LeafRun, ended: Attempt, exception: BaseException | None
    ) -> bool:
        """Take an attempt that failed and is not the end of its leaf; False: it is."""
        if (
            self._why_unbegun(leaf_run) is not None
            or leaf_run.stop_reason is not None
            or ended.status is TaskStatus.ABORTED
            or ended.went_well
        ):
            return False
        return self.holding.take(leaf_run, ended, exception)

    @property
    def cleans_up(self) -> bool:
        """Whether a step of a clean-up is at work, or waits for its next attempt."""
        with self._run.lock:
            at_work = any(leaf_run.composite.in_finally for leaf_run in self.active)
        return at_work or any(step.composite.in_finally for step in self.waiting.all())

    def abort_waiting(self) -> None:
        """End all that waits, because the run is aborted."""
        for step in self.waiting.open():
            if self._run.stop_reason(step.composite) is not None:
                self.holding.abort(step)
        self.release()

    def release(self) -> None:
        """Start all that is parked: the pause is over, or the run is aborted."""
        steps: list[Step] = []
        for step in self.waiting.all():
            if step.stage is PARKED:
                if self.waiting.move(step, START) is not None:
                    steps.append(Step(step.node, step.composite))
            elif step.stage is DELAYED and step.is_due:
                self.holding.go_on(step)
        steps.reverse()
        self.advance(steps)

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

    def idle(self, leaf_run: LeafRun) -> None:
        """Take an attempt that has ended, or was taken back, from those under way."""
        with self._run.lock:
            self._take_from_active(leaf_run)

    def _take_from_active(self, leaf_run: LeafRun) -> None:
        clock = leaf_run.composite.clock
        if clock is not None and leaf_run in self.active:
            clock.count(-1, 0)
        self.active.pop(leaf_run, None)

    def advance(self, steps: list[Step]) -> None:
        """Go through steps, and through those that follow from them; the last one comes first."""
        while steps:
            child, composite, has_ended = steps.pop()
            if not has_ended:
                self._start(child, composite, steps)
                continue
            with self._run.lock:
                composite.remaining -= 1
                remaining = composite.remaining
            if composite.undecided:
                self.holding.judge(composite)
            self._after(child, composite, remaining, steps)

    def _first_of(self, composite: Composite) -> list[BaseTask]:
        children = composite.task.subtasks
        if composite.is_sequence:
            composite.next_index = 1
            return children[:1]
        return children[::-1]

    def _start(self, node: BaseTask, composite: Composite, steps: list[Step]) -> None:
        if self.waiting.gated and self.gate.keeps(node, composite, steps):
            return
        if isinstance(node, Task):
            path = f"{composite.path}/{node.name}"
            if not node.subtasks and not self._is_recorded(path):
                # Complete from the start: nothing else would report its end.
                end_child(node, composite, TaskStatus.COMPLETED, (ResultCode.OK, ""))
            if node.tracker.is_complete:
                if composite.watched and self._had_begun(node):
                    composite.mark_begun()
                if self._prior:
                    forgive_recorded(node, composite, self._is_skipped_over)
                steps.append(Step(node, composite, has_ended=True))
                return
            known = self._prior.get(path) if self._prior else None
            if isinstance(known, PriorEnd) and not known.recorded:
                self._leave_out_again(node, composite, known)
                steps.append(Step(node, composite, has_ended=True))
                return
            nested = Composite(node, composite, path, began_ns=self._began_ns(path))
            steps.extend(Step(child, nested) for child in self._first_of(nested))
            return
        assert isinstance(node, LeafTask)
        known = self._prior.get(f"{composite.path}/{node.name}") if self._prior else None
        if isinstance(known, PriorEnd):
            self._take_over(node, composite, known)
            steps.append(Step(node, composite, has_ended=True))
            return
        runner = self._run.engine.runners[node.task_type]
        work = known if isinstance(known, PriorWork) else None
        if work is not None:
            composite.mark_begun()
        leaf_run = LeafRun(self._run, node, composite, runner, work=work)
        if self._refuse(leaf_run):
            steps.append(Step(node, composite, has_ended=True))
        else:
            self._launch(leaf_run)

    def _had_begun(self, task: Task) -> bool:
        """Return whether work of a leaf had begun below a task that the record tells the end of."""
        ends = (self._prior.get(path) for path, _ in task.walk())
        return any(isinstance(end, PriorEnd) and end.has_begun for end in ends)

    def _leave_out_again(self, task: Task, composite: Composite, known: PriorEnd) -> None:
        """Leave out a composite that an operator left out of an earlier run."""
        request = known.fields["request"]
        assert isinstance(request, SteeringRequest)
        self._tell_prior(f"{composite.path}/{task.name}", known)
        leave_out(self._run.bus, composite, task, request)

    def _tell_prior(self, path: str, known: PriorEnd) -> None:
        bus = self._run.bus
        if known.note and bus.active:
            bus.emit(path, "note", message=known.note, detail=known.facts)

    def _take_over(self, leaf: LeafTask, composite: Composite, known: PriorEnd) -> None:
        """Take over the end of a leaf that is not started."""
        if composite.watched and known.has_begun:
            composite.mark_begun()
        if known.is_skipped_over:
            composite.forgive(leaf)
        if known.recorded:
            return
        self._tell_prior(f"{composite.path}/{leaf.name}", known)
        guarded(report_end, leaf, known)

    def _refuse(self, leaf_run: LeafRun) -> bool:
        """End a leaf that must not start any more; True when it was ended."""
        if leaf_run.outside_id is not None:
            return False  # its work runs already: it is followed, and then stopped
        limit = leaf_run.limit
        # First the facts that hold for few runs: this is on the path of every leaf.
        reason = None if self._run.abort_reason is None else leaf_run.stop_reason
        words = "not started"
        status, code = TaskStatus.ABORTED, ResultCode.ABORTED
        if reason is not None:
            text, cause = reason, Cause(kind="not_started", said=reason)
            words = unstarted(leaf_run)
        elif self._start_nothing and (unbegun := self._why_unbegun(leaf_run)) is not None:
            leaf_run.composite.leave_unbegun(leaf_run.leaf)
            text, cause = unbegun, Cause(kind="never_begun")
        elif limit is not None and limit.at <= time.monotonic():
            status, code = TaskStatus.FAILED, ResultCode.FAILED
            text = f"the limit of {limit.length_s:g} s set by {limit.owner} expired"
            cause = limit_cause(leaf_run, "not_started")
        else:
            return False
        leaf_run.cut_off(status, code, f"{words}: {text}", cause)
        return True

    def _why_unbegun(self, leaf_run: LeafRun) -> str | None:
        """Return why a leaf may not be started, where the run starts nothing; None: it may."""
        is_clean_up = self._start_clean_up and leaf_run.composite.in_finally
        return None if is_clean_up else self._start_nothing

    def _launch(self, leaf_run: LeafRun) -> None:
        run, composite = self._run, leaf_run.composite
        with run.lock:
            is_kept = self.waiting.gated and self.gate.keeps_unlaunched(leaf_run)
            if not is_kept:
                self.active[leaf_run] = None
                if composite.clock is not None:
                    composite.clock.count(1, 0)
                    leaf_run.limit = composite.clock.first()
            aborting = run.abort_reason is not None and leaf_run.stop_reason is not None
        if is_kept:  # a pause came in between, or a mark
            self.gate.keep(leaf_run)
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
        steps: list[Step],
    ) -> None:
        """Append the steps that follow the end of a child, of which ``remaining`` are left."""
        if remaining and (not composite.is_sequence or self._next(child, composite, steps)):
            return
        self._composite_done(composite, steps)

    def _next(self, child: BaseTask, composite: Composite, steps: list[Step]) -> bool:
        """Append the step of a sequence that follows a child; False: none does."""
        task, last = composite.task, composite.clean_up
        if task.skip_subtasks and self._run.stop_reason(composite) is None:
            words = composite.broken_by(child)
            if words is not None:
                self._skip_rest(composite, words, f"{composite.path}/{child.name}")
                if last is None:
                    return False
        following = task.subtasks[composite.next_index]
        composite.next_index += 1
        may_run = self._start_nothing is None or self._start_clean_up
        if following is last and last is not None and not composite.begun and may_run:
            run = self._run
            reason = run.stop_reason(composite) or self._start_nothing
            end_clean_up(run.bus, composite, last, reason, self._is_recorded)
            return False
        steps.append(Step(following, composite))
        return True

    def _composite_done(self, composite: Composite, steps: list[Step]) -> None:
        if composite.parent is None:
            return
        if composite.forgiven:
            composite.forgive_above()
        done = Step(composite.task, composite.parent, has_ended=True)
        if composite.tracker.is_complete:
            steps.append(done)
        else:
            # Another thread is just handing a child's completion up; it goes on from there,
            # because the next steps may depend on the outcome of this composite.
            composite.tracker.when_closed(lambda: self.advance([done]))

    def _skip_rest(self, composite: Composite, words: str, because_of: str) -> None:
        """Make casualties of the steps that are left."""
        message = f"skipped: {words}"
        cause = Cause(kind="skipped", because_of=because_of)
        verdict = Unbegun(
            TaskStatus.REJECTED, ResultCode.REJECTED, message, skipped=True, cause=cause
        )
        end = len(composite.task.steps)
        rest = composite.task.subtasks[composite.next_index : end]
        composite.next_index, composite.remaining = end, len(composite.task.subtasks) - end
        with self._run.lock:
            left_out = dict(self.waiting.left_out)
        for path, known in self._prior.items():
            if isinstance(known, PriorEnd) and known.is_left_out and not known.recorded:
                left_out[path] = known.fields["request"]
        end_steps(self._run.bus, composite, rest, verdict, self._is_recorded, left_out)
