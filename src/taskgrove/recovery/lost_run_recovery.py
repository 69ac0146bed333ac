"""Recovering a run whose runner was lost: it goes on under its own id, to a true end.

Nothing is started, unless the clean-up of the run is asked for. Work that runs outside is followed
by its recorded id; a leaf whose end is not known says so (see ``recovery_plan``). A recovery takes
over the lease by a compare-and-swap, so that of two recoveries at once only one goes on. Requests
of operators that the lost runner has not answered are answered then: by the events that they
caused, or as too late. When the recovery is lost in turn, the run is LOST again, and can be
recovered again.

Threads: any thread may call any function here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits, LeafRunner
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorWork
from taskgrove.commands.run_recorder import RunAbout, RunRecorder
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import AnalysisError, MissingRunnerError, UsageError
from taskgrove.events import Observer
from taskgrove.recovery.clean_up import run_clean_up
from taskgrove.recovery.finding_lost import find_lost, moment_text
from taskgrove.recovery.recovery_plan import KIND_OF_OUTSIDE, RecoveryPlan, plan_recovery
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RequestRow, RunRow
from taskgrove.store.recording import statements as sql
from taskgrove.store.recording.lease import HEARTBEAT_S, this_process
from taskgrove.store.recording.request_rows import close_requests
from taskgrove.store.store import Store

_INTERNAL: Final = TaskExecutionType.INTERNAL
#: The run was not recovered and lost once more since: else the plan would be out of date.
_CLAIM: Final = (
    "UPDATE runs SET state = 'running', state_note = ?, recovered_ns = ?"
    " WHERE run_key = ? AND state = 'lost' AND last_sequence = ? AND state_note = ?"
)
_GIVE_BACK: Final = (
    "UPDATE runs SET state = 'lost', state_note = ?, recovered_ns = ?"
    " WHERE run_key = ? AND state = 'running'"
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """A recovery that is under way: the handle of the run, and the plan for its leaves."""

    handle: RunHandle
    plan: RecoveryPlan


class _NothingToFollow:
    """Stands for runners that a recovery does not need: nothing is started."""

    def limits(self, leaf: LeafTask) -> LeafLimits:
        """Say that nothing is enforced."""
        del leaf
        return LeafLimits("none", "reported")

    def start(self, context: LeafContext) -> None:
        """Refuse."""
        raise UsageError("a recovery starts nothing", path=context.path)

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Refuse."""
        raise UsageError(f"nothing here can follow {outside_id}", path=context.path)

    def abort(self, context: LeafContext, reason: str) -> None:
        """Do nothing: nothing runs."""


def recover(
    store: Store,
    run: str,
    *,
    runners: Mapping[TaskExecutionType, LeafRunner] | None = None,
    recorder: RunRecorder | None = None,
    observers: Iterable[Observer] = (),
    give_up: bool = False,
    max_workers: int = 16,
    grace_s: float = 5.0,
    clean_up: Task | None = None,
) -> AggregationOutcome:
    """Recover a lost run, and wait for its end.

    Args:
        store: The record, open for writing.
        run: As :meth:`taskgrove.store.history.History.find` takes it.
        runners: The runners that follow work outside, by the kind of leaf; they are not closed.
        recorder: Records the rest of the run; None makes one.
        observers: Called with every event from here on.
        give_up: Whether work that cannot be followed from here ends as FAILED.
        max_workers: As the executor's.
        grace_s: As the executor's, in seconds.
        clean_up: The tree of the run, built again: its clean-up (``finally``) is run where it is
            pending; None starts nothing.

    Raises:
        UsageError: The run is not lost, another process recovers it, work of it cannot be
            followed from here, or its clean-up cannot be run; the record is as before.
        UnknownRunError: There is no such run.
        StoreError: The record cannot be read or written.
    """
    from taskgrove.store.recorder import Recorder  # noqa: PLC0415 - made only where needed

    own = Recorder(store) if recorder is None else None
    try:
        followers = runners_for_recovery(runners, clean_up=clean_up is not None)
        with MainTaskExecutor(max_workers, followers, grace_s=grace_s) as pool:
            recovery = start_recovery(
                store,
                run,
                executor=pool,
                runners=runners or {},
                recorder=recorder or own,
                observers=observers,
                give_up=give_up,
                clean_up=clean_up,
            )
            recovery.handle.wait()
            outcome = recovery.handle.outcome
    finally:
        if own is not None:
            own.close()
    assert outcome is not None
    return outcome


def start_recovery(
    store: Store,
    run: str,
    *,
    executor: MainTaskExecutor,
    runners: Mapping[TaskExecutionType, LeafRunner],
    recorder: RunRecorder | None,
    observers: Iterable[Observer] = (),
    give_up: bool = False,
    clean_up: Task | None = None,
) -> Recovery:
    """Begin to recover a lost run; returns at once.

    Args:
        store: The record, open for writing.
        run: As :meth:`taskgrove.store.history.History.find` takes it.
        executor: Follows the work; it was made with :func:`runners_for_recovery`.
        runners: The runners that follow work outside, by the kind of leaf.
        recorder: Records the rest of the run.
        observers: Called with every event from here on.
        give_up: Whether work that cannot be followed from here ends as FAILED.
        clean_up: As :func:`recover`.

    Raises:
        UsageError: As :func:`recover`.
    """
    row, plan = look_at_lost(store, run)
    _check_followable(row, plan, runners, give_up=give_up)
    if clean_up is not None:
        run_clean_up(plan, clean_up)
        _check_runnable(plan, runners)
    _claim(store, row)
    about = RunAbout(row.command, row.source, row.argv, row.parent_run_id, row.labels)
    try:
        handle = executor.submit_main_task(
            plan.root,
            observers=observers,
            run_id=row.run_id,
            recorder=recorder,
            about=about,
            prior=plan.prior,
            first_sequence=row.last_sequence + 1,
            start_nothing=plan.reason,
            start_clean_up=clean_up is not None,
        )
    except BaseException:
        _give_back(store, row)
        raise
    return Recovery(handle, plan)


