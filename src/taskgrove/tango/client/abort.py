"""Abort of one device: asked once, however many leaves want it.

Abort is device-wide. The command ``Abort`` exists since version 1.2 of the protocol,
``AbortCommands`` before it; a device may have neither.

Threads: used on the client's dispatcher thread only; the call itself runs on a lane.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import IntEnum, auto
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from taskgrove.moves import IGNORE, REFUSE, row_of, step, table_of
from taskgrove.tango.client.failure import Failure, FailureKind, classify
from taskgrove.tango.client.link import CommandShape, DeviceLink
from taskgrove.tango.client.protocol import ReplyKind, decode_reply

_LOGGER = logging.getLogger(__name__)

_COMMANDS = ("Abort", "AbortCommands")


class AbortAnswer(NamedTuple):
    """The outcome of a request to abort.

    Attributes:
        acknowledged: True when the device has accepted the request.
        text: The answer of the device, or why it could not be asked, as a sentence.
        command_name: The command that was called, or empty.
        sent: False when the request provably never left.
    """

    acknowledged: bool
    text: str
    command_name: str = ""
    sent: bool = True


OnAnswer: TypeAlias = Callable[[AbortAnswer], object]


def abort_command(link: DeviceLink) -> CommandShape | None:
    """Return the command that aborts a device, or None where it has none; blocks for an answer.

    Args:
        link: The device, connected.
    """
    for name in _COMMANDS:
        try:
            return link.describe(name)
        except Exception as exc:
            if classify(exc).reason != "API_CommandNotFound":
                raise
    return None


class DeskState(IntEnum):
    """Where the abort of a device stands."""

    IDLE = auto()
    """No Abort is out, and the last one does not count any more."""
    ASKING = auto()
    """An Abort is out."""
    OVERTAKEN = auto()
    """An Abort is out, and the device was given a command meanwhile, perhaps after the Abort."""
    ASKED_AGAIN = auto()
    """As OVERTAKEN, and the next Abort is wanted already."""
    ACKNOWLEDGED = auto()
    """The device accepted an Abort and was given no command since."""
    CLOSED = auto()
    """The client was closed."""


class DeskNews(IntEnum):
    """The requests to the desk, and the answers of the device."""

    ASK = auto()
    """An abort of the device is requested."""
    COMMAND = auto()
    """The device was given a command."""
    ACCEPTED = auto()
    """The device accepted the Abort."""
    UNHEARD = auto()
    """The device refused the Abort, or did not hear it."""
    CLOSE = auto()
    """The client is closed."""


_IDLE, _ASKING, _OVERTAKEN, _AGAIN, _ACKNOWLEDGED, _CLOSED = DeskState
_ROW: Final = partial(row_of, DeskNews)

# fmt: off
MOVES: Final = table_of(DeskState, DeskNews, {
    #                   ASK      COMMAND     ACCEPTED       UNHEARD  CLOSE
    _IDLE:         _ROW(_ASKING, IGNORE,     REFUSE,        REFUSE,  _CLOSED),
    _ASKING:       _ROW(IGNORE,  _OVERTAKEN, _ACKNOWLEDGED, _IDLE,   _CLOSED),
    _OVERTAKEN:    _ROW(_AGAIN,  IGNORE,     _IDLE,         _IDLE,   _CLOSED),
    _AGAIN:        _ROW(IGNORE,  IGNORE,     _ASKING,       _ASKING, _CLOSED),
    _ACKNOWLEDGED: _ROW(IGNORE,  _IDLE,      REFUSE,        REFUSE,  _CLOSED),
    _CLOSED:       _ROW(IGNORE,  IGNORE,     IGNORE,        IGNORE,  IGNORE),
})
# fmt: on


class AbortDesk:
    """Takes the requests to abort one device.

    Args:
        link: The device.
        submit: Runs a blocking job on a lane, as for the session.
    """

    def __init__(self, link: DeviceLink, submit: Callable[..., object]) -> None:
        self.state = DeskState.IDLE
        self._link = link
        self._submit = submit
        #: Those who wait for the answer to the Abort that is out.
        self._waiting: list[OnAnswer] = []
        #: Those who wait for the answer to the Abort after that.
        self._next: list[OnAnswer] = []
        self._last_answer = AbortAnswer(False, "")
        self._is_slow = self._may_be_sent = False

    def note_command(self) -> None:
        """Take note that the device was given a command: an earlier Abort is used up."""
        self._move(DeskNews.COMMAND)

    def ask(self, on_answer: OnAnswer | None, *, slow: bool) -> None:
        """Have the device aborted, unless it has been since its last command."""
        self._is_slow = slow
        moved = self._move(DeskNews.ASK)
        waiting = self._next if self.state is DeskState.ASKED_AGAIN else self._waiting
        if on_answer is not None:
            waiting.append(on_answer)
        if moved and self.state is DeskState.ASKING:
            self._send()
        elif self.state in (DeskState.ACKNOWLEDGED, DeskState.CLOSED):
            waiting, self._waiting = self._waiting, []
            self._answer(waiting)

    def close(self) -> None:
        """Answer everybody who waits: no more is heard of the device."""
        if self._move(DeskNews.CLOSE):
            text = "the client was closed before the device answered the request to abort"
            self._last_answer = AbortAnswer(False, text, sent=self._may_be_sent)
            waiting, self._waiting, self._next = [*self._waiting, *self._next], [], []
            self._answer(waiting)

    def _move(self, news: DeskNews) -> bool:
        before = self.state
        self.state = step(MOVES, before, news, self._link.device)
        return self.state is not before

    def _send(self) -> None:
        self._submit(self._call, self._called, slow=self._is_slow)

    def _call(self) -> AbortAnswer:
        """Call the device; runs on a lane."""
        self._may_be_sent = False
        self._link.ensure()
        shape = abort_command(self._link)
        if shape is None:
            text = "the device has neither Abort nor AbortCommands: nothing can stop its commands"
            return AbortAnswer(False, text, sent=False)
        name = shape.name
        argin = None if shape.in_type == "DevVoid" else ""
        self._may_be_sent = True
        reply = decode_reply(self._link.call(name, argin), coded=shape.is_coded, command_name=name)
        if reply.kind is ReplyKind.REJECTED:
            return AbortAnswer(False, f"the device refused {name}: {reply.result[1]}", name)
        return AbortAnswer(True, f"the device accepted {name}", name)

    def _called(self, answer: AbortAnswer | None, failure: Failure | None) -> None:
        if answer is None:
            answer = self._unheard(failure)
        if self._move(DeskNews.ACCEPTED if answer.acknowledged else DeskNews.UNHEARD):
            self._last_answer = answer
            waiting, self._waiting, self._next = self._waiting, self._next, []
            if self.state is DeskState.ASKING:
                self._send()
            self._answer(waiting)

    def _unheard(self, failure: Failure | None) -> AbortAnswer:
        if failure is None:
            return AbortAnswer(False, "the device gave no answer")
        unknown = self._may_be_sent and failure.kind.is_unknown
        fate = "may have been heard" if unknown else "was not heard"
        if failure.kind is not FailureKind.RAISED:
            self._link.mark_stale()
        text = f"the request to abort {fate}: {failure.text}"
        sent = unknown or (self._may_be_sent and failure.kind is FailureKind.RAISED)
        return AbortAnswer(False, text, sent=sent)

    def _answer(self, waiting: list[OnAnswer]) -> None:
        answer = self._last_answer
        for on_answer in waiting:
            try:
                on_answer(answer)
            except BaseException:  # an exit, too: the dispatcher thread belongs to all commands
                _LOGGER.exception("%s: the receiver of an abort's answer raised", self._link.device)
