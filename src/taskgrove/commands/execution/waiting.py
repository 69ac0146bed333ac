"""Waiting for a run inside another one: refused where it could never end.

A step that waits for a run holds its thread. When all threads of a pool are held so, no run of
that pool goes on; and two runs whose steps wait for each other never end either.

Threads: any thread may wait. ``_LOCK`` guards the list of waits and is held while it is searched.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from taskgrove.commands.execution.live_run import Run
from taskgrove.commands.tracking.self_wait import Tracker, held_here, waits_for_itself
from taskgrove.errors import SelfWaitError
from taskgrove.loops.pool import Pool, current_pool


class _Wait(NamedTuple):
    """One wait without a limit.

    Attributes:
        waiting: The trackers of the tasks that the waiter holds up.
        pool: The pool whose thread it holds, or None.
        target: The tracker of the root that is waited for.
        needs: The pools without whose threads that root cannot end.
    """

    waiting: tuple[Tracker, ...]
    pool: Pool | None
    target: Tracker
    needs: tuple[Pool, ...]


_LOCK: Final = threading.Lock()
_WAITS: Final[list[_Wait]] = []


@contextmanager
def waiting_for(run: Run, *, holds_thread: bool = True) -> Iterator[None]:
    """Allow a wait without a limit for a run.

    Args:
        run: The run.
        holds_thread: Whether the thread is held; False for a coroutine that awaits.

    Raises:
        SelfWaitError: The run could never end while the caller waits here.
    """
    tracker = run.root.tracker
    hint = "return first, or wait with a timeout"
    if waits_for_itself(tracker):
        raise SelfWaitError(
            f"a step or callback of {run.root.path} waits for that run", hint=hint,
        )  # fmt: skip
    held = tuple(dict.fromkeys(held_here()))
    if not held:
        yield
        return
    pool = current_pool() if holds_thread else None
    if pool is None and holds_thread and run.engine.has_thread_of_coroutines():
        raise SelfWaitError(
            f"a coroutine waits for {run.root.path} and holds up all other coroutines",
            hint="await the handle",
        )
    wait = _Wait(held, pool, tracker, (run.engine.pool, run.engine.control))
    with _LOCK:
        _WAITS.append(wait)
        endless = _leads_back(wait)
    try:
        if endless:
            raise SelfWaitError(
                f"waiting for {run.root.path} here would never end: it waits for this step, or"
                " every thread of its executor waits",
                hint="give the executor more max_workers, await the handle in a coroutine, or"
                " wait with a timeout",
            )
        yield
    finally:
        with _LOCK:
            # By identity: two waits may be equal.
            del _WAITS[next(at for at, item in enumerate(_WAITS) if item is wait)]


def _leads_back(wait: _Wait) -> bool:
    """Return whether a wait leads back to itself through other waits (lock held)."""
    left = [wait.target]
    seen: set[int] = set()
    while left:
        node = left.pop()
        for item in _WAITS:
            if id(item.target) in seen or not _holds_up(item, node):
                continue
            if item.target is wait.target:
                return True
            seen.add(id(item.target))
            left.append(item.target)
    return False


def _holds_up(wait: _Wait, target: Tracker) -> bool:
    if any(held is target for held in wait.waiting):
        return True
    pool = wait.pool
    if pool is None or not any(w.target is target and pool in w.needs for w in _WAITS):
        return False
    still = [other for other in _WAITS if other.pool is pool and not other.target.is_released]
    return len(still) >= pool.max_workers
