"""AnalysisHandle: one analysis that was started, from outside.

Threads: any thread may call every public method. The supervision and the end of the analysis
alone set what is read here, one after another.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Final, Protocol

from taskgrove.analysis.results import DescribedAnalysis, TaskStatus
from taskgrove.analysis.running.analysis_events import (
    HEARD_WITHIN_S,
    AnalysisEvent,
    AnalysisEventKind,
    Callback,
    EventDelivery,
)
from taskgrove.analysis.running.outcome import AnalysisOutcome
from taskgrove.errors import WaitTimeoutError

_LOGGER = logging.getLogger(__name__)

_END_EVENT: Final[dict[TaskStatus, AnalysisEventKind]] = {
    TaskStatus.COMPLETED: "result",
    TaskStatus.CANCELLED: "cancelled",
}


class Controls(Protocol):
    """What a handle can have done to its analysis; each call returns at once."""

    def cancel(self, reason: str, *, at_limit: bool, within_s: float | None = None) -> None:
        """End it; ``within_s`` is the most between SIGTERM and SIGKILL, in seconds."""
        ...

    def stop(self) -> None:
        """Suspend it."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...


class AnalysisHandle:
    """One analysis that was started.

    Attributes:
        analysis: Its name.
    """

    def __init__(self, analysis: str, delivery: EventDelivery) -> None:
        self.analysis = analysis
        self._delivery = delivery
        self._is_stopped = False
        self._progress: float | None = None
        self._pid: int | None = None
        self._identity: str | None = None
        self._outcome: AnalysisOutcome | None = None
        self._over = threading.Event()
        #: Set by the supervision before anybody else has the handle.
        self.controls: Controls | None = None

    def __repr__(self) -> str:
        return f"<AnalysisHandle {self.analysis} {self.status.name} {self._identity or ''}>"

    @property
    def pid(self) -> int | None:
        """The process, or None before it was started."""
        return self._pid

    @property
    def identity(self) -> str | None:
        """``pid:starttime`` of the process: no other one on this host ever has it; or None."""
        return self._identity

    @property
    def status(self) -> TaskStatus:
        """Where the analysis stands; once it is final, it stays."""
        if self._outcome is not None:
            return self._outcome.status
        if self._identity is None:
            return TaskStatus.PENDING
        return TaskStatus.STOPPED if self._is_stopped else TaskStatus.RUNNING

    @property
    def progress(self) -> float | None:
        """Percent done, 0..100, as the analysis has told; None: it has not."""
        return self._progress

    @property
    def outcome(self) -> AnalysisOutcome | None:
        """The end, or None before it."""
        return self._outcome

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, and for the callbacks that hear of it (at most a second for these).

        Args:
            timeout_s: The most to wait for the end, in seconds; None: no limit.

        Returns:
            True when the analysis is over.
        """
        if not self._over.wait(timeout_s):
            return False
        self._delivery.wait_heard(HEARD_WITHIN_S)
        return True

    def result(self, timeout_s: float | None = None) -> DescribedAnalysis:
        """Return the description of the analysis when it is over, however it ended.

        Args:
            timeout_s: The most to wait, in seconds; None: no limit.

        Raises:
            WaitTimeoutError: It is not over yet; it goes on.
        """
        if not self.wait(timeout_s):
            raise WaitTimeoutError(
                f"analysis {self.analysis} is {self.status.name} after {timeout_s:g} s"
            )
        assert self._outcome is not None
        return self._outcome.described

    def cancel(
        self, reason: str = "cancelled", *, at_limit: bool = False, within_s: float | None = None
    ) -> None:
        """End the analysis: SIGTERM to its group, and SIGKILL after the grace period.

        Args:
            reason: Why; it becomes the cause.
            at_limit: True ends it TIMEDOUT instead of CANCELLED: the time of the batch job
                that it runs in is up.
            within_s: The most between SIGTERM and SIGKILL, in seconds; None: the grace period.
        """
        if self.controls is not None:
            self.controls.cancel(reason, at_limit=at_limit, within_s=within_s)

    def stop(self) -> None:
        """Suspend the analysis with all its processes (SIGSTOP); its limit stands still, too."""
        if self.controls is not None:
            self.controls.stop()

    def resume(self) -> None:
        """Let a suspended analysis go on (SIGCONT)."""
        if self.controls is not None:
            self.controls.resume()

    def on_event(self, callback: Callback) -> None:
        """Have ``callback`` called with every event, those of the past first.

        It is called on a thread of the executor, in order, one call at a time.
        """
        self._delivery.subscribe(callback)

    # -- for the executor and the supervisor ---------------------------------------------------

    @property
    def delivery(self) -> EventDelivery:
        """Who brings the events to the callbacks."""
        return self._delivery

    def set_process(self, pid: int, identity: str) -> None:
        """Know the process; it runs."""
        self._pid = pid
        self._identity = identity

    def set_stopped(self, *, stopped: bool) -> None:
        """Know whether the process is suspended, whoever has suspended it."""
        if stopped is not self._is_stopped and self._outcome is None:
            self._is_stopped = stopped
            self.tell("stopped" if stopped else "resumed")

    def tell(
        self,
        kind: AnalysisEventKind,
        text: str = "",
        *,
        progress: float | None = None,
        level: int = logging.INFO,
        source: str = "",
    ) -> None:
        """Bring an event to the callbacks."""
        if progress is not None:
            self._progress = progress
        self._delivery.publish(
            AnalysisEvent(
                kind=kind,
                analysis=self.analysis,
                wall_ns=time.time_ns(),
                status=self.status,
                progress=progress if progress is not None else self._progress,
                text=text,
                level=level,
                source=source,
                outcome=self._outcome,
            )
        )

    def finish(self, outcome: AnalysisOutcome) -> None:
        """Set the end, once; whoever waits goes on."""
        self._outcome = outcome
        try:
            self.tell(_END_EVENT.get(outcome.status, "failed"), outcome.cause)
            self.tell("done", outcome.cause)
        finally:
            self._over.set()
