"""The report of ``doctor`` on the record, and on analyses."""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from taskgrove.cli.lost_runs import tell_lost
from taskgrove.cli.terminal import Terminal
from taskgrove.errors import MissingExtraError, StoreError, TaskgroveError
from taskgrove.private_files import file_mode, folder_mode
from taskgrove.recovery.finding_lost import lost_runs
from taskgrove.store.database import record_version
from taskgrove.store.database.advice import command_line
from taskgrove.store.database.location import Location, default_file, find_location
from taskgrove.store.database.opening import connect_to
from taskgrove.store.database.record_version import version_of
from taskgrove.store.queries.reading import Reader
from taskgrove.store.recording.rights import check_rights
from taskgrove.store.store import Store
from taskgrove.view.terminal_text import safe_text

#: Programs that start an analysis of several processes; one of the first two is enough.
_LAUNCHERS: Final = ("mpirun", "mpiexec", "srun")
#: Below this much room, in bytes, the folder of a record is told as a problem.
_LITTLE_ROOM: Final = 100 * 1024 * 1024
_GIB: Final = 1024**3
#: How wide the names of a section are.
_NAMES: Final = 10


def tell_line(terminal: Terminal, name: str, text: str, style: str = "") -> None:
    """Print one line of a section: a name and a text.

    Args:
        terminal: Where it goes.
        name: The name.
        text: The text; parts of it may come from a device or a file.
        style: The style of the line.
    """
    terminal.say(f"  {name:<{_NAMES}} {safe_text(text)}", style)


def tell_record(terminal: Terminal, database: str | None) -> bool:
    """Tell where the record is, whether it can be written, and which runs in it are lost.

    Nothing is made or migrated.

    Returns:
        False when it cannot be used as it is.
    """
    terminal.say("Record", "bold")
    try:
        where = find_location(database)
    except (ModuleNotFoundError, MissingExtraError):
        tell_line(
            terminal, "none", "runs are not recorded: pip install 'taskgrove[store]'", "yellow"
        )
        return True
    except StoreError as exc:
        return _tell_error(terminal, exc)
    tell_line(terminal, "at", where.shown)
    if where.file is not None and not _holds_anything(where.file):
        return _tell_new(terminal, where.file, made=where.file == default_file())
    well = _tell_opened(terminal, where, record_version.STORE_VERSION)
    if where.file is not None:
        _tell_modes(terminal, where.file, own_folder=where.file == default_file())
    return well


def _tell_modes(terminal: Terminal, file: Path, *, own_folder: bool) -> None:
    """Name files of the record, and its own folder, that others may read or write."""
    beside = [Path(f"{file}{suffix}") for suffix in ("-wal", "-shm")]
    copies = sorted(file.parent.glob(f"{glob.escape(file.name)}.version-*.bak"))
    try:
        allowed = [(path, file_mode()) for path in (file, *beside, *copies)]
        allowed += [(file.parent, folder_mode())] if own_folder else []
    except OSError as exc:
        tell_line(terminal, "group", exc.strerror or str(exc), "yellow")
        return
    for path, mode in allowed:
        with suppress(FileNotFoundError):
            found = stat.S_IMODE(path.stat().st_mode)
            if found & ~mode & 0o777:
                line = shlex.join(["chmod", f"{mode & 0o777:o}", str(path)])
                tell_line(
                    terminal, "mode", f"others may use {path} ({found:04o}): {line}", "yellow"
                )


