"""``taskgrove doctor``."""

from __future__ import annotations

import os
import platform

from taskgrove.cli import options as opt
from taskgrove.cli.devices import DeviceReader, Reach
from taskgrove.cli.doctor_record import tell_analyses, tell_line, tell_record
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.extras import EXTRAS, installed_version
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map import CommandMap, load_command_map
from taskgrove.commands.command_map.map_fields import is_pattern
from taskgrove.view.terminal_text import pad, width_of


@verb
def doctor(
    map_file: opt.MapToCheck = None,
    db: opt.Database = None,
) -> int:
    """Check what is installed and what can be reached, and name the next step for the rest.

    Of the record it tells where it is, whether it can be written, and which runs are lost; of
    analyses where pages go and what starts them. Exit code 0: all is well; 1: a device does not
    answer, or the record or the folder of pages cannot be used; 2: a part is missing that this
    needs, or the map is bad.
    """
    # Read first: a bad map is told before anything else is.
    command_map = None if map_file is None else load_command_map(map_file)
    terminal = Terminal()
    _tell_parts(terminal)
    _tell_tango_host(terminal)
    well = [tell_record(terminal, db), tell_analyses(terminal)]
    code = ExitCode.OK if all(well) else ExitCode.FAILED
    if command_map is None:
        terminal.say("Name a command map to see whether its devices answer: taskgrove doctor MAP")
        return code
    return _tell_devices(terminal, command_map) or code


def _tell_parts(terminal: Terminal) -> None:
    terminal.say("Installed", "bold")
    own = installed_version("taskgrove") or "as sources"
    python = f"Python {platform.python_version()}, {platform.platform(terse=True)}"
    tell_line(terminal, "taskgrove", f"{own}, {python}")
    for extra in EXTRAS:
        found = {name: installed_version(name) for name in extra.packages}
        missing = [name for name, version in found.items() if version is None]
        name = extra.name or "core"
        if missing:
            what = "missing" if len(missing) == len(found) else f"without {', '.join(missing)}"
            line = f"{what}; {extra.purpose}: pip install 'taskgrove[{extra.name}]'"
            tell_line(terminal, name, line, "yellow")
        else:
            versions = ", ".join(f"{part} {version}" for part, version in found.items())
            tell_line(terminal, name, versions)


def _tell_tango_host(terminal: Terminal) -> None:
    words = "not set: devices need full addresses: tango://host:port/a/b/c#dbase=no"
    tell_line(terminal, "TANGO_HOST", os.environ.get("TANGO_HOST") or words)


def _tell_devices(terminal: Terminal, command_map: CommandMap) -> int:
    names = [name for name in command_map.devices if not is_pattern(name)]
    terminal.say("Devices", "bold")
    if not names:
        terminal.say("  the map names no device: there is nothing to ask")
        return ExitCode.OK
    reached = DeviceReader("asking the map's devices").ping_all(names)
    columns = max(width_of(name) for name in names)
    for reach in reached:
        _tell(terminal, reach, columns)
    silent = [reach for reach in reached if not reach.answers]
    terminal.say(f"{len(reached) - len(silent)} of {len(reached)} devices answer.")
    for hint in dict.fromkeys(reach.hint for reach in silent):
        terminal.say(f"What to do: {hint}")
    return ExitCode.FAILED if silent else ExitCode.OK


def _tell(terminal: Terminal, reach: Reach, columns: int) -> None:
    name = pad(reach.device, columns)
    took = f"{reach.took_s * 1000:.0f} ms"
    if reach.answers:
        terminal.say(f"  {name}  answers in {took}, state {reach.state}")
    else:
        terminal.say(f"  {name}  no answer after {took}: {reach.problem}", "bold red")
