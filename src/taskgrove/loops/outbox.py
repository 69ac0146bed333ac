"""Outbox: what is put in is delivered in order, by one thread at a time.

Threads: any thread may call :meth:`Outbox.put`. ``_lock`` guards the items and who delivers them;
it is not held while ``deliver`` runs.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from taskgrove.foreign_code import LOGGING
from taskgrove.loops.threads import Action

_LOGGER = logging.getLogger(__name__)

Item = TypeVar("Item")


class Outbox(Generic[Item]):
    """Delivers items first in, first out.

    Args:
        submit: Runs a function on another thread, soon: ``Pool.submit`` or ``Loop.post``.
        deliver: Called with each item; an exception that it raises is logged.
    """

    def __init__(
        self,
        submit: Callable[[Action], object],
        deliver: Callable[[Item], object],
    ) -> None:
        self._submit = submit
        self._deliver = deliver
        self._lock = threading.Lock()
        self._items: deque[Item] = deque()
        self._deliverer: int | None = None
        self._idle = threading.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_idle(self) -> bool:
        """True when all that was put in has been delivered."""
        return self._idle.is_set()

    def put(self, *items: Item) -> None:
        """Have items delivered, with nothing in between; returns at once."""
        with self._lock:
            self._items.extend(items)
            begins = bool(self._items) and self._idle.is_set()
            if begins:
                self._idle.clear()
        if begins:
            self._submit(self._run)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until everything has been delivered; False: not within the limit.

        Called by ``deliver`` it returns False at once.
        """
        if self._deliverer == threading.get_ident():
            return False
        return self._idle.wait(timeout_s)

    def _run(self) -> None:
        self._deliverer = threading.get_ident()
        while True:
            with self._lock:
                if not self._items:
                    self._deliverer = None
                    self._idle.set()
                    return
                item = self._items.popleft()
            try:
                self._deliver(item)
            except BaseException:  # also one that exits: what follows must still be delivered
                with LOGGING:
                    _LOGGER.exception("the delivery of %r raised", item)
