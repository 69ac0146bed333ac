"""``taskgrove doctor``."""

from __future__ import annotations

import os
import platform
from typing import Annotated, Final

import typer

from taskgrove.cli.devices import DeviceReader, Reach
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.cli.version import installed_version
from taskgrove.commands.command_map import CommandMap, load_command_map
from taskgrove.view.terminal_text import pad, width_of

#: Distribution, the extra that brings it (None: the core), and what it is for.
_PARTS: Final = (
    ("taskgrove", None, "this"),
    ("msgspec", None, "events"),
    ("pydantic", None, "command maps"),
    ("PyYAML", None, "command maps"),
    ("typer", "cli", "the command line"),
    ("rich", "cli", "the live tree"),
    ("pytango", "tango", "real devices, and the simulator"),
)


@verb
def doctor(
    map_file: Annotated[
        str | None,
        typer.Argument(
            metavar="[MAP]", help="A command map; each of its devices is asked to answer."
        ),
    ] = None,
) -> int:
    """Tell what is installed and what is reachable, and what to do about what is not.

    Exit code 0: all is well; 1: a device does not answer; 2: a part is missing that this
    needs, or the map is bad.
    """
    # Read first: a bad map is told before anything else is.
    command_map = None if map_file is None else load_command_map(map_file)
    terminal = Terminal()
    _tell_parts(terminal)
    _tell_tango_host(terminal)
    if command_map is None:
        terminal.say("Name a command map to see whether its devices answer: taskgrove doctor MAP")
        return ExitCode.OK
    return _tell_devices(terminal, command_map)


def _tell_parts(terminal: Terminal) -> None:
    terminal.say("Installed", "bold")
    terminal.say(
        f"  {'python':<10} {platform.python_version():<12} {platform.platform(terse=True)}"
    )
    for name, extra, purpose in _PARTS:
        version = installed_version(name)
        if version is not None:
            terminal.say(f"  {name:<10} {version:<12} {purpose}")
        elif extra is None:
            terminal.say(f"  {name:<10} {'-':<12} {purpose}: not installed as a package", "yellow")
        else:
            line = f"  {name:<10} {'missing':<12} {purpose}: pip install 'taskgrove[{extra}]'"
            terminal.say(line, "yellow")


def _tell_tango_host(terminal: Terminal) -> None:
    host = os.environ.get("TANGO_HOST")
    if host:
        terminal.say(f"  {'TANGO_HOST':<10} {host}")
    else:
        terminal.say(
            f"  {'TANGO_HOST':<10} {'not set':<12} "
            "devices need full addresses: tango://host:port/a/b/c#dbase=no"
        )


def _tell_devices(terminal: Terminal, command_map: CommandMap) -> int:
    names = list(dict.fromkeys(name for group in command_map.components.values() for name in group))
    terminal.say("Devices", "bold")
    if not names:
        terminal.say("  the map has no section 'components': there is nothing to ask")
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
