"""``taskgrove serve``: the page of the record, live, in a browser.

Threads: the server has threads of its own; the main thread waits for Ctrl-C and for Enter.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from taskgrove.cli import options as opt
from taskgrove.cli.exit_codes import ExitCode
from taskgrove.cli.lost_runs import tell_lost
from taskgrove.cli.recorded import open_history
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.verb import verb
from taskgrove.errors import StoreError
from taskgrove.store.database.location import find_location, user_folder
from taskgrove.store.history import History
from taskgrove.store.recording.spill import orphans_of
from taskgrove.store.store import Store
from taskgrove.view.terminal_text import safe_text

if TYPE_CHECKING:
    from taskgrove.web.start_settings import Starts

#: The port unless another is given.
PORT: Final = 8642
_OWN: Final = ("127.0.0.1", "localhost", "::1")
#: How often it is looked whether the server runs, in seconds.
_LOOK_S: Final = 1.0


@verb
def serve(
    db: opt.Database = None,
    host: opt.Host = "127.0.0.1",
    port: opt.Port = PORT,
    known_host: opt.KnownHosts = None,
    open_reading: opt.OpenReading = False,
    read_only: opt.ReadOnly = False,
    maps: opt.MapsToStart = None,
    manager: opt.Manager = None,
    analyses: opt.AnalysisModules = None,
    pages: opt.Pages = None,
    work_dir: opt.WorkDir = None,
    processes: opt.Processes = None,
) -> int:
    """Show runs on a page: live ones as they go on, past ones, and why they ended so.

    The link that is printed lets one browser in, once; Enter prints another one. Steps are retried,
    accepted, skipped, and runs aborted or paused there as with the verbs of the same names. With
    --map commands are started there; the options after it are those of 'run', for such runs.
    Runs go on when the server ends. Ctrl-C ends it.
    """
    from taskgrove.web.entrance import Entrance, known_names  # noqa: PLC0415 - slow
    from taskgrove.web.serving import PageServer  # noqa: PLC0415 - slow, and an extra

    terminal = Terminal()
    starts = _starts(maps or (), db, manager, tuple(analyses or ()), pages, work_dir, processes)
    names = known_names([*(known_host or ()), *(() if host in ("0.0.0.0", "::") else (host,))])  # noqa: S104
    entrance = Entrance(page_key(), names, open_reading=open_reading, read_only=read_only)
    with _history(db) as history:
        warnings = Terminal(json=True)
        server = PageServer(
            history,
            entrance,
            host,
            port,
            lambda: tell_lost(warnings, history.store, history),
            starts,
        )
        server.start()
        try:
            say_where(terminal, server.new_link(), history.store.location)
            more = "Enter prints another one. " if sys.stdin.isatty() else ""
            terminal.say(
                f"The link lets one browser in. {more}Ctrl-C ends the server; runs go on.", "dim"
            )
            if host not in _OWN:
                terminal.say(
                    f"Whoever reaches {safe_text(host)}:{server.port} can try to read along:"
                    " nothing is encrypted. A proxy with TLS is safer.",
                    "yellow",
                )
            while server.is_alive:
                if _was_entered():
                    terminal.say_line([(f"  {server.new_link()}", "")])
        except KeyboardInterrupt:
            terminal.say("The page is closed; runs go on.")
            return ExitCode.OK
        finally:
            server.stop()
    terminal.say("The server of the page has ended by itself.", "bold red")
    return ExitCode.FAILED


def page_key() -> bytes:
    """Return the key of this user's pages.

    Raises:
        StoreError: It cannot be kept.
    """
    from taskgrove.web.entrance import kept_key  # noqa: PLC0415 - slow

    file = user_folder("state") / "page.key"
    try:
        return kept_key(file)
    except OSError as exc:
        raise StoreError(f"the key of the page cannot be kept in {file}: {exc}") from exc


def _starts(
    maps: Sequence[str],
    database: str | None,
    manager: str | None,
    analyses: tuple[str, ...],
    pages: str | None,
    work_dir: str | None,
    processes: int | None,
) -> Starts:
    """Return how runs are started from the page.

    Raises:
        MapError: A map cannot be read, or is not valid.
    """
    from taskgrove.commands.command_map import load_command_map  # noqa: PLC0415 - slow
    from taskgrove.web.runner_processes import RunnerProcesses  # noqa: PLC0415 - slow
    from taskgrove.web.start_settings import Starts, StartSettings, absolute  # noqa: PLC0415

    for file in maps:
        load_command_map(file)
    settings = StartSettings(
        absolute(maps), database, manager, analyses, pages, work_dir, processes
    )
    return Starts(settings, RunnerProcesses(user_folder("state") / "started"))


def _history(database: str | None) -> History:
    """Open the record; a file that is not there yet is made, so that the first run shows."""
    where = find_location(database)
    if where.file is not None and not where.file.exists() and not orphans_of(where.shown):
        Store.open(database).close()
    history = open_history(database)
    return History.open(database) if history is None else history


def say_where(terminal: Terminal, link: str, location: str) -> None:
    """Print the link to the page of a record, on a line of its own, to be copied."""
    terminal.say(f"The page of {safe_text(location)}:")
    terminal.say_line([(f"  {link}", "")])


def _was_entered() -> bool:
    """Wait a moment; return whether a line was typed on a terminal."""
    watched = [sys.stdin] if _is_terminal() else []
    ready, _, _ = select.select(watched, [], [], _LOOK_S)
    return bool(ready) and sys.stdin.readline() != ""


def _is_terminal() -> bool:
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
