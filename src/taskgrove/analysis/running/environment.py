"""The environment of an analysis: the parent's, then a sourced file's, then what is configured.

A file is sourced by a shell of its own, and what that changed is taken over: variables that it
exported, changed or unset. Its output is never evaluated: the shell's environment comes back
as it is, each variable ended by a zero byte.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskgrove.analysis.variables import checked_variables
from taskgrove.errors import AnalysisError, nearest

#: How long a file may take to be sourced, in seconds.
SOURCE_LIMIT_S: Final = 120.0
#: What a shell changes by itself.
_SHELLS_OWN: Final = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "BASHOPTS", "SHELLOPTS"})
_FAILED: Final = 97
_SCRIPT: Final = f'. "$1" 1>&2 </dev/null || exit {_FAILED}; exec env -0'
_LAST_LINES: Final = 3
#: The largest environment that is taken over, in bytes; the kernel's own limit is about 6 MB.
_MOST_BYTES: Final = 8 << 20
_SAID_BYTES: Final = 64 << 10
_LAST_TURNS: Final = 64  # more than a pipe holds
_LOOK_S: Final = 0.1
_SHORT_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class AnalysisEnvironment:
    """Where an analysis' environment comes from.

    Attributes:
        variables: Set last, above all others; None removes a variable. Numbers and paths become
            text, here and in ``prepend``.
        source: A shell script that is sourced first, such as one that activates another
            installation.
        inherit: Whether the environment of this process is the beginning; without it only PATH,
            HOME, USER, LANG and TMPDIR are.
        prepend: Folders that are put before what a variable such as PATH then holds.
    """

    variables: Mapping[str, str | None] = field(default_factory=dict)
    source: str | Path | None = None
    inherit: bool = True
    prepend: Mapping[str, str] = field(default_factory=dict)

    @property
    def _file(self) -> Path | None:
        return None if self.source is None else Path(os.path.expanduser(self.source))

    def check(self) -> None:
        """See that it can be made.

        Raises:
            AnalysisError: The file is missing, or a name or a value cannot stand in an environment.
        """
        file = self._file
        if file is not None and not file.is_file():
            raise AnalysisError(
                f"there is no file {str(file)!r} to source",
                file=file,
                errno_name="EISDIR" if file.is_dir() else "ENOENT",
                hint=_near_file(file),
            )
        checked_variables(self.variables)
        for name, value in checked_variables(self.prepend).items():
            if value is None:
                raise AnalysisError(f"nothing can be put before {name}", key=name)

    def build(
        self,
        parent: Mapping[str, str] | None = None,
        *,
        called_off: Callable[[], bool] = bool,
    ) -> dict[str, str]:
        """Return the environment; sourcing a file takes as long as it takes, up to two minutes.

        Args:
            parent: The environment to begin with; None: this process'.
            called_off: Asked while a file is sourced; True ends that.

        Raises:
            AnalysisError: The file is missing, fails, does not end, or was called off.
        """
        self.check()
        given = dict(os.environ if parent is None else parent)
        if not self.inherit:
            given = {name: given[name] for name in _ALWAYS if name in given}
        if (file := self._file) is not None:
            given = source_file(file, given, called_off=called_off)
        for name, before in checked_variables(self.prepend).items():
            assert before is not None  # it was checked
            given[name] = f"{before}{os.pathsep}{given[name]}" if given.get(name) else before
        for name, value in checked_variables(self.variables).items():
            if value is None:
                given.pop(name, None)
            else:
                given[name] = value
        return given


def _near_file(missing: Path) -> str | None:
    """Return a hint that names the file that may have been meant, or None."""
    if missing.is_dir():
        return "it is a folder"
    try:
        names = sorted(os.listdir(missing.parent))
    except OSError:
        return f"there is no folder {str(missing.parent)!r}"
    close = nearest(missing.name, names)
    return None if close is None else f"did you mean {str(missing.parent / close)!r}?"


_ALWAYS: Final = ("PATH", "HOME", "USER", "LANG", "TMPDIR")


def source_file(
    path: Path,
    environment: Mapping[str, str],
    *,
    limit_s: float = SOURCE_LIMIT_S,
    called_off: Callable[[], bool] = bool,
) -> dict[str, str]:
    """Return what an environment becomes when a shell sources a file.

    The shell's end counts, not that of what it left in the background: that is ended with it.

    Args:
        path: The file, in the language of ``bash`` (of ``sh`` where there is no bash).
        environment: What the shell begins with.
        limit_s: How long it may take, in seconds.
        called_off: Asked ten times a second; True ends the shell.

    Raises:
        AnalysisError: The file is missing, fails, ends the shell, does not end, or was called off.
    """
    search = environment.get("PATH", os.defpath)
    bash = shutil.which("bash", path=search) or shutil.which("bash")
    shell = [bash, "--noprofile", "--norc"] if bash else [shutil.which("sh") or "/bin/sh"]
    command = [*shell, "-c", _SCRIPT, "source", str(path.absolute())]
    with subprocess.Popen(  # noqa: S603 - the operator's own file
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            told, said = _heard(process, limit_s, called_off)
        except TimeoutError:
            why = "called off" if called_off() else f"not sourced within {limit_s:g} s"
            raise AnalysisError(f"the file {str(path)!r} was {why}", file=path) from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # not reaped yet: the group is its own
    if len(told) > _MOST_BYTES:
        raise AnalysisError(f"the file {str(path)!r} makes more than {_MOST_BYTES} bytes of it")
    if process.returncode != 0 or not told.endswith(b"\0"):
        from taskgrove.analysis.running.error_line import plain_lines  # noqa: PLC0415 - of failures

        told_lines = plain_lines(said.decode("utf-8", "backslashreplace"))
        lines = [line.strip() for line in told_lines if line.strip()][-_LAST_LINES:]
        how = "it failed" if process.returncode == _FAILED else "it ended the shell that sourced it"
        why = " / ".join(lines) or how
        raise AnalysisError(f"the file {str(path)!r} cannot be sourced: {why}", file=path)
    return _taken_over(environment, told)


def _heard(
    process: subprocess.Popen[bytes], limit_s: float, called_off: Callable[[], bool]
) -> tuple[bytes, bytes]:
    """Return the beginning of what a process told, and the end of what it said, when it ended."""
    assert process.stdout is not None
    assert process.stderr is not None
    heard = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
    told, said = heard.values()
    deadline = time.monotonic() + limit_s
    ended = False
    turns_left = _LAST_TURNS
    while heard and turns_left:
        # What it wrote is in the pipes when it has ended; whoever else holds them has no say.
        ended = ended or _has_ended(process.pid)
        ready = select.select(list(heard), [], [], 0 if ended else _LOOK_S)[0]
        turns_left -= ended
        if ended and not ready:
            break
        for descriptor in ready:
            data = os.read(descriptor, _SAID_BYTES)
            if not data:
                del heard[descriptor]
            elif heard[descriptor] is said:
                said[:] = (said + data)[-_SAID_BYTES:]
            elif len(told) <= _MOST_BYTES:
                told += data
        if time.monotonic() >= deadline or called_off():
            raise TimeoutError
    while not ended:
        if time.monotonic() >= deadline or called_off():
            raise TimeoutError
        time.sleep(_SHORT_S)
        ended = _has_ended(process.pid)
    return bytes(told), bytes(said)


def _has_ended(pid: int) -> bool:
    """Return whether our child has ended; it is not reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _taken_over(before: Mapping[str, str], told: bytes) -> dict[str, str]:
    after = {}
    for item in told.split(b"\0"):
        name, equals, value = os.fsdecode(item).partition("=")
        if equals:
            after[name] = value
    found = {name: before[name] for name in before if name in after or name in _SHELLS_OWN}
    found |= {name: value for name, value in after.items() if name not in _SHELLS_OWN}
    return found
