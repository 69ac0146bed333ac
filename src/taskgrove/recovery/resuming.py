"""Resuming a run: a new run that takes over the leaves that completed in an earlier run.

The new run has an id of its own; both runs link to each other, and each leaf that is taken over
carries a note that says from where. A run is resumed once: the claim on it is written in the
transaction that makes the new run's row, so that of two resumes at once one begins. Composing
the tree again is the caller's part: the command line does it from the recorded source, a program
from its own code.

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
from taskgrove.commands.run_recorder import ResumeClaim, RunAbout, RunRecorder
from taskgrove.commands.task import Task, TaskExecutionType
from taskgrove.errors import UsageError
from taskgrove.events import Observer
from taskgrove.recovery.family import base_of, family_of
from taskgrove.recovery.resume_plan import ResumePlan, plan_resume_of
from taskgrove.store.database.advice import command_line, typed_again
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.store.store import Store

if TYPE_CHECKING:
    from taskgrove.store.recorder import Recorder


@dataclass(frozen=True, slots=True)
class Resumption:
    """A resume that is ready to begin.

    Submit it with ``executor.submit_main_task(resumption.task, about=resumption.about,
    prior=resumption.plan.prior, recorder=…)``.

    Attributes:
        run: The run that is resumed.
        task: The fresh tree.
        plan: The plan for each of its leaves.
        about: The facts about the new run for the record.
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
        UsageError: It lives, or was lost and is not recovered; the hint says how to go on.
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


def check_not_resumed(row: RunRow, location: str) -> None:
    """Refuse a run that was resumed already.

    Args:
        row: The run.
        location: The record that holds it, as ``Store.location`` names it, for the hint.

    Raises:
        UsageError: It was resumed; the text says by which run and how that ended, and the hint
            says how to go on.
    """
    if not row.resumed_by:
        return
    own = [it for it in row.resumed_by if it.of_run_id == row.run_id]
    newest = row.resumed_by[-1]
    by = " and ".join(f"{it.run_id} ({it.outcome or 'removed since'})" for it in own)
    words = f"run {row.run_id} has been resumed already, by run {by}"
    if newest not in own:
        words += f"; the newest run of this chain is {newest.run_id}"
        words += f" ({newest.outcome or 'removed since'})"
    shown = command_line(location, "runs", "show", newest.run_id)
    follow = {
        "ok": "nothing is left to do",
        "running": f"{shown} shows its progress",
        "lost": f"{command_line(location, 'recover', newest.run_id)} comes first",
        None: "look at the devices: that run may have changed them",
    }.get(newest.outcome, f"{_resume_line(location, row, newest.run_id)} goes on")
    again = f"{_resume_line(location, row, row.run_id, '--again')} resumes it once more"
    raise UsageError(words, hint=f"{follow}; {again}")


def _resume_line(location: str, row: RunRow, *words: str) -> str:
    return command_line(location, "resume", *words, *typed_again(row.source))


def to_resume(history: History, row: RunRow, location: str, *, again: bool = False) -> RunRow:
    """Return the run that is resumed where ``row`` was named.

    It is another run where ``row`` is a resume that was refused, or ended before a leaf began.

    Args:
        history: The record.
        row: The run that was named.
        location: The record, as ``Store.location`` names it, for hints.
        again: Whether a run that was resumed already may be resumed once more.

    Raises:
        UsageError: It may still be at work, or was resumed already.
    """
    check_resumable(row, location)
    base = base_of(history, row)
    if not again:
        check_not_resumed(base, location)
    return base


def plan_resume(
    store: Store,
    run: str,
    task: Task,
    *,
    redo: Iterable[str] = (),
    argv: tuple[str, ...] = (),
    source: Mapping[str, object] | None = None,
    again: bool = False,
) -> Resumption:
    """Return a resume that is ready to begin; nothing is done, and nothing is claimed yet.

    Args:
        store: The record.
        run: As :meth:`taskgrove.store.history.History.find` takes it.
        task: A tree that was composed again; its leaves are matched by path.
        redo: Patterns of leaves to do again (``configure/configure_pst/**``).
        argv: The command line of this process, for the record.
        source: The source that the tree was composed from; None takes the earlier run's.
        again: Whether a run that was resumed already may be resumed once more.

    Raises:
        UsageError: The run may still be at work, or was resumed already; a pattern matches no
            leaf, or the tree is of another command.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read.
    """
    history = History(store)
    row = history.find_to_act(run)
    check_resumable(row, store.location)
    row = base_of(history, row)
    nodes = history.nodes(row)
    if nodes and nodes[0].path != task.path:
        raise UsageError(
            f"the tree is {task.path!r}, the run was {nodes[0].path!r}",
            hint="leaves are matched by their paths, which begin with the root's name",
        )
    verdicts = history.verdicts(row)
    family = family_of(history, row, nodes, verdicts)
    plan = plan_resume_of(task, nodes, run_id=row.run_id, redo=redo, family=family)
    if not again:
        check_not_resumed(row, store.location)
    numbers = [it.number for it in row.resumed_by if it.of_run_id == row.run_id]
    about = RunAbout(
        command=row.command,
        source=row.source if source is None else source,
        argv=argv,
        parent_run_id=row.run_id,
        labels=row.labels,
        claim=ResumeClaim(
            max(numbers, default=0) + 1, tuple(leaf.path for leaf in plan.of("redo"))
        ),
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
    again: bool = False,
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
        runners: The runners that execute leaves, by their kind.
        recorder: Records the new run; None makes one.
        observers: Called with every event of the new run.
        max_workers: As the executor's.
        grace_s: As the executor's, in seconds.
        again: As :func:`plan_resume`.

    Raises:
        UsageError: As :func:`plan_resume`; or another process resumed it meanwhile.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be used; nothing was started.
    """
    from taskgrove.recovery.finding_lost import find_lost  # noqa: PLC0415 - an extra
    from taskgrove.store.recorder import Recorder  # noqa: PLC0415 - an extra

    opened = None if isinstance(store, Store) else Store.open(store)
    used = store if isinstance(store, Store) else opened
    assert used is not None
    own: Recorder | None = None
    try:
        known = History(used).find_to_act(run)
        find_lost(used, run=known.run_id)
        ready = plan_resume(used, known.run_id, task, redo=redo, again=again)
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
