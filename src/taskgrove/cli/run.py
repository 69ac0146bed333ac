"""``taskgrove run``: compose a command, execute it, show it, tell its outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from taskgrove.cli.analyses import AnalysisOptions, labels_of
from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.exit_codes import ExitCode, exit_code_of
from taskgrove.cli.follow import EventQueue, follow, surface_for
from taskgrove.cli.given import file_of_argin, load_argin, load_manager
from taskgrove.cli.interrupts import Interrupts
from taskgrove.cli.options import (
    AnalysisModules,
    Argin,
    CommandName,
    Database,
    JsonEvents,
    Manager,
    MapFile,
    MaxWorkers,
    NoLive,
    NoRecord,
    Pages,
    Processes,
    RunGrace,
    WorkDir,
)
from taskgrove.cli.recording import Recording, about_map, recording
from taskgrove.cli.session import MapSession
from taskgrove.cli.simulator_section import check_simulator_section
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.prior import Prior
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import LeafTask, Task
from taskgrove.errors import CommandError
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import safe_text
from taskgrove.view.why import Why, explain


@dataclass(frozen=True, slots=True)
class Shown:
    """A run that was shown to its end.

    Attributes:
        run_id: Its id.
        outcome: Its outcome.
        words: The outcome in words.
        view: Its nodes.
        interrupts: How many interrupts were heard meanwhile.
    """

    run_id: str
    outcome: AggregationOutcome
    words: Why
    view: RunView
    interrupts: int


@verb
def run(
    map_file: MapFile,
    command: CommandName,
    argin: Argin = None,
    manager: Manager = None,
    max_workers: MaxWorkers = 16,
    grace: RunGrace = 5.0,
    json: JsonEvents = False,
    no_live: NoLive = False,
    db: Database = None,
    no_record: NoRecord = False,
    analyses: AnalysisModules = None,
    pages: Pages = None,
    work_dir: WorkDir = None,
    processes: Processes = None,
) -> int:
    """Run a command of a map on its devices and tell the outcome.

    Ctrl-C (or SIGTERM) aborts the command on the devices; a second one ends at once. A terminal
    that closes (SIGHUP) aborts it too; under nohup the command goes on.
    The exit code tells the outcome.
    """
    command_map = load_command_map(map_file)
    check_simulator_section(command_map)
    resources = load_argin(argin)
    terminal = Terminal(json=json, live=not no_live)
    reader = DeviceReader("running a command on devices") if command_map.components else None
    options = AnalysisOptions.given(
        analyses, pages, work_dir, processes, database=db, read_record=not no_record
    )
    about = about_map(
        map_file,
        command,
        argin=resources,
        manager=manager,
        max_workers=max_workers,
        grace_s=grace,
        analyses=options.for_record(),
    )
    with (
        recording(terminal, db, no_record=no_record) as record,
        MapSession(
            command_map,
            load_manager(manager),
            reader=reader,
            max_workers=max_workers,
            grace_s=grace,
            analyses=options,
        ) as session,
    ):
        task: Task | None = None
        try:
            task = session.compose(command, resources, file_of_argin(argin))
            for note in task.composition_notes:
                terminal.say(f"note: {safe_text(note)}", "dim")
            session.preflight(task)
        except CommandError as exc:
            return record.tell_refusal(terminal, exc, about)
        about = dataclasses.replace(about, labels={**about.labels, **labels_of(task)})
        shown = show_run(terminal, session, task, record, about, json=json)
        terminal.say_explanation(shown.words)
        record.say_how_to_see(terminal, shown.run_id, well=shown.words.outcome == "completed")
    return ExitCode.ABORTED if shown.interrupts > 1 else exit_code_of(shown.outcome)


def show_run(
    terminal: Terminal,
    session: MapSession,
    task: Task,
    record: Recording,
    about: RunAbout,
    *,
    json: bool = False,
    at_once: Callable[[], object] | None = None,
    each_frame: Callable[[RunView], object] | None = None,
    prior: Mapping[str, Prior] | None = None,
) -> Shown:
    """Execute a composed tree and show it to its end.

    Args:
        terminal: Where the words go.
        session: What executes it.
        task: The tree.
        record: Keeps the record of it, or none.
        about: What the record keeps of it besides its events.
        json: Whether standard output carries the events.
        at_once: Called before the process ends at a second interrupt.
        each_frame: Called after each frame, with the view.
        prior: What is known of leaves before the run begins.
    """
    events, view = EventQueue(), RunView()
    leaf_count = sum(isinstance(node, LeafTask) for _, node in task.walk())
    # Read before anything is started: from then on an interrupt must reach the devices.
    expected = None if json else record.expected(about.command or task.name, leaf_count)
    run_id, observers = record.next_run(events)
    with Interrupts() as interrupts:
        handle = session.submit(
            task, observers, run_id=run_id, recorder=record.recorder, about=about, prior=prior
        )
        surface = surface_for(terminal, view, json=json, expected=expected)

        def frame(shown: RunView) -> None:
            record.tell(surface.notice)
            if each_frame is not None:
                each_frame(shown)

        def end_now() -> None:
            record.at_once()
            if at_once is not None:
                at_once()

        heard = follow(
            handle,
            events,
            view,
            surface,
            grace_s=session.grace_s,
            at_once=end_now,
            each_frame=frame,
            interrupts=interrupts,
        )
    outcome = handle.outcome
    assert outcome is not None
    words = explain(outcome, view, record.told_of(run_id, view, about.source))
    return Shown(run_id, outcome, words, view, heard)
