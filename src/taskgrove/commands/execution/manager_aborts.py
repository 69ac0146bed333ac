"""Aborts of component managers that queue the tasks of their methods.

Threads: any thread may call :meth:`ManagerAborts.abort`; ``abort_tasks`` is foreign code, which
may block, so each call of it has a thread of its own. ``_lock`` guards the lists of leaves that
wait for a call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from taskgrove.commands.leaf_runner import LeafContext
from taskgrove.commands.task import LeafTask
from taskgrove.events import exception_line
from taskgrove.loops.threads import spawn


class ManagerAborts:
    """Calls ``abort_tasks`` of managers, once for all leaves that ask meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, list[LeafContext]] = {}

    def abort(self, context: LeafContext) -> None:
        """Have the manager of a leaf's method end its tasks, if it can; returns at once."""
        target = manager_of(context.leaf)
        abort_tasks = _abort_tasks_of(target)
        if abort_tasks is None:
            return
        with self._lock:
            waiting = self._waiting.setdefault(id(target), [])
            waiting.append(context)
            if len(waiting) > 1:
                return
        spawn("taskgrove-abort-tasks", partial(self._call, id(target), abort_tasks))

    def _call(self, key: int, abort_tasks: Callable[[], Any]) -> None:
        topic, text, data = "abort-acknowledged", "abort_tasks of its manager was called", {}
        try:
            abort_tasks()
        except BaseException as exc:  # noqa: BLE001 - foreign code; its leaf ends all the same
            topic, data = "abort-unheard", {"fate": "not acknowledged"}
            text = f"abort_tasks of its manager raised {exception_line(exc)}"
        with self._lock:
            waiting = self._waiting.pop(key)
        for context in waiting:
            context.note(topic, text, **data)


def manager_of(leaf: LeafTask) -> Any:
    """Return the object that the leaf's method belongs to, or None."""
    return leaf.target if leaf.function is None else getattr(leaf.function, "__self__", None)


def has_abort_tasks(leaf: LeafTask) -> bool:
    """Return True when the manager of the leaf's method can be asked to abort its tasks."""
    return _abort_tasks_of(manager_of(leaf)) is not None


def _abort_tasks_of(target: Any) -> Callable[[], Any] | None:
    try:
        found = getattr(target, "abort_tasks", None)
    except BaseException:  # noqa: BLE001 - the look-up is the target's own code
        return None
    return found if callable(found) else None
