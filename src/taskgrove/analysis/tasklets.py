"""Tasklets: small functions that run before and after an analysis, in the executor's process.

A *before* prepares: it may change the environment. An *after* looks at the result of an analysis
that has COMPLETED and may set its payload or its summary. One that raises ends the analysis
FAILED, with its words as the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from taskgrove.analysis.results import TaskResult
from taskgrove.analysis.variables import checked_variables
from taskgrove.errors import AnalysisError
from taskgrove.events.foreign_values import readable

#: Posts a message: text, tags, files.
PostMessage: TypeAlias = Callable[[str, Iterable[str], Iterable[Path]], object]


@dataclass(slots=True)
class TaskletContext:
    """The data that a tasklet may read and change.

    Attributes:
        analysis: The analysis' name.
        parameters: Its validated parameters.
        environment: Its environment; a *before* may change it. Numbers and paths become text,
            None removes a variable.
        work_dir: Its working folder, or None.
        result: Its result, for an *after*; None for a *before*.
        post: Posts a message to the logbook; None: there is no logbook.
    """

    analysis: str
    parameters: Any
    environment: dict[str, str] = field(default_factory=dict)
    work_dir: Path | None = None
    result: TaskResult | None = None
    post: PostMessage | None = None

    def post_message(
        self, text: str, *, tags: Iterable[str] = (), files: Iterable[str | Path] = ()
    ) -> bool:
        """Post a message to the logbook; returns at once.

        Args:
            text: The message.
            tags: Words by which a logbook files it.
            files: Files that go with it, relative to ``work_dir``; they are read when it is
                posted.

        Returns:
            False when there is no logbook.
        """
        if self.post is None:
            return False
        folder = self.work_dir or Path()
        self.post(text, tags, [folder / file for file in files])
        return True

    def set_payload(self, payload: Any) -> None:
        """Replace the payload of the result; only after the analysis."""
        assert self.result is not None, "before an analysis there is no result"
        self.result.payload = payload

    def set_summary(self, summary: str) -> None:
        """Replace the summary of the result; only after the analysis."""
        assert self.result is not None, "before an analysis there is no result"
        self.result.summary = summary


Tasklet: TypeAlias = Callable[[TaskletContext], object]


class TaskletError(Exception):
    """A tasklet raised; its message is the cause of the analysis' failure."""


def run_tasklets(when: str, tasklets: Iterable[Tasklet], context: TaskletContext) -> None:
    """Call tasklets in their order.

    Args:
        when: ``before`` or ``after``, for the words of an error.
        tasklets: The functions.
        context: The data that they get.

    Raises:
        TaskletError: One of them raised, or left an environment that is not valid; the later
            ones were not called.
    """
    for tasklet in tasklets:
        try:
            tasklet(context)
            if when == "before":
                _settle_environment(context)
        except (Exception, SystemExit) as exc:  # one that exits must not take our thread with it
            name = readable(getattr(tasklet, "__name__", None) or tasklet, 200)
            raise TaskletError(f"tasklet {name} {when}: {readable(exc)}") from exc


def _settle_environment(context: TaskletContext) -> None:
    """Bring the environment that a tasklet has left into the form that a program can be given."""
    left: object = context.environment
    if not isinstance(left, Mapping):
        raise AnalysisError(f"an environment is a mapping, not {type(left).__name__}")
    checked = checked_variables(left).items()
    context.environment = {name: value for name, value in checked if value is not None}
