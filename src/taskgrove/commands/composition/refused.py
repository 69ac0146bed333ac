"""A command that is refused after its tree was composed: which leaves stand in the way, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from taskgrove.commands.leaf_runner import Refusal
from taskgrove.commands.task import Task
from taskgrove.errors import CommandError


class RefusedError(CommandError):
    """A command that was composed, and is refused before anything is started.

    Args:
        message: See :class:`~taskgrove.errors.CommandError`.
        **fields: See there.

    Attributes:
        task: Its tree, with the leaves that stand in the way.
        refused: What stands in the way, each with the path of its leaf.
    """

    def __init__(
        self,
        message: str,
        *,
        task: Task,
        refused: Iterable[Refusal],
        **fields: Any,
    ) -> None:
        super().__init__(message, **fields)
        self.task = task
        self.refused = tuple(refused)