def look_at_lost(store: Store, run: str) -> tuple[RunRow, RecoveryPlan]:
    """Return a lost run and the plan of its recovery; nothing is done.

    Raises:
        UsageError: It is not lost, or nothing of it is on record.
    """
    history = History(store)
    known = history.find_to_act(run)
    find_lost(store, run=known.run_id)
    row = history.find(known.run_id)
    if row.state == "final":
        raise UsageError(f"run {row.run_id} has ended: there is nothing to recover")
    if row.state == "running":
        keeper = "" if row.lease is None else f": process {row.lease.pid} on {row.lease.host}"
        raise UsageError(
            f"run {row.run_id} is not lost: its runner still runs{keeper}",
            hint="if that process hangs, stop it first",
        )
    facts = history.facts(row)
    plan = plan_recovery(
        facts,
        run_id=row.run_id,
        lost_at=moment_text(row.last_ns),
        lost_ns=row.last_ns + int(HEARTBEAT_S * 1e9),
        asked=[item.request for item in history.requests(row) if not _was_taken(item)],
    )
    return row, plan


def _was_taken(item: RequestRow) -> bool:
    """Return whether the runner had answered a request."""
    answer = item.answer
    return answer is not None and not any(
        objection.reason == "runner_lost" for objection in answer.objections
    )


def runners_for_recovery(
    runners: Mapping[TaskExecutionType, LeafRunner] | None, *, clean_up: bool = False
) -> dict[TaskExecutionType, LeafRunner]:
    """Return runners for every kind of leaf: nothing is started, so most may be missing.

    Args:
        runners: The runners that there are.
        clean_up: Whether internal steps of a clean-up may be run: then the executor's own runner
            does it.
    """
    kinds = [kind for kind in TaskExecutionType if not kind.is_composite]
    if clean_up and _INTERNAL not in (runners or {}):
        kinds.remove(_INTERNAL)
    return {kind: (runners or {}).get(kind) or _NothingToFollow() for kind in kinds}


def _check_followable(
    row: RunRow,
    plan: RecoveryPlan,
    runners: Mapping[TaskExecutionType, LeafRunner],
    *,
    give_up: bool,
) -> None:
    """Give up the leaves that cannot be followed, where that is allowed, or refuse."""
    here = this_process().host
    for path in plan.of("followed"):
        work = plan.prior[path]
        assert isinstance(work, PriorWork)
        kind = KIND_OF_OUTSIDE.get(work.outside_kind)
        what = f"{work.outside_kind} {work.outside_id}"
        if work.outside_kind == "process" and row.host == here and not _lives(work.outside_id):
            if kind not in runners:  # else the runner itself tells of it
                plan.forget(path, "its process is gone")
            continue
        if work.outside_kind == "process" and row.host != here:
            why = f"it was {what} on {row.host}, which cannot be seen from {here}"
            hint = f"recover the run on {row.host}"
        elif kind is None or kind not in runners:
            why, hint = f"nothing here follows {what}", "install what runs such leaves"
        else:
            continue
        if not give_up:
            raise UsageError(
                f"run {row.run_id} cannot be recovered here: {path}: {why}; it may still run",
                path=path,
                hint=f"{hint}, or give it up (--give-up): its end is then not known",
            )
        plan.forget(path, why)


def _check_runnable(plan: RecoveryPlan, runners: Mapping[TaskExecutionType, LeafRunner]) -> None:
    for path in plan.of("clean_up"):
        kind = plan.root.find(path).task_type
        if kind not in runners and kind is not _INTERNAL:
            raise MissingRunnerError(
                f"nothing here runs {kind.name} steps such as {path}, of the clean-up",
                path=path,
                hint="install what runs such steps, or recover the run without its clean-up",
            )


def _lives(identity: str) -> bool:
    """Return True when a process of this machine, told by ``pid:start``, still runs."""
    from taskgrove.analysis.running.process import is_alive  # noqa: PLC0415 - rarely needed

    try:
        return is_alive(identity)
    except AnalysisError:
        return True  # an unknown form of identity: the process may live


def _claim(store: Store, row: RunRow) -> None:
    """Take over the run, or fail because another process was quicker."""
    now_ns, holder = SYSTEM_CLOCK.wall_ns(), this_process()
    who = f"process {holder.pid} on {holder.host}"
    note = f"recovered by {who} at {moment_text(now_ns)}; before: {row.state_note}"
    lease = {
        **holder._asdict(),
        "run_key": row.run_key,
        "heartbeat_ns": now_ns,
        "interval_s": HEARTBEAT_S,
    }
    with store.writing() as cursor:
        before = (row.run_key, row.last_sequence, row.state_note)
        if cursor.execute(_CLAIM, (note, now_ns, *before)) != 1:
            raise UsageError(
                f"run {row.run_id} is being recovered by another process, or was",
                hint=f"{quoted_line(store.location, 'runs', 'show', row.run_id)} shows who",
            )
        cursor.execute(sql.INSERT_LEASE, tuple(lease[name] for name in sql.LEASE_COLUMNS))
        close_requests(cursor, row.run_key, row.run_id, "runner_lost", now_ns)


def _give_back(store: Store, row: RunRow) -> None:
    """Undo a claim after a recovery that could not begin."""
    with store.writing() as cursor:
        cursor.execute(_GIVE_BACK, (row.state_note, row.recovered_ns, row.run_key))
        cursor.execute(sql.DROP_LEASE, (row.run_key,))
