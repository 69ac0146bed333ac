"""The runner of DEVICE leaves: long-running commands of TANGO devices.

Threads: the executor calls ``start`` and ``attach`` on its pool and ``abort`` on its timer
thread; updates arrive on the client's dispatcher thread. ``_lock`` guards the client's
creation and end, ``_calls_lock`` the states of the calls. No thread waits for a command: the
number of threads is the same for one command in flight and for hundreds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import IntEnum, auto
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from taskgrove.commands.aggregation.outside_results import cause_of_result
from taskgrove.commands.leaf_runner import LeafContext, LeafLimits, Refusal
from taskgrove.commands.task import LeafTask, device_name_of
from taskgrove.control_model import TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause, NoteDetail
from taskgrove.moves import IGNORE, REFUSE, row_of, step, table_of
from taskgrove.story.node_note import OUTSIDE_END
from taskgrove.tango._pytango import require_pytango
from taskgrove.tango.attribute_runner import AttributeRunner
from taskgrove.tango.client.abort import AbortAnswer
from taskgrove.tango.client.command import LrcUpdate
from taskgrove.tango.lrc_client import LrcClient

_DEVICE_WIDE = "Abort on a TANGO device ends every command of that device"
_NOT_SENT = "when the limit expires the device goes on; set abort_on_timeout to have it aborted"

#: How much longer than its leaf's limit a call may take, in seconds.
_AFTER_LIMIT_S: Final = 0.5


class CallState(IntEnum):
    """Where the call of a leaf's command stands."""

    NEW = auto()
    """Nothing was sent."""
    CALLING = auto()
    """The call is out: the device may not know the command yet."""
    ABORT_DUE = auto()
    """The call is out, and an Abort was sent meanwhile: another one follows the call."""
    CALLED = auto()
    """The call has returned; the command is followed."""
    ENDED = auto()
    """The command has ended, or was never accepted."""


class CallRequest(IntEnum):
    """The requests to the call."""

    CALL = auto()
    ABORT = auto()
    RETURN = auto()
    END = auto()


_NEW, _CALLING, _ABORT_DUE, _CALLED, _ENDED = CallState
_ROW: Final = partial(row_of, CallRequest)

# fmt: off
#: A device whose command was not sent is left alone: Abort would stop other commands of it.
MOVES: Final = table_of(CallState, CallRequest, {
    #                CALL      ABORT       RETURN   END
    _NEW:       _ROW(_CALLING, REFUSE,     IGNORE,  _ENDED),
    _CALLING:   _ROW(REFUSE,   _ABORT_DUE, _CALLED, _ENDED),
    _ABORT_DUE: _ROW(REFUSE,   IGNORE,     _CALLED, _ENDED),
    _CALLED:    _ROW(REFUSE,   IGNORE,     IGNORE,  _ENDED),
    _ENDED:     _ROW(REFUSE,   REFUSE,     IGNORE,  IGNORE),
})
# fmt: on


def target_name(leaf: LeafTask) -> str:
    """Return the TANGO name by which a leaf's device is reached.

    Raises:
        UsageError: The leaf's target names no device.
    """
    target = leaf.target
    if isinstance(target, str) and target:
        return target
    for attribute in ("trl", "name"):
        name = getattr(target, attribute, None)
        if isinstance(name, str) and name:
            return name
    name = device_name_of(target)
    if name is None:
        raise UsageError(
            f"{target!r} names no TANGO device",
            path=leaf.path,
            hint="a target is a TANGO name, or an object that has one as .name",
        )
    return name


