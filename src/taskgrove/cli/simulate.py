"""``taskgrove simulate``: simulated devices, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import yaml

from taskgrove.cli import options as opt
from taskgrove.cli.devices import import_tango
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.interrupts import SignalsTaken
from taskgrove.cli.rehearsal import command_line
from taskgrove.cli.simulator_section import check_simulator_section
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map import CommandMap, load_command_map
from taskgrove.commands.command_map.map_fields import is_pattern
from taskgrove.errors import UsageError
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.tango.simulator import SimulatedFleet


@verb
def simulate(
    map_file: opt.MapToSimulate = None,
    fault: opt.Faults = None,
    speed: opt.Speed = None,
    write_map: opt.WriteMap = None,
    log: opt.InvocationLog = None,
) -> int:
    """Start simulated devices on the loopback interface and keep them until Ctrl-C.

    They are real TANGO device servers, without a database; their addresses are printed.
    """
    import_tango("the simulator")
    from taskgrove.tango.simulator import plan_simulator, stand_ins_of  # noqa: PLC0415 - an extra

    command_map = load_command_map(demo_map() if map_file is None else map_file)
    devices = command_map.devices
    if not devices:
        raise UsageError(
            "the map names no devices", hint="add a section 'components': a name → a TANGO name"
        )
    pattern = next(filter(is_pattern, devices), None)
    if pattern is not None:
        raise UsageError(
            f"{pattern} is a pattern, and there is no database of simulated devices",
            hint="list the devices by their names",
        )
    check_simulator_section(command_map)
    if write_map is not None and (write_map.is_dir() or not write_map.parent.is_dir()):
        raise UsageError(
            f"{write_map} cannot be written", hint="name a file in a folder that is there"
        )
    if write_map is not None and map_file is not None:
        _check_target(write_map, Path(map_file))
    planned = plan_simulator(
        {"devices": devices},
        command_map.simulator,
        faults=fault or (),
        speed=speed,
        log=log,
        stand_ins=stand_ins_of(command_map),
    )
    terminal = Terminal()
    stop = _Stop()
    terminal.say("Starting …", "dim")
    with planned as fleet:
        if log is not None:
            terminal.say(f"Every invocation is appended to {safe_text(log)}.")
        _tell(terminal, fleet, command_map, write_map)
        stop.wait(terminal)
        terminal.say("Stopping the devices.")
    return ExitCode.OK


def demo_map() -> Path:
    """Return the map of the demonstration."""
    return Path(str(resources.files("taskgrove_demo"))) / "maps" / "demo.yaml"


class _Stop:
    """Waits for Ctrl-C, SIGTERM or SIGHUP: here they are the ordinary way to end."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def wait(self, terminal: Terminal) -> None:
        with SignalsTaken(self._heard) as taken:
            # In short steps, because a lock would hold the signal up; and whoever read the
            # addresses through a pipe may have gone.
            while not self._asked.wait(0.2) and not terminal.gone:
                pass
            taken.keep(signal.SIGHUP)  # a terminal that closes sends it more than once

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self._asked.set()


def _check_target(file: Path, map_file: Path) -> None:
    if file.exists() and map_file.exists() and file.samefile(map_file):
        raise UsageError(
            f"{file} is the input map and is not overwritten",
            hint="name another file; the map with the addresses goes there",
        )


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, "utf-8")
    except OSError as exc:
        raise UsageError(
            f"{file} cannot be written: {exc.strerror}", hint="name another file"
        ) from exc


def _tell(
    terminal: Terminal, fleet: SimulatedFleet, command_map: CommandMap, write_map: Path | None
) -> None:
    terminal.say(f"{len(fleet.devices)} devices run; Ctrl-C stops them.", "bold")
    for device, trl in fleet.trls.items():
        terminal.say(f"  {device}  {trl}")
    whole = command_map.to_dict({name: fleet.trl(name) for name in command_map.devices})
    if write_map is None and "components" not in whole:
        terminal.say("To run commands on them, name them so, or use '--write-map FILE'.", "bold")
    elif write_map is None:
        terminal.say("To run commands on them, give a map these components:", "bold")
        terminal.say(yaml.safe_dump({"components": whole["components"]}, sort_keys=False).rstrip())
    else:
        _write(write_map, yaml.safe_dump(whole, sort_keys=False))
        terminal.say("The map with these addresses is written; from another terminal:", "bold")
        terminal.say(f"  {command_line(command_map, write_map)}")
    terminal.say("To set a fault while they run, from Python:", "bold")
    proxy = f'tango.DeviceProxy("{fleet.trl(fleet.devices[-1])}")'
    terminal.say(f"""  {proxy}.SimSetFault('{{"Configure": [{{"kind": "fail"}}]}}')""")
