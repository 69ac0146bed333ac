"""Processes: starting one in a session of its own, telling who it is, and ending all of it."""

from __future__ import annotations

import difflib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from taskgrove.analysis.running.leftovers import (
    mark_limit,
    marked_processes,
    processes,
    start_time,
    stat_fields,
)
from taskgrove.errors import AnalysisError, errno_name

#: A process that runs longer may have seen the pids wrap round: all processes are looked at.
_LONG_S: Final = 60.0
_SHEBANG_BYTES: Final = 256
#: So many pids after that of a program are looked at for what it has started already.
_EARLY: Final = 256
#: How much alike names of programs are that may be mistaken for each other, from 0 to 1; on a PATH
#: there are thousands.
_CLOSE_IN_FOLDER: Final = 0.6
_CLOSE_ON_PATH: Final = 0.8


def identity_of(pid: int) -> str | None:
    """Return ``pid:starttime``, which no other process of this boot ever has; None: it ended."""
    start = start_time(pid)
    return None if start is None else f"{pid}:{start}"


def parse_identity(identity: str) -> tuple[int, int]:
    """Return the pid and the start time of an identity.

    Raises:
        AnalysisError: It is none.
    """
    pid, _, start = identity.partition(":")
    if not (pid.isdecimal() and start.isdecimal()):
        raise AnalysisError(f"{identity!r} is no identity of a process", hint="it is pid:starttime")
    return int(pid), int(start)


def is_alive(identity: str) -> bool:
    """Return whether the very process of that identity runs."""
    pid, start = parse_identity(identity)
    return start_time(pid) == start


def find_program(
    name: str, environment: Mapping[str, str], folder: Path | None, *, what: str = "program"
) -> str:
    """Return the path of a program.

    Args:
        name: A path (relative to ``folder``, or to the current one; ``~`` is the user's home), or
            a name on the PATH.
        environment: Whose PATH counts.
        folder: Where the program will run, or None: here.
        what: What it is, for the words of an error: a ``program``, or a ``launcher``.

    Raises:
        AnalysisError: There is none, or it may not be executed; the hint has the nearest name.
    """
    name = os.path.expanduser(name)
    if "/" in name:
        path = Path(folder or Path.cwd(), name)
        if not path.exists():
            close = _nearest_file(path.name, [path.parent], _CLOSE_IN_FOLDER)
            raise AnalysisError(
                f"there is no {what} {name!r}",
                program=str(path),
                errno_name="ENOENT",
                nearest=close and str(path.parent / close),
                hint=f"did you mean {os.path.join(os.path.dirname(name), close)!r}?"
                if close
                else None,
            )
        if path.is_dir() or not os.access(path, os.X_OK):
            raise AnalysisError(
                f"{name!r} is not executable",
                program=str(path),
                errno_name="EACCES",
                hint=f"chmod +x {path}",
            )
        return str(path)
    found = shutil.which(name, path=environment.get("PATH", os.defpath))
    if found is None:
        close = _nearest_file(
            name, map(Path, environment.get("PATH", os.defpath).split(os.pathsep))
        )
        raise AnalysisError(
            f"there is no {what} {name!r} on the PATH of the analysis",
            program=name,
            errno_name="ENOENT",
            nearest=close,
            hint=f"did you mean {close!r}?"
            if close
            else "give its path, or add its folder to the PATH",
        )
    return os.path.abspath(found)


def _nearest_file(name: str, folders: Iterable[Path], cutoff: float = _CLOSE_ON_PATH) -> str | None:
    """Return the name in some folders that is nearest to a wrong one, or None."""
    found: set[str] = set()
    for folder in folders:
        with suppress(OSError):  # a folder of a PATH need not be there
            found.update(os.listdir(folder))
    close = difflib.get_close_matches(name, sorted(found), n=1, cutoff=cutoff)
    return close[0] if close else None


