"""How the process of an analysis is started and watched, as several places may say it.

What comes first holds: the leaf (the map, or the options of ``taskgrove analyse``), the entry of
the analysis in the registry, the runner or executor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from taskgrove.commands.command_map.launcher import launcher_words
from taskgrove.errors import UsageError, nearest


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What is said of one process; None: nothing.

    Attributes:
        launcher: What starts it, such as ``("mpirun", "-n", "2")``; empty: nothing does.
        heartbeat_s: How long a first-party analysis may be silent, in seconds.
        grace_s: From SIGTERM to SIGKILL, in seconds; 0 kills at once.
        source: A shell script that is sourced for its environment.
        python: The interpreter of a first-party analysis, a path or a name on the PATH.
        stdin: A file that is its standard input, relative to the folder in which it runs.

    Raises:
        UsageError: On creation: a value is none of these.
    """

    launcher: tuple[str, ...] | None = None
    heartbeat_s: float | None = None
    grace_s: float | None = None
    source: str | None = None
    python: str | None = None
    stdin: str | None = None

    def __post_init__(self) -> None:
        if self.launcher is not None:
            object.__setattr__(self, "launcher", launcher_words(self.launcher))
        check_seconds("heartbeat_s", self.heartbeat_s)
        check_seconds("grace_s", self.grace_s, zero=True)
        if self.python is not None and (not isinstance(self.python, str) or not self.python):
            raise UsageError(f"python is {self.python!r}; it is the path of an interpreter")

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> ProcessSettings:
        """Return what a mapping says.

        Raises:
            UsageError: It has another key, or a value is none of these.
        """
        names = [field.name for field in fields(cls)]
        for key in given or {}:
            if key not in names:
                close = nearest(str(key), names)
                raise UsageError(
                    f"an analysis has no setting {key!r}",
                    hint=f"did you mean {close!r}?" if close else f"there are: {', '.join(names)}",
                )
        return cls(**(given or {}))

    def over(self, other: ProcessSettings) -> ProcessSettings:
        """Return what holds when ``other`` is asked where this one says nothing."""
        return ProcessSettings(
            *(
                getattr(other if getattr(self, field.name) is None else self, field.name)
                for field in fields(self)
            )
        )


def check_seconds(name: str, value: float | None, *, zero: bool = False) -> None:
    """See that a value is a number of seconds, or None.

    Raises:
        UsageError: It is not; 0 passes only with ``zero``.
    """
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise UsageError(f"{name} is {value!r}; it is a number of seconds")
    if value < 0 or (value == 0 and not zero):
        raise UsageError(f"{name} is {value!r}; it is more than 0 seconds")
