"""The source of a resumed run: its record, and values that the operator types again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskgrove.cli.analyses import AnalysisOptions
from taskgrove.cli.holds import HoldOptions
from taskgrove.cli.recording import about_map
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.command_map import CommandMap, load_command_map, parse_command_map
from taskgrove.errors import TaskgroveError, UsageError
from taskgrove.redaction import holds_redacted
from taskgrove.store.queries.run_rows import RunRow
from taskgrove.view.terminal_text import safe_text


@dataclass(frozen=True, slots=True)
class ResumeOptions:
    """The options of a resume.

    Attributes:
        redo: Patterns of leaves to do again.
        yes: Whether it is done without asking.
        dry_run: Whether it is only shown.
        use_file: Whether the file is read as it is now.
        no_conditions: Whether ``allowed_states`` are left unchecked.
        argin: The value of ``--argin``.
        manager: The value of ``--manager``.
        analyses: The values of ``--analyses``.
        json: Whether standard output carries the events.
        database: The value of ``--db``.
        again: Whether a run that was resumed already is resumed once more.
        holds: How the new run waits for a person.
        by: The value of ``--by``.
        why: The value of ``--why``.
        plan_digest: The plan that is expected, as ``plan_facts`` tells it; None: any.
        logbook: The address of the logbook; None: none.
    """

    redo: tuple[str, ...]
    yes: bool
    dry_run: bool
    use_file: bool
    no_conditions: bool
    argin: str | None
    manager: str | None
    analyses: tuple[str, ...]
    json: bool
    database: str | None
    again: bool
    holds: HoldOptions
    by: str | None = None
    why: str | None = None
    plan_digest: str | None = None
    logbook: str | None = None

    @property
    def is_document(self) -> bool:
        """Whether standard output carries the plan, or the error, as one document."""
        return self.json and self.dry_run


def checked_source(row: RunRow, options: ResumeOptions) -> Mapping[str, Any]:
    """Return the source from which a run can be composed again.

    Raises:
        UsageError: It cannot be on the command line; the hint says how it can.
    """
    source = row.source
    kind = source.get("kind")
    if kind not in ("map", "analysis"):
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
    if holds_redacted(source.get("text")) and not options.use_file:
        raise UsageError(
            f"run {row.run_id} had secrets in its file, which are not on record",
            hint=f"--use-file takes {source.get('file')} as it is now",
        )
    if holds_redacted(source.get("set")):
        raise UsageError(
            f"run {row.run_id} had parameters that are not on record, because they are secret",
            hint="run it again: taskgrove analyse, with --set",
        )
    if source.get("manager") and options.manager is None:
        # Names of modules are typed by the operator, and never read from a record.
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


def say_former_logbook(
    terminal: Terminal, source: Mapping[str, Any], options: ResumeOptions
) -> None:
    """Say that a run posted to a logbook, where the resumed one does not."""
    former = (source.get("analyses") or {}).get("logbook")
    if former and options.logbook is None:
        terminal.say(
            safe_text(f"note: the run posted to a logbook; '--logbook {former}' does it again"),
            "yellow",
        )


def say_former_holds(terminal: Terminal, source: Mapping[str, Any], options: ResumeOptions) -> None:
    """Say that a run was started to wait for a person, where the resumed one does not."""
    former = HoldOptions.of_record(source)
    if former.is_given and not options.holds.is_given:
        words = shlex.join(former.words)
        terminal.say(
            safe_text(f"note: the run was to wait for a person; '{words}' does it again"), "yellow"
        )


def with_holds(source: Mapping[str, Any], holds: HoldOptions) -> dict[str, Any]:
    """Return the source of a run that waits for a person in another way than before."""
    former = HoldOptions.of_record(source).for_record()
    kept = {name: value for name, value in source.items() if name not in former}
    return {**kept, **holds.for_record()}


def analysis_options(source: Mapping[str, Any], options: ResumeOptions) -> AnalysisOptions:
    """Return how analyses are run: as on record, but for values that the operator types.

    Modules are imported, and a logbook gets a token: neither is taken from a record.
    """
    kept = source.get("analyses") or {}
    return AnalysisOptions(
        modules=options.analyses,
        pages=kept.get("pages"),
        work_dir=kept.get("work_dir"),
        processes=kept.get("processes"),
        database=options.database,
        logbook=options.logbook,
    )


def map_of(
    terminal: Terminal, source: Mapping[str, Any], options: ResumeOptions
) -> tuple[CommandMap, Mapping[str, Any] | None]:
    """Return the map, and the source that replaces the recorded one, if one does.

    Raises:
        MapError: It is not valid.
    """
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
    say_whether_changed(terminal, file, text)
    syntax: Any = "json" if file.suffix.lower() == ".json" else "yaml"
    try:
        recorded = parse_command_map(text, syntax=syntax, file=f"{file} (as recorded)")
        return recorded.of_file(str(file)), None
    except TaskgroveError as exc:
        exc.hint = exc.hint or "--use-file takes the file as it is now"
        raise


def say_whether_changed(terminal: Terminal, file: Path, text: str, what: str = "map") -> None:
    """Say whether a file is another one now than on record.

    Args:
        terminal: Where it is said.
        file: The file.
        text: Its recorded content.
        what: Its kind.
    """
    name = safe_text(str(file))
    try:
        now = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        terminal.say(f"note: {name} is not there any more; the {what} on record is used", "dim")
        return
    if now != text:
        terminal.say(
            f"note: {name} has changed since; the {what} on record is used, --use-file takes the"
            " file",
            "yellow",
        )
