"""Resuming a run: a new run that takes over what completed in an earlier one.

The new run has an id of its own and links to the earlier one; each leaf that is taken over carries
a note that says from where. Composing the tree again is the caller's part: the command line does
it from the recorded source, a program from its own code.

Threads: any thread may call any function here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.run_recorder import RunAbout, RunRecorder
from taskgrove.commands.task import Task, TaskExecutionType
from taskgrove.errors import UsageError
from taskgrove.events import Observer
from taskgrove.store.database.advice import command_line
from taskgrove.store.history import History
from taskgrove.store.interrupted.resume_plan import PlannedLeaf, ResumePlan, plan_resume_of
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.store.store import Store

if TYPE_CHECKING:
    from taskgrove.store.recorder import Recorder

__all__ = ["PlannedLeaf", "ResumePlan", "Resumption", "check_resumable", "plan_resume", "resume"]


@dataclass(frozen=True, slots=True)
class Resumption:
    """A resume that is ready to begin.

    Submit it with ``executor.submit_main_task(resumption.task, about=resumption.about,
    prior=resumption.plan.prior, recorder=…)``.

    Attributes:
        run: The run that is resumed.
        task: The fresh tree.
        plan: What is done with each of its leaves.
        about: What the record keeps of the new run.
    """

    run: RunRow
    task: Task
    plan: ResumePlan
    about: RunAbout

    @property
    def is_done(self) -> bool:
        """True when nothing is left to do: every leaf is reused."""
        return not self.plan.of("redo")


def check_resumable(row: RunRow, location: str) -> None:
    """Refuse a run that may still be at work.

    Args:
        row: The run.
        location: The record that holds it, as ``Store.location`` names it, for the hint.

    Raises:
        UsageError: It lives, or was lost and is not recovered; the hint says what to do.
    """
    if row.state == "running":
        keeper = "" if row.lease is None else f" (process {row.lease.pid} on {row.lease.host})"
        raise UsageError(
            f"run {row.run_id} still runs{keeper}; nothing must run twice",
            hint="wait for its end, or stop that process",
        )
    if row.state == "lost":
        raise UsageError(
            f"run {row.run_id} was lost, and its work may still run",
            hint=f"recover it first: {command_line(location, 'recover', row.run_id)}",
        )


def plan_resume(
    store: Store,
    run: str,
    task: Task,
    *,
    redo: Iterable[str] = (),
    argv: tuple[str, ...] = (),
    source: Mapping[str, object] | None = None,
) -> Resumption:
    """Return what a resume would do; nothing is done.

    Args:
        store: The record.
        run: As :meth:`taskgrove.store.history.History.find` takes it.
        task: A tree that was composed again; its leaves are matched by path.
        redo: Patterns of leaves to do again (``configure/configure_pst/**``).
        argv: The command line of this process, for the record.
        source: What the tree was composed from; None takes the earlier run's.

    Raises:
        UsageError: The run may still be at work, a pattern matches no leaf, or the tree is of
            another command.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read.
    """
    history = History(store)
    row = history.find_to_act(run)
    check_resumable(row, store.location)
    nodes = history.nodes(row)
    if nodes and nodes[0].path != task.path:
        raise UsageError(
            f"the tree is {task.path!r}, the run was {nodes[0].path!r}",
            hint="leaves are matched by their paths, which begin with the root's name",
        )
    plan = plan_resume_of(task, nodes, run_id=row.run_id, redo=redo, verdicts=history.verdicts(row))
    about = RunAbout(
        command=row.command,
        source=row.source if source is None else source,
        argv=argv,
        parent_run_id=row.run_id,
        labels=row.labels,
    )
    return Resumption(row, task, plan, about)


def resume(
    run: str,
    task: Task,
    *,
    store: Store | str | Path | None = None,
    redo: Iterable[str] = (),
    runners: Mapping[TaskExecutionType, LeafRunner] | None = None,
    recorder: RunRecorder | None = None,
    observers: Iterable[Observer] = (),
    max_workers: int = 16,
    grace_s: float = 5.0,
) -> AggregationOutcome:
    """Resume a run with a freshly built tree, and wait for the end of the new run.

    ::

        outcome = taskgrove.store.resume("last-failed", build_tree(), redo=["configure/pst/**"])

    A run that needs nothing gives its tree's outcome all the same, from reused leaves alone.

    Args:
        run: As :meth:`taskgrove.store.history.History.find` takes it.
        task: The tree, as the program that made the run builds it; matched by path.
        store: The record, or where it is, as ``Store.open`` takes it.
        redo: Patterns of leaves to do again.
        runners: What executes leaves, by their kind.
        recorder: Keeps the record of the new run; None makes one.
        observers: Called with every event of the new run.
        max_workers: As the executor's.
        grace_s: As the executor's, in seconds.

    Raises:
        UsageError: As :func:`plan_resume`.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be used.
    """
    from taskgrove.store.interrupted.lost import find_lost  # noqa: PLC0415 - an extra
    from taskgrove.store.recorder import Recorder  # noqa: PLC0415 - an extra

    opened = None if isinstance(store, Store) else Store.open(store)
    used = store if isinstance(store, Store) else opened
    assert used is not None
    own: Recorder | None = None
    try:
        known = History(used).find_to_act(run)
        find_lost(used)
        ready = plan_resume(used, known.run_id, task, redo=redo)
        own = Recorder(used) if recorder is None else None
        with MainTaskExecutor(max_workers, runners, grace_s=grace_s) as executor:
            handle = executor.submit_main_task(
                task,
                observers=observers,
                recorder=recorder or own,
                about=ready.about,
                prior=ready.plan.prior,
            )
            handle.wait()
            outcome = handle.outcome
    finally:
        if own is not None:
            own.close()
        if opened is not None:
            opened.close()
    assert outcome is not None
    return outcome
