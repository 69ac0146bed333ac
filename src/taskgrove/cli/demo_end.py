"""The end of the demonstration: why a run failed, the page of all runs, and what to type next.

Threads: the main thread; the server of the page has threads of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from taskgrove.cli.key_input import is_at_terminal, keys_of_terminal
from taskgrove.cli.recorded import history_of_runs
from taskgrove.cli.serve import PORT, page_key, say_where
from taskgrove.cli.terminal import Terminal
from taskgrove.errors import UsageError
from taskgrove.store.database.advice import command_line, db_option
from taskgrove.store.history import History
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.web.serving import PageServer

#: How often it is looked whether a key was pressed, in seconds.
_LOOK_S: Final = 0.1


def end_demo(
    terminal: Terminal,
    taskgrove: Callable[..., int],
    database: str | None,
    began_ns: int,
    tell_shell: Callable[[], object],
) -> None:
    """Explain the run that went worst, and show the page until a key is pressed.

    Where input or output is no terminal, the server of the page is not started.

    Args:
        terminal: Prints the lines.
        taskgrove: Calls the command line.
        database: The value of ``--db``.
        began_ns: When the demonstration began, UTC, nanoseconds since the epoch.
        tell_shell: Says how the shell finds the command line.
    """
    with history_of_runs(database) as history:
        runs = [run for run in history.runs() if run.created_ns >= began_ns]
        if not runs:
            return
        worst = next((run for run in runs if run.outcome == "failed"), runs[0]).run_id
        other = next((run for run in runs if run.outcome == "degraded"), runs[-1]).run_id
        location = history.store.location
        terminal.say("\nWhy, and what next", "bold underline")
        words = command_line(location, "why", worst)
        terminal.say_line([(f"$ {safe_text(words)}", "dim")])
        taskgrove("why", worst, *db_option(location))
        terminal.say()
        server = _page_at_terminal(terminal, history)
        try:
            if server is None:
                words = command_line(location, "serve")
                where = f"http://127.0.0.1:{PORT}"
                terminal.say(f"The page of all runs: {where}, while this runs: {safe_text(words)}")
            else:
                say_where(terminal, server.new_link(), location)
            terminal.say("Type next:")
            for line in (("runs", "list"), ("runs", "show", other), ("serve",)):
                typed = command_line(location, *line)
                terminal.say_line([(f"  {safe_text(typed)}", "")])
            tell_shell()
            if server is not None:
                terminal.say("The page is there until a key is pressed.", "dim")
                _wait_for_key(server)
        finally:
            if server is not None:
                server.stop()


def _page_at_terminal(terminal: Terminal, history: History) -> PageServer | None:
    """Start the server of the page; None where nobody can press a key, or where it cannot be."""
    if not is_at_terminal():
        return None
    try:
        from taskgrove.web.entrance import Entrance  # noqa: PLC0415 - slow, and an extra
        from taskgrove.web.serving import PageServer  # noqa: PLC0415 - slow, and an extra
    except ModuleNotFoundError:
        terminal.say("The page needs: pip install 'taskgrove[web]'", "dim")
        return None
    entrance = Entrance(page_key())
    try:
        server = PageServer(history, entrance, port=PORT)
    except UsageError:  # somebody else listens there
        server = PageServer(history, entrance)
    server.start()
    return server


def _wait_for_key(server: PageServer) -> None:
    keys = keys_of_terminal()
    if keys is None:
        return
    try:
        keys.read()  # what was typed while the runs went on
        while server.is_alive and not keys.read():
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        return
    finally:
        keys.close()
