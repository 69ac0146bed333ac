"""``taskgrove run``: compose a command, execute it, show it, tell its outcome."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from taskgrove.cli import options as opt
from taskgrove.cli.analyses import (
    AnalysisOptions,
    analysis_leaves,
    configurations_of,
    labels_of,
    say_warnings,
)
from taskgrove.cli.devices import DeviceReader
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.follow import EventQueue, surface_for
from taskgrove.cli.given import check_digest, file_of_argin, load_argin, load_manager
from taskgrove.cli.holds import HoldOptions
from taskgrove.cli.logbook_posting import is_typed
from taskgrove.cli.notifying import notify_with
from taskgrove.cli.recording import Recording, about_map, labels_of_start, recording
from taskgrove.cli.run_controls import RunControls
from taskgrove.cli.run_session import MapSession
from taskgrove.cli.showing import say_outcome, show_to_its_end
from taskgrove.cli.simulator_section import check_simulator_section
from taskgrove.cli.surfaces import Surface
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.prior import Prior
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import LeafTask, Task
from taskgrove.errors import CommandError
from taskgrove.view.snapshot import RunView
from taskgrove.view.steering_words import decision_lines
from taskgrove.view.terminal_text import safe_text


@verb
def run(
    map_file: opt.MapFile,
    command: opt.CommandName,
    argin: opt.Argin = None,
    manager: opt.Manager = None,
    hold: opt.Hold = False,
    pause_before: opt.PauseBefore = None,
    max_workers: opt.MaxWorkers = 16,
    grace: opt.RunGrace = 5.0,
    json: opt.JsonEvents = False,
    no_live: opt.NoLive = False,
    db: opt.Database = None,
    no_record: opt.NoRecord = False,
    analyses: opt.AnalysisModules = None,
    pages: opt.Pages = None,
    work_dir: opt.WorkDir = None,
    processes: opt.Processes = None,
    logbook: opt.LogbookAddress = None,
    notify: opt.Notify = None,
    by: opt.Starter = None,
    why: opt.StartWhy = None,
    run_id: opt.RunId = None,
    map_digest: opt.MapDigest = None,
) -> int:
    """Run a command of a map on its devices and tell the outcome.

    Ctrl-C (or SIGTERM) aborts the command on the devices; a second one ends at once, or stops the
    clean-up (finally) where there is one. A terminal that closes (SIGHUP) aborts it too; under
    nohup the command goes on. With --hold a step that fails waits for a decision: by the keys
    that are shown, or by 'taskgrove retry', 'accept', 'skip' and 'fail' from any terminal.
    The exit code tells the outcome.
    """
    notify_with(notify)
    check_digest(map_file, map_digest)
    command_map = load_command_map(map_file)
    check_simulator_section(command_map)
    resources = load_argin(argin)
    terminal = Terminal(json=json, live=not no_live)
    reader = DeviceReader("running a command on devices") if command_map.devices else None
    holds = HoldOptions(hold, tuple(pause_before or ()))
    options = AnalysisOptions.given(
        analyses,
        pages,
        work_dir,
        processes,
        database=db,
        read_record=not no_record,
        logbook=logbook,
    )
    about = about_map(
        map_file,
        command,
        argin=resources,
        manager=manager,
        max_workers=max_workers,
        grace_s=grace,
        analyses=options.for_record(),
        **holds.for_record(),
    )
    about = dataclasses.replace(about, labels=labels_of_start({}, by, why))
    check_digest(map_file, map_digest)  # again, because a map is replaced at any time
    with (
        recording(terminal, db, no_record=no_record, must_record=run_id is not None) as record,
        MapSession(
            command_map,
            load_manager(manager),
            reader=reader,
            max_workers=max_workers,
            grace_s=grace,
            analyses=options,
        ) as session,
    ):
        record.take_id(run_id)
        task: Task | None = None
        try:
            task = session.compose(command, resources, file_of_argin(argin))
            for note in task.composition_notes:
                terminal.say(f"note: {safe_text(note)}", "dim")
            if is_typed(options.logbook) and not analysis_leaves(task):
                terminal.say(
                    "note: nothing goes to the logbook: this command has no analysis", "dim"
                )
            holds.check(task, terminal, record)
            session.preflight(task)
        except CommandError as exc:
            return record.tell_refusal(terminal, exc, about)
        configurations = configurations_of(task)
        say_warnings(terminal, configurations)
        about = dataclasses.replace(about, labels={**about.labels, **labels_of(configurations)})
        return run_shown(terminal, session, task, record, about, json=json, holds=holds)


def run_shown(
    terminal: Terminal,
    session: MapSession,
    task: Task,
    record: Recording,
    about: RunAbout,
    *,
    json: bool = False,
    prior: Mapping[str, Prior] | None = None,
    holds: HoldOptions | None = None,
) -> ExitCode:
    """Execute a composed tree, show it to its end, explain it, and return the exit code.

    Args:
        terminal: Where the words go.
        session: Executes it.
        task: The tree.
        record: Keeps the record of it, or none.
        about: The facts that the record keeps of it besides its events.
        json: Whether standard output carries the events.
        prior: Facts about leaves from before the run.
        holds: How it waits for a person; None: as the map says.
    """
    events, view = EventQueue(), RunView()
    leaf_count = sum(isinstance(node, LeafTask) for _, node in task.walk())
    # Read before anything is started: from then on an interrupt must reach the devices.
    expected = None if json else record.expected(about.command or task.name, leaf_count)
    run_id, observers = record.next_run(events)
    waits = (holds or HoldOptions()).for_run()
    db = record.db_option

    def advice(path: str) -> str:
        return decision_lines(run_id, path, db)[0]

    def surface(controls: RunControls) -> Surface:
        return surface_for(
            terminal,
            view,
            json=json,
            expected=expected,
            controls=controls,
            advice=advice if record.recorder else None,
        )

    shown = show_to_its_end(
        record,
        run_id,
        events,
        view,
        lambda: session.submit(
            task,
            observers,
            run_id=run_id,
            recorder=record.recorder,
            about=about,
            prior=prior,
            **waits,
        ),
        surface,
        grace_s=session.grace_s,
        source=about.source,
        keys=terminal.is_live,
        advice=advice if terminal.is_live and record.recorder else None,
    )
    return say_outcome(terminal, record, shown)
