"""``taskgrove demo``: plays the package :mod:`taskgrove_demo`."""

from __future__ import annotations

import shlex
import shutil
import sys
from functools import partial
from pathlib import Path

from taskgrove.cli import options as opt
from taskgrove.cli.devices import import_tango
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.clock import SYSTEM_CLOCK


@verb
def demo(
    act: opt.Act = None,
    speed: opt.DemoSpeed = 1.0,
    no_live: opt.NoLive = False,
    db: opt.Database = None,
    no_record: opt.NoRecord = False,
) -> int:
    """Run a telescope command three times on eighteen simulated devices, then a scan.

    The command ends well, degraded, failed; the scan's file is analysed, and a page published.
    Then it is explained why a run failed. On a terminal all runs are shown on a page in the
    browser, until a key is pressed.
    Exit code 0: the runs ended as they should; 1: one did not, and it says how.
    """
    import_tango("the demo")
    from taskgrove_demo.acts import Demo  # noqa: PLC0415 - the demonstration is loaded only here

    terminal = Terminal(live=not no_live)

    def say(text: str, style: str) -> None:
        terminal.say_paragraph(text) if not style else terminal.say(text, style)

    options = [
        *(["--no-live"] if no_live else []),
        *(["--no-record"] if no_record else []),
        *([] if db is None else ["--db", db]),
    ]
    began_ns = SYSTEM_CLOCK.wall_ns()
    code = Demo(command_line, say, speed=speed, options=tuple(options)).play(act)
    tell_shell = partial(say_where_it_is, terminal)
    if no_record or code == ExitCode.ABORTED:
        tell_shell()
        return code
    from taskgrove.cli.demo_end import end_demo  # noqa: PLC0415 - slow

    end_demo(terminal, command_line, db, began_ns, tell_shell)
    return code


def command_line(*words: str) -> int:
    """Call the command line in this process and return its exit code."""
    from taskgrove.cli.app import app  # noqa: PLC0415 - it imports this module

    try:
        app(words, prog_name="taskgrove", standalone_mode=False)
    except SystemExit as exc:  # every verb ends so
        return int(exc.code or 0)
    return 0


def say_where_it_is(terminal: Terminal) -> None:
    """Print how to make the command ``taskgrove`` known, where the shell does not find it.

    Args:
        terminal: Prints the line.
    """
    script = Path(sys.executable).parent / "taskgrove"
    if shutil.which("taskgrove") is None and script.exists():
        activate = shlex.quote(str(script.with_name("activate")))
        terminal.say(f"The shell finds the command taskgrove after: . {activate}", "dim")
