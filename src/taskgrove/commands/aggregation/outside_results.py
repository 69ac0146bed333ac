"""A result that comes from outside: its message becomes one cause line before anybody reads it."""

from __future__ import annotations

from typing import Any

from taskgrove.commands.aggregation.messages import MESSAGE_LIMIT
from taskgrove.commands.aggregation.result_parsing import parse_whole
from taskgrove.events import one_line


def outside_result(result: Any) -> Any:
    """Return a result with its message on one line; what is none is returned as it is.

    Args:
        result: What a device, a method or a program gave, in any form that is understood.
    """
    if result is None:
        return None
    parsed = parse_whole(result)
    if parsed.code is None:
        return result  # an acknowledgement says nothing that is kept
    return parsed.code, one_line(parsed.message, MESSAGE_LIMIT)