class DeviceRunner:
    """Executes DEVICE leaves through one :class:`LrcClient`.

    A context manager; :meth:`close` ends the client that it made.

    Args:
        client: A client to share, which its owner closes; None makes one for this runner.
        **settings: Settings of the client that is made, as for :class:`LrcClient`.

    Raises:
        MissingExtraError: PyTango is not installed.
        UsageError: Both a client and settings were given.
    """

    def __init__(self, client: LrcClient | None = None, **settings: float) -> None:
        require_pytango("a leaf that runs on a TANGO device")
        if client is not None and settings:
            raise UsageError("settings belong to the client that is given", hint="leave them out")
        self._settings = settings
        self._client = client
        self._owns_client = client is None
        self._closed = False
        self._lock = threading.Lock()
        self._calls_lock = threading.Lock()
        self._attributes = AttributeRunner()
        #: Leaves whose command may have been sent and has not ended.
        self._followers: dict[int, _Follower] = {}

    def __enter__(self) -> DeviceRunner:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def client(self) -> LrcClient:
        """The client, made when it is first needed.

        Raises:
            UsageError: The runner is closed.
        """
        client = self._client
        if client is not None and not self._closed:
            return client
        with self._lock:
            if self._closed:
                raise UsageError("the device runner is closed", hint="make a new one")
            if self._client is None:
                self._client = LrcClient(**self._settings)
            return self._client

    def limits(self, leaf: LeafTask) -> LeafLimits:
        """Return which limits can be enforced: a device is asked to abort, and as a whole."""
        if leaf.step != "command":
            return self._attributes.limits(leaf)
        if leaf.abort_on_timeout:
            return LeafLimits("ask", "enforced", _DEVICE_WIDE)
        note = f"{_DEVICE_WIDE}; {_NOT_SENT}" if leaf.timeout is not None else _DEVICE_WIDE
        return LeafLimits("ask", "reported", note)

    def start(self, context: LeafContext) -> None:
        """Call the leaf's command, or do its step; return when the device has answered."""
        leaf = context.leaf
        if self._attributes.has_nothing_to_do(self.client, target_name(leaf), context):
            return
        if leaf.step != "command":
            self._attributes.start(self.client, target_name(leaf), context)
            return
        follower = _Follower(context, self._ended)
        deadline = context.deadline
        self.client.invoke(
            target_name(leaf),
            leaf.command_name,
            leaf.argin,
            on_update=follower,
            # A little longer than the limit, so that the leaf ends by its limit.
            call_until=None if deadline is None else deadline + _AFTER_LIMIT_S,
            call_timeout_s=leaf.settings.get("call_timeout_s"),
            may_call=lambda: self._may_call(follower),
        )
        self._returned(follower, "asked while the command was being called")

    def _may_call(self, follower: _Follower) -> bool:
        context = follower.context
        with self._calls_lock:  # an abort comes before this, or finds the command
            if context.is_over or context.abort_event.is_set():
                return False
            self._followers[id(context)] = follower
            return follower.move(CallRequest.CALL)

    def _returned(self, follower: _Follower, reason: str) -> None:
        """Take note that a call has returned; send the Abort that was due until then."""
        with self._calls_lock:
            is_due = follower.state is CallState.ABORT_DUE
            follower.move(CallRequest.RETURN)
        if is_due:
            self.abort(follower.context, reason)

    def _ended(self, follower: _Follower) -> None:
        with self._calls_lock:
            self._followers.pop(id(follower.context), None)
            follower.move(CallRequest.END)

    def attach(self, context: LeafContext, outside_id: str) -> None:
        """Follow a command that runs already, by its id."""
        leaf = context.leaf
        follower = _Follower(context, self._ended, attached=True)
        with self._calls_lock:
            self._followers[id(context)] = follower
            follower.move(CallRequest.CALL)
            # A limit that is only reported has ended the leaf before it sets the event.
            if context.abort_event.is_set() and (not context.is_over or leaf.abort_on_timeout):
                follower.move(CallRequest.ABORT)
        self.client.attach(
            target_name(leaf), outside_id, on_update=follower, command_name=leaf.command_name
        )
        self._returned(follower, "asked before the command was followed")

    def abort(self, context: LeafContext, reason: str) -> None:
        """Ask the leaf's device to abort; returns at once, the answer becomes a note.

        A device whose command was never sent is left alone.
        """
        if context.leaf.step != "command":
            self._attributes.abort(context)
            return
        with self._calls_lock:
            follower = self._followers.get(id(context))
            if follower is not None:
                follower.move(CallRequest.ABORT)
                fate = "asked again" if follower.state is CallState.ABORT_DUE else ""
        if follower is None:
            text = "its command had not been sent, so its device is left alone"
            context.note("abort-unheard", text, fate="not needed")
            return

        def answered(answer: AbortAnswer) -> None:
            if answer.acknowledged:
                topic, told = "abort-acknowledged", fate or "abort-acknowledged"
            else:
                told = fate or ("not acknowledged" if answer.sent else "not sent")
                topic = "abort-unheard"
            context.note(topic, answer.text, command=answer.command_name, fate=told)

        self.client.abort(target_name(context.leaf), reason, on_acknowledged=answered)

    def preflight(self, leaf: LeafTask) -> list[Refusal]:
        """Return why a leaf could not start, without calling its command; empty when it could."""
        device, others = target_name(leaf), self._attributes.preflight
        if leaf.step != "command":
            return others(self.client, device, leaf)
        found = [
            Refusal(item, replace(item.cause, device=leaf.device_name))
            for item in self.client.preflight(
                device,
                leaf.command_name,
                leaf.argin,
                check_argument=leaf.pending_argument is None,
            )
        ]
        return found or others(self.client, device, leaf)

    def can_abort(self, leaf: LeafTask) -> bool:
        """Return whether the leaf's device has a command that aborts, without calling it."""
        if leaf.step != "command":
            return True  # none is needed
        return self.client.can_abort(target_name(leaf))

    def close(self) -> None:
        """Close the client, if this runner made it; calling it twice does no harm."""
        with self._lock:
            self._closed = True
            client = self._client if self._owns_client else None
        if client is not None:
            client.close()


