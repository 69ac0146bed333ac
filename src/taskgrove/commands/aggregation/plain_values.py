"""Foreign values made plain, and put into words when they are of no use.

Nothing here imports numpy: its arrays and scalars are known by their ``tolist``. Pure;
any thread may call these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from taskgrove.commands.aggregation.messages import MESSAGE_LIMIT

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
            return str(value)
        if value is None:
            return ""
        if isinstance(value, (bytes, bytearray)):
            return bytes(value[: MESSAGE_LIMIT + 1]).decode(errors="replace")
        if isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value):
            return "\n".join(value)
        head = f"{type(value).__name__}: " if isinstance(value, BaseException) else ""
        return f"{head}{value}"
    except BaseException:  # noqa: BLE001 - nothing that a producer sends raises (S2.2)
        return describe(value)


def describe(value: Any) -> str:
    """Say what came, shortly, without printing it: it may be huge, or refuse to be printed."""
    try:
        for kinds, words in _DESCRIPTIONS:
            if isinstance(value, kinds):
                return words(value)
        return f"an object of type {type(value).__name__:.80}"
    except BaseException:  # noqa: BLE001 - nothing that a producer sends raises (S2.2)
        return "an object that cannot be described"


def _describe_integer(value: Any) -> str:
    return f"the integer {int(value)}" if abs(value) < 10**12 else "a very large integer"


_DESCRIPTIONS: Final[tuple[tuple[Any, Callable[[Any], str]], ...]] = (
    (bool, lambda value: f"the bool {bool(value)}"),
    (int, _describe_integer),
    (float, lambda value: f"the number {float(value)!r}"),
    (str, lambda value: f"the text {value[:80]!r}"),
    (type(None), lambda _: "nothing"),
    ((bytes, bytearray), lambda value: f"{len(value)} bytes"),
    (
        (list, tuple, set, frozenset, dict),
        lambda value: f"a {type(value).__name__} of length {len(value)}",
    ),
    (
        BaseException,
        lambda value: f"an object of type {type(value).__name__:.80}: {str(value)[:200]}",
    ),
)
