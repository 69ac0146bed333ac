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
from collections.abc import Callable
from typing import Any

from taskgrove.commands.attribute_condition import AttributeCondition
from taskgrove.commands.leaf_runner import Refusal
from taskgrove.errors import UsageError
from taskgrove.tango._pytango import load_pytango
from taskgrove.tango.client.abort import AbortAnswer, AbortDesk, abort_command
from taskgrove.tango.client.argin import check_argin
from taskgrove.tango.client.attribute_steps import AttributeSteps, StepEnd
from taskgrove.tango.client.attribute_wait import AttributeWait
from taskgrove.tango.client.call import Call
from taskgrove.tango.client.client_settings import LrcSettings
from taskgrove.tango.client.command import LrcCommand, UpdateCallback
from taskgrove.tango.client.dispatcher import Dispatcher
from taskgrove.tango.client.failure import Failure, classify
from taskgrove.tango.client.link import DeviceLink
from taskgrove.tango.client.neighbours import nearest_device, server_address
from taskgrove.tango.client.refusal import WhyNot, name_problem, why_not_called, wrong_argument
from taskgrove.tango.client.session import DeviceSession
from taskgrove.tango.client.subscriptions import Subscriptions

_LOGGER = logging.getLogger(__name__)


class LrcClient:
    """Invokes and follows long-running commands on any number of devices.

    A context manager; :meth:`close` ends its threads and subscriptions.

    Args:
        poll_interval_s: Period of the reconciling poll, in seconds.
        rpc_timeout_s: Limit of each call to a device, in seconds.
        **settings: Further fields of :class:`~taskgrove.tango.client.client_settings.LrcSettings`.

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
        #: When each server process last answered; see DeviceLink.
        self._sure: dict[str, float] = {}
        self._closed = False

    def __enter__(self) -> LrcClient:
        return self

    def __exit__(self, *_exc: object) -> None:
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
        call_timeout_s: float | None = None,
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
            call_timeout_s: Limit of the call itself, in seconds, in place of these two.
            may_call: Asked once, right before the command is sent, because connecting may
                take seconds: when it answers False nothing is sent, and the command ends
                ABORTED.

        Raises:
            UsageError: The client is closed.
        """
        command, session = self._new_command(device, command_name, on_update, deadline)
        try:
            Call(session, command, self._why_not).make(argin, may_call, call_until, call_timeout_s)
        except BaseException:  # it has no outcome
            session.dispatcher.post(session.calling.discard, command)
            raise
        return command

    def attach(
        self,
        device: str,
        command_id: str,
        *,
        on_update: UpdateCallback,
        command_name: str = "",
    ) -> LrcCommand:
        """Follow a command that runs already, by the id that the device gave it.

        Args:
            device: TANGO name of the device.
            command_id: The id.
            on_update: As for :meth:`invoke`.
            command_name: The command, for messages; by default the end of the id.

        Raises:
            UsageError: The client is closed.
        """
        name = command_name or command_id.rpartition("_")[2]
        command, session = self._new_command(device, name, on_update)
        command.command_id = command_id
        session.dispatcher.post(session.attach, command, command_id)
        session.dispatcher.post(session.calling.discard, command)
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
        session = self._session(device)
        _LOGGER.info("%s: abort asked: %s", device, reason)
        session.dispatcher.post(session.abort, on_acknowledged)

    def preflight(
        self, device: str, command_name: str, argin: Any = None, *, check_argument: bool = True
    ) -> list[Refusal]:
        """Return why a command could not be called, without calling it; empty when it could.

        Blocks for a connection to the device, where there is none yet.

        Args:
            device: TANGO name of the device.
            command_name: The command.
            argin: Its argument.
            check_argument: Whether the argument is known already.

        Raises:
            UsageError: The client is closed.
        """
        why = name_problem(device, command_name)
        if why is None:
            session = self._session(device)
            try:
                session.link.ensure()
                shape = session.link.describe(command_name)
            except Exception as exc:  # noqa: BLE001 - every reason is a problem to report
                why = self._why_not(session, command_name, classify(exc))
            else:
                problem = check_argin(shape.in_type, argin).problem if check_argument else None
                why = wrong_argument(shape.name, problem, shape.in_type) if problem else None
        return [] if why is None else [Refusal(why.text, why.cause)]

    def can_abort(self, device: str) -> bool:
        """Return whether a device has a command that aborts, without calling it.

        Blocks for a connection to the device, where there is none yet. One that gives no answer
        is taken to have one, and is asked to abort.

        Args:
            device: TANGO name of the device.

        Raises:
            UsageError: The client is closed.
        """
        session = self._session(device)
        try:
            session.link.ensure()
            return abort_command(session.link) is not None
        except Exception:  # noqa: BLE001 - a later request for an abort gets the reason
            return True

    def attribute_steps(self, device: str) -> AttributeSteps:
        """Return what writes and reads the attributes of a device.

        Args:
            device: TANGO name of the device.

        Raises:
            UsageError: The client is closed.
        """
        return AttributeSteps(self._session(device), self._near_device)

    def wait_for(
        self,
        device: str,
        condition: AttributeCondition,
        on_end: Callable[[StepEnd], object],
        *,
        has_limit: bool,
    ) -> AttributeWait:
        """Wait until an attribute has a value; returns at once.

        Args:
            device: TANGO name of the device.
            condition: The condition.
            on_end: Called once with the end, on the dispatcher thread.
            has_limit: Whether the caller stops it in the end: then a device that does not answer
                is waited for until that.

        Raises:
            UsageError: The client is closed.
        """
        settings = self._settings
        wait = AttributeWait(
            self.attribute_steps(device),
            condition,
            on_end,
            interval_s=settings.poll_interval_s,
            give_up_after_s=None if has_limit else settings.lost_after_s,
        )
        wait.start()
        return wait

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
    def _session(self, device: str) -> DeviceSession:
        session = self._sessions.get(device)
        if session is not None and not self._closed:
            return session
        with self._lock:
            if self._closed:
                raise UsageError("the client is closed", hint="make a new LrcClient")
            if self._dispatcher is None:
                self._dispatcher = Dispatcher("taskgrove-lrc", self._tango.EnsureOmniThread)
            if device not in self._sessions:
                self._sessions[device] = self._make_session(device, self._dispatcher)
            return self._sessions[device]

    def _make_session(self, device: str, dispatcher: Dispatcher) -> DeviceSession:
        session = DeviceSession(device, self._settings, dispatcher)
        subscriptions = Subscriptions(
            self._tango, device, dispatcher.inbox, session.on_event, session.on_event_error
        )
        session.link = DeviceLink(
            self._tango,
            device,
            subscriptions,
            rpc_timeout_s=self._settings.rpc_timeout_s,
            on_broken=self._server_broken,
            sure=self._sure,
        )
        session.abort_desk = AbortDesk(session.link, dispatcher.submit)
        return session

    def _new_command(
        self,
        device: str,
        command_name: str,
        on_update: UpdateCallback,
        deadline: float | None = None,
    ) -> tuple[LrcCommand, DeviceSession]:
        session = self._session(device)
        command = LrcCommand(device, command_name, on_update)
        post = session.dispatcher.post
        command.on_release(lambda item: post(session.release, item))
        with self._lock:  # before the end of the client, which then ends the command
            if self._closed:
                raise UsageError("the client is closed", hint="make a new LrcClient")
            post(session.begin, command, deadline)
        return command, session

    def _why_not(self, session: DeviceSession, name: str, failure: Failure) -> WhyNot:
        link = session.link

        def near() -> str | None:
            if failure.is_wrong_name:
                return self._near_device(link.device, failure)
            return link.near_command(name)

        return why_not_called(link.device, name, failure, near)

    def _near_device(self, device: str, failure: Failure) -> str | None:
        """Return the device that was probably meant by one that is not there, or None."""
        if failure.name_problem == "no_database":
            return server_address(device)
        links = [session.link for session in list(self._sessions.values())]
        links.sort(key=lambda link: not link.server)
        others = [link.device for link in links if link.device != device]
        return nearest_device(self._tango, device, others, self._settings.rpc_timeout_s)

    def _server_broken(self, link: DeviceLink) -> None:
        """Take note that a connection broke: devices of one server share it."""
        for session in list(self._sessions.values()):
            if session.link is not link:
                if not link.server or session.link.server != link.server:
                    continue
                session.link.mark_stale()
            session.dispatcher.post(session.link_broken)

    def _end_all(self) -> None:
        """End the sessions; on the dispatcher thread."""
        for session in self._sessions.values():
            session.close()


def _settings(poll_s: float, rpc_s: float, others: dict[str, float]) -> LrcSettings:
    try:
        return LrcSettings(poll_interval_s=poll_s, rpc_timeout_s=rpc_s, **others)
    except TypeError as exc:
        allowed = ", ".join(LrcSettings.__dataclass_fields__)
        raise UsageError(f"no such setting: {', '.join(others)}", hint=f"known: {allowed}") from exc
