"""A client for the long-running commands of SKA devices, over PyTango.

Events are followed, polls reconcile what events lose, and the fate of a broken call is found
out; the call is never sent again. One client serves any number of devices and commands
with a bounded number of threads: one dispatcher and at most six for calls that may block.

PyTango's own limit for events that wait to be read is 1000 for each subscription; a burst
loses the events beyond it. The client finds lost ends by polling. To lose fewer events, set
``TANGO_EVENT_BUFFER_HWM`` (client) and ``TANGO_DS_EVENT_BUFFER_HWM`` (server) before the
processes start; the client does not set them, because they hold for the whole process.

Threads: any thread may call any public method. ``invoke`` blocks for its call (and for the
connection, the first time), ``close`` for the threads to end; nothing else blocks. All
updates are delivered by the dispatcher thread, in order for each command; a callback that
blocks delays all others. ``_lock`` guards the table of sessions, the start and the end; no
function of PyTango is called under it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from taskgrove.commands.leaf_runner import Refusal
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause, CauseKind
from taskgrove.tango._pytango import load_pytango
from taskgrove.tango.client.abort import AbortAnswer, AbortDesk, abort_command
from taskgrove.tango.client.argin import check_argin, text_problem
from taskgrove.tango.client.command import LrcCommand, UpdateCallback
from taskgrove.tango.client.dispatcher import Dispatcher
from taskgrove.tango.client.doubt import Doubt, unknown_fate
from taskgrove.tango.client.failure import Failure, FailureKind, classify
from taskgrove.tango.client.link import CommandShape, DeviceLink
from taskgrove.tango.client.neighbours import nearest_device
from taskgrove.tango.client.protocol import Reply, ReplyKind, decode_reply, end_by_reply
from taskgrove.tango.client.refusal import (
    WhyNot,
    is_refusal,
    refuse,
    why_not_called,
    wrong_argument,
    wrong_name,
)
from taskgrove.tango.client.session import DeviceSession
from taskgrove.tango.client.settings import LrcSettings
from taskgrove.tango.client.subscriptions import Subscriptions

_LOGGER = logging.getLogger(__name__)

#: A device that was heard of this recently is called without trying its connection, in seconds.
_FRESH_S: Final = 0.5


class LrcClient:
    """Invokes and follows long-running commands on any number of devices.

    A context manager; :meth:`close` ends its threads and subscriptions.

    Args:
        poll_interval_s: Period of the reconciling poll, in seconds.
        rpc_timeout_s: Limit of each call to a device, in seconds.
        **settings: Further fields of :class:`~taskgrove.tango.client.settings.LrcSettings`.

    Raises:
        MissingExtraError: PyTango is not installed.
        UsageError: A setting is not a positive number of seconds.
    """

    def __init__(
        self, *, poll_interval_s: float = 1.0, rpc_timeout_s: float = 3.0, **settings: float
    ) -> None:
        self._settings = _settings(poll_interval_s, rpc_timeout_s, settings)
        self._tango = load_pytango("the client for long-running commands")
        self._lock = threading.Lock()
        self._sessions: dict[str, DeviceSession] = {}
        self._dispatcher: Dispatcher | None = None
        self._closed = False

    def __enter__(self) -> LrcClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def invoke(
        self,
        device: str,
        command_name: str,
        argin: Any = None,
        *,
        on_update: UpdateCallback,
        deadline: float | None = None,
        call_until: float | None = None,
        may_call: Callable[[], bool] | None = None,
    ) -> LrcCommand:
        """Call a command and follow it to its end; returns when the call has been answered.

        The command is sent at most once. ``on_update`` gets all news of the command, with exactly
        one final update, also where the device cannot be reached.

        Args:
            device: TANGO name of the device.
            command_name: The command.
            argin: Its argument; a dict or list for a ``DevString`` is sent as JSON text.
            on_update: Called with each ``LrcUpdate`` on the dispatcher thread.
            deadline: Instant (``time.monotonic()``, seconds) after which it is no longer
                waited for; None means no limit.
            call_until: Instant (``time.monotonic()``, seconds) until which the reply of a command
                is waited for whose reply is its end; None means ``rpc_timeout_s``, and no call
                has less.
            may_call: Asked once, right before the command is sent, because connecting may
                take seconds: when it answers False nothing is sent, and the command ends
                ABORTED.

        Raises:
            UsageError: The client is closed.
        """
        command, session, dispatcher = self._new_command(device, command_name, on_update, deadline)
        try:
            self._call(command, session, dispatcher, argin, may_call, call_until)
        finally:
            # After the outcome of the call: until then the session counts the call as out.
            dispatcher.post(session.calling.discard, command)
        return command

    def _call(
        self,
        command: LrcCommand,
        session: DeviceSession,
        dispatcher: Dispatcher,
        argin: Any,
        may_call: Callable[[], bool] | None,
        call_until: float | None,
    ) -> None:
        ready = self._prepare(session, dispatcher, command, argin)
        if ready is None:
            return
        shape, value, is_mute = ready
        if may_call is not None and not may_call():
            dispatcher.post(_not_called, command)
            return
        sent_at = time.monotonic()
        try:
            if (is_mute or not shape.is_coded) and call_until is not None:
                answer = session.link.call(shape.name, value, within_s=call_until - sent_at)
            else:
                answer = session.link.call(shape.name, value)
        except Exception as exc:  # noqa: BLE001 - the final update tells the failure
            dispatcher.post(self._call_failed, session, command, shape, sent_at, classify(exc))
        else:
            reply = decode_reply(answer, coded=shape.is_coded, command_name=shape.name)
            if is_mute and reply.kind is ReplyKind.ACCEPTED:
                reply = end_by_reply(reply, "the device tells nothing of its commands")
            command.command_id = reply.command_id
            dispatcher.post(self._called, session, command, reply)

    def attach(
        self,
        device: str,
        command_id: str,
        *,
        on_update: UpdateCallback,
        command_name: str = "",
        deadline: float | None = None,
    ) -> LrcCommand:
        """Follow a command that runs already, by the id that the device gave it.

        Args:
            device: TANGO name of the device.
            command_id: The id.
            on_update: As for :meth:`invoke`.
            command_name: The command, for messages; by default the end of the id.
            deadline: As for :meth:`invoke`.

        Raises:
            UsageError: The client is closed.
        """
        name = command_name or command_id.rpartition("_")[2]
        command, session, dispatcher = self._new_command(device, name, on_update, deadline)
        command.command_id = command_id
        dispatcher.post(self._attach, session, command, command_id)
        dispatcher.post(session.calling.discard, command)
        return command

    def abort(
        self,
        device: str,
        reason: str,
        *,
        on_acknowledged: Callable[[AbortAnswer], object] | None = None,
    ) -> None:
        """Ask a device to abort; returns at once.

        Abort is device-wide: it ends every command of the device, those of other clients too.
        Several requests while one is under way, or after it with no new command in between,
        are one request.

        Args:
            device: TANGO name of the device.
            reason: Why, for the log.
            on_acknowledged: Called on the dispatcher thread with the answer of the device.

        Raises:
            UsageError: The client is closed.
        """
        session, dispatcher = self._session(device)
        _LOGGER.info("%s: abort asked: %s", device, reason)
        dispatcher.post(self._ask_abort, session, on_acknowledged)

    def preflight(self, device: str, command_name: str, argin: Any = None) -> list[Refusal]:
        """Return why a command could not be called, without calling it; empty when it could.

        Blocks for a connection to the device, where there is none yet.

        Args:
            device: TANGO name of the device.
            command_name: The command.
            argin: Its argument.

        Raises:
            UsageError: The client is closed.
        """
        why = _name_problem(device, command_name)
        if why is None:
            session, _ = self._session(device)
            try:
                session.link.ensure()
                shape = session.link.describe(command_name)
            except Exception as exc:  # noqa: BLE001 - every reason is a problem to report
                why = self._why_not(session, command_name, classify(exc))
            else:
                problem = check_argin(shape.in_type, argin).problem
                why = wrong_argument(shape.name, problem, shape.in_type) if problem else None
        return [] if why is None else [Refusal(why.text, why.cause)]

    def can_abort(self, device: str) -> bool:
        """Return whether a device has a command that aborts, without calling it.

        Blocks for a connection to the device, where there is none yet. One that gives no answer
        is taken to have one: it is asked to abort all the same.

        Args:
            device: TANGO name of the device.

        Raises:
            UsageError: The client is closed.
        """
        session, _ = self._session(device)
        try:
            session.link.ensure()
            return abort_command(session.link) is not None
        except Exception:  # noqa: BLE001 - a later request for an abort gets the reason
            return True

    def close(self) -> None:
        """End every command, subscription and thread; calling it twice does no harm.

        A command that is still under way is ended FAILED with the truth: it may go on. Waits
        for calls that are out, at most their limit.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            dispatcher = self._dispatcher
        if dispatcher is None:
            return
        limit_s = 2.0 * self._settings.rpc_timeout_s + 1.0
        dispatcher.post(self._end_all)
        dispatcher.stop(limit_s)
        last_jobs = [(session.link.close, session.is_slow) for session in self._sessions.values()]
        if not dispatcher.close_lanes(last_jobs, limit_s):
            _LOGGER.warning("a call to a device still hangs; its thread ends with the call")

    # -- on the thread that invokes --------------------------------------------------
    def _session(self, device: str) -> tuple[DeviceSession, Dispatcher]:
        session, dispatcher = self._sessions.get(device), self._dispatcher
        if session is not None and dispatcher is not None and not self._closed:
            return session, dispatcher
        with self._lock:
            if self._closed:
                raise UsageError("the client is closed", hint="make a new LrcClient")
            if self._dispatcher is None:
                self._dispatcher = Dispatcher("taskgrove-lrc", self._tango.EnsureOmniThread)
            if device not in self._sessions:
                self._sessions[device] = self._make_session(device, self._dispatcher)
            return self._sessions[device], self._dispatcher

    def _make_session(self, device: str, dispatcher: Dispatcher) -> DeviceSession:
        session = DeviceSession(
            device, self._settings, at=dispatcher.after, submit=dispatcher.submit
        )
        subscriptions = Subscriptions(
            self._tango, device, dispatcher.inbox, session.on_event, session.on_event_error
        )
        session.link = DeviceLink(
            self._tango,
            device,
            subscriptions,
            rpc_timeout_s=self._settings.rpc_timeout_s,
            fresh_s=_FRESH_S,
            on_broken=self._server_broken,
        )
        session.abort_desk = AbortDesk(session.link, dispatcher.submit)
        return session

    def _new_command(
        self, device: str, command_name: str, on_update: UpdateCallback, deadline: float | None
    ) -> tuple[LrcCommand, DeviceSession, Dispatcher]:
        session, dispatcher = self._session(device)
        command = LrcCommand(device, command_name, on_update)
        command.on_release(lambda item: dispatcher.post(session.release, item))
        with self._lock:  # before the end of the client, which then ends the command
            if self._closed:
                raise UsageError("the client is closed", hint="make a new LrcClient")
            dispatcher.post(session.begin, command, deadline)
        return command, session, dispatcher

    def _prepare(
        self, session: DeviceSession, dispatcher: Dispatcher, command: LrcCommand, argin: Any
    ) -> tuple[CommandShape, Any, bool] | None:
        """Connect and check; on a problem, post the command's end and return None.

        Returns:
            The command, its argument, and whether the device can tell of it by its reply only.
        """
        link = session.link
        wrong = _name_problem(link.device, command.command_name)
        if wrong is not None:
            dispatcher.post(refuse, command, wrong)
            return None
        try:
            link.ensure()
            if not session.has_learnt:
                with session.learning:
                    self._learn(session, dispatcher)
            is_mute = link.is_mute()
            shape = link.describe(command.command_name)
        except Exception as exc:  # noqa: BLE001 - told in the final update
            why = self._why_not(session, command.command_name, classify(exc))
            dispatcher.post(refuse, command, why)
            return None
        checked = check_argin(shape.in_type, argin)
        if checked.problem:
            why = wrong_argument(shape.name, checked.problem, shape.in_type)
            dispatcher.post(refuse, command, why)
            return None
        return shape, checked.value, is_mute

    @staticmethod
    def _learn(session: DeviceSession, dispatcher: Dispatcher) -> None:
        """Look at the ids that are there before anything is called; held by ``learning``."""
        if not session.has_learnt:
            dispatcher.post(session.learn, session.link.poll(()), time.monotonic())
            session.has_learnt = True

    def _why_not(self, session: DeviceSession, name: str, failure: Failure) -> WhyNot:
        link = session.link

        def near() -> str | None:
            if failure.is_unknown_device:
                return self._near_device(link.device)
            return link.near_command(name)

        return why_not_called(link.device, name, failure, near)

    def _near_device(self, device: str) -> str | None:
        """Return the device that was probably meant by one that is not there, or None."""
        links = [session.link for session in list(self._sessions.values())]
        known = [link.device for link in links if link.server]
        return nearest_device(self._tango, device, known, self._settings.rpc_timeout_s)

    def _server_broken(self, link: DeviceLink) -> None:
        """Take note that a connection broke: devices of one server share it."""
        dispatcher = self._dispatcher
        for session in list(self._sessions.values()):
            if session.link is not link:
                if not link.server or session.link.server != link.server:
                    continue
                session.link.mark_stale()
            if dispatcher is not None:
                dispatcher.post(session.link_broken)

    # -- on the dispatcher thread ------------------------------------------------------
    def _called(self, session: DeviceSession, command: LrcCommand, reply: Reply) -> None:
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
        )

    def _call_failed(
        self,
        session: DeviceSession,
        command: LrcCommand,
        shape: CommandShape,
        sent_at: float,
        failure: Failure,
    ) -> None:
        if failure.kind.is_unknown:
            session.abort_desk.note_command()  # it may run
            if shape.is_coded:
                session.doubt(command, sent_at, failure)
            else:
                session.link.mark_stale()
                doubt = Doubt(command, sent_at, failure)
                cause = failure.cause("fate_unknown")
                command.fail(unknown_fate(doubt), cause, may_retry=False, error=failure.errors)
            return
        if is_refusal(failure):
            kind = failure.refusal_kind
            started = not shape.is_coded and kind == "refused"
            if failure.kind is FailureKind.MISUSED:
                kind = "wrong_argument"
            cause = failure.cause("raised" if started else kind, expected=_expected(kind, shape))
            refuse(command, WhyNot(failure.text, cause, failure.errors or None, not started))
            return
        session.link.mark_stale()
        why = self._why_not(session, command.command_name, failure)
        refuse(command, why._replace(rejected=False))

    def _attach(self, session: DeviceSession, command: LrcCommand, command_id: str) -> None:
        session.abort_desk.note_command()  # it may be younger than the last Abort
        session.attach(command, command_id)

    def _ask_abort(
        self, session: DeviceSession, on_answer: Callable[[AbortAnswer], object] | None
    ) -> None:
        session.abort_desk.ask(on_answer, slow=session.is_slow)

    def _end_all(self) -> None:
        for session in self._sessions.values():
            session.close()


def _not_called(command: LrcCommand) -> None:
    text = f"{command.command_name} was not called: it was stopped before the call"
    result = (ResultCode.ABORTED, text)
    cause = Cause(kind="not_started")
    command.end(TaskStatus.ABORTED, result, source="reply", may_retry=True, cause=cause)


def _name_problem(*names: str) -> WhyNot | None:
    """Return why TANGO cannot carry the name of a device or a command, or None."""
    problems = ((name, text_problem(name)) for name in names)
    return next((wrong_name(name, problem) for name, problem in problems if problem), None)


def _expected(kind: CauseKind, shape: CommandShape) -> str | None:
    return shape.in_type if kind == "wrong_argument" else None


def _settings(poll_s: float, rpc_s: float, others: dict[str, float]) -> LrcSettings:
    try:
        return LrcSettings(poll_interval_s=poll_s, rpc_timeout_s=rpc_s, **others)
    except TypeError as exc:
        allowed = ", ".join(LrcSettings.__dataclass_fields__)
        raise UsageError(f"no such setting: {', '.join(others)}", hint=f"known: {allowed}") from exc
