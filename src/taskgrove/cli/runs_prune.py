"""``taskgrove runs prune``: remove old runs from the record."""

from __future__ import annotations

from typing import Final

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import open_history, say_nothing_there, write_json
from taskgrove.cli.runs_list import print_runs
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.store.queries.run_filter import parse_span
from taskgrove.store.retention import prune

#: How many runs are listed of those that go.
_LISTED: Final = 20


@verb
def prune_runs(
    older_than: opt.OlderThan = None,
    keep_last: opt.KeepLast = None,
    dry_run: opt.DryRun = False,
    db: opt.Database = None,
    json: opt.AsJson = False,
) -> int:
    """Remove old runs from the record; runs that are not over always stay."""
    terminal = Terminal()
    age = None if older_than is None else parse_span(older_than, what="--older-than")
    history = open_history(db)
    if history is None:
        say_nothing_there(terminal, None, narrowed=False)
        return ExitCode.OK
    with history:
        done = prune(history.store, older_than=age, keep_last=keep_last, dry_run=dry_run)
    if json:
        write_json(terminal, done)
        return ExitCode.OK
    if done.runs:
        print_runs(terminal, done.runs[:_LISTED])
        if len(done.runs) > _LISTED:
            terminal.say(f"… and {len(done.runs) - _LISTED:,} more", "dim")
    verb_ = "would be removed" if dry_run else "removed"
    many = f"{len(done.runs):,} {'run' if len(done.runs) == 1 else 'runs'}"
    terminal.say(f"{many} {verb_}, with {done.event_count:,} events; {done.kept_count:,} stay.")
    return ExitCode.OK
