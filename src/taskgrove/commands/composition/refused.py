"""A command that is refused after its tree was composed: which leaves stand in the way, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from taskgrove.commands.task import Task
from taskgrove.errors import CommandError
from taskgrove.events import Cause


class Refused(NamedTuple):
    """One thing that stands in the way of a command.

    Attributes:
        path: The path of its leaf.
        reason: Why, in words.
        cause: The same as data, or None where nothing more is known.
    """

    path: str
    reason: str
    cause: Cause | None = None


class RefusedError(CommandError):
    """A command that was composed, and is refused before anything is started.

    Attributes:
        task: Its tree, with the leaves that stand in the way.
        refused: What stands in the way.
    """

    def __init__(
        self, message: str, *, task: Task, refused: Iterable[Refused], **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.task = task
        self.refused = tuple(refused)
