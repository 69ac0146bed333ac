"""One long-running command as a client follows it, and what it tells of it.

Threads: a command's state is changed by the client's dispatcher thread only, without a
lock. Any thread may read the public attributes, ``wait`` and ``release``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from taskgrove.control_model import LEGAL_MOVES, ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.tango.client.protocol import CommandFacts, is_data, is_plain

_LOGGER = logging.getLogger(__name__)

_NOT_KEPT = "its result cannot be kept: it holds a number that is too large"

Source: TypeAlias = Literal["event", "poll", "reply"]


@dataclass(frozen=True, slots=True)
class LrcUpdate:
    """One step in the life of a command.

    Attributes:
        command_id: The command's id; empty when the device gave none.
        status: The new status, or None when this update does not change it.
        progress: The new progress as the device gave it, or None.
        result: The result as the device gave it (JSON decoded); with the final update only.
        error: The entries of a TANGO exception, innermost first, or None.
        source: What told it: a change event, a poll, or the call's own reply.
        final: True for the last update; there is exactly one.
        may_retry: True only where it is proved that the command never started or has ended.
        note: A sentence for people where something is worth telling; mostly empty.
        cause: Why the command ended so, where the client knows it; None where the result tells.
            With ``answers`` False: since when the device has not answered.
        answers: False when the device has stopped answering, True when it answers again, else None.
        result_value: With the final update of a command that completed: the value that it gave
            where that is neither a code nor a pair; the result is then OK.
        finished_ns: With the final update: when the command ended by the device's clock, UTC,
            nanoseconds since the epoch; None where a poll did not tell it.
    """

    command_id: str
    status: TaskStatus | None = None
    progress: int | None = None
    result: Any = None
    error: tuple[Any, ...] | None = None
    source: Source = "event"
    final: bool = False
    may_retry: bool = False
    note: str = ""
    finished_ns: int | None = None
    result_value: Any = None
    cause: Cause | None = None
    answers: bool | None = None


UpdateCallback: TypeAlias = Callable[[LrcUpdate], object]


class LrcCommand:
    """A command that a client follows.

    Attributes:
        device: The device, as it was named to the client.
        command_name: The command.
        command_id: Its id, or empty while there is none.
        protocol: 1 or 2; 0 for a device without long-running commands.
    """

    __slots__ = (
        "_done",
        "_final",
        "_finished_ns",
        "_on_release",
        "_on_update",
        "_pending_note",
        "_pending_source",
        "_progress",
        "_result",
        "_status",
        "breaks_before",
        "command_id",
        "command_name",
        "device",
        "missed_since",
        "pending_status",
        "polls_for_result",
        "protocol",
    )

    def __init__(self, device: str, command_name: str, on_update: UpdateCallback) -> None:
        self.device = device
        self.command_name = command_name
        self.command_id = ""
        self.protocol = 0
        #: A final status that came without a result, which may still be on its way.
        self.pending_status: TaskStatus | None = None
        #: How many polls have told of the command since then.
        self.polls_for_result = 0
        #: When a poll first did not find the command (monotonic seconds), or None.
        self.missed_since: float | None = None
        #: How often the connection had broken when the command was accepted.
        self.breaks_before = 0
        self._on_update: UpdateCallback | None = on_update
        self._on_release: Callable[[LrcCommand], object] | None = None
        self._done = threading.Event()
        self._status: TaskStatus | None = None
        self._progress: int | None = None
        self._result: Any = None
        self._final: LrcUpdate | None = None
        self._finished_ns: int | None = None
        self._pending_note = ""
        self._pending_source: Source = "event"

    @property
    def status(self) -> TaskStatus | None:
        """The last status that is known, or None."""
        return self._status

    @property
    def final(self) -> LrcUpdate | None:
        """The final update, or None while the command is under way."""
        return self._final

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the final update; never call it from ``on_update``.

        Args:
            timeout_s: How long, in seconds; None means for ever.

        Returns:
            True when the command is over, after its final update was delivered.
        """
        return self._done.wait(timeout_s)

    def release(self) -> None:
        """Stop following: no update comes any more. The device is not told."""
        self._on_update = None
        if self._on_release is not None:
            self._on_release(self)

    # What follows is called by the client's session, on its dispatcher thread.

    @property
    def has_result(self) -> bool:
        """True when a result has come already."""
        return self._result is not None

    def on_release(self, forget: Callable[[LrcCommand], object]) -> None:
        """Have ``forget`` called, by whichever thread releases the command."""
        self._on_release = forget

    def begin(self, command_id: str, status: TaskStatus | None, source: Source, note: str) -> None:
        """Tell that the device accepted the command under ``command_id``."""
        self.command_id = command_id
        self._status = status
        self._deliver(LrcUpdate(command_id, status, source=source, note=note))

    def take(self, facts: CommandFacts, source: Source, note: str = "") -> None:
        """Take what a message told; a final status is delivered once it has its result.

        Sets ``pending_status`` when the end came without a result.
        """
        if self._final is not None:
            return
        if source == "event" or facts.status is not None:
            self.missed_since = None
        if facts.result is not None:
            self._result = facts.result
        if facts.finished_ns is not None:
            self._finished_ns = facts.finished_ns
        status = facts.status
        if status is not None and status.is_final:
            if self._result is None and self.pending_status is None:
                self.pending_status = status
                self._pending_note, self._pending_source = note, source
            elif self._result is not None:
                self.end(status, self._result, source=source, may_retry=True, note=note)
            return
        if self.pending_status is not None:
            if self._result is not None:
                self._end_pending(self._result, source)
            return
        self._step(status, facts.progress, source)

    def end(
        self,
        status: TaskStatus,
        result: Any,
        *,
        source: Source,
        may_retry: bool,
        note: str = "",
        error: tuple[Any, ...] | None = None,
        cause: Cause | None = None,
    ) -> None:
        """Deliver the final update; only the first call counts."""
        if self._final is not None:
            return
        self._status = status
        value = None
        if status is TaskStatus.COMPLETED and is_data(result):
            value, result = result, (ResultCode.OK, "")
            if not is_plain(value):
                value, note = None, "; ".join(filter(None, (note, _NOT_KEPT)))
        self._final = LrcUpdate(
            self.command_id,
            status,
            result=result,
            error=error,
            source=source,
            final=True,
            may_retry=may_retry,
            note=note,
            finished_ns=self._finished_ns,
            result_value=value,
            cause=cause,
        )
        self._deliver(self._final)
        self._done.set()
        self._on_update = None

    def end_without_status(self) -> None:
        """Deliver the final update with the result that came alone: no status will come."""
        note = "its final status was lost; a result is told at the end only"
        result = self._result
        self.end(TaskStatus.COMPLETED, result, source="poll", may_retry=True, note=note)

    def end_without_result(self) -> None:
        """Deliver the final update with the status that came alone: no result will come."""
        self._pending_note = "; ".join(filter(None, (self._pending_note, "there is no result")))
        self._end_pending(None, self._pending_source)

    def _end_pending(self, result: Any, source: Source) -> None:
        if self.pending_status is not None:
            note = self._pending_note
            self.end(self.pending_status, result, source=source, may_retry=True, note=note)

    def fail(
        self, text: str, cause: Cause, *, may_retry: bool, error: tuple[Any, ...] | None = None
    ) -> None:
        """End FAILED because of what the client found out by itself."""
        result = (ResultCode.FAILED, text)
        status = TaskStatus.FAILED
        self.end(status, result, source="poll", may_retry=may_retry, error=error, cause=cause)

    def tell_answers(self, answers: bool, note: str, cause: Cause | None = None) -> None:
        """Tell that the device has stopped answering, or that it answers again."""
        if self._final is None:
            self._deliver(
                LrcUpdate(self.command_id, source="poll", note=note, cause=cause, answers=answers)
            )

    def _step(self, status: TaskStatus | None, progress: int | None, source: Source) -> None:
        if status is TaskStatus.NOT_FOUND or status is self._status:
            status = None
        elif status is not None and (self._status, status) not in LEGAL_MOVES:
            _LOGGER.debug("%s: %s after %s ignored", self.command_id, status, self._status)
            status = None
        if progress == self._progress:
            progress = None
        if status is None and progress is None:
            return
        if status is not None:
            self._status = status
        if progress is not None:
            self._progress = progress
        self._deliver(LrcUpdate(self.command_id, status, progress, source=source))

    def _deliver(self, update: LrcUpdate) -> None:
        callback = self._on_update
        if callback is None:
            return
        try:
            callback(update)
        except BaseException:  # an exit, too: the dispatcher thread belongs to all commands
            _LOGGER.exception("on_update of %s %s raised", self.device, self.command_name)
