"""``taskgrove verdict``: an operator's verdict on a node of a run."""

from __future__ import annotations

from typing import cast

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import history_of_runs
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.store.verdicts import Verdict, give_verdict, verdict_text
from taskgrove.view.record_view import resume_line
from taskgrove.view.terminal_text import safe_text


@verb
def verdict(
    run: opt.RunReference,
    path: opt.NodePath,
    word: opt.VerdictWord,
    why: opt.Why,
    by: opt.By = None,
    db: opt.Database = None,
) -> int:
    """Add an operator's verdict to the record of a run.

    It says who, when and why, and stands beside the record: the outcome is never rewritten. A
    verdict on a composite counts for all that is below it.
    """
    terminal = Terminal()
    with history_of_runs(db) as history:
        given = give_verdict(history.store, run, path, cast(Verdict, word), why=why, who=by)
        row = history.find(given.run_id)
        again = resume_line(row, history.store.location)
    terminal.say(
        f"{safe_text(given.path)}: {verdict_text(given.verdict)}, says {safe_text(given.who)}:"
        f" {safe_text(given.why)}"
    )
    if given.verdict == "ok" and row.resumed_by_run_id is not None:
        newer = safe_text(row.resumed_by_run_id)
        terminal.say(f"Run {newer} has already resumed this run; give the verdict on that run.")
    elif given.verdict == "ok":
        terminal.say(f"{safe_text(again)} takes it as OK.", "dim")
    return ExitCode.OK
