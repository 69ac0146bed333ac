"""One long-running command as a client follows it: its states and its updates.

Threads: a command's state is changed by the client's dispatcher thread only, without a
lock. Any thread may read the public attributes and call ``wait`` and ``release``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, auto
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from taskgrove.control_model import MOVES as STATUS_MOVES
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.moves import IGNORE, REFUSE, row_of, step, table_of
from taskgrove.tango.client.protocol import CommandFacts, is_data, is_plain

_LOGGER = logging.getLogger(__name__)

_NOT_KEPT = "its result cannot be kept: it holds a number that is too large"

Source: TypeAlias = Literal["event", "poll", "reply"]


class CommandState(IntEnum):
    """The states of a command, as the client knows it."""

    CALLED = auto()
    """The call is being made; the device has not answered it."""
    DOUBTED = auto()
    """The call failed after it may have been sent: the device may execute the command."""
    FOLLOWED = auto()
    """The device accepted the command, and its id is known."""
    MISSED = auto()
    """A poll of the device did not find the command."""
    RESULT_DUE = auto()
    """The device told the final status; the result has not come yet."""
    ENDED = auto()
    """The final update was delivered."""
    RELEASED = auto()
    """The caller does not follow the command any more."""


class CommandNews(IntEnum):
    """The news of a command."""

    ACCEPTED = auto()
    """The device named the id of the command."""
    CALL_BROKEN = auto()
    """The call failed, and the device may execute the command."""
    FOUND = auto()
    """The device reported the command, which goes on."""
    NOT_FOUND = auto()
    """A poll did not find the command."""
    STATUS_ONLY = auto()
    """The device told the final status without a result."""
    END = auto()
    """The end is known: the device told all of it, or the client gives the command up."""
    RELEASE = auto()
    """The caller asks to follow the command no more."""


_CALLED, _DOUBTED, _FOLLOWED, _MISSED, _RESULT_DUE, _ENDED, _RELEASED = CommandState
_ROW: Final = partial(row_of, CommandNews)

# fmt: off
#: An end that the device tells is a move in every state that is not final.
MOVES: Final = table_of(CommandState, CommandNews, {
    #                 ACCEPTED   CALL_BROKEN FOUND      NOT_FOUND STATUS_ONLY  END     RELEASE
    _CALLED:     _ROW(_FOLLOWED, _DOUBTED,   REFUSE,    REFUSE,   _RESULT_DUE, _ENDED, _RELEASED),
    _DOUBTED:    _ROW(_FOLLOWED, IGNORE,     REFUSE,    REFUSE,   _RESULT_DUE, _ENDED, _RELEASED),
    _FOLLOWED:   _ROW(REFUSE,    REFUSE,     IGNORE,    _MISSED,  _RESULT_DUE, _ENDED, _RELEASED),
    _MISSED:     _ROW(REFUSE,    REFUSE,     _FOLLOWED, IGNORE,   _RESULT_DUE, _ENDED, _RELEASED),
    _RESULT_DUE: _ROW(REFUSE,    REFUSE,     IGNORE,    IGNORE,   IGNORE,      _ENDED, _RELEASED),
    _ENDED:      _ROW(IGNORE,    IGNORE,     IGNORE,    IGNORE,   IGNORE,      IGNORE, IGNORE),
    _RELEASED:   _ROW(IGNORE,    IGNORE,     IGNORE,    IGNORE,   IGNORE,      IGNORE, IGNORE),
})
# fmt: on


@dataclass(frozen=True, slots=True)
class LrcUpdate:
    """One step in the life of a command.

    Attributes:
        command_id: The command's id; empty when the device gave none.
        status: The new status, or None when this update does not change it.
        progress: The new progress as the device gave it, or None.
        result: The result as the device gave it (JSON decoded); with the final update only.
        error: The entries of a TANGO exception, innermost first, or None.
        source: The source: a change event, a poll, or the reply of the call.
        final: True for the last update; there is exactly one.
        may_retry: True only where it is proved that the command never started or has ended.
        note: A sentence for people; mostly empty.
        cause: Why the command ended so, where the client knows it; None where the result tells.
            With ``answers`` False: since when the device has not answered.
        answers: False when the device has stopped answering, True when it answers again, else None.
        result_value: With the final update of a command that completed: its value, where that is
            neither a code nor a pair; the result is then OK.
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
        state: The state, as the client knows it.
        status: The last status that is known, or None.
        final: The final update, or None while the command is under way.
        protocol: 1 or 2; 0 for a device without long-running commands.
    """

    __slots__ = (
        "_done",
        "_finished_ns",
        "_on_release",
        "_on_update",
        "_progress",
        "_result",
        "_status_due",
        "breaks_before",
        "command_id",
        "command_name",
        "device",
        "final",
        "heard_at",
        "missed_since",
        "polls_for_result",
        "protocol",
        "state",
        "status",
    )

    def __init__(self, device: str, command_name: str, on_update: UpdateCallback) -> None:
        self.device = device
        self.command_name = command_name
        self.command_id = ""
        self.state = CommandState.CALLED
        self.status: TaskStatus | None = None
        self.final: LrcUpdate | None = None
        self.protocol = 0
        #: Polls that found the command while its result was due.
        self.polls_for_result = 0
        #: When the device last told of it by itself (monotonic seconds).
        self.heard_at = 0.0
        #: When a poll first did not find the command (monotonic seconds).
        self.missed_since = 0.0
        #: How often the connection had broken when the command was accepted.
        self.breaks_before = 0
        self._on_update: UpdateCallback | None = on_update
        self._on_release: Callable[[LrcCommand], object] | None = None
        self._done = threading.Event()
        self._progress: int | None = None
        self._result: Any = None
        #: The final status that waits for its result, with the note and the source of the end.
        self._status_due: tuple[TaskStatus, str, Source] = (TaskStatus.COMPLETED, "", "event")
        self._finished_ns: int | None = None

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

    # The client's session calls the rest, on its dispatcher thread.

    @property
    def is_over(self) -> bool:
        """True when no more updates come."""
        return self.state >= CommandState.ENDED

    @property
    def has_result(self) -> bool:
        """True when a result has come already."""
        return self._result is not None

    def on_release(self, forget: Callable[[LrcCommand], object]) -> None:
        """Have ``forget`` called, by the thread that releases the command."""
        self._on_release = forget

    def move(self, news: CommandNews) -> bool:
        """Take news of the command; return whether its state has changed."""
        before = self.state
        self.state = step(MOVES, before, news, self)
        return self.state is not before

    def __str__(self) -> str:
        return f"{self.device} {self.command_name} ({self.command_id})"

    def begin(self, command_id: str, status: TaskStatus | None, source: Source, note: str) -> bool:
        """Take note that the device accepted the command; return False when it is over already."""
        if not self.move(CommandNews.ACCEPTED):
            return False
        self.command_id = command_id
        self.status = status
        self._deliver(LrcUpdate(command_id, status, source=source, note=note))
        return True

    def take(self, facts: CommandFacts, source: Source, note: str = "") -> None:
        """Take the facts of a message; a final status is delivered once it has its result."""
        if self.is_over:
            return
        if facts.result is not None:
            self._result = facts.result
        if facts.finished_ns is not None:
            self._finished_ns = facts.finished_ns
        status = facts.status
        if status is not None and status.is_final:
            if self._result is not None:
                self.end(status, self._result, source=source, may_retry=True, note=note)
            elif self.move(CommandNews.STATUS_ONLY):
                self._status_due = (status, note, source)
        elif self.state is CommandState.RESULT_DUE:
            if self._result is not None:
                status, note, _ = self._status_due
                self.end(status, self._result, source=source, may_retry=True, note=note)
        else:
            if self.state is not CommandState.FOLLOWED and (
                source == "event" or status is not None
            ):
                self.move(CommandNews.FOUND)
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
        value: Any = None,
    ) -> None:
        """Deliver the final update; only the first call counts."""
        if not self.move(CommandNews.END):
            return
        self.status = status
        if status is TaskStatus.COMPLETED and is_data(result):
            value, result = result, (ResultCode.OK, "")
            if not is_plain(value):
                value, note = None, _joined(note, _NOT_KEPT)
        self.final = LrcUpdate(
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
        self._deliver(self.final)
        self._done.set()
        self._on_update = None

    def end_without_status(self) -> None:
        """Deliver the final update with the result that came alone: no status will come."""
        note = "its final status was lost; a result is told at the end only"
        self.end(TaskStatus.COMPLETED, self._result, source="poll", may_retry=True, note=note)

    def end_without_result(self) -> None:
        """Deliver the final update with the status that came alone: no result will come."""
        status, note, source = self._status_due
        note = _joined(note, "there is no result")
        self.end(status, None, source=source, may_retry=True, note=note)

    def fail(
        self, text: str, cause: Cause, *, may_retry: bool, error: tuple[Any, ...] | None = None
    ) -> None:
        """End FAILED, because the client found out the end by itself."""
        result = (ResultCode.FAILED, text)
        status = TaskStatus.FAILED
        self.end(status, result, source="poll", may_retry=may_retry, error=error, cause=cause)

    def tell_answers(self, answers: bool, note: str, cause: Cause | None = None) -> None:
        """Tell that the device has stopped answering, or that it answers again."""
        if not self.is_over:
            self._deliver(
                LrcUpdate(self.command_id, source="poll", note=note, cause=cause, answers=answers)
            )

    def _step(self, status: TaskStatus | None, progress: int | None, source: Source) -> None:
        if status is TaskStatus.NOT_FOUND or status is self.status:
            status = None
        elif (
            status is not None and STATUS_MOVES[self.status or TaskStatus.STAGING, status] is REFUSE
        ):
            _LOGGER.debug("%s: %s after %s ignored", self.command_id, status, self.status)
            status = None
        if progress == self._progress:
            progress = None
        if status is None and progress is None:
            return
        if status is not None:
            self.status = status
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
            _LOGGER.exception("on_update of %s raised", self)


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
