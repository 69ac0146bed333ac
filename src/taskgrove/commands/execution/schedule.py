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
from typing import Any, NamedTuple

from taskgrove.commands.execution.aborts import abort_leaf
from taskgrove.commands.execution.attempts import Attempt
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.leaf_run import LeafOwner, LeafRun
from taskgrove.commands.execution.timeouts import limit_cause, watch
from taskgrove.commands.execution.unbegun import Unbegun, end_without_parent
from taskgrove.commands.prior import Prior, PriorEnd, PriorStart, PriorWork, report_end
from taskgrove.commands.task import BaseTask, LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, chain_of, exception_line
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

    Attributes:
        active: The attempts that are under way.
    """

    def __init__(
        self, run: LeafOwner, prior: Mapping[str, Prior], start_nothing: str | None
    ) -> None:
        self._run = run
        self._prior = prior
        self._start_nothing = start_nothing
        self.active: set[LeafRun] = set()

    def begin(self, task: Task) -> None:
        """Start the root."""
        if not task.tracker.is_complete:  # from the start, or from the record
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
            self.active.discard(leaf_run)
            composite.remaining -= 1
            remaining = composite.remaining
        if composite.is_sequence or not remaining:
            steps: list[_Step] = []
            self._after(leaf_run.leaf, composite, remaining, steps)
            self._advance(steps)

    def try_again(self, leaf_run: LeafRun, ended: Attempt) -> bool:
        """Launch the next attempt after one that has failed; False: none may be made."""
        run, limit = self._run, leaf_run.composite.limit
        stopped = run.abort_reason is not None or self._start_nothing is not None
        expired = limit is not None and limit.at <= time.monotonic()
        if ended.status is TaskStatus.ABORTED or ended.went_well or stopped or expired:
            return False
        leaf_run.tell(*ended.note("retry", leaf_run.leaf.retries))
        with run.lock:
            self.active.discard(leaf_run)
        leaf_run.drop_timer()
        earlier = (*leaf_run.earlier, ended)
        leaf, composite = leaf_run.leaf, leaf_run.composite
        self._launch(LeafRun(run, leaf, composite, leaf_run.runner, earlier=earlier))
        return True

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
        if isinstance(node, Task):
            path = f"{composite.path}/{node.name}"
            if not node.subtasks and not self._is_recorded(path):
                # Complete from the start: nothing else would report its end.
                _end_child(node, composite, TaskStatus.COMPLETED, (ResultCode.OK, ""))
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
        run = self._run
        with run.lock:
            self.active.add(leaf_run)
            aborting = run.abort_reason is not None
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
        done = _Step(composite.task, composite.parent, has_ended=True)
        if composite.tracker.is_complete:
            steps.append(done)
        else:
            # Another thread is just handing a child's completion up; it goes on from there,
            # because the next steps may depend on the outcome of this composite.
            composite.tracker.when_closed(lambda: self._advance([done]))

    def _skip_rest(self, composite: Composite, words: str, because_of: str) -> None:
        """Make casualties of the steps that are left."""
        message = f"skipped: {words}"
        cause = Cause(kind="skipped", because_of=because_of)
        verdict = Unbegun(
            TaskStatus.REJECTED, ResultCode.REJECTED, message, skipped=True, cause=cause
        )
        composite.tracker.hold()  # the end of the whole comes after those of its steps
        try:
            for child in composite.task.subtasks[composite.next_index :]:
                if self._is_recorded(f"{composite.path}/{child.name}"):
                    continue
                if isinstance(child, Task) and child.subtasks:
                    for path, node in child.walk():
                        if not self._is_recorded(path):
                            guarded(end_without_parent, self._run.bus, path, node, verdict)
                    continue
                result = (ResultCode.REJECTED, message)
                _end_child(child, composite, TaskStatus.REJECTED, result, skipped=True, cause=cause)
        finally:
            guarded(composite.tracker.release)


def _end_child(
    child: BaseTask,
    composite: Composite,
    status: TaskStatus,
    result: tuple[ResultCode, str],
    **fields: Any,
) -> None:
    """End a leaf, or a task without subtasks, that never runs."""
    if isinstance(child, LeafTask):
        guarded(child.report, status=status, result=result, **fields)
    else:
        guarded(
            composite.tracker.update_task,
            task_name=child.name,
            status=status,
            result=result,
            **fields,
        )