class _Follower:
    """Turns the updates of one command into those of its leaf."""

    __slots__ = ("_attached", "_on_end", "_started", "context", "state")

    def __init__(
        self,
        context: LeafContext,
        on_end: Callable[[_Follower], object],
        *,
        attached: bool = False,
    ) -> None:
        self.context = context
        self.state = CallState.NEW
        self._on_end = on_end
        self._attached = attached
        self._started = False

    def move(self, request: CallRequest) -> bool:
        """Make a move; return whether the state has changed. The caller holds the lock."""
        before = self.state
        self.state = step(MOVES, before, request, self)
        return self.state is not before

    def __str__(self) -> str:
        return f"the call of {self.context.path}"

    def __call__(self, update: LrcUpdate) -> None:
        context = self.context
        if update.command_id and not self._started:
            self._started = True
            context.started("command", update.command_id)
        if update.answers is not None:
            self._tell_silence(update)
        elif update.note:
            topic = "reconciled" if update.source == "poll" else "info"
            data = {"command_id": update.command_id}
            if self._attached and update.finished_ns is not None:
                # It may have ended long before it was looked for.
                data[OUTSIDE_END] = str(update.finished_ns)
            context.note(topic, update.note, **data)
        if update.final:
            self._on_end(self)
            fields: dict[str, Any] = {} if update.error is None else {"error": update.error}
            if update.result_value is not None:
                fields["result_value"] = update.result_value
            status = update.status if update.status is not None else TaskStatus.FAILED
            cause = _cause_of(update, status, context.leaf.device_name)
            context.finish(status, update.result, may_retry=update.may_retry, cause=cause, **fields)
        elif update.status is not None or update.progress is not None:
            context.update(status=update.status, progress=update.progress)

    def _tell_silence(self, update: LrcUpdate) -> None:
        """Tell that the device has stopped answering, or that it answers again."""
        cause, data = update.cause, {}
        if cause is not None:
            cause = replace(
                cause, outside_id=update.command_id or None, device=self.context.leaf.device_name
            )
            data["since_ns"] = str(cause.last_answer_ns)
        topic = "answers" if update.answers else "silent"
        self.context.tell(NoteDetail(topic=topic, data=data, cause=cause), update.note)


def _cause_of(update: LrcUpdate, status: TaskStatus, device: str | None) -> Cause | None:
    """Return why a command did not end well, as data; None where it did."""
    cause = update.cause or cause_of_result(status, update.result)
    if cause is None:
        return None
    return replace(cause, outside_id=update.command_id or None, device=device)
