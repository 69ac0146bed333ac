"""``taskgrove resume``: run the leaves again that did not complete, and take over the others."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from taskgrove.cli import options as opt
from taskgrove.cli.analyse import checked_job, run_job
from taskgrove.cli.analyses import load_registry
from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.given import file_of_argin, load_argin, load_manager
from taskgrove.cli.holds import HoldOptions
from taskgrove.cli.logbook_posting import checked_address
from taskgrove.cli.notifying import notify_with
from taskgrove.cli.recorded import errors_as_json, write_json
from taskgrove.cli.recording import Recording, labels_of_start
from taskgrove.cli.recovering import (
    ask_before_it_starts,
    recover_shown,
    say_recovery_plan,
    writable_record,
)
from taskgrove.cli.resume_source import (
    ResumeOptions,
    analysis_options,
    checked_source,
    map_of,
    say_former_holds,
    say_former_logbook,
    say_whether_changed,
    with_holds,
)
from taskgrove.cli.resume_words import plan_facts, say_plan
from taskgrove.cli.run import run_shown
from taskgrove.cli.run_session import MapSession
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import CommandError, UsageError
from taskgrove.recovery.lost_run_recovery import look_at_lost
from taskgrove.recovery.resuming import Resumption, check_not_resumed, plan_resume, to_resume
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.store.store import Store
from taskgrove.view.terminal_text import safe_text

_MAX_WORKERS: Final = 16
_GRACE_S: Final = 5.0


@verb
def resume(
    run: opt.RunReference,
    redo: opt.Redo = None,
    yes: opt.Yes = False,
    dry_run: opt.DryRun = False,
    use_file: opt.UseFile = False,
    no_conditions: opt.NoConditions = False,
    again: opt.Again = False,
    hold: opt.Hold = False,
    pause_before: opt.PauseBefore = None,
    argin: opt.Argin = None,
    manager: opt.Manager = None,
    analyses: opt.AnalysisModules = None,
    json: opt.PlanAsJson = False,
    no_live: opt.NoLive = False,
    db: opt.Database = None,
    logbook: opt.LogbookAddress = None,
    notify: opt.Notify = None,
    by: opt.Starter = None,
    why: opt.StartWhy = None,
    run_id: opt.RunId = None,
    plan_digest: opt.PlanDigest = None,
) -> int:
    """Resume a run: leaves that completed are not run again.

    The tree is composed again from the recorded map. The plan (reuse, redo, skip) is shown
    first. A lost run is recovered before it is resumed, so that nothing runs twice.
    The new run links to the old one; the exit code tells its outcome.
    """
    notify_with(notify)
    terminal = Terminal(json=json, live=not no_live)
    options = ResumeOptions(
        tuple(redo or ()),
        yes,
        dry_run,
        use_file,
        no_conditions,
        argin,
        manager,
        tuple(analyses or ()),
        json,
        db,
        again,
        HoldOptions(hold, tuple(pause_before or ())),
        by,
        why,
        plan_digest,
        checked_address(logbook),
    )
    with (
        errors_as_json(terminal, wanted=options.is_document),
        writable_record(terminal, db) as (store, record),
    ):
        record.take_id(run_id)
        row = _settled(terminal, store, record, run, options)
        if row is None:
            return ExitCode.OK
        return _resume(terminal, store, record, row, options)


def _settled(
    terminal: Terminal, store: Store, record: Recording, run: str, options: ResumeOptions
) -> RunRow | None:
    """Return a run that has ended; a lost one is recovered first. None: it was only a look."""
    history = History(store)
    row = history.find_to_act(run)
    if not options.again:
        check_not_resumed(row, store.location)
    if row.state == "lost":
        if options.dry_run:
            terminal.say("The run was lost. It is recovered before it is resumed:")
            plan = look_at_lost(store, row.run_id)[1]
            say_recovery_plan(terminal, plan)
            if options.json:
                facts = {"run_id": row.run_id, "is_lost": True, "line": plan.line}
                write_json(terminal, facts)
            return None
        _ask(terminal, f"Run {row.run_id} was lost. Recover it first?", options)
        recover_shown(terminal, store, record, row.run_id, json=options.json)
        row = history.find(row.run_id)
    resumed = to_resume(history, row, store.location, again=options.again)
    if resumed.run_id != row.run_id:
        terminal.say(
            f"note: run {safe_text(row.run_id)} ended before it began a step; what it would have"
            f" resumed is run {safe_text(resumed.run_id)}"
        )
    return resumed


def _resume(
    terminal: Terminal, store: Store, record: Recording, row: RunRow, options: ResumeOptions
) -> int:

    source = checked_source(row, options)
    say_former_logbook(terminal, source, options)
    say_former_holds(terminal, source, options)
    if source["kind"] == "analysis":
        return _resume_analysis(terminal, store, record, row, options)
    command_map, about = map_of(terminal, source, options)
    command = str(source["command"])
    resources = load_argin(options.argin) if options.argin else source.get("argin")
    reader = DeviceReader("resuming a command on devices") if command_map.devices else None
    with MapSession(
        command_map,
        load_manager(options.manager),
        reader=reader,
        offline=options.no_conditions,
        max_workers=int(source.get("max_workers") or _MAX_WORKERS),
        grace_s=float(source.get("grace_s") or _GRACE_S),
        analyses=analysis_options(source, options),
        own_names=source.get("own_names") is True,  # an older version did not know of it
    ) as session:
        try:
            task = session.compose(command, resources, file_of_argin(options.argin))
        except CommandError as exc:
            exc.hint = exc.hint or "--no-conditions leaves allowed_states unchecked"
            labels = labels_of_start(row.labels, options.by, options.why)
            again = RunAbout(row.command, source, tuple(sys.argv), row.run_id, labels)
            if options.dry_run:
                raise
            return record.tell_refusal(terminal, exc, again)
        for note in task.composition_notes:
            terminal.say(f"note: {safe_text(note)}", "dim")
        ready = plan_resume(
            store,
            row.run_id,
            task,
            redo=options.redo,
            argv=tuple(sys.argv),
            again=options.again,
        )
        changed = {**with_holds(about or source, options.holds), "argin": resources}
        ready = replace(ready, about=replace(ready.about, source=changed))
        ready = _started_by(ready, options)
        options.holds.check(ready.task, terminal, record)
        if not _agreed(terminal, row, ready, options):
            return ExitCode.OK
        try:
            session.preflight(task, known=ready.plan.prior)
        except CommandError as exc:
            return record.tell_refusal(terminal, exc, ready.about)
        return run_shown(
            terminal,
            session,
            ready.task,
            record,
            ready.about,
            json=options.json,
            prior=ready.plan.prior,
            holds=options.holds,
        )


def _resume_analysis(
    terminal: Terminal, store: Store, record: Recording, row: RunRow, options: ResumeOptions
) -> int:
    """Run an analysis again that was run by itself, from its record."""
    if options.holds.is_given:
        raise UsageError(
            "--hold and --pause-before are for commands of a map: this run is one analysis",
            hint="nothing was started; without them the analysis is resumed",
        )
    source = row.source
    file, text = str(source.get("file") or "configuration"), None
    if not options.use_file:
        text = str(source["text"])
        say_whether_changed(terminal, Path(file), text, "configuration")
    folder = source.get("folder")
    if folder not in (None, os.getcwd()):
        here = safe_text(os.getcwd())
        terminal.say(f"note: it ran in {safe_text(str(folder))}; now it runs in {here}", "yellow")
    how = analysis_options(source, options)
    job = checked_job(
        load_registry(how.modules),
        file,
        str(source["task"]),
        [f"{key}={value}" for key, value in (source.get("set") or {}).items()],
        source.get("timeout_s"),
        dict(source.get("settings") or {}),
        how,
        text=text,
    )
    ready = plan_resume(
        store,
        row.run_id,
        job.tree(),
        redo=options.redo,
        argv=tuple(sys.argv),
        again=options.again,
    )
    ready = _started_by(ready, options)
    about = replace(ready.about, source=job.about(how).source)
    if not _agreed(terminal, row, ready, options):
        return ExitCode.OK
    resumed = (about, ready.plan.prior)
    return run_job(terminal, job, how, record, json=options.json, resumed=resumed)


def _started_by(ready: Resumption, options: ResumeOptions) -> Resumption:
    labels = labels_of_start(ready.about.labels, options.by, options.why)
    return replace(ready, about=replace(ready.about, labels=labels))


def _agreed(terminal: Terminal, row: RunRow, ready: Resumption, options: ResumeOptions) -> bool:
    """Show the plan and ask whether it is carried out; False: there is nothing to do.

    Raises:
        UsageError: The plan is another one than the caller expects.
    """
    facts = plan_facts(ready.plan)
    if options.is_document:
        write_json(terminal, {**facts, "is_lost": False, "is_done": ready.is_done})
    else:
        say_plan(terminal, ready.plan)
    if options.plan_digest not in (None, facts["digest"]):
        raise UsageError(
            "the plan is another one than the one that was shown; nothing was started",
            hint="look at the plan once more",
        )
    if ready.is_done and row.outcome == "ok":
        terminal.say(f"Nothing to do: run {safe_text(row.run_id)} ended OK.")
        return False
    if not options.dry_run:
        _ask(terminal, "Resume it?", options)
    return not options.dry_run


def _ask(terminal: Terminal, question: str, options: ResumeOptions) -> None:
    hint = "--yes does it without asking, --dry-run only shows what would be done"
    ask_before_it_starts(terminal, question, yes=options.yes, hint=hint)
