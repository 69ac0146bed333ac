"""``taskgrove recover``: bring lost runs to their end."""

from __future__ import annotations

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.notifying import notify_with
from taskgrove.cli.recovering import recover_shown, writable_record
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.errors import TaskgroveError
from taskgrove.recovery.finding_lost import lost_runs
from taskgrove.recovery.lost_run_recovery import look_at_lost
from taskgrove.store.database.advice import command_line
from taskgrove.store.history import History
from taskgrove.store.store import Store
from taskgrove.view.terminal_text import safe_text


@verb
def recover(
    run: opt.LostRun = None,
    give_up: opt.GiveUp = False,
    json: opt.JsonEvents = False,
    no_live: opt.NoLive = False,
    db: opt.Database = None,
    notify: opt.Notify = None,
) -> int:
    """Bring runs to a truthful end whose runner was killed or crashed.

    Commands that devices still execute, and analyses that still run, are followed to their end
    by the id on record. Nothing is started. Without RUN the lost runs are listed, and what
    could be done about each. The exit code tells the outcome of the run.
    """
    notify_with(notify)
    terminal = Terminal(json=json, live=not no_live)

    with writable_record(terminal, db) as (store, record):
        if run is None:
            return _list(terminal, store)
        run = History(store).find_to_act(run).run_id  # it is no lost one afterwards
        return recover_shown(terminal, store, record, run, give_up=give_up, json=json)


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
        terminal.say(f"  {safe_text(command_line(store.location, 'recover', item.run_id))}", "dim")
    return ExitCode.OK
