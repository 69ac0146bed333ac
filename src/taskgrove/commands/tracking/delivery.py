"""The outbox of a tracker: payloads are delivered in order, outside the lock, up to the root.

The updating thread delivers all payloads of the outbox, unless another thread is delivering them.
So no progress is delivered after the completion, and the completion is delivered once. A parent
that is a tracker takes a payload in without recursion: trees may be hundreds deep.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable
from typing import Final, Protocol

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.commands.tracking.judgement import COMPLETION, Judgement, Payload
from taskgrove.commands.tracking.self_wait import DELIVERING, Tracker
from taskgrove.commands.tracking.tracker_log import TrackerLog
from taskgrove.commands.tracking.update_intake import UpdateIntake
from taskgrove.control_model import TaskStatus
from taskgrove.foreign_code import is_interrupt

#: The keys that every callback takes; further ones are handed only to a callback that takes them.
_FOR_EVERYBODY: Final = frozenset(
    {
        "task_name", "status", "progress", "result",
        "devices", "failed_devices", "health_state", "error",
    }
)  # fmt: skip


#: Progress payloads have these keys alone; the first one may also say that nothing has begun.
_PROGRESS_KEY_COUNT: Final = 4


class Deliverer(Tracker, Protocol):
    """A tracker, as far as delivery needs it."""

    task_name: str
    subtasks: dict[str, SubtaskResult]
    progress_updates: bool
    _delivery: Delivery
    _intake: UpdateIntake
    _judgement: Judgement
    _log: TrackerLog

    @property
    def is_complete(self) -> bool: ...  # noqa: D102
    def _fail(self, exc: BaseException) -> None: ...
    def _close(self) -> tuple[Callable[[], object], ...]: ...


class Delivery:
    """The outbox of one tracker, and the receivers of its payloads. Any thread may use it.

    Threads: payloads are appended under the tracker's lock. The thread that holds ``_turn`` takes
    them out; it looks into the outbox again after it gave the turn back.

    Attributes:
        callback: The function that is called with each payload, or None.
        parent: The tracker that takes each payload in, or None.
        given_callback: The callback as it was set; it may be the parent's ``update_task``.
        is_held: Whether payloads are kept back.
        outbox: The payloads that are to be delivered, in order.
    """

    __slots__ = (
        "_turn", "callback", "given_callback", "given_parent", "is_held", "outbox", "parent",
    )  # fmt: skip

    def __init__(self, parent: Deliverer | None) -> None:
        self.outbox: list[Payload] = []
        self.is_held = False
        self._turn = threading.Lock()
        self.callback: Callable[..., object] | None = None
        self.given_callback: Callable[..., object] | None = None
        self.given_parent = self.parent = parent

    def set_callback(
        self, callback: Callable[..., object] | None, tracker: Deliverer | None
    ) -> None:
        """Set the callback; one that only updates ``tracker`` makes it the parent."""
        self.given_callback = callback
        is_parent = tracker is not None and self.given_parent in (None, tracker)
        self.parent = tracker if is_parent else self.given_parent
        self.callback = None if is_parent else callback

    def begin(self) -> bool:
        """Take the turn; False when nothing is to be delivered, or another thread delivers.

        Only here a thread takes the turn, never when it posts: an error in between would leave the
        outbox to a thread that went away.
        """
        return bool(self.outbox) and not self.is_held and self._turn.acquire(False)

    def next(self) -> Payload | None:
        """Return the next payload; None: the turn was given back."""
        while not self.outbox or self.is_held:
            self._turn.release()
            if not self.outbox or not self.begin():
                return None
        return self.outbox.pop(0)

    def give_up(self) -> None:
        """Give the turn back, after an interrupt: the next update delivers the rest."""
        with contextlib.suppress(RuntimeError):  # it may have been given back already
            self._turn.release()


def deliver(first: Deliverer) -> None:
    """Deliver the payloads of the outboxes, from ``first`` upwards, without recursion.

    Does nothing while another thread delivers for ``first``. An interrupt of the main thread
    (KeyboardInterrupt) in a callback is raised after all payloads are delivered: other threads may
    have posted some of them, and do not come back for them.
    """
    if not first._delivery.begin():
        return
    stack, stacks = [first], DELIVERING.stacks
    interrupt: BaseException | None = None
    stacks.append(stack)
    try:
        while stack:
            tracker = stack[-1]
            payload = tracker._delivery.next()
            if payload is None:
                stack.pop()
                continue
            is_completion = payload is COMPLETION
            if is_completion:
                payload = tracker._judgement.payload_of_the_end()
            if tracker._intake.events is not None:
                publish(tracker, payload, complete=is_completion)
            if is_completion or tracker.progress_updates:
                interrupt = _call_back(tracker, payload, is_completion) or interrupt
                parent = tracker._delivery.parent
                if parent is not None and _tell_parent(tracker, parent, payload, is_completion):
                    stack.append(parent)
            if is_completion:
                _close(tracker)
    except BaseException:
        # An interrupt outside of a callback: the next update delivers the rest.
        for tracker in stack:
            tracker._delivery.give_up()
        raise
    finally:
        stacks.pop()
    if interrupt is not None:
        raise interrupt


def publish(tracker: Deliverer, payload: Payload, *, complete: bool) -> None:
    """Tell the observers of one payload."""
    events = tracker._intake.events
    if events is None or not events.bus.active:
        return
    try:
        if complete:
            judgement = tracker._judgement
            outcome, request = judgement.decided(), judgement.context.request
            events.task_finished(outcome, payload, judgement.cause, request)
        else:
            events.task_progress(payload)
    except BaseException as exc:  # noqa: BLE001 - logged
        tracker._log.error("an event could not be made", exc)


def _call_back(tracker: Deliverer, payload: Payload, complete: bool) -> BaseException | None:
    """Call the callback; return the interrupt that it raised, or None."""
    callback = tracker._delivery.callback
    if callback is None:
        return None
    try:
        if complete or len(payload) > _PROGRESS_KEY_COUNT:
            payload = _taken_by(callback, payload)
        callback(**payload)
    except BaseException as exc:  # noqa: BLE001 - logged, or raised by the caller
        if is_interrupt(exc):
            return exc
        tracker._log.error("its callback raised", exc)
    return None


def _tell_parent(tracker: Deliverer, parent: Deliverer, payload: Payload, complete: bool) -> bool:
    """Hand one payload up; return True when the turn of the parent was taken."""
    try:
        record = parent.subtasks.get(tracker.task_name)
        if (
            # The common case: a task that goes on.
            not complete
            and len(payload) == _PROGRESS_KEY_COUNT
            and record is not None
            and record.status is TaskStatus.IN_PROGRESS
            and record.result == payload["result"]
            and not parent.is_complete
        ):
            due = parent._intake.take_in_progress(record, payload["progress"])
            return due and parent._delivery.begin()
        rest = dict(payload)
        if complete and (causes := tracker._judgement.decided().causes):
            rest["causes"] = causes
        due = parent._intake.take_in(
            rest.pop("task_name"),
            rest.pop("status"),
            rest.pop("progress"),
            rest.pop("result"),
            rest.pop("error", None),
            rest,
        )
    except BaseException as exc:  # noqa: BLE001 - it is the parent's failure
        parent._fail(exc)
        due = True
    return due and parent._delivery.begin()


def _close(tracker: Deliverer) -> None:
    """Release the waiters, then call the hooks, exactly once each."""
    hooks = tracker._close()
    for hook in hooks:
        try:
            hook()
        except BaseException as exc:  # noqa: BLE001 - logged
            tracker._log.error("a closing hook raised", exc)


def _taken_by(callback: Callable[..., object], payload: Payload) -> Payload:
    """Return a payload without the keys for a task above, unless the callback takes them."""
    if payload.keys() <= _FOR_EVERYBODY:
        return payload
    try:
        taken = inspect.signature(callback).parameters.values()
    except Exception:  # noqa: BLE001 - a callable may have no signature
        return payload
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        return payload
    kept = _FOR_EVERYBODY.union(parameter.name for parameter in taken)
    return {key: value for key, value in payload.items() if key in kept}
