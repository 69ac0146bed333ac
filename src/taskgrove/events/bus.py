"""The bus: it hands the events of a run to its observers.

Threads: :meth:`EventBus.publish`, :meth:`EventBus.subscribe` and
:meth:`Subscription.close` may be called by any thread. ``_lock`` guards the
tuple of observers only, and is never held while an observer is called. An
observer is called synchronously by whichever thread made the change, so all it
may do is enqueue; across threads it can get two events slightly out of order
and orders them by :attr:`TaskEvent.sequence`.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.events.details import NoteDetail
from taskgrove.events.event import EventKind, Observer, ProgressDraft, SubtaskFacts, TaskEvent
from taskgrove.events.plain_event import plain_event
from taskgrove.events.words import exception_line, loggable
from taskgrove.foreign_code import LOGGING

_LOGGER = logging.getLogger(__name__)

#: An observer whose single call takes longer than this is detached at once.
STALL_LIMIT_S: Final = 1.0
#: An observer that takes longer than this in ``SLOW_CALLS_LIMIT`` calls running is detached.
SLOW_LIMIT_S: Final = 0.05
SLOW_CALLS_LIMIT: Final = 5


class _Calling(threading.local):
    """The buses whose observers the thread is calling, the outermost first."""

    buses: tuple[EventBus, ...] = ()


_CALLING: Final = _Calling()


class Subscription:
    """One observer's tie to a bus.

    Attributes:
        detached_reason: Why the bus detached the observer, or None while it is attached.
        essential: Whether the observer stays attached whatever it does.
        takes_drafts: Whether it takes a :class:`ProgressDraft` in place of an event; an observer
            says so by an attribute of this name.
    """

    __slots__ = (
        "_bus", "_slow_calls", "detached_reason", "essential", "observer", "takes_drafts",
    )  # fmt: skip

    def __init__(self, bus: EventBus, observer: Observer, *, essential: bool = False) -> None:
        self._bus = bus
        self._slow_calls = 0
        self.essential = essential
        self.takes_drafts: bool = getattr(observer, "takes_drafts", False) is True
        self.observer = observer
        self.detached_reason: str | None = None

    def close(self) -> None:
        """End the subscription; calling it twice does no harm."""
        self._bus._remove(self)


class EventBus:
    """The stream of events of one run.

    The wall clock is read once, when the bus is made; from there the monotonic clock goes on. So
    the instants of a run lie apart by the time that truly passed, whatever is done to the wall
    clock meanwhile, and every duration that is told from them is right.

    Args:
        run_id: The run whose events these are.
        clock: Where the events' times come from.
        first_sequence: The first number; above 1 where a run of the record goes on.

    Attributes:
        run_id: The run whose events these are.
        active: True while there are observers; a producer need not build events otherwise.
        monotonic: Returns the monotonic time of an event that is made now, in seconds.
        offset_ns: The lead of the wall clock over the monotonic one when the bus was made.
        next_sequence: Takes the next number; the caller must publish an event with it.
        numbers: The numbers; ``next`` of it is the same, and costs half as much.
    """

    __slots__ = (
        "_draft_takers", "_lock", "_others", "_subscriptions", "_take_draft", "active",
        "monotonic", "next_sequence", "numbers", "offset_ns", "run_id",
    )  # fmt: skip

    def __init__(
        self, run_id: str, clock: Clock = SYSTEM_CLOCK, *, first_sequence: int = 1
    ) -> None:
        self.run_id = run_id
        self.active = False
        # The machine's clock without a detour: every event asks it.
        system = clock is SYSTEM_CLOCK
        self.monotonic: Callable[[], float] = time.monotonic if system else clock.monotonic
        self.offset_ns = clock.wall_ns() - int(self.monotonic() * 1e9)
        self._lock = threading.Lock()
        # Taken under trackers' locks: a call of Python's own there would be felt.
        self.numbers: Iterator[int] = itertools.count(first_sequence)
        self.next_sequence: Callable[[], int] = self.numbers.__next__
        self._subscriptions: tuple[Subscription, ...] = ()
        # The observers that take drafts, and whether there are others.
        self._draft_takers: tuple[Callable[[Any], object], ...] = ()
        self._others = False
        self._take_draft: Callable[[ProgressDraft], object] = self._publish_draft

    def subscribe(self, observer: Observer, *, essential: bool = False) -> Subscription:
        """Have ``observer`` called with every event from now on.

        The observer must only enqueue. One that raises or is slow is detached
        and reported (a note on the bus, a line in the log).

        Args:
            observer: The function that is called.
            essential: True for the record: it is never detached, because a call may take long
                when the machine stood still, and no event may be missed.
        """
        subscription = Subscription(self, observer, essential=essential)
        with self._lock:
            self._set_subscriptions((*self._subscriptions, subscription))
        return subscription

    def emit(
        self, path: str, kind: EventKind, *, sequence: int | None = None, **fields: Any
    ) -> None:
        """Build an event now and publish it; does nothing without observers.

        Args:
            path: Path of the node.
            kind: The kind of the event.
            sequence: A number taken earlier with :meth:`next_sequence`, under the
                lock that orders the change; None takes one now.
            **fields: Further fields of :class:`TaskEvent`.
        """
        if sequence is None:
            if not self.active:
                return
            sequence = self.next_sequence()
        now_s = self.monotonic()
        event = TaskEvent(
            run_id=self.run_id,
            sequence=sequence,
            path=path,
            kind=kind,
            monotonic_s=now_s,
            wall_ns=self.offset_ns + int(now_s * 1e9),
            **fields,
        )
        self.publish(plain_event(event))  # here foreign values enter

    def publish_progress(self, facts: SubtaskFacts, sequence: int, progress: int) -> None:
        """Publish plain progress; its event is made only for an observer that needs one.

        Args:
            facts: The facts besides the percentage.
            sequence: Its number, from :attr:`numbers`.
            progress: Percent done, 0..100.
        """
        self._take_draft(ProgressDraft(facts, sequence, progress, self.monotonic(), self.offset_ns))

    def _publish_draft(self, draft: ProgressDraft) -> None:
        for take in self._draft_takers:
            try:
                take(draft)
            except BaseException as exc:  # noqa: BLE001 - logged
                self._log_record_raised(exc)
        if self._others:
            self.publish(draft.event(), drafted=True)

    def publish(self, event: TaskEvent, *, drafted: bool = False) -> None:
        """Call every observer with ``event``; never raises.

        Args:
            event: The event.
            drafted: Those that take drafts have it already.
        """
        for subscription in self._subscriptions:
            if drafted and subscription.takes_drafts:
                continue
            if subscription.essential:  # never detached, so never timed
                try:
                    subscription.observer(event)
                except BaseException as exc:  # noqa: BLE001 - logged
                    self._log_record_raised(exc)
                continue
            before = _CALLING.buses
            _CALLING.buses = (*before, self)
            began = time.perf_counter()
            try:
                subscription.observer(event)
            except BaseException as exc:  # noqa: BLE001 - an observer harms nothing
                text = f"it raised {exception_line(exc)}"
                self._detach(subscription, text, event.path)
                continue
            finally:
                _CALLING.buses = before
            took = time.perf_counter() - began
            if took > SLOW_LIMIT_S:
                subscription._slow_calls += 1
                if took > STALL_LIMIT_S or subscription._slow_calls >= SLOW_CALLS_LIMIT:
                    self._detach(subscription, f"it was slow: {took:.3f} s in a call", event.path)
            elif subscription._slow_calls:
                subscription._slow_calls = 0

    @property
    def is_calling_here(self) -> bool:
        """True on a thread that an observer of this bus holds just now."""
        return self in _CALLING.buses

    def _log_record_raised(self, exc: BaseException) -> None:
        with LOGGING:
            _LOGGER.error(
                "run %s: the record's observer raised", self.run_id, exc_info=loggable(exc)
            )

    def _set_subscriptions(self, subscriptions: tuple[Subscription, ...]) -> None:
        """Replace the subscriptions (lock held)."""
        self._subscriptions = subscriptions
        self._draft_takers = tuple(s.observer for s in subscriptions if s.takes_drafts)
        self._others = len(self._draft_takers) < len(subscriptions)
        alone = len(subscriptions) == 1 and subscriptions[0].takes_drafts
        self._take_draft = self._draft_takers[0] if alone else self._publish_draft
        self.active = bool(subscriptions)

    def _remove(self, subscription: Subscription) -> bool:
        with self._lock:
            left = tuple(item for item in self._subscriptions if item is not subscription)
            removed = len(left) != len(self._subscriptions)
            self._set_subscriptions(left)
        return removed

    def _detach(self, subscription: Subscription, reason: str, path: str) -> None:
        if not self._remove(subscription):
            return
        subscription.detached_reason = reason
        text = f"observer {_name_of(subscription.observer)} was detached: {reason}"
        with LOGGING:
            _LOGGER.warning("run %s: %s", self.run_id, text)
        self.emit(path, "note", message=text, detail=NoteDetail(topic="observer"))


def _name_of(observer: Observer) -> str:
    try:
        return str(getattr(observer, "__qualname__", None) or repr(observer))
    except BaseException:  # noqa: BLE001 - it may refuse to be named, too
        return f"of type {type(observer).__name__}"
