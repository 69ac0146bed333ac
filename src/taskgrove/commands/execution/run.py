"""The scheduling of one run: what starts when, and what stops it.

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
import logging
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from taskgrove.commands.execution.leaf_run import PROBLEM_CODES, LeafRun
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import EventBus, FinishedDetail, NoteDetail

if TYPE_CHECKING:
    from taskgrove.commands.main_task_executor import Engine

_LOGGER = logging.getLogger(__name__)


class Limit(NamedTuple):
    """A deadline, and who set it.

    Attributes:
        at: When it expires (``time.monotonic()``), in seconds.
        length_s: How long it was, in seconds.
        owner: Path of the node that set it.
    """

    at: float
    length_s: float
    owner: str


class Composite:
    """A Task while it runs."""

    __slots__ = ("is_sequence", "limit", "next_index", "parent", "path", "remaining", "task")

    def __init__(self, task: Task, parent: Composite | None, path: str) -> None:
        self.task = task
        self.parent = parent
        self.path = path
        self.remaining = len(task.subtasks)
        self.next_index = 0
        self.is_sequence = task.task_type is TaskExecutionType.SEQUENTIAL
        self.limit: Limit | None = None if parent is None else parent.limit
        if task.timeout is not None:
            own = Limit(time.monotonic() + task.timeout, task.timeout, path)
            if self.limit is None or own.at < self.limit.at:
                self.limit = own

    @property
    def tracker(self) -> TaskTracker:
        """The tracker of the task."""
        return self.task.tracker

    def broken_by(self, child: BaseTask) -> str | None:
        """Return the words for a child that breaks the sequence (S7.2), or None."""
        if isinstance(child, Task):
            outcome = child.tracker.outcome()
            status, code, health = outcome.status, outcome.result, outcome.health_state
        else:
            record = self.tracker.subtasks.get(child.name)
            if record is None or record.status is None:
                return None
            status, health = record.status, record.health_state
            code = record.result_code if record.result_code is not None else ResultCode.OK
        if status is TaskStatus.ABORTED:
            return f"{child.name} aborted"
        if status is TaskStatus.COMPLETED and (health == "DEGRADED" or code not in PROBLEM_CODES):
            return None
        word = "rejected" if status is TaskStatus.REJECTED else "failed"
        return f"{child.name} {word}"


class _Start(NamedTuple):
    node: BaseTask
    composite: Composite


class _Done(NamedTuple):
    child: BaseTask
    composite: Composite


class Run:
    """One submitted tree.

    Attributes:
        bus: The run's events.
        root: Its tree.
        lock: See the module's docstring.
        abort_reason: Why it was aborted, or None.
        first_exception: The first exception that a leaf ended with, or None.
    """

    def __init__(self, engine: Engine, root: Task, bus: EventBus) -> None:
        self.engine = engine
        self.root = root
        self.bus = bus
        self.lock = threading.Lock()
        self.abort_reason: str | None = None
        self.first_exception: BaseException | None = None
        self.abandoned: tuple[str, ...] = ()
        self._active: set[LeafRun] = set()

    def begin(self) -> None:
        """Start the root; runs on a control thread."""
        root = Composite(self.root, None, self.root.path)
        if not self.root.subtasks:
            return  # complete from the start (S4.5)
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
            nested = Composite(node, composite, f"{composite.path}/{node.name}")
            if not node.subtasks:  # complete from the start: nobody else would tell
                composite.tracker.update_task(
                    task_name=node.name,
                    status=TaskStatus.COMPLETED,
                    result=(ResultCode.OK, ""),
                )
                steps.append(_Done(node, composite))
                return
            steps.extend(_Start(child, nested) for child in self._first_of(nested))
            return
        assert isinstance(node, LeafTask)
        leaf_run = LeafRun(self, node, composite, self.engine.runner_of(node))
        if self._refuse(leaf_run):
            steps.append(_Done(node, composite))
            return
        self._launch(leaf_run)

    def _refuse(self, leaf_run: LeafRun) -> bool:
        """End a leaf that must not start any more; True when it was."""
        if self.abort_reason is not None:
            leaf_run.cut_off(
                TaskStatus.ABORTED,
                ResultCode.ABORTED,
                f"not started: {self.abort_reason}",
            )
            return True
        limit = leaf_run.limit
        if limit is not None and limit.at <= time.monotonic():
            leaf_run.cut_off(
                TaskStatus.FAILED,
                ResultCode.FAILED,
                f"not started: the limit of {limit.length_s:g} s set by {limit.owner} expired",
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
        self.engine.pool.submit(leaf_run)

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
                    self._skip_rest(composite, words)
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

    def _skip_rest(self, composite: Composite, words: str) -> None:
        """Make casualties of the steps that are left (S7.2)."""
        message = f"skipped: {words}"
        for child in composite.task.subtasks[composite.next_index :]:
            if isinstance(child, Task):
                self._skip_tree(child, message)
            else:
                assert isinstance(child, LeafTask)
                child.report(
                    status=TaskStatus.REJECTED,
                    result=(ResultCode.REJECTED, message),
                    skipped=True,
                )

    def _skip_tree(self, task: Task, message: str) -> None:
        if not task.subtasks:  # complete from the start: only its parent can tell
            assert task.parent is not None
            task.parent.tracker.update_task(
                task_name=task.name,
                status=TaskStatus.REJECTED,
                result=(ResultCode.REJECTED, message),
                skipped=True,
            )
            return
        for path, node in task.walk():
            if isinstance(node, Task) and node.subtasks:
                node.tracker.conclude(
                    TaskStatus.REJECTED, ResultCode.REJECTED, message, skipped=True
                )
            elif self.bus.active:
                self.bus.emit(
                    path,
                    "finished",
                    status=TaskStatus.REJECTED,
                    result_code=ResultCode.REJECTED,
                    message=message,
                    detail=FinishedDetail(skipped=True),
                )

    def remember(self, exc: BaseException) -> None:
        """Keep the first exception, to chain the error of ``handle.result()`` to it."""
        with self.lock:
            if self.first_exception is None:
                self.first_exception = exc

    def may_try_again(self, leaf_run: LeafRun) -> bool:
        """Return False when the run is being aborted, or its time is over."""
        limit = leaf_run.composite.limit
        return self.abort_reason is None and (limit is None or limit.at > time.monotonic())

    def try_again(self, leaf_run: LeafRun) -> None:
        """Launch the next attempt."""
        with self.lock:
            self._active.discard(leaf_run)
        leaf_run.drop_timer()
        following = LeafRun(
            self, leaf_run.leaf, leaf_run.composite, leaf_run.runner, leaf_run.attempt + 1
        )
        self._launch(following)

    # -- limits ---------------------------------------------------------------------------

    def set_own_limit(self, leaf_run: LeafRun) -> None:
        """Begin the leaf's own limit, if it expires before the one from above."""
        length_s = leaf_run.leaf.timeout
        assert length_s is not None
        assert leaf_run.started_at is not None
        own = Limit(leaf_run.started_at + length_s, length_s, leaf_run.path)
        if leaf_run.limit is None or own.at < leaf_run.limit.at:
            leaf_run.drop_timer()
            leaf_run.limit = own
            self._watch(leaf_run)

    def _watch(self, leaf_run: LeafRun) -> None:
        assert leaf_run.limit is not None
        leaf_run.timer = self.engine.timer.at(
            leaf_run.limit.at, functools.partial(self._expire, leaf_run)
        )

    def _expire(self, leaf_run: LeafRun) -> None:
        """End a leaf whose limit has expired (S7.4)."""
        limit = leaf_run.limit
        if limit is None or leaf_run.is_over:
            return
        began = leaf_run.is_started
        text = (
            f"timed out after {limit.length_s:g} s (limit set by {limit.owner})"
            if began
            else f"not started: the limit of {limit.length_s:g} s set by {limit.owner} expired"
        )
        if not leaf_run.cut_off(TaskStatus.FAILED, ResultCode.FAILED, text):
            return
        leaf_run.note("timeout", text, limit_s=f"{limit.length_s:g}", owner=limit.owner)
        self.remember(TimeoutError(f"{leaf_run.path}: {text}"))
        if began:
            self._stop_expired(leaf_run)
        self.ended(leaf_run)

    def _stop_expired(self, leaf_run: LeafRun) -> None:
        leaf = leaf_run.leaf
        enforced = leaf_run.runner.limits(leaf).timeout == "enforced"
        leaf_run.ask_to_stop()
        if enforced or leaf.abort_on_timeout:
            self._call_abort(leaf_run, "its limit expired")
        if leaf_run.in_call:
            self.engine.timer.at(
                time.monotonic() + self.engine.grace_s,
                functools.partial(self._free_slot, leaf_run),
            )

    # -- abort ----------------------------------------------------------------------------

    def abort(self, reason: str) -> bool:
        """Ask everything to stop; returns at once. False when it was asked before."""
        with self.lock:
            if self.abort_reason is not None or self.root.tracker.is_complete:
                return False
            self.abort_reason = reason
        if self.bus.active:
            self.bus.emit(
                self.root.path,
                "note",
                message=f"asked to stop: {reason}",
                detail=NoteDetail(topic="abort-asked"),
            )
        self.engine.control.submit(self._abort_active)
        return True

    def _abort_active(self) -> None:
        with self.lock:
            active = list(self._active)
        # What has not begun goes first, so that nothing starts while others are being asked.
        for leaf_run in sorted(active, key=lambda item: item.is_started):
            self.engine.control.submit(functools.partial(self._abort_leaf, leaf_run))

    def _abort_leaf(self, leaf_run: LeafRun) -> None:
        with self.lock:
            if leaf_run.is_over or leaf_run.abort_asked_at is not None:
                return
        reason = self.abort_reason or "aborted"
        if not leaf_run.is_started:
            text = f"not started: {reason}"
            if leaf_run.cut_off(TaskStatus.ABORTED, ResultCode.ABORTED, text, if_not_started=True):
                self.ended(leaf_run)
                return
        leaf_run.ask_to_stop()
        leaf_run.note("abort-asked", f"asked to stop: {reason}")
        self.engine.timer.at(
            time.monotonic() + self.engine.grace_s, functools.partial(self._abandon, leaf_run)
        )
        self._call_abort(leaf_run, reason)

    def _call_abort(self, leaf_run: LeafRun, reason: str) -> None:
        try:
            leaf_run.runner.abort(leaf_run, reason)
        except Exception as exc:
            _LOGGER.exception("run %s: the abort of %s raised", self.bus.run_id, leaf_run.path)
            leaf_run.note("info", f"its abort could not be sent: {type(exc).__name__}: {exc}")

    def _abandon(self, leaf_run: LeafRun) -> None:
        """Give up on a leaf that did not end within the grace period (S7.5)."""
        grace_s = self.engine.grace_s
        text = f"abandoned: it did not end within {grace_s:g} s of being asked to stop"
        if leaf_run.cut_off(TaskStatus.ABORTED, ResultCode.ABORTED, text):
            leaf_run.note("abandoned", text, grace_s=f"{grace_s:g}")
            with self.lock:
                self.abandoned = (*self.abandoned, leaf_run.path)
            self._replace_slot(leaf_run)
            self.ended(leaf_run)

    def _free_slot(self, leaf_run: LeafRun) -> None:
        """Take the slot from a method that goes on after its limit."""
        if leaf_run.in_call:
            grace_s = self.engine.grace_s
            leaf_run.note(
                "abandoned",
                f"it goes on {grace_s:g} s after its limit expired; its slot was replaced",
            )
            with self.lock:
                self.abandoned = (*self.abandoned, leaf_run.path)
            self._replace_slot(leaf_run)

    def _replace_slot(self, leaf_run: LeafRun) -> None:
        worker = leaf_run.worker
        if leaf_run.in_call and worker is not None:
            self.engine.pool.replace(worker)
