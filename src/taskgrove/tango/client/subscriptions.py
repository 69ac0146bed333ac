"""The subscriptions to the change events of one device.

A set of subscriptions lives as long as the connection is sound, not as long as a command.
Callbacks run on PyTango's only event thread: they only put a tuple into a queue.

Threads: the thread that repairs the link calls ``renew`` and ``end``, one at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

from taskgrove.tango.client.failure import FailureKind, classify
from taskgrove.tango.client.protocol import V1_ATTRIBUTES, V2_ATTRIBUTES

_LOGGER = logging.getLogger(__name__)

_NO_SUCH_ATTRIBUTE: Final = "API_AttrNotFound"
#: The server answers, and is busy: other subscriptions hold its monitor, one at a time.
_BUSY: Final = "API_CommandTimedOut"
#: PyTango's first subscriptions of a process, made by several threads at once, can get in each
#: other's way ("Could not find event consumer"): a subscription is tried so often, with pauses.
_ATTEMPTS: Final = 4
_ATTEMPT_PAUSE_S: Final = 0.05


class Subscriptions:
    """The subscriptions of one device.

    Args:
        tango: The module ``tango``.
        device: The device's name, for the log.
        inbox: Where events are put, as ``(on_event, slot, value)``.
        on_event: Called by the reader of the inbox with an event.
        on_error: Called by the reader with ``(generation, reason)`` of an error.
    """

    def __init__(
        self,
        tango: Any,
        device: str,
        inbox: SimpleQueue[tuple[Any, ...]],
        on_event: Callable[[str, Any], object],
        on_error: Callable[[int, str], object],
    ) -> None:
        #: Counts the sets of subscriptions; errors of an older set mean nothing any more.
        self.generation = 0
        #: False when the device serves the attributes, but pushes no events for them.
        self.has_events = True
        self._tango = tango
        self._device = device
        self._inbox = inbox
        self._on_event = on_event
        self._on_error = on_error
        self._numbers: list[int] = []

    def renew(self, proxy: Any, newest: int) -> int:
        """End all subscriptions, then subscribe to the attributes that the device serves.

        In this order: while a stale subscription of the same attribute exists, a new one is
        deaf for up to ten seconds.

        Args:
            proxy: The device's proxy.
            newest: The newest protocol version to try.

        Returns:
            The protocol version that the device serves; 0 when it serves none.

        Raises:
            DevFailed: The device cannot be reached.
        """
        self.end(proxy)
        self.generation += 1
        self.has_events = True
        for protocol, slots in ((2, V2_ATTRIBUTES), (1, V1_ATTRIBUTES)):
            if protocol <= newest and all(self._subscribe(proxy, slot) for slot in slots):
                return protocol
            self.end(proxy)
        return 0

    def end(self, proxy: Any) -> None:
        """End every subscription."""
        numbers, self._numbers = self._numbers, []
        for number in numbers:
            try:
                proxy.unsubscribe_event(number)
            except self._tango.DevFailed as exc:
                _LOGGER.debug("%s: unsubscribe: %s", self._device, classify(exc).text)

    def _subscribe(self, proxy: Any, slot: str) -> bool:
        """Subscribe to one attribute; return False when the device does not have it."""
        sink = self._sink(slot, self.generation)
        change = self._tango.EventType.CHANGE_EVENT
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(_ATTEMPT_PAUSE_S)
            try:
                number = proxy.subscribe_event(slot, change, sink)
            except self._tango.DevFailed as exc:
                failure = classify(exc)
                if failure.reason == _NO_SUCH_ATTRIBUTE:
                    return False
                if failure.kind is not FailureKind.RAISED and failure.reason != _BUSY:
                    raise
            else:
                self._numbers.append(number)
                return True
        self.has_events = False
        _LOGGER.warning("%s pushes no events of %s: %s", self._device, slot, failure.text)
        return True

    def _sink(self, slot: str, generation: int) -> Callable[[Any], None]:
        """Return the receiver of one attribute's events, which only enqueues them."""
        put, on_event, on_error = self._inbox.put, self._on_event, self._on_error

        def sink(event: Any) -> None:
            if event.err:
                reason = event.errors[0].reason if event.errors else ""
                put((on_error, generation, reason))
            else:
                value = event.attr_value
                put((on_event, slot, None if value is None else value.value))

        return sink
