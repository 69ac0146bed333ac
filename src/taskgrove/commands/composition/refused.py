"""The errors of a command that is refused while it is composed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskgrove.commands.leaf_runner import Refusal
from taskgrove.commands.task import Task
from taskgrove.errors import CommandError

_TOLD_REASONS = 20


def joined(reasons: Sequence[str]) -> str:
    """Return the first reasons as one line, each once, with the number of the others."""
    different = list(dict.fromkeys(reasons))
    told = "; ".join(different[:_TOLD_REASONS])
    more = len(different) - _TOLD_REASONS
    return f"{told}; and {more} more" if more > 0 else told


def refused_command(
    command: str, summary: str, reasons: Sequence[str], *, path: str, hint: str | None = None
) -> CommandError:
    """Return the error of a refused command; see :class:`~taskgrove.errors.CommandError`."""
    return CommandError(
        f"{summary}: {joined(reasons)}" if reasons else summary,
        command=command,
        reasons=reasons,
        summary=summary,
        path=path,
        hint=hint,
    )


class RefusedError(CommandError):
    """A command that was composed, and is refused before anything is started.

    Args:
        message: See :class:`~taskgrove.errors.CommandError`, and so for the other fields.
        task: The tree, with the leaves that stand in the way.
        refused: The reasons, each with the path of its leaf.
    """

    def __init__(
        self, message: str, *, task: Task, refused: Iterable[Refusal], **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.task = task
        self.refused = tuple(refused)
