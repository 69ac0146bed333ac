"""Foreign values made plain, as results and messages of producers are.

Nothing here imports numpy: its arrays and scalars are known by their ``tolist``. Pure;
any thread may call these functions.
"""

from __future__ import annotations

from typing import Any, Final

from taskgrove.commands.aggregation.messages import MESSAGE_LIMIT
from taskgrove.events.foreign_values import describe, is_large, printed, readable

__all__ = ["describe", "plain", "single", "text_of"]

#: An array with more elements than this cannot be a result.
_ARRAY_LIMIT: Final = 64


def plain(value: Any) -> Any:
    """Return the plain Python value of a numpy scalar or a small array, else ``value``."""
    if isinstance(value, (int, float, tuple, list, bytes)):
        return value
    tolist = getattr(value, "tolist", None)
    if not callable(tolist) or getattr(value, "size", 1) > _ARRAY_LIMIT:
        return value
    return tolist()


def single(value: Any) -> Any:
    """Return the only element of a list or array of one, else the plain value."""
    value = plain(value)
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return plain(value[0])
    return value


def text_of(value: Any) -> str:
    """Return the message that ``value`` is meant to be; several texts are several lines."""
    try:
        value = single(value)
        if isinstance(value, str):
            return str.__str__(value)  # of a subclass: what it holds, as a plain text
        if value is None:
            return ""
        if isinstance(value, (bytes, bytearray)):
            return bytes(value[: MESSAGE_LIMIT + 1]).decode(errors="replace")
        if isinstance(value, (tuple, list, dict, set, frozenset)):
            lines = isinstance(value, (tuple, list)) and all(isinstance(it, str) for it in value)
            # Printing it could take for ever: one list may stand in very many places of it.
            return "\n".join(value) if lines else readable(value)
        is_raised = isinstance(value, BaseException)
        text = printed(value) if is_raised else readable(value) if is_large(value) else f"{value}"
        return str.__str__(f"{type(value).__name__}: {text}" if is_raised else text)
    except BaseException:  # noqa: BLE001 - a report of a producer never raises
        return describe(value)
