"""Abort of one device: asked once, however many leaves want it.

Abort is device-wide. The command ``Abort`` exists since version 1.2 of the protocol,
``AbortCommands`` before it; a device may have neither.

Threads: used on the client's dispatcher thread only; the call itself runs on a lane.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from taskgrove.tango.client.failure import Failure, FailureKind, classify
from taskgrove.tango.client.link import CommandShape, DeviceLink
from taskgrove.tango.client.protocol import ReplyKind, decode_reply

_LOGGER = logging.getLogger(__name__)

_COMMANDS = ("Abort", "AbortCommands")


class AbortAnswer(NamedTuple):
    """What came of asking a device to abort.

    Attributes:
        acknowledged: True when the device has accepted the request.
        text: What it answered, or why it could not be asked, as a sentence.
        command_name: The command that was called, or empty.
        sent: False when the request provably never left.
    """

    acknowledged: bool
    text: str
    command_name: str = ""
    sent: bool = True


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


class AbortDesk:
    """Takes the requests to abort one device.

    Args:
        link: The device.
        submit: Runs a blocking job on a lane, as for the session.
    """

    def __init__(self, link: DeviceLink, submit: Callable[..., object]) -> None:
        self._link = link
        self._submit = submit
        self._waiting: list[Callable[[AbortAnswer], object]] = []
        self._asking = False
        self._standing: AbortAnswer | None = None
        # A command that came while an Abort was out may have reached the device after it: whoever
        # asks then has another Abort sent.
        self._overtaken = False
        self._next: list[Callable[[AbortAnswer], object]] = []
        self._again = self._is_slow = self._may_be_sent = False

    def note_command(self) -> None:
        """Take note that the device was given a command: an earlier Abort is used up."""
        self._standing = None
        self._overtaken = self._asking

    def ask(self, on_answer: Callable[[AbortAnswer], object] | None, *, slow: bool) -> None:
        """Have the device aborted, unless it has been since its last command."""
        self._is_slow = slow
        if on_answer is not None:
            (self._next if self._overtaken else self._waiting).append(on_answer)
        if self._asking:
            self._again = self._again or self._overtaken
            return
        if self._standing is not None:
            self._answer(self._standing)
            return
        self._send()

    def _send(self) -> None:
        self._asking = True
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

    def _called(self, answer: Any, failure: Failure | None) -> None:
        self._asking = False
        overtaken, self._overtaken = self._overtaken, False
        if failure is not None:
            unknown = self._may_be_sent and failure.kind.is_unknown
            fate = "may have been heard" if unknown else "was not heard"
            if failure.kind is not FailureKind.RAISED:
                self._link.mark_stale()
            text = f"the request to abort {fate}: {failure.text}"
            sent = unknown or (self._may_be_sent and failure.kind is FailureKind.RAISED)
            answer = AbortAnswer(False, text, sent=sent)
        self._standing = answer if answer.acknowledged and not overtaken else None
        self._answer(answer)
        if self._again:
            self._again = False
            self._waiting, self._next = self._next, []
            self._send()

    def _answer(self, answer: AbortAnswer) -> None:
        waiting, self._waiting = self._waiting, []
        for on_answer in waiting:
            try:
                on_answer(answer)
            except Exception:
                _LOGGER.exception("%s: who asked for an abort raised", self._link.device)
