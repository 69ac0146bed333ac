"""What is asked of an analysis, as far as its end needs to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from taskgrove.analysis.pages import PagePublisher
    from taskgrove.analysis.parameters.base import TaskParameters
    from taskgrove.analysis.publishing.page_origin import PageOrigin
    from taskgrove.analysis.running.environment import AnalysisEnvironment
    from taskgrove.analysis.tasklets import Tasklet
    from taskgrove.redaction import Redaction


class Asked(Protocol):
    """What was asked for; :class:`~taskgrove.analysis.executor.AnalysisExecutor` tells it."""

    @property
    def parameters(self) -> TaskParameters | None:
        """Its validated parameters."""

    @property
    def impl_schemas(self) -> str | None:
        """The contracts that its result is declared to keep to, separated by ``;``."""

    @property
    def package(self) -> str | None:
        """The package of a first-party analysis, whose version is recorded."""

    @property
    def after(self) -> Sequence[Tasklet]:
        """The tasklets that run after it has COMPLETED."""

    @property
    def work_dir(self) -> Path | None:
        """The folder in which it runs and where its output is kept."""

    @property
    def environment(self) -> AnalysisEnvironment:
        """Where its environment comes from."""

    @property
    def publisher(self) -> PagePublisher | None:
        """What publishes summary plots of its result."""

    @property
    def origin(self) -> PageOrigin | None:
        """Where publisher and logbook are told that all this comes from."""

    @property
    def redaction(self) -> Redaction:
        """What is kept out of what is written about it."""

    @property
    def communicator_desc(self) -> list[str]:
        """One description for each communicator, in their order (seed 004)."""

    @property
    def poll_interval(self) -> float:
        """Period, in seconds, of the poll."""

    @property
    def timeout_s(self) -> float | None:
        """Its limit, in seconds."""

    @property
    def grace_s(self) -> float:
        """From SIGTERM to SIGKILL, in seconds."""

    @property
    def heartbeat_timeout_s(self) -> float | None:
        """How long it may be silent, in seconds."""
