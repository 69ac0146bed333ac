"""The options of a run that may wait for a person: ``--hold`` and ``--pause-before``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskgrove.cli.key_input import is_at_terminal
from taskgrove.cli.recording import Recording
from taskgrove.cli.terminal import Terminal
from taskgrove.commands.execution.steering_scope import select_nodes
from taskgrove.commands.task import Task
from taskgrove.errors import UsageError
from taskgrove.story.path_globs import near_miss

#: How many paths an error names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class HoldOptions:
    """How a run waits for a person.

    Attributes:
        hold: Whether a step that fails waits for a decision, where the map does not say.
        pause_before: The run pauses when one of these steps, which may be patterns, is about to
            start.
    """

    hold: bool = False
    pause_before: tuple[str, ...] = ()

    @property
    def is_given(self) -> bool:
        """Whether the run is to wait for a person."""
        return self.hold or bool(self.pause_before)

    def check(self, task: Task, terminal: Terminal, record: Recording) -> None:
        """Check that the steps are there and that somebody can decide, before anything starts.

        Raises:
            UsageError: A step is not there; or the run has neither a terminal nor a record.
        """
        paths = [path for path, _ in task.walk()]
        for wanted in self.pause_before:
            if not select_nodes(task, wanted):
                raise UsageError(
                    f"--pause-before {wanted!r}: the run has no such step; nothing was started",
                    hint=_near(wanted, paths),
                )
        can_decide = record.recorder is not None or (terminal.is_live and is_at_terminal())
        if self.is_given and not can_decide:
            option = "--hold" if self.hold else "--pause-before"
            raise UsageError(
                f"{option} needs a record or a terminal: nobody could end the wait otherwise;"
                " nothing was started",
                hint="--db FILE records the run",
            )

    @classmethod
    def of_record(cls, source: Mapping[str, Any]) -> HoldOptions:
        """Return how a recorded run waited, by its source."""
        return cls(source.get("hold") is True, tuple(map(str, source.get("pause_before") or ())))

    def for_record(self) -> dict[str, Any]:
        """Return what the record keeps of it: nothing where it was not given."""
        kept = {"hold": self.hold, "pause_before": list(self.pause_before)}
        return {name: value for name, value in kept.items() if value}

    @property
    def words(self) -> tuple[str, ...]:
        """The options, as they are typed."""
        pauses = (word for path in self.pause_before for word in ("--pause-before", path))
        return (*(("--hold",) if self.hold else ()), *pauses)

    def for_run(self) -> Mapping[str, Any]:
        """Return the arguments of ``submit_main_task``."""
        return {"hold": self.hold, "pause_before": self.pause_before}


def _near(wanted: str, paths: list[str]) -> str:
    """Return the hint that names the path, or the pattern, which was probably meant."""
    near = near_miss(wanted, paths)
    if near is not None:
        return f"did you mean {near!r}?"
    below = [path for path in paths if path.count("/") == 1]
    return f"its steps are {', '.join((below or paths)[:_NAMED])}"
