"""The call of one command: connect, check, send once, and hand the outcome to the session.

Threads: ``make`` runs on the thread that invokes, and blocks; the outcome is handed over on the
client's dispatcher thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause
from taskgrove.tango.client.argin import check_argin
from taskgrove.tango.client.command import LrcCommand
from taskgrove.tango.client.doubt import Doubt, unknown_fate
from taskgrove.tango.client.failure import Failure, FailureKind, classify
from taskgrove.tango.client.link import CommandShape
from taskgrove.tango.client.protocol import Reply, ReplyKind, decode_reply, end_by_reply
from taskgrove.tango.client.refusal import (
    WhyNot,
    is_refusal,
    name_problem,
    refuse,
    wrong_argument,
)
from taskgrove.tango.client.session import DeviceSession

Explain: TypeAlias = Callable[[DeviceSession, str, Failure], WhyNot]
"""Returns why a command was not called, with the nearest name; may ask devices."""


class Call:
    """The call of one command.

    Args:
        session: The session of its device.
        command: The command.
        why_not: Explains a failure before anything was sent.
    """

    def __init__(self, session: DeviceSession, command: LrcCommand, why_not: Explain) -> None:
        self._session = session
        self._command = command
        self._why_not = why_not

    def make(
        self,
        argin: Any,
        may_call: Callable[[], bool] | None,
        call_until: float | None,
        call_timeout_s: float | None = None,
    ) -> None:
        """Make the call; see :meth:`~taskgrove.tango.lrc_client.LrcClient.invoke`."""
        ready = self._prepare(argin)
        if isinstance(ready, WhyNot):
            self._post(refuse, self._command, ready)
            return
        shape, value, is_mute = ready
        if may_call is not None and not may_call():
            self._post(self._not_called)
            return
        link, sent_at = self._session.link, time.monotonic()
        is_end = is_mute or not shape.is_coded
        within_s = 0.0 if call_until is None or not is_end else call_until - sent_at
        try:
            answer = link.call(shape.name, value, within_s=within_s, limit_s=call_timeout_s)
        except Exception as exc:  # noqa: BLE001 - the final update tells the failure
            self._post(self.failed, shape, sent_at, classify(exc))
        else:
            reply = decode_reply(answer, coded=shape.is_coded, command_name=shape.name)
            if is_mute and reply.kind is ReplyKind.ACCEPTED:
                reply = end_by_reply(reply, "the device tells nothing of its commands")
            self._command.command_id = reply.command_id
            self._post(self._replied, reply)

    def _post(self, function: Callable[..., object], *args: Any) -> None:
        self._session.dispatcher.post(self._take, function, args)

    def _take(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Take the outcome of the call; until then the session counts the call as out."""
        try:
            function(*args)
        finally:
            self._session.calling.discard(self._command)

    def _prepare(self, argin: Any) -> WhyNot | tuple[CommandShape, Any, bool]:
        """Connect and check.

        Returns:
            The command, its argument, and whether the device reports it by its reply only;
            or why the command cannot be called.
        """
        session, name = self._session, self._command.command_name
        link = session.link
        wrong = name_problem(link.device, name)
        if wrong is not None:
            return wrong
        try:
            link.ensure()
            if not session.has_learnt:
                with session.learning:
                    self._learn()
            is_mute = link.is_mute()
            shape = link.describe(name)
        except Exception as exc:  # noqa: BLE001 - told in the final update
            return self._why_not(session, name, classify(exc))
        checked = check_argin(shape.in_type, argin)
        if checked.problem:
            return wrong_argument(shape.name, checked.problem, shape.in_type)
        return shape, checked.value, is_mute

    def _learn(self) -> None:
        """Look at the ids that are there before anything is called; held by ``learning``."""
        session = self._session
        if not session.has_learnt:
            found, read_at = session.link.poll(()), time.monotonic()
            session.dispatcher.post(session.learn, found, read_at)
            session.has_learnt = True

    # -- on the dispatcher thread ----------------------------------------------------
    def _not_called(self) -> None:
        command = self._command
        text = f"{command.command_name} was not called: it was stopped before the call"
        result, cause = (ResultCode.ABORTED, text), Cause(kind="not_started")
        command.end(TaskStatus.ABORTED, result, source="reply", may_retry=True, cause=cause)

    def _replied(self, reply: Reply) -> None:
        session, command = self._session, self._command
        session.abort_desk.note_command()
        if reply.kind is ReplyKind.ACCEPTED:
            session.accept(command, reply.command_id, reply.status, "reply", reply.note)
            return
        command.end(
            reply.status,
            reply.result,
            source="reply",
            may_retry=True,
            note=reply.note,
            cause=reply.cause,
            value=reply.value,
        )

    def failed(self, shape: CommandShape, sent_at: float, failure: Failure) -> None:
        """Take the failure of a call that was made at ``sent_at`` (monotonic seconds)."""
        session, command = self._session, self._command
        if failure.kind.is_unknown:
            session.abort_desk.note_command()  # it may run
            if shape.is_coded:
                session.doubt(command, sent_at, failure)
                return
            session.link.mark_stale()
            text = unknown_fate(Doubt(command, sent_at, failure))
            cause = failure.cause("fate_unknown")
            command.fail(text, cause, may_retry=False, error=failure.errors)
        elif is_refusal(failure):
            kind = failure.refusal_kind
            started = not shape.is_coded and kind == "refused"
            expected = shape.in_type if kind == "wrong_argument" else None
            if failure.kind is FailureKind.MISUSED:
                kind, expected = "wrong_argument", shape.in_type
            cause = failure.cause("raised" if started else kind, expected=expected)
            refuse(command, WhyNot(failure.text, cause, failure.errors or None, not started))
        else:
            session.link.mark_stale()
            why = self._why_not(session, command.command_name, failure)
            refuse(command, why._replace(rejected=False))
