"""AnalysisTask: what the author of a first-party analysis writes.

::

    class CountPhotons(AnalysisTask):
        def run(self):
            for number, frame in enumerate(self.parameters.frames, 1):
                ...
                self.report_progress(100 * number / len(self.parameters.frames))
            return {"photons": total}

It runs in a process of its own, which its executor supervises
(:mod:`taskgrove.analysis.executor`). What ``run`` returns is the payload of the result; an
exception is the cause of its failure. ``print`` and whatever writes to stdout and stderr is
captured and harms nothing: messages go another way.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

from taskgrove.analysis.results import TaskResult, TaskStatus

#: The class of the parameters of an analysis.
Parameters = TypeVar("Parameters")


class AnalysisCancelled(BaseException):
    """Raised in the main thread of an analysis that is asked to end (SIGTERM).

    Let it pass: ``finally`` blocks run, and the analysis ends CANCELLED, or TIMEDOUT. What does
    not end within the grace period is killed.
    """


class Reporter(Protocol):
    """Where an analysis' progress goes."""

    def progress(self, percent: float | None, message: str) -> None:
        """Take one report."""
        ...


class AnalysisTask(ABC, Generic[Parameters]):
    """One analysis.

    Args:
        parameters: Its validated parameters.

    Attributes:
        parameters: The same.
        name: The name under which it was asked for; the class' name where nobody gave one.
        reporter: Where progress goes; None outside an executor, where reports go nowhere.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.name = type(self).__name__
        self.reporter: Reporter | None = None

    def before_run(self) -> None:
        """Prepare; runs in the analysis' process before :meth:`run`."""

    @abstractmethod
    def run(self) -> Any:
        """Do the work.

        Returns:
            The payload: numbers, texts, lists, dicts, arrays, dates, paths, dataclasses, an
            ``ElogSummaryPlots`` or a list of them; or a whole :class:`TaskResult`, as
            :meth:`result` makes it.
        """

    def after_run(self) -> None:
        """Clean up; runs after :meth:`run`, whether it returned, raised or was cancelled."""

    def on_cancel(self) -> None:
        """Hear that the analysis is cancelled, before AnalysisCancelled is raised in ``run``.

        It runs in the main thread in the midst of whatever that does: set a flag, no more.
        """

    def report_progress(self, percent: float | None, message: str = "") -> None:
        """Tell how far the work is.

        Args:
            percent: Percent done; clamped to 0..100. None: unknown, only ``message`` is told.
            message: What is being done.
        """
        if self.reporter is None:
            return
        if percent is not None:
            percent = float(percent)
            percent = None if math.isnan(percent) else min(100.0, max(0.0, percent))
        self.reporter.progress(percent, str(message))

    @property
    def log(self) -> logging.Logger:
        """The analysis' log; its lines reach the executor as they are written."""
        import logging  # noqa: PLC0415 - many analyses log nothing

        return logging.getLogger(f"{type(self).__module__}.{self.name}")

    def result(
        self,
        payload: Any = None,
        summary: str = "",
        *,
        status: TaskStatus = TaskStatus.COMPLETED,
        impl_schemas: str | None = None,
    ) -> TaskResult:
        """Return a result for :meth:`run` to return.

        Args:
            payload: The result itself.
            summary: A short message about it.
            status: COMPLETED, or FAILED for a result that is worth keeping all the same.
            impl_schemas: Names of the schemas that the payload keeps to, separated by ``;``;
                None: those of the registry's entry.
        """
        return TaskResult(self.name, status, summary, payload, impl_schemas)