def spawn(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path | None,
    inherit: Sequence[int],
    stdin: int | None = None,
    stdout: int | IO[Any],
    stderr: int | IO[Any],
) -> subprocess.Popen[bytes]:
    """Start a program in a session, and so a process group, of its own.

    Raises:
        AnalysisError: It cannot be started; the error says why.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - the operator's program
            list(argv),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(inherit),
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        raise _not_started(argv[0], folder, exc) from exc


def _not_started(program: str, folder: Path | None, exc: OSError | ValueError) -> AnalysisError:
    why, missing = _why_not(program, folder, exc)
    return AnalysisError(f"cannot be started: {why}", program=missing, errno_name=errno_name(exc))


def _why_not(
    program: str, folder: Path | None, exc: OSError | ValueError
) -> tuple[str, str | None]:
    """Return why a program cannot be started, and which one stands in the way, if one does."""
    if not isinstance(exc, OSError):
        return str(exc), program
    if folder is not None and not folder.is_dir():
        return f"there is no working folder {folder}", None
    if exc.errno == errno.ENOENT and Path(program).exists():
        return _what_is_missing(program)
    words = {
        errno.ENOEXEC: f"{program!r} is no program of this system (a script needs a #! line)",
        errno.E2BIG: "the command line and the environment together are too long",
    }
    return words.get(exc.errno or 0, f"{program!r}: {exc.strerror or exc}"), program


def _what_is_missing(program: str) -> tuple[str, str]:
    """Say what a program that is there needs and that is not."""
    try:
        with Path(program).open("rb") as file:
            first = file.readline(_SHEBANG_BYTES)
    except OSError:
        first = b""
    if first.startswith(b"#!"):
        interpreter = first[2:].decode("utf-8", "backslashreplace").strip()
        text = f"the interpreter of {program!r} does not exist: {interpreter}"
        return text, (interpreter.split() or [program])[0]
    return f"the loader of {program!r} does not exist: it was built for another system", program


def mark_members(mark: str, leader: int) -> None:
    """Have a process that was just started bear a mark, and what it has started already.

    The mark goes over to all that they start later. What had left the session and lost its parent
    before we came here is not found.

    Args:
        mark: The analysis' own mark.
        leader: The process that was started.
    """
    mark_limit(leader, mark)
    family = {leader}
    found = True
    while found:
        found = False
        newest = min(_last_pid(), leader + _EARLY)
        for pid in range(leader + 1, newest + 1):
            fields = stat_fields(pid) if pid not in family else None
            if fields is not None and (int(fields[1]) in family or int(fields[3]) == leader):
                mark_limit(pid, mark)
                family.add(pid)
                found = True


def find_members(mark: str, leader: int, *, ran_s: float = _LONG_S) -> list[int]:
    """Return the running processes of an analysis, its leader apart.

    Args:
        mark: The analysis' own mark.
        leader: The process that was started: id of the session and of the group.
        ran_s: How long it has run, in seconds: processes older than a short-lived leader are
            not looked at.
    """
    pids = list(processes())
    if ran_s < _LONG_S and _last_pid() >= leader:
        pids = [pid for pid in pids if pid > leader]
    wanted = str(leader).encode()
    # With the end of the value: the mark of one analysis begins like that of its tenth successor.
    members = set(marked_processes(f"{mark}\0", pids))
    for pid in pids:
        if pid not in members:
            fields = stat_fields(pid)
            if fields is not None and wanted in fields[2:4] and fields[0] not in {b"Z", b"X"}:
                members.add(pid)
    members.discard(leader)
    return sorted(members)


def name_of(pid: int) -> str:
    """Return the name of a process, for people."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"


def _last_pid() -> int:
    """Return the pid that was given last; it is small again when the pids have wrapped round."""
    try:
        return int(Path("/proc/loadavg").read_bytes().split()[-1])
    except (OSError, ValueError, IndexError):
        return 0
