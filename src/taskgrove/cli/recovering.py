"""Recovering a lost run on the command line, for the verbs that need it."""

from __future__ import annotations

import os
import queue
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.follow import EventQueue, surface_for
from taskgrove.cli.lost_runs import tell_lost
from taskgrove.cli.question import confirmed
from taskgrove.cli.recorded import HOW_TO_RECORD
from taskgrove.cli.recording import Recording
from taskgrove.cli.showing import show_to_its_end
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.leaf_runner import LeafRunner
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import Task, TaskExecutionType
from taskgrove.errors import MissingExtraError, UnknownRunError, UsageError
from taskgrove.recovery.clean_up import pending_clean_up
from taskgrove.recovery.lost_run_recovery import (
    look_at_lost,
    runners_for_recovery,
    start_recovery,
)
from taskgrove.recovery.recovery_plan import RecoveryPlan
from taskgrove.store.database.location import DB_VARIABLE, default_file
from taskgrove.store.history import History
from taskgrove.store.recorder import Recorder
from taskgrove.store.store import Store
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import safe_text

#: How long aborted work may take to end, in seconds.
GRACE_S = 5.0


@contextmanager
def writable_record(terminal: Terminal, database: str | None) -> Iterator[tuple[Store, Recording]]:
    """Open the record that is there for recording, and say which runs were newly lost.

    Raises:
        UnknownRunError: Nothing was ever recorded.
        StoreError: It cannot be written.
    """
    named = bool(database or os.environ.get(DB_VARIABLE))
    if not named and not default_file().exists():
        raise UnknownRunError("no run has been recorded yet", hint=HOW_TO_RECORD)
    troubles: queue.SimpleQueue[str] = queue.SimpleQueue()
    with Store.open(database, create=False) as store:
        tell_lost(terminal, store)
        recording = Recording(Recorder(store, on_trouble=troubles.put), troubles)
        try:
            yield store, recording
        finally:
            assert recording.recorder is not None
            recording.recorder.close()
            recording.tell(lambda text: terminal.say(safe_text(text), "yellow"))


def say_recovery_plan(terminal: Terminal, plan: RecoveryPlan) -> None:
    """Print the plan of a recovery for each leaf."""
    terminal.say(f"Run {safe_text(plan.run_id)}: {plan.line}.")
    told = (
        ("follow", plan.of("followed")),
        ("not known", plan.of("unknown")),
        ("was held", plan.of("held")),
        ("run", plan.of("clean_up")),
    )
    for word, paths in told:
        for path in paths[:20]:
            terminal.say(f"  {word:<10}{safe_text(path)}")
        if len(paths) > 20:
            terminal.say(f"  {word:<10}and {len(paths) - 20} more")
    pending = pending_clean_up(plan)
    if pending:
        names = ", ".join(safe_text(path) for path in pending[:20])
        more = f" and {len(pending) - 20} more" if len(pending) > 20 else ""
        terminal.say(f"The clean-up has not run: {names}{more}.", "yellow")
        terminal.say("It runs when the run is resumed, after the steps before it.", "yellow")


def ask_before_it_starts(terminal: Terminal, question: str, *, yes: bool, hint: str) -> None:
    """Ask for confirmation.

    Args:
        terminal: Where it is said that nothing was started.
        question: The question.
        yes: Whether it is not asked.
        hint: What to do where there is no terminal.

    Raises:
        UsageError: There is no terminal to ask at, and ``--yes`` was not given.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("nothing was started: there is no terminal to ask at", hint=hint)
    if not confirmed(question):
        terminal.say("Nothing was started.")
        raise SystemExit(ExitCode.ABORTED)


class CleanUp(NamedTuple):
    """The clean-up of a lost run, as it is to be run.

    Attributes:
        tree: The tree of the run, composed again.
        runners: What runs its steps.
    """

    tree: Task
    runners: Mapping[TaskExecutionType, LeafRunner]


def recover_shown(
    terminal: Terminal,
    store: Store,
    record: Recording,
    run: str,
    *,
    give_up: bool = False,
    json: bool = False,
    clean_up: CleanUp | None = None,
) -> ExitCode:
    """Recover a lost run, show it to its end, and return the exit code.

    Args:
        terminal: Where the words go.
        store: The record.
        record: Keeps the record of the further events.
        run: The run.
        give_up: Whether work that cannot be followed from here is given up.
        json: Whether standard output carries the events.
        clean_up: The clean-up that is run; None: nothing is started.

    Raises:
        UsageError: It is not lost, or cannot be recovered here.
    """
    row, plan = look_at_lost(store, run)
    if clean_up is None:
        say_recovery_plan(terminal, plan)
    events, view = EventQueue(), RunView()
    view.apply_all(History(store).events(row)).settle()
    assert record.recorder is not None
    with ExitStack() as stack:
        runners = _runners_for(stack, terminal, plan)
        if clean_up is not None:
            runners = {**runners, **clean_up.runners}
        followers = runners_for_recovery(runners, clean_up=clean_up is not None)
        executor = stack.enter_context(MainTaskExecutor(runners=followers, grace_s=GRACE_S))
        record.recorder.forward(row.run_id, events)
        recorder = record.recorder
        shown = show_to_its_end(
            record,
            row.run_id,
            events,
            view,
            lambda: (
                start_recovery(
                    store,
                    row.run_id,
                    executor=executor,
                    runners=runners,
                    recorder=recorder,
                    give_up=give_up,
                    clean_up=None if clean_up is None else clean_up.tree,
                ).handle
            ),
            lambda controls: surface_for(terminal, view, json=json, controls=controls),
            grace_s=GRACE_S,
            source=row.source,
        )
    terminal.say_explanation(shown.words)
    return shown.exit_code


def _runners_for(
    stack: ExitStack, terminal: Terminal, plan: RecoveryPlan
) -> dict[TaskExecutionType, LeafRunner]:
    """Return the runners that follow the work of a plan; a missing extra is reported."""
    runners: dict[TaskExecutionType, LeafRunner] = {}
    for kind in plan.kinds:
        try:
            made: Any
            if kind is TaskExecutionType.DEVICE:
                from taskgrove.tango.device_runner import DeviceRunner  # noqa: PLC0415 - an extra

                made = DeviceRunner()
            elif kind is TaskExecutionType.ANALYSIS:
                from taskgrove.analysis.analysis_runner import (  # noqa: PLC0415 - an extra
                    AnalysisRunner,
                )

                made = AnalysisRunner()
            else:
                continue
        except MissingExtraError as exc:
            terminal.say(f"note: {safe_text(exc)}", "yellow")
            continue
        stack.callback(made.close)
        runners[kind] = made
    return runners
