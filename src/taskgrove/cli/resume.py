"""``taskgrove resume``: run again what did not go well, and take over what did."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from taskgrove.cli.analyses import AnalysisModules, AnalysisOptions
from taskgrove.cli.compose import Argin, Manager
from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.exit_codes import ExitCode, exit_code_of
from taskgrove.cli.given import load_argin, load_manager
from taskgrove.cli.recorded import Database, RunReference
from taskgrove.cli.recording import Recording, about_map
from taskgrove.cli.recovering import recover_shown, say_recovery_plan, writable_record
from taskgrove.cli.resume_words import say_plan
from taskgrove.cli.run import show_run
from taskgrove.cli.session import MapSession
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map import CommandMap, load_command_map, parse_command_map
from taskgrove.errors import CommandError, TaskgroveError, UsageError
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.store.queries.run_rows import RunRow
    from taskgrove.store.resuming import Resumption
    from taskgrove.store.store import Store

_MAX_WORKERS: Final = 16
_GRACE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Options:
    """What the operator asked for."""

    redo: tuple[str, ...]
    yes: bool
    dry_run: bool
    use_file: bool
    no_conditions: bool
    argin: str | None
    manager: str | None
    analyses: tuple[str, ...]
    json: bool


@verb
def resume(
    run: RunReference,
    redo: Annotated[
        list[str] | None,
        typer.Option(
            "--redo",
            metavar="GLOB",
            help="Do these leaves again, too: 'configure/configure_pst/**'; again for more.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")
    ] = False,
    use_file: Annotated[
        bool, typer.Option("--use-file", help="Use the map's file as it is now, not as recorded.")
    ] = False,
    no_conditions: Annotated[
        bool,
        typer.Option(
            "--no-conditions",
            help="Do not check allowed_states: what completed may no longer meet them.",
        ),
    ] = False,
    argin: Argin = None,
    manager: Manager = None,
    analyses: AnalysisModules = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Events as JSON lines on stdout; words go to stderr."),
    ] = False,
    no_live: Annotated[
        bool, typer.Option("--no-live", help="Calm lines instead of a moving tree.")
    ] = False,
    db: Database = None,
) -> int:
    """Resume a run: leaves that completed are not run again.

    The tree is composed again from the map on record. What will be reused, redone and skipped
    is shown first. A lost run is recovered before it is resumed, so that nothing runs twice.
    The new run links to the old one; the exit code tells its outcome.
    """
    terminal = Terminal(json=json, live=not no_live)
    options = _Options(
        tuple(redo or ()),
        yes,
        dry_run,
        use_file,
        no_conditions,
        argin,
        manager,
        tuple(analyses or ()),
        json,
    )
    with writable_record(terminal, db) as (store, record):
        row = _settled(terminal, store, record, run, options)
        if row is None:
            return ExitCode.OK
        return _resume(terminal, store, record, row, options)


def _settled(
    terminal: Terminal, store: Store, record: Recording, run: str, options: _Options
) -> RunRow | None:
    """Return a run that has ended; a lost one is recovered first. None: it was only a look."""
    from taskgrove.store.history import History  # noqa: PLC0415 - an extra
    from taskgrove.store.recovery import look_at_lost  # noqa: PLC0415 - an extra
    from taskgrove.store.resuming import check_resumable  # noqa: PLC0415 - an extra

    history = History(store)
    row = history.find(run)
    if row.state == "lost":
        if options.dry_run:
            terminal.say("The run was lost; before it is resumed, it is recovered:")
            say_recovery_plan(terminal, look_at_lost(store, row.run_id)[1])
            return None
        _ask(terminal, f"Run {row.run_id} was lost. Recover it first?", options)
        recover_shown(terminal, store, record, row.run_id, json=options.json)
        row = history.find(row.run_id)
    check_resumable(row)
    return row


def _resume(
    terminal: Terminal, store: Store, record: Recording, row: RunRow, options: _Options
) -> int:
    from taskgrove.store.resuming import plan_resume  # noqa: PLC0415 - an extra

    source = _checked_source(row, options)
    command_map, about = _map_of(terminal, source, options)
    command = str(source["command"])
    resources = load_argin(options.argin) if options.argin else source.get("argin")
    reader = DeviceReader("resuming a command on devices") if command_map.components else None
    with MapSession(
        command_map,
        load_manager(options.manager),
        reader=reader,
        offline=options.no_conditions,
        max_workers=int(source.get("max_workers") or _MAX_WORKERS),
        grace_s=float(source.get("grace_s") or _GRACE_S),
        analyses=_analysis_options(source, options, store.location),
    ) as session:
        try:
            task = session.compose(command, resources)
        except CommandError as exc:
            exc.hint = exc.hint or "--no-conditions leaves allowed_states unchecked"
            raise
        for note in task.composition_notes:
            terminal.say(f"note: {safe_text(note)}", "dim")
        ready = plan_resume(store, row.run_id, task, redo=options.redo, argv=tuple(sys.argv))
        if about is not None or options.argin:
            changed = {**(about or source), "argin": resources}
            ready = replace(ready, about=replace(ready.about, source=changed))
        say_plan(terminal, ready.plan)
        if ready.is_done and row.outcome == "ok":
            terminal.say(f"Nothing to do: run {safe_text(row.run_id)} ended OK.")
            return ExitCode.OK
        if options.dry_run:
            return ExitCode.OK
        _ask(terminal, "Do it?", options)
        session.preflight(task, known=ready.plan.prior)
        return _run(terminal, session, record, ready, json=options.json)


def _run(
    terminal: Terminal, session: MapSession, record: Recording, ready: Resumption, *, json: bool
) -> int:
    shown = show_run(
        terminal, session, ready.task, record, ready.about, json=json, prior=ready.plan.prior
    )
    terminal.say_explanation(shown.words)
    record.say_how_to_see(terminal, shown.run_id, well=shown.words.state == "completed")
    return ExitCode.ABORTED if shown.interrupts > 1 else exit_code_of(shown.outcome)


def _ask(terminal: Terminal, question: str, options: _Options) -> None:
    """Ask for confirmation.

    Raises:
        UsageError: There is nobody to ask, and ``--yes`` was not given.
    """
    if options.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "nothing was started: there is no terminal to ask at",
            hint="--yes does it without asking, --dry-run only shows what would be done",
        )
    if not typer.confirm(question, err=True):
        terminal.say("Nothing was started.")
        raise typer.Exit(ExitCode.ABORTED)


def _checked_source(row: RunRow, options: _Options) -> Mapping[str, Any]:
    """Return what a run can be composed from again.

    Raises:
        UsageError: It cannot be on the command line; the hint says how it can.
    """
    from taskgrove.redaction import holds_redacted  # noqa: PLC0415 - rarely needed

    source = row.source
    kind = source.get("kind")
    if kind != "map":
        if kind == "analysis":
            raise UsageError(
                f"run {row.run_id} is an analysis by itself: there is nothing to take over",
                hint="run it again: taskgrove analyse",
            )
        raise UsageError(
            f"run {row.run_id} was recorded without a map: only the program that made it can"
            " build its tree again",
            hint=f'in Python: taskgrove.store.resume("{row.run_id}", tree)',
        )
    if holds_redacted(source.get("argin")) and options.argin is None:
        raise UsageError(
            f"run {row.run_id} had arguments that are not on record, because they are secret",
            hint="give them again: --argin FILE",
        )
    if source.get("manager") and options.manager is None:
        # What is imported is typed by the operator, and never read from a record.
        raise UsageError(
            f"run {row.run_id} used a component manager, which is not imported from a record",
            hint=f"give it again: --manager {source['manager']}",
        )
    modules = (source.get("analyses") or {}).get("analyses") or []
    if modules and not options.analyses:
        again = " ".join(f"--analyses {module}" for module in modules)
        raise UsageError(
            f"run {row.run_id} used analyses of modules, which are not imported from a record",
            hint=f"give them again: {again}",
        )
    return source


def _analysis_options(
    source: Mapping[str, Any], options: _Options, database: str
) -> AnalysisOptions:
    """Return how analyses are run: as on record, but for modules, which the operator types."""
    kept = source.get("analyses") or {}
    return AnalysisOptions(
        modules=options.analyses,
        pages=kept.get("pages"),
        work_dir=kept.get("work_dir"),
        processes=kept.get("processes"),
        database=database,
    )


def _map_of(
    terminal: Terminal, source: Mapping[str, Any], options: _Options
) -> tuple[CommandMap, Mapping[str, Any] | None]:
    """Return the map, and the source that replaces the recorded one, if one does."""
    file = Path(str(source.get("file") or "map"))
    if options.use_file:
        about = about_map(
            file, str(source["command"]), argin=source.get("argin"), manager=options.manager
        )
        kept = {
            name: source[name] for name in ("max_workers", "grace_s", "analyses") if name in source
        }
        return load_command_map(file), {**about.source, **kept}
    text = str(source["text"])
    _say_whether_changed(terminal, file, text)
    syntax: Any = "json" if file.suffix.lower() == ".json" else "yaml"
    try:
        return parse_command_map(text, syntax=syntax, file=f"{file} (as recorded)"), None
    except TaskgroveError as exc:
        exc.hint = exc.hint or "--use-file takes the file as it is now"
        raise


def _say_whether_changed(terminal: Terminal, file: Path, text: str) -> None:
    name = safe_text(str(file))
    try:
        now = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        terminal.say(f"note: {name} is not there any more; the map on record is used", "dim")
        return
    if now != text:
        terminal.say(
            f"note: {name} has changed since; the map on record is used, --use-file takes the file",
            "yellow",
        )
