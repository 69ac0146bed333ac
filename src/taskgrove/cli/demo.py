"""``taskgrove demo``: three runs against eighteen simulated devices, and a scan with analyses.

What it prints of a run comes from the run's outcome; what each act should end like is
only compared with it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from taskgrove.cli.demo_scan import LOOK_AT, TITLE, missing_packages, perform_scan
from taskgrove.cli.devices import DeviceReader, import_tango
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.recorded import Database
from taskgrove.cli.recording import NoRecord, Recording, about_shown, recording
from taskgrove.cli.run import Shown, show_run
from taskgrove.cli.session import MapSession
from taskgrove.cli.shipped import CONFIGURATION, DemoManager, shipped_map
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map import CommandMap
from taskgrove.commands.task import Task
from taskgrove.errors import MissingExtraError
from taskgrove.story.node_state import NodeState
from taskgrove.view.snapshot import RunView
from taskgrove.view.terminal_text import duration_text

if TYPE_CHECKING:
    from taskgrove.tango.simulator import SimulatedFleet

_COMMAND: Final = "configure"
#: What the map's command calls on each device.
_DEVICE_COMMAND: Final = "Configure"
#: How long a simulated command takes at speed 1, in seconds, and how much devices differ.
_DURATION_S: Final = 4.0
_SPREAD: Final = 0.4
#: At what progress of the correlator the third act kills it, in percent.
_KILL_AT: Final = 30

#: The act with a scan and its analyses, after the three with the telescope.
_SCAN_ACT: Final = 4

#: Prepares an act; what it returns is called with the view after each frame.
Preparation = Callable[["SimulatedFleet", CommandMap], "Callable[[RunView], object] | None"]


@dataclass(frozen=True, slots=True)
class Act:
    """One run of the demo.

    Attributes:
        title: What happens.
        look_at: What to look at, in one sentence.
        prepare: Sets the faults.
        state: How it should end.
        failed: Devices that should have failed, and no others.
    """

    title: str
    look_at: str
    prepare: Preparation
    state: NodeState
    failed: tuple[str, ...]


def _no_beam_fails(fleet: SimulatedFleet, command_map: CommandMap) -> None:
    for beam in command_map.components["pst"]:
        fleet.set_fault(beam, _DEVICE_COMMAND)


def _two_beams_fail(fleet: SimulatedFleet, command_map: CommandMap) -> None:
    beams = command_map.components["pst"]
    fleet.set_fault(beams[2], _DEVICE_COMMAND, "fail,at=60,message=receiver 3 is not locked")
    fleet.set_fault(beams[10], _DEVICE_COMMAND, "fail,at=35,message=no room on the disk")


def _kill_the_correlator(
    fleet: SimulatedFleet, command_map: CommandMap
) -> Callable[[RunView], object]:
    _no_beam_fails(fleet, command_map)
    correlator = command_map.components["cbf"][0]
    killed = False

    def kill_in_mid_command(view: RunView) -> None:
        nonlocal killed
        if killed:
            return
        for node in view.nodes.values():
            if correlator in node.shown_devices and node.is_leaf and node.progress >= _KILL_AT:
                fleet.kill(correlator)
                killed = True
                return

    return kill_in_mid_command


def acts_of(command_map: CommandMap) -> list[Act]:
    """Return the three acts."""
    beams, correlator = command_map.components["pst"], command_map.components["cbf"][0]
    return [
        Act(
            "all is well",
            "Look at the beams: they run side by side, each at its own pace, and their group "
            "ends when the last of them does.",
            _no_beam_fails,
            "completed",
            (),
        ),
        Act(
            "two beams fail",
            f"Look at {beams[2]} and {beams[10]}: they fail, also when they are tried again. The "
            "sum of their group makes the command degraded, not failed, and both causes come up.",
            _two_beams_fail,
            "degraded",
            (beams[2], beams[10]),
        ),
        Act(
            "the correlator is killed",
            f"Look at {correlator}: its process gets a kill -9 in the middle of its command; "
            "without it nothing can be observed, so the command fails, and it does not hang.",
            _kill_the_correlator,
            "failed",
            (correlator,),
        ),
    ]


@verb
def demo(
    act: Annotated[
        int | None, typer.Option(min=1, max=4, help="Only this act; all four if left out.")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.01, max=1000.0, help="The devices go this many times as fast.")
    ] = 1.0,
    no_live: Annotated[
        bool, typer.Option("--no-live", help="Calm lines instead of a moving tree.")
    ] = False,
    db: Database = None,
    no_record: NoRecord = False,
) -> int:
    """Run a telescope command three times on eighteen simulated devices, then a scan.

    The command ends well, degraded, failed; the scan's file is analysed, and a page published.
    Exit code 0: the runs ended as they should; 1: one did not, and it says how.
    """
    terminal = Terminal(live=not no_live)
    with recording(terminal, db, no_record=no_record) as record:
        code = ExitCode.OK if act == _SCAN_ACT else _perform_all(terminal, record, speed, act)
        if code is not ExitCode.ABORTED and act in (None, _SCAN_ACT):
            scanned = _scan(terminal, record, speed, alone=act is not None)
            code = code if scanned is ExitCode.OK else scanned
        say_where_it_is(terminal)
    return code


def say_where_it_is(terminal: Terminal) -> None:
    """Say how the command that other lines name is called, where the shell does not find it.

    Args:
        terminal: Where it is said.
    """
    script = Path(sys.executable).parent / "taskgrove"
    if shutil.which("taskgrove") is None and script.exists():
        activate = shlex.quote(str(script.with_name("activate")))
        terminal.say(f"The shell finds the command taskgrove after: . {activate}", "dim")


def _perform_all(terminal: Terminal, record: Recording, speed: float, act: int | None) -> ExitCode:
    import_tango("the demo")
    from taskgrove.tango.simulator import SimulatedFleet, device_names  # noqa: PLC0415 - an extra

    command_map = shipped_map()
    names = device_names(command_map.components)
    terminal.say(f"Starting {len(names)} TANGO device servers, each a process of its own …", "dim")
    began = time.monotonic()
    settings = {"duration_s": _DURATION_S, "spread": _SPREAD}
    with SimulatedFleet(names, speed=speed, settings=settings) as fleet:
        took = duration_text(time.monotonic() - began)
        terminal.say(f"{len(fleet.pids)} processes run on 127.0.0.1 after {took}.")
        code = _perform(terminal, record, fleet, command_map, act)
    terminal.say("All device servers are stopped.", "dim")
    return code


def _perform(
    terminal: Terminal,
    record: Recording,
    fleet: SimulatedFleet,
    command_map: CommandMap,
    only: int | None,
) -> ExitCode:
    differs: list[str] = []
    acts = acts_of(command_map)
    for number, act in enumerate(acts, 1):
        if only not in (None, number):
            continue
        terminal.say()
        terminal.say(f"Act {number} of {_SCAN_ACT}: {act.title}", "bold underline")
        terminal.say_paragraph(act.look_at)
        began = time.monotonic()
        shown = _run(terminal, record, fleet, command_map, act)
        terminal.say_explanation(shown.words)
        terminal.say(f"The run took {duration_text(time.monotonic() - began)}.", "dim")
        record.say_how_to_see(terminal, shown.run_id, well=shown.words.outcome == "completed")
        if shown.interrupts:
            return ExitCode.ABORTED
        differs += [f"act {number}: {line}" for line in differences(act, shown)]
    return _judge(terminal, differs)


def _judge(terminal: Terminal, differs: list[str]) -> ExitCode:
    if not differs:
        return ExitCode.OK
    terminal.say()
    terminal.say("The demo did not end as it should:", "bold red")
    for line in differs:
        terminal.say_item(line)
    return ExitCode.FAILED


def _scan(terminal: Terminal, record: Recording, speed: float, *, alone: bool) -> ExitCode:
    """Perform the last act, unless what it needs is not installed."""
    missing = missing_packages()
    if missing and alone:
        raise MissingExtraError("demo", f"act {_SCAN_ACT} ({', '.join(missing)})")
    terminal.say()
    if missing:
        terminal.say(
            f"Act {_SCAN_ACT} is left out, it needs {', '.join(missing)}:"
            " pip install 'taskgrove[demo]'",
            "dim",
        )
        return ExitCode.OK
    terminal.say(f"Act {_SCAN_ACT} of {_SCAN_ACT}: {TITLE}", "bold underline")
    terminal.say_paragraph(LOOK_AT)
    shown, differs = perform_scan(terminal, record, speed=speed)
    if shown.interrupts:
        return ExitCode.ABORTED
    return _judge(terminal, [f"act {_SCAN_ACT}: {line}" for line in differs])


def _run(
    terminal: Terminal,
    record: Recording,
    fleet: SimulatedFleet,
    command_map: CommandMap,
    act: Act,
) -> Shown:
    about = about_shown(_COMMAND, {"demo": act.title})
    each_frame = act.prepare(fleet, command_map)
    with demo_session(command_map, fleet) as (session, task):
        session.preflight(task)
        return show_run(
            terminal, session, task, record, about, at_once=fleet.stop, each_frame=each_frame
        )


@contextmanager
def demo_session(
    command_map: CommandMap, fleet: SimulatedFleet
) -> Iterator[tuple[MapSession, Task]]:
    """Compose the demo's command against a fleet."""
    with MapSession(
        command_map,
        DemoManager(),
        reader=DeviceReader("the demo"),
        addresses=fleet.trls,
        max_workers=4,
    ) as session:
        yield session, session.compose(_COMMAND, CONFIGURATION)


def differences(act: Act, shown: Shown) -> list[str]:
    """Return how a run's outcome differs from what its act should end like."""
    lines = []
    if shown.words.outcome != act.state:
        lines.append(f"it ended {shown.words.outcome}, and should have ended {act.state}")
    failed = sorted(device for group in shown.words.groups for device in group.devices)
    if failed != sorted(act.failed):
        told = ", ".join(failed) or "no device"
        lines.append(f"{told} failed, and it should have been {', '.join(act.failed) or 'none'}")
    return lines