def _holds_anything(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False
    except OSError:
        return True  # opening it tells more


def _tell_new(terminal: Terminal, file: Path, *, made: bool) -> bool:
    folder = file.parent
    while not folder.exists() and folder != folder.parent and made:
        folder = folder.parent
    problem = "" if folder.is_dir() else f"there is no folder {folder}"
    if not problem and not os.access(folder, os.W_OK | os.X_OK):
        problem = f"{folder} cannot be written to"
    if problem:
        tell_line(terminal, "state", f"cannot be made: {problem}", "bold red")
        terminal.say("What to do: name another place with --db or TASKGROVE_DB")
        return False
    there = "empty" if file.exists() else "not there yet"
    tell_line(terminal, "state", f"{there}; the first run makes it")
    return _tell_room(terminal, folder)


def _tell_opened(terminal: Terminal, where: Location, newest: int) -> bool:

    try:
        connections = connect_to(where, create=False, read_only=True)
        try:
            found = version_of(connections)
        finally:
            connections.close()
        if found < newest:
            older = f"version {found}; the next verb that opens it brings it to {newest}"
            tell_line(terminal, "state", older if found else "empty; the first run fills it")
            return _tell_room_of(terminal, where)
        name = str(where.file) if where.file else None
        with Store.open(name or where.url, create=False) as store:
            return _tell_current(terminal, where, store, found)
    except TaskgroveError as exc:
        return _tell_error(terminal, exc)


def _tell_current(terminal: Terminal, where: Location, store: Store, version: int) -> bool:

    ((count,),) = Reader(store).rows("SELECT count(*) FROM runs")
    can_write = True
    try:
        check_rights(store)
        with store.writing():
            pass
    except StoreError as exc:
        can_write = False
        tell_line(terminal, "state", f"cannot be written: {exc}", "bold red")
    if can_write:
        kept = f"{count:,} {'run' if count == 1 else 'runs'}"
        tell_line(terminal, "state", f"version {version}, {kept}, can be written")
        tell_lost(terminal, store)
    for lost in (waiting := lost_runs(store))[:_SHOWN]:
        line = command_line(store.location, "recover", lost.run_id)
        text = f"{lost.run_id} ({lost.command}): {line}"
        tell_line(terminal, "lost", text, "yellow")
    if len(waiting) > _SHOWN:
        line = command_line(store.location, "recover")
        tell_line(terminal, "lost", f"{len(waiting) - _SHOWN} more: {line}", "yellow")
    return _tell_room_of(terminal, where) and can_write


#: How many lost runs are named.
_SHOWN: Final = 5


def _tell_room_of(terminal: Terminal, where: Location) -> bool:
    return where.file is None or _tell_room(terminal, where.file.parent)


def _tell_room(terminal: Terminal, folder: Path) -> bool:
    free = shutil.disk_usage(folder).free
    enough = free >= _LITTLE_ROOM
    words = f"{free / _GIB:.1f} GiB free" if enough else f"only {free / 1024**2:.0f} MiB free"
    tell_line(terminal, "room", words, "" if enough else "bold red")
    return enough


def _tell_error(terminal: Terminal, error: TaskgroveError) -> bool:
    tell_line(terminal, "state", f"cannot be used: {error.message}", "bold red")
    if error.hint:
        terminal.say(f"What to do: {safe_text(error.hint)}")
    return False


def tell_analyses(terminal: Terminal) -> bool:
    """Report the folder of pages, the lists of the guardian, and the launchers of MPI programs.

    Returns:
        False when pages cannot be published where ``TASKGROVE_PAGES`` says.
    """
    from taskgrove.analysis.running.guardian import ledger_folder  # noqa: PLC0415 - slow

    terminal.say("Analyses", "bold")
    pages, problem = os.environ.get("TASKGROVE_PAGES"), ""
    if not pages:
        tell_line(
            terminal, "pages", "not published: --pages DIR, or TASKGROVE_PAGES, names a folder"
        )
    else:
        problem = _why_no_pages(Path(pages))
        style = "bold red" if problem else ""
        tell_line(terminal, "pages", f"{Path(pages).absolute()}{problem}", style)
    try:
        tell_line(terminal, "guardian", f"keeps its lists in {ledger_folder()}")
    except OSError as exc:
        lost = f"none: {exc}; analyses may keep running after a kill -9 of taskgrove"
        tell_line(terminal, "guardian", lost, "yellow")
    found = [(name, path) for name in _LAUNCHERS if (path := shutil.which(name))]
    words = ", ".join(f"{name} ({path})" for name, path in found)
    none = f"none of {', '.join(_LAUNCHERS)}; only programs that run under MPI or Slurm need one"
    tell_line(terminal, "launchers", words or none)
    return not problem


def _why_no_pages(folder: Path) -> str:
    """Return the obstacle to publishing, as the end of a line; empty: none."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f": cannot be made: {there} is no folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f": {there} cannot be written to"
    return ""
