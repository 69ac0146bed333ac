"""Waiting until an attribute has a value: by change events, and by reading it now and then.

Events are hints, as everywhere: a device may push none, and what it pushes can get lost. The
attribute is read once when the wait begins, and then at most once in ``poll_interval_s``. A device
that does not answer is waited for.

Threads: ``start`` and ``stop`` may be called by any thread; ``start`` blocks for the length of a
few calls. All else happens on the client's dispatcher thread; calls to the device are made on its
lanes. ``_numbers`` is used by one job at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import IntEnum, auto
from functools import partial
from typing import Any, Final, NamedTuple

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.commands.attribute_condition import AttributeCondition
from taskgrove.control_model import TaskStatus
from taskgrove.events import Cause
from taskgrove.events.cause import Reading
from taskgrove.moves import IGNORE, REFUSE, row_of, step, table_of
from taskgrove.tango.client.attribute_shape import AttributeShape
from taskgrove.tango.client.attribute_steps import AttributeSteps, StepEnd, compared, reading_of
from taskgrove.tango.client.failure import Failure, FailureKind, classify

_LOGGER = logging.getLogger(__name__)

#: Ends of the first look after which there is nothing to wait for.
_FOR_GOOD: Final = frozenset({"no_attribute", "wrong_argument", "no_device", "misconfigured"})


class WaitState(IntEnum):
    """Where a wait stands."""

    NEW = auto()
    """The device has not been asked yet."""
    LOOKING = auto()
    """The device is asked on a lane."""
    RESTING = auto()
    """The next look is due later; events may come."""
    ENDED = auto()
    """The end was told."""


class WaitNews(IntEnum):
    """What happens to a wait."""

    LOOK = auto()
    """It is time to read the attribute."""
    LOOKED = auto()
    """The device answered, or did not."""
    END = auto()
    """The end is known."""


_NEW, _LOOKING, _RESTING, _ENDED = WaitState
_ROW: Final = partial(row_of, WaitNews)

# fmt: off
MOVES: Final = table_of(WaitState, WaitNews, {
    #               LOOK      LOOKED    END
    _NEW:      _ROW(_LOOKING, REFUSE,   _ENDED),
    _LOOKING:  _ROW(IGNORE,   _RESTING, _ENDED),
    _RESTING:  _ROW(_LOOKING, REFUSE,   _ENDED),
    _ENDED:    _ROW(IGNORE,   IGNORE,   IGNORE),
})
# fmt: on


class Seen(NamedTuple):
    """A value that was read, or that an event told.

    Attributes:
        shape: The attribute.
        value: Its value; None where the device says that it has none.
        at_ns: When, UTC, nanoseconds since the epoch.
    """

    shape: AttributeShape
    value: Any
    at_ns: int


class AttributeWait:
    """Waits until an attribute of a device meets a condition.

    Args:
        steps: The steps of the device.
        condition: The condition.
        on_end: Called once, on the dispatcher thread, with the end.
        interval_s: The least pause between two reads, in seconds.
        give_up_after_s: How long a device that does not answer is waited for, in seconds; None:
            until :meth:`stop`.

    Attributes:
        state: Where the wait stands.
        looks: How often the device was asked.
    """

    def __init__(
        self,
        steps: AttributeSteps,
        condition: AttributeCondition,
        on_end: Callable[[StepEnd], object],
        *,
        interval_s: float,
        give_up_after_s: float | None,
    ) -> None:
        self.state = WaitState.NEW
        self.looks = 0
        self._steps = steps
        self._session = steps.session
        self._condition = condition
        self._on_end = on_end
        self._interval_s = interval_s
        self._give_up_after_s = give_up_after_s
        self._seen: Seen | None = None
        self._failing_since: float | None = None
        self._failure: StepEnd | None = None
        #: The subscription, with the generation of the link that it was made with.
        self._number: tuple[int, int] | None = None

    def start(self) -> None:
        """Begin to wait; the end may come before this returns."""
        self._session.dispatcher.post(self._begin)

    def stop(self, reason: str) -> None:
        """End the wait, because it is asked to stop; the end tells the last value.

        Args:
            reason: Why, for people.
        """
        self._session.dispatcher.post(self._stop, reason)

    def client_closed(self) -> None:
        """End the wait, because the client is closed; on the dispatcher thread."""
        text = "the client was closed while it waited"
        self._end(StepEnd(TaskStatus.FAILED, text, self._cause("abandoned")))

    # -- on the dispatcher thread ----------------------------------------------------------
    def _begin(self) -> None:
        self._session.waits.add(self)
        self._look()

    def _look(self) -> None:
        """Read the attribute, and see to the subscription."""
        if self.move(WaitNews.LOOK):
            self.looks += 1
            slow = self._failing_since is not None
            self._session.dispatcher.submit(self._ask, self._back, slow=slow)

    def _back(self, found: Seen | StepEnd | None, failure: Failure | None) -> None:
        if not self.move(WaitNews.LOOKED):
            self._drop_subscription()
            return
        if failure is not None:
            found = self._steps.not_read(self._condition.attribute, failure)
        if isinstance(found, StepEnd):
            self._not_seen(found)
        elif found is not None:
            self._failing_since = self._failure = None
            self._take(found)
        if self.state is WaitState.RESTING:
            self._session.dispatcher.after(self._interval_s, self._look)

    def on_event(self, shape: AttributeShape, found: Any) -> None:
        """Take a change event."""
        if self.state is WaitState.ENDED:
            return
        value = self._session.link.attributes.value_of(shape, found)
        self._session.link.heard()
        self._take(Seen(shape, value, SYSTEM_CLOCK.wall_ns()))

    def _take(self, seen: Seen) -> None:
        """Compare a value with the condition."""
        self._seen = seen
        if seen.value is None:
            return
        if self._condition.holds(seen.value):
            self._end(compared(seen.shape, self._condition, seen.value, seen.at_ns))
        elif self._condition.rules_out(seen.value):
            end = compared(seen.shape, self._condition, seen.value, seen.at_ns)
            self._end(end._replace(text=f"{end.text}; waiting is of no use"))

    def _not_seen(self, end: StepEnd) -> None:
        """Take note that the attribute could not be read; end where it never can be."""
        assert end.cause is not None
        if end.cause.kind in _FOR_GOOD:
            self._end(end)
            return
        self._failure = end
        if self._failing_since is None:
            self._failing_since = time.monotonic()
        failing_s = time.monotonic() - self._failing_since
        if self._give_up_after_s is not None and failing_s > self._give_up_after_s:
            text = f"{end.text}; it was waited for {failing_s:.0f} s"
            self._end(end._replace(text=text, status=TaskStatus.FAILED))

    def _stop(self, reason: str) -> None:
        said = self._told()
        text = f"{reason}; {said}" if said else reason
        self._end(StepEnd(TaskStatus.ABORTED, text, self._cause("aborted")))

    def _end(self, end: StepEnd) -> None:
        is_asked = self.state is WaitState.LOOKING
        if not self.move(WaitNews.END):
            return
        self._session.waits.discard(self)
        if not is_asked:  # else this follows when the device has answered
            self._drop_subscription()
        try:
            self._on_end(end)
        except BaseException:  # an exit, too: the dispatcher thread belongs to all
            _LOGGER.exception("the end of a wait for %s raised", self._condition.attribute)

    def move(self, news: WaitNews) -> bool:
        """Take news; return whether the state has changed."""
        before = self.state
        self.state = step(MOVES, before, news, self)
        return self.state is not before

    def _cause(self, kind: Any) -> Cause:
        """Return the cause of an end that comes before the condition holds."""
        chain = (
            ()
            if self._failure is None or self._failure.cause is None
            else (self._failure.cause.chain)
        )
        return Cause(
            kind=kind, expected=self._condition.words, reading=self._reading(), chain=chain
        )

    def _reading(self) -> Reading | None:
        seen = self._seen
        return None if seen is None else reading_of(seen.shape, seen.value, seen.at_ns)

    def _told(self) -> str:
        """Return why the condition does not hold yet, in words."""
        return "" if self._failure is None else self._failure.text

    def __str__(self) -> str:
        return f"the wait for {self._condition.words} of {self._session.link.device}"

    # -- on a lane -------------------------------------------------------------------------
    def _ask(self) -> Seen | StepEnd:
        """Return the value of the attribute, or why there is none."""
        shape = self._steps.ready(self._condition.attribute)
        if isinstance(shape, StepEnd):
            return shape
        wrong = self._steps.problem(shape, condition=self._condition)
        if wrong is not None:
            return wrong
        self._subscribe(shape)
        value = self._session.link.attributes.read(shape)
        return Seen(shape, value, SYSTEM_CLOCK.wall_ns())

    def _subscribe(self, shape: AttributeShape) -> None:
        """Subscribe to the attribute once for each connection; it may push no events."""
        link = self._session.link
        if self._number is not None and self._number[1] == link.generation:
            return
        self._unsubscribe()
        put, on_event = self._session.dispatcher.post, self.on_event

        def sink(event: Any) -> None:
            if not event.err and event.attr_value is not None:
                put(on_event, shape, event.attr_value)

        try:
            number = link.attributes.subscribe(shape, sink)
        except Exception as exc:
            failure = classify(exc)
            if failure.kind is not FailureKind.RAISED:
                raise
            _LOGGER.debug("%s pushes no events: %s", self, failure.text)
            number = -1
        self._number = (number, link.generation)

    def _unsubscribe(self) -> None:
        held, self._number = self._number, None
        if held is not None and held[0] >= 0:
            try:
                self._session.link.attributes.unsubscribe(held[0])
            except Exception as exc:  # noqa: BLE001 - it is gone with its connection
                _LOGGER.debug("%s: unsubscribe: %s", self, classify(exc).text)

    def _drop_subscription(self) -> None:
        """End the subscription, on a lane."""
        if self._number is not None:
            self._session.dispatcher.submit(self._unsubscribe, lambda _value, _failure: None)
