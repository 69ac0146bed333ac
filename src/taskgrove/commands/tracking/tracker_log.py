"""The log lines of a tracker. No method raises: a logger, and a logged value, are foreign code."""

from __future__ import annotations

import logging
from logging import Logger
from typing import Any

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.commands.aggregation.plain_values import describe, text_of
from taskgrove.commands.tracking.updates import Update
from taskgrove.events import loggable
from taskgrove.foreign_code import LOGGING


class TrackerLog:
    """The log of one tracker.

    Attributes:
        task_name: The name of the task.
        logger: The logger.
    """

    __slots__ = ("logger", "task_name")

    def __init__(self, task_name: str, logger: Logger) -> None:
        self.task_name = task_name
        self.logger = logger

    def error(self, words: str, exc: BaseException) -> None:
        """Log an error inside, or of foreign code."""
        with LOGGING:
            self.logger.error("task %s: %s", self.task_name, words, exc_info=loggable(exc))

    def unknown(self, text: str, source: Any) -> None:
        """Log an update of a name that is no subtask."""
        with LOGGING:
            origin = f" (from {source})" if source else ""
            self.logger.warning("task %s: %s%s", self.task_name, text, origin)

    def no_status(self, name: str, status: Any) -> None:
        """Log a reported status that is none."""
        with LOGGING:
            text = "task %s: %s reported an unknown status: %s"
            self.logger.warning(text, self.task_name, text_of(name), describe(status))

    def already_final(self, name: str, device_name: str | None) -> None:
        """Log that a subtask has ended before."""
        with LOGGING:
            text = "task %s: %s is already final; a late update of %s is ignored"
            self.logger.debug(text, self.task_name, name, device_name or "it")

    def update(self, record: SubtaskResult, update: Update, words: str) -> None:
        """Log an update for debugging; ``words`` hold a ``%s`` for the name of the subtask."""
        with LOGGING:
            if self.logger.isEnabledFor(logging.DEBUG):
                status, source = update.status, update.context.source
                self.logger.debug(
                    f"task %s: {words}: it is %s, the update reports %s %s%s",
                    self.task_name,
                    record.name,
                    record.status.name if record.status is not None else "not begun",
                    status.name if status is not None else "no status",
                    update.message,
                    f" (from {source})" if source else "",
                )
