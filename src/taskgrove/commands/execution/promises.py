"""Values that promise work in place of its end: a generator, a Future, an unfinished Status.

A process or a thread that a step returns is a promise, too: the step has handed its work on.

Nothing here waits, and nothing here raises, whatever the value's own code does.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from concurrent.futures import Future
from typing import Any, Final

#: Lists and mappings of values are looked into so far: a step may give several Futures.
_ITEMS_LIMIT: Final = 100
_DEPTH_LIMIT: Final = 4
#: How types tell whether work has ended, and how one waits for it.
_ENDS: Final = (("done", "wait"), ("ready", "wait"))
_NOT_DONE: Final = "returned {} that is not done; its work may still be running"
_IN_PLACE: Final = "returned a Future in place of its result"
_NEVER_RUN: Final[tuple[tuple[tuple[type, ...], str], ...]] = (
    (
        (Generator, AsyncGenerator),
        "returned a generator; calling a generator function runs nothing of it",
    ),
    ((Coroutine,), "returned a coroutine that is never awaited; nothing of it runs"),
    (
        (map, filter, itertools.starmap),
        "returned {}, which calls nothing until its items are asked for",
    ),
)
_WITHOUT_SUCCESS: Final = "returned {} that ended without success"


def promise_in(value: Any) -> str | None:
    """Return the words for a value that promises work, or None.

    Args:
        value: The value that a step returned.
    """
    if type(value) not in _CONTAINERS:
        return _promise(value)
    items = itertools.islice(_items_in(value, 0), _ITEMS_LIMIT)
    return next(filter(None, map(_promise, items)), None)


def _items_in(value: Any, depth: int) -> Iterator[Any]:
    for item in list(value.values() if type(value) is dict else value):
        if type(item) in _CONTAINERS and depth < _DEPTH_LIMIT:
            yield from _items_in(item, depth + 1)
        else:
            yield item


def _promise(value: Any) -> str | None:
    kind = type(value)
    if kind in _PLAIN:
        return None
    try:
        return _promise_of(kind, value)
    except BaseException as exc:  # noqa: BLE001 - then it is not known whether its work has ended
        return f"returned {kind.__name__}, and asking it for its end raised {type(exc).__name__}"


def _promise_of(kind: type, value: Any) -> str | None:
    name = kind.__name__
    for types, words in _NEVER_RUN:
        if issubclass(kind, types):
            return words.format(name)
    if issubclass(kind, Future) or (_has(kind, "done") and _has(kind, "add_done_callback")):
        is_done = _is_true(value.done)
        return _IN_PLACE if is_done else _NOT_DONE.format("a Future")
    for ended, wait in _ENDS:
        if _has(kind, ended) and _has(kind, wait):
            if not _is_true(getattr(value, ended)):
                return _NOT_DONE.format(name)
            failed = getattr(value, "success", True) is False
            return _WITHOUT_SUCCESS.format(name) if failed else None
    return _of_worker(kind, value)


def _of_worker(kind: type, value: Any) -> str | None:
    """Return the words for a thread or process that runs, has not begun, or failed."""
    failed: Any = None
    if _has(kind, "is_alive") and _has(kind, "join"):
        runs, failed = value.is_alive(), getattr(value, "exitcode", 0)
        if not runs and getattr(value, "ident", 0) is None:
            return f"returned {kind.__name__} that was never started"
    elif _has(kind, "communicate") and _has(kind, "wait"):
        failed = value.poll() if _has(kind, "poll") else value.returncode
        runs = failed is None
    else:
        return None
    if runs:
        return _NOT_DONE.format(kind.__name__)
    return _WITHOUT_SUCCESS.format(kind.__name__) if failed else None


def _has(kind: type, name: str) -> bool:
    return any(name in vars(base) for base in kind.__mro__)


def _is_true(told: Any) -> bool:
    return bool(told() if callable(told) else told)


_CONTAINERS: Final = frozenset({tuple, list, dict, set, frozenset})
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes}) | _CONTAINERS
