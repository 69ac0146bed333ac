"""``taskgrove recover``: bring lost runs to their end."""

from __future__ import annotations

from typing import Final

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.given import file_of_argin, load_argin, load_manager
from taskgrove.cli.holds import HoldOptions
from taskgrove.cli.notifying import notify_with
from taskgrove.cli.recording import Recording
from taskgrove.cli.recovering import (
    GRACE_S,
    CleanUp,
    ask_before_it_starts,
    recover_shown,
    say_recovery_plan,
    writable_record,
)
from taskgrove.cli.resume_source import ResumeOptions, analysis_options, checked_source, map_of
from taskgrove.cli.run_session import MapSession
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.errors import TaskgroveError, UsageError
from taskgrove.recovery.clean_up import pending_clean_up, run_clean_up
from taskgrove.recovery.finding_lost import lost_runs
from taskgrove.recovery.lost_run_recovery import look_at_lost
from taskgrove.store.database.advice import command_line
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.store.store import Store
from taskgrove.view.terminal_text import safe_text

_HINT: Final = "--yes does it without asking; without --finally nothing is started"


@verb
def recover(
    run: opt.LostRun = None,
    clean_up: opt.CleanUp = False,
    yes: opt.Yes = False,
    give_up: opt.GiveUp = False,
    use_file: opt.UseFile = False,
    argin: opt.Argin = None,
    manager: opt.Manager = None,
    analyses: opt.AnalysisModules = None,
    json: opt.JsonEvents = False,
    no_live: opt.NoLive = False,
    db: opt.Database = None,
    notify: opt.Notify = None,
) -> int:
    """Bring runs to a truthful end whose runner was killed or crashed.

    Commands that devices still execute, and analyses that still run, are followed to their end
    by the id on record. Nothing is started, unless --finally runs the clean-up that is pending.
    Without RUN the lost runs are listed, and what could be done about each. The exit code tells
    the outcome of the run.
    """
    notify_with(notify)
    terminal = Terminal(json=json, live=not no_live)

    with writable_record(terminal, db) as (store, record):
        if run is None:
            return _list(terminal, store)
        row = History(store).find_to_act(run)  # it is no lost one afterwards
        if not clean_up:
            return recover_shown(terminal, store, record, row.run_id, give_up=give_up, json=json)
        options = ResumeOptions(
            (),
            yes,
            False,
            use_file,
            True,
            argin,
            manager,
            tuple(analyses or ()),
            json,
            db,
            False,
            HoldOptions(),
        )
        return _with_clean_up(terminal, store, record, row, options, give_up=give_up)


def _with_clean_up(
    terminal: Terminal,
    store: Store,
    record: Recording,
    row: RunRow,
    options: ResumeOptions,
    *,
    give_up: bool,
) -> int:
    """Show the clean-up that is pending, ask, and run it."""
    _, plan = look_at_lost(store, row.run_id)
    if not pending_clean_up(plan):
        terminal.say("note: no clean-up is pending; nothing is started")
        return recover_shown(
            terminal, store, record, row.run_id, give_up=give_up, json=options.json
        )
    source = checked_source(row, options)
    if source["kind"] != "map":
        raise UsageError(f"run {row.run_id} is no command of a map: it has no clean-up")
    command_map, _ = map_of(terminal, source, options)
    resources = load_argin(options.argin) if options.argin else source.get("argin")
    # Where the devices were left is not what the conditions of the command expect.
    with MapSession(
        command_map,
        load_manager(options.manager),
        offline=True,
        grace_s=GRACE_S,
        analyses=analysis_options(source, options),
    ) as session:
        command = str(source["command"])
        tree = session.compose(command, resources, file_of_argin(options.argin))
        run_clean_up(plan, tree)
        say_recovery_plan(terminal, plan)
        question = "Recover it, and run its clean-up?"
        ask_before_it_starts(terminal, question, yes=options.yes, hint=_HINT)
        clean_up = CleanUp(tree, session.runners_for(tree))
        return recover_shown(
            terminal,
            store,
            record,
            row.run_id,
            give_up=give_up,
            json=options.json,
            clean_up=clean_up,
        )


def _list(terminal: Terminal, store: Store) -> int:

    lost = lost_runs(store)
    if not lost:
        terminal.say("No run is lost.")
        return ExitCode.OK
    for item in lost:
        terminal.say(f"{safe_text(item.run_id)}  {safe_text(item.command)}", "bold")
        terminal.say(f"  {safe_text(item.words)}")
        try:
            _, plan = look_at_lost(store, item.run_id)
        except TaskgroveError as exc:
            terminal.say(f"  {safe_text(exc)}", "yellow")
            continue
        terminal.say(f"  leaves: {plan.line}")
        line = command_line(store.location, "recover", item.run_id)
        terminal.say(f"  {safe_text(line)}", "dim")
        if pending_clean_up(plan):
            terminal.say(f"  {safe_text(f'{line} --finally')} runs its clean-up, too", "dim")
    return ExitCode.OK
