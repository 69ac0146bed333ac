"""The environment of an analysis: the parent's, then a sourced file's, then what is configured.

A file is sourced by a shell of its own, and what that changed is taken over: variables that it
exported, changed or unset. Its output is never evaluated: the shell's environment comes back
as it is, each variable ended by a zero byte.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taskgrove.errors import AnalysisError

#: How long a file may take to be sourced, in seconds.
SOURCE_LIMIT_S: Final = 120.0
#: What a shell changes by itself.
_SHELLS_OWN: Final = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "BASHOPTS", "SHELLOPTS"})
_SCRIPT: Final = '. "$1" 1>&2 </dev/null || exit 97; exec env -0'
_LAST_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class AnalysisEnvironment:
    """Where an analysis' environment comes from.

    Attributes:
        variables: Set last, above all others; None removes a variable.
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

    def check(self) -> None:
        """See that it can be made.

        Raises:
            AnalysisError: The file is missing, or a name or a value cannot stand in an environment.
        """
        if self.source is not None and not Path(self.source).is_file():
            raise AnalysisError(
                f"there is no file {str(self.source)!r} to source", file=self.source
            )
        for name, value in [*self.variables.items(), *self.prepend.items()]:
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                raise AnalysisError(f"{name!r} cannot be the name of a variable", key=str(name))
            if value is not None and (not isinstance(value, str) or "\0" in value):
                raise AnalysisError(
                    f"the variable {name} cannot hold {value!r}", key=name, hint="give a text"
                )

    def build(self, parent: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment; sourcing a file takes as long as it takes.

        Args:
            parent: The environment to begin with; None: this process'.

        Raises:
            AnalysisError: The file is missing, fails, or does not end.
        """
        self.check()
        given = dict(os.environ if parent is None else parent)
        if not self.inherit:
            given = {name: given[name] for name in _ALWAYS if name in given}
        if self.source is not None:
            given = source_file(Path(self.source), given)
        for name, before in self.prepend.items():
            given[name] = f"{before}{os.pathsep}{given[name]}" if given.get(name) else before
        for name, value in self.variables.items():
            if value is None:
                given.pop(name, None)
            else:
                given[name] = value
        return given


_ALWAYS: Final = ("PATH", "HOME", "USER", "LANG", "TMPDIR")


def source_file(
    path: Path, environment: Mapping[str, str], *, limit_s: float = SOURCE_LIMIT_S
) -> dict[str, str]:
    """Return what an environment becomes when a shell sources a file.

    Args:
        path: The file, in the language of ``bash`` (of ``sh`` where there is no bash).
        environment: What the shell begins with.
        limit_s: How long it may take, in seconds.

    Raises:
        AnalysisError: The file is missing, fails, ends the shell, or does not end.
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
            told, said = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            raise AnalysisError(
                f"the file {str(path)!r} was not sourced within {limit_s:g} s", file=path
            ) from None
    if process.returncode != 0 or not told.endswith(b"\0"):
        lines = said.decode("utf-8", "backslashreplace").strip().splitlines()[-_LAST_LINES:]
        why = " / ".join(lines) or "it ended the shell that sourced it"
        raise AnalysisError(f"the file {str(path)!r} cannot be sourced: {why}", file=path)
    return _taken_over(environment, told)


def _taken_over(before: Mapping[str, str], told: bytes) -> dict[str, str]:
    after = {}
    for item in told.split(b"\0"):
        name, equals, value = os.fsdecode(item).partition("=")
        if equals:
            after[name] = value
    found = {name: before[name] for name in before if name in after or name in _SHELLS_OWN}
    found |= {name: value for name, value in after.items() if name not in _SHELLS_OWN}
    return found
