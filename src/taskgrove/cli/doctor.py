"""``taskgrove doctor``."""

from __future__ import annotations

import platform

from taskgrove.cli import options as opt
from taskgrove.cli.doctor_devices import tell_databases, tell_devices
from taskgrove.cli.doctor_record import tell_analyses, tell_line, tell_record
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.extras import EXTRAS, installed_version
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.commands.command_map import load_command_map


@verb
def doctor(
    map_file: opt.MapToCheck = None,
    db: opt.Database = None,
) -> int:
    """Check what is installed and what can be reached, and name the next step for the rest.

    Of the record it tells where it is, whether it can be written, and which runs are lost; of
    analyses where pages go and what starts them; of TANGO which database looks up names. Exit code
    0: all is well; 1: a device does not answer or cannot send events, or the database, the record
    or the folder of pages cannot be used; 2: a part is missing that this needs, or the map is bad.
    """
    # Read first: a bad map is told before anything else is.
    command_map = None if map_file is None else load_command_map(map_file)
    terminal = Terminal()
    _tell_parts(terminal)
    names = () if command_map is None else command_map.devices
    well = [
        tell_databases(terminal, names),
        tell_record(terminal, db),
        tell_analyses(terminal),
    ]
    code = ExitCode.OK if all(well) else ExitCode.FAILED
    if command_map is None:
        terminal.say("Name a command map to see whether its devices answer: taskgrove doctor MAP")
        return code
    return tell_devices(terminal, command_map) or code


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
