"""Events as the log takes them: without secrets, as lines of JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from taskgrove.events import TaskEvent, encode_event
from taskgrove.events.plain_event import plain_event, substitute

_LOGGER = logging.getLogger(__name__)

_ENCODE: Final = msgspec.json.Encoder().encode


def writable(event: TaskEvent, redact: Callable[[TaskEvent], TaskEvent]) -> tuple[TaskEvent, bytes]:
    """Return an event as the record takes it, without secrets, and its line of JSON.

    The bus makes events plain. An event that did not come by the bus, and cannot be written, is
    made plain here, so that it does no harm to others.
    """
    if event.detail is not None or event.message:
        event = _without_secrets(event, redact)
    try:
        return event, _ENCODE(event)
    except Exception:  # noqa: BLE001 - anything may have been put into it
        event = _without_secrets(plain_event(event), redact)
        return event, encode_event(event)


def _without_secrets(event: TaskEvent, redact: Callable[[TaskEvent], TaskEvent]) -> TaskEvent:
    try:
        return redact(event)
    except Exception:  # noqa: BLE001 - it did not come by the bus, and is not plain
        try:
            return redact(plain_event(event))
        except Exception as exc:
            _LOGGER.exception("event %d of run %s is replaced", event.sequence, event.run_id)
            return substitute(event, f"its secrets could not be redacted: {type(exc).__name__}")
