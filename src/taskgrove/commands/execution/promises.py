"""Values that promise work in place of its end: a generator, a Future, an unfinished Status.

Nothing here waits, and nothing here raises, whatever the value's own code does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from concurrent.futures import Future
from typing import Any, Final

#: A list or tuple of values is looked into so far: a step may give several Futures.
_ITEMS_LIMIT: Final = 100
#: How types tell whether work has ended, and how one waits for it.
_ENDS: Final = (("done", "wait"), ("ready", "wait"))


def promise_in(value: Any) -> str | None:
    """Return the words for a value that promises work, or None.

    Args:
        value: What a step gave.
    """
    words = _promise(value)
    if words is None and type(value) in (list, tuple):
        words = next(filter(None, map(_promise, value[:_ITEMS_LIMIT])), None)
    return words


def _promise(value: Any) -> str | None:
    kind = type(value)
    if kind in _PLAIN:
        return None
    try:
        return _promise_of(kind, value)
    except BaseException as exc:  # noqa: BLE001 - then nobody can say that its work has ended
        return f"returned {kind.__name__}, and asking it for its end raised {type(exc).__name__}"


def _promise_of(kind: type, value: Any) -> str | None:
    if issubclass(kind, (Generator, AsyncGenerator)):
        return "returned a generator; calling a generator function runs nothing of it"
    if issubclass(kind, Future) or (_has(kind, "done") and _has(kind, "add_done_callback")):
        if _is_true(value.done):
            return "returned a Future in place of its result"
        return "returned a Future that is not done; its work may still be running"
    for ended, wait in _ENDS:
        if _has(kind, ended) and _has(kind, wait):
            return _unfinished(value, kind.__name__, ended)
    return None


def _unfinished(value: Any, kind: str, ended: str) -> str | None:
    if not _is_true(getattr(value, ended)):
        return f"returned {kind} that is not done; its work may still be running"
    if getattr(value, "success", True) is False:
        return f"returned {kind} that ended without success"
    return None


def _has(kind: type, name: str) -> bool:
    return any(name in vars(base) for base in kind.__mro__)


def _is_true(told: Any) -> bool:
    return bool(told() if callable(told) else told)


_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict})
