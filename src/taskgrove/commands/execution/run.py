"""The scheduling of one run: what starts when.

No thread ever waits for a child. When a leaf ends, the thread that ended it decides what
follows: the next step of a sequence, or the end of a composite and so upwards. That is
a loop over a list of steps, never a recursion, so a sequence may be 10,000 long and a
tree hundreds deep.

Threads: any thread may end a leaf. ``Run.lock`` guards the counters of the composites,
the set of active leaves and the flags of the leaves; trackers, runners and callbacks
are only called after it was released.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from taskgrove.commands.execution.attempts import Attempt
from taskgrove.commands.execution.composite import Composite
from taskgrove.commands.execution.engine import Engine
from taskgrove.commands.execution.leaf_run import LeafRun, tell
from taskgrove.commands.execution.stopping import StoppableRun
from taskgrove.commands.execution.unbegun import Unbegun, end_without_parent, missing_ends
from taskgrove.commands.prior import (
    Prior,
    PriorEnd,
    PriorStart,
    PriorWork,
    report_end,
    take_over,
)
from taskgrove.commands.task import BaseTask, LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, EventBus, NoteDetail, chain_of, exception_line


class _Start(NamedTuple):
    node: BaseTask
    composite: Composite


class _Done(NamedTuple):
    child: BaseTask
    composite: Composite


class Run(StoppableRun):
    """One submitted tree: what starts when.

    Args:
        engine: What the runs of the executor share.
        root: The tree.
        bus: The run's events.
        prior: What is known of leaves before the run begins, by their path.
        start_nothing: Why no leaf may be started, or None: what is not known ends ABORTED.
    """

    def __init__(
        self,
        engine: Engine,
        root: Task,
        bus: EventBus,
        prior: Mapping[str, Prior],
        start_nothing: str | None = None,
    ) -> None:
        super().__init__(engine, root, bus)
        self._prior = prior
        self._start_nothing = start_nothing

    def take_over_recorded(self) -> None:
        """Tell the trackers what is on record; before they are bound to the bus."""
        if self._prior:
            take_over(self.root, self._prior)

    def tell_missing_ends(self) -> None:
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

    def _is_recorded(self, path: str) -> bool:
        known = self._prior.get(path) if self._prior else None
        return isinstance(known, PriorEnd) and known.recorded

    def _began_ns(self, path: str) -> int | None:
        """Return when a composite had begun before this process took it up, or None."""
        known = self._prior.get(path) if self._prior else None
        return known.began_ns if isinstance(known, PriorStart) else None

    def begin(self) -> None:
        """Start the root; runs on a control thread."""
        path = self.root.path
        root = Composite(self.root, None, path, began_ns=self._began_ns(path))
        if self.root.tracker.is_complete:
            return  # complete from the start (S4.5), or from the record
        self._advance([_Start(child, root) for child in self._first_of(root)])

    # -- scheduling -----------------------------------------------------------------------

    def ended(self, leaf_run: LeafRun) -> None:
        """Go on after an attempt that has ended for good."""
        composite = leaf_run.composite
        with self.lock:
            self._active.discard(leaf_run)
            composite.remaining -= 1
            remaining = composite.remaining
        if composite.is_sequence or not remaining:
            steps: list[_Start | _Done] = []
            self._after(leaf_run.leaf, composite, remaining, steps)
            self._advance(steps)

    def _advance(self, steps: list[_Start | _Done]) -> None:
        while steps:
            step = steps.pop()
            if isinstance(step, _Start):
                self._start(step.node, step.composite, steps)
            else:
                self._done(step.child, step.composite, steps)

    def _first_of(self, composite: Composite) -> list[BaseTask]:
        children = composite.task.subtasks
        if composite.is_sequence:
            composite.next_index = 1
            return children[:1]
        return children[::-1]

    def _start(self, node: BaseTask, composite: Composite, steps: list[_Start | _Done]) -> None:
        if isinstance(node, Task):
            path = f"{composite.path}/{node.name}"
            if not node.subtasks and not self._is_recorded(path):
                # Complete from the start: nobody else would tell.
                tell(
                    composite.tracker.update_task,
                    task_name=node.name,
                    status=TaskStatus.COMPLETED,
                    result=(ResultCode.OK, ""),
                )
            if node.tracker.is_complete:
                steps.append(_Done(node, composite))
                return
            nested = Composite(node, composite, path, began_ns=self._began_ns(path))
            steps.extend(_Start(child, nested) for child in self._first_of(nested))
            return
        assert isinstance(node, LeafTask)
        known = self._prior.get(f"{composite.path}/{node.name}") if self._prior else None
        if isinstance(known, PriorEnd):
            self._take_over(node, composite, known)
            steps.append(_Done(node, composite))
            return
        work = known if isinstance(known, PriorWork) else None
        leaf_run = LeafRun(
            self,
            node,
            composite,
            self.engine.runner_of(node),
            1 if work is None else work.attempt,
            outside_id=None if work is None else work.outside_id or None,
            began_ns=None if work is None else work.began_ns,
        )
        if self._refuse(leaf_run):
            steps.append(_Done(node, composite))
            return
        self._launch(leaf_run)

    def _take_over(self, leaf: LeafTask, composite: Composite, known: PriorEnd) -> None:
        """Take over the end of a leaf that is not started."""
        if known.recorded:
            return
        if known.note and self.bus.active:
            self.bus.emit(
                f"{composite.path}/{leaf.name}",
                "note",
                message=known.note,
                detail=known.facts,
            )
        tell(report_end, leaf, known)

    def _refuse(self, leaf_run: LeafRun) -> bool:
        """End a leaf that must not start any more; True when it was."""
        # Work that runs outside already is followed all the same, and then stopped.
        if self.abort_reason is not None and leaf_run.outside_id is None:
            leaf_run.cut_off(
                TaskStatus.ABORTED,
                ResultCode.ABORTED,
                f"not started: {self.abort_reason}",
                Cause(kind="not_started", said=self.abort_reason),
            )
            return True
        if self._start_nothing is not None and leaf_run.outside_id is None:
            leaf_run.composite.leave_unbegun(leaf_run.leaf)
            leaf_run.cut_off(
                TaskStatus.ABORTED,
                ResultCode.ABORTED,
                f"not started: {self._start_nothing}",
                Cause(kind="never_begun"),
            )
            return True
        limit = leaf_run.limit
        if limit is not None and limit.at <= time.monotonic():
            leaf_run.cut_off(
                TaskStatus.FAILED,
                ResultCode.FAILED,
                f"not started: the limit of {limit.length_s:g} s set by {limit.owner} expired",
                leaf_run.limit_cause("not_started"),
            )
            return True
        return False

    def _launch(self, leaf_run: LeafRun) -> None:
        with self.lock:
            self._active.add(leaf_run)
            aborting = self.abort_reason is not None
        if leaf_run.limit is not None:
            self._watch(leaf_run)
        if aborting:  # the abort came in between, and may have missed it
            self.engine.control.submit(functools.partial(self._abort_leaf, leaf_run))
        try:
            self.engine.pool.submit(leaf_run)
        except BaseException as exc:  # noqa: BLE001 - the machine has no thread for it
            # On another thread, where there is one: what follows may need threads, too.
            words = (ResultCode.FAILED, f"not started: {exception_line(exc)}")
            cause = Cause(kind="not_started", chain=chain_of(exc))
            self._elsewhere(
                functools.partial(
                    leaf_run.finish, TaskStatus.FAILED, words, exception=exc, cause=cause
                )
            )

    def _elsewhere(self, function: Callable[[], object]) -> None:
        try:
            self.engine.control.submit(function)
        except BaseException:  # noqa: BLE001 - then here: what it ends must have an end
            function()

    def _done(self, child: BaseTask, composite: Composite, steps: list[_Start | _Done]) -> None:
        with self.lock:
            composite.remaining -= 1
            remaining = composite.remaining
        self._after(child, composite, remaining, steps)

    def _after(
        self,
        child: BaseTask,
        composite: Composite,
        remaining: int,
        steps: list[_Start | _Done],
    ) -> None:
        """Append what follows the end of a child, of which ``remaining`` are left."""
        if remaining:
            if not composite.is_sequence:
                return
            if composite.task.skip_subtasks and self.abort_reason is None:
                words = composite.broken_by(child)
                if words is not None:
                    self._skip_rest(composite, words, f"{composite.path}/{child.name}")
                    self._composite_done(composite, steps)
                    return
            following = composite.task.subtasks[composite.next_index]
            composite.next_index += 1
            steps.append(_Start(following, composite))
            return
        self._composite_done(composite, steps)

    def _composite_done(self, composite: Composite, steps: list[_Start | _Done]) -> None:
        if composite.parent is None:
            return
        done = _Done(composite.task, composite.parent)
        if composite.tracker.is_complete:
            steps.append(done)
        else:
            # Another thread is just handing a child's completion up; it goes on from there,
            # because what follows may depend on this composite's outcome.
            composite.tracker.when_closed(lambda: self._advance([done]))

    def _skip_rest(self, composite: Composite, words: str, because_of: str) -> None:
        """Make casualties of the steps that are left (S7.2)."""
        message = f"skipped: {words}"
        cause = Cause(kind="skipped", because_of=because_of)
        composite.tracker.hold()  # the end of the whole comes after those of its steps
        try:
            for child in composite.task.subtasks[composite.next_index :]:
                if self._is_recorded(f"{composite.path}/{child.name}"):
                    continue
                if isinstance(child, Task):
                    self._skip_tree(child, message, cause)
                else:
                    assert isinstance(child, LeafTask)
                    tell(
                        child.report,
                        status=TaskStatus.REJECTED,
                        result=(ResultCode.REJECTED, message),
                        skipped=True,
                        cause=cause,
                    )
        finally:
            tell(composite.tracker.release)

    def _skip_tree(self, task: Task, message: str, cause: Cause) -> None:
        if not task.subtasks:  # complete from the start: only its parent can tell
            assert task.parent is not None
            tell(
                task.parent.tracker.update_task,
                task_name=task.name,
                status=TaskStatus.REJECTED,
                result=(ResultCode.REJECTED, message),
                skipped=True,
                cause=cause,
            )
            return
        verdict = Unbegun(
            TaskStatus.REJECTED, ResultCode.REJECTED, message, skipped=True, cause=cause
        )
        for path, node in task.walk():
            if not self._is_recorded(path):
                tell(end_without_parent, self.bus, path, node, verdict)

    def may_try_again(self, leaf_run: LeafRun) -> bool:
        """Return False when nothing may be started any more, or the run's time is over."""
        limit = leaf_run.composite.limit
        if self.abort_reason is not None or self._start_nothing is not None:
            return False
        return limit is None or limit.at > time.monotonic()

    def try_again(self, leaf_run: LeafRun, attempts: tuple[Attempt, ...]) -> None:
        """Launch the next attempt after those that were made."""
        with self.lock:
            self._active.discard(leaf_run)
        leaf_run.drop_timer()
        following = LeafRun(
            self, leaf_run.leaf, leaf_run.composite, leaf_run.runner, leaf_run.attempt + 1
        )
        following.earlier = attempts
        self._launch(following)
