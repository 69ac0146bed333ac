"""Watching the record for all browsers together: one thread, whoever looks.

Threads: everything that reads the record happens on the thread of a loop. Any thread may call the
public methods; a subscriber is called on the loop's thread and must only take note. ``_lock``
guards who looks.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import StoreError, TaskgroveError
from taskgrove.loops.loop import Loop
from taskgrove.store.database.changes import ANSWERED, Changes
from taskgrove.store.history import History
from taskgrove.web.run_feed import RunFeed

_LOGGER = logging.getLogger(__name__)

#: How often a file is asked whether it changed, and a server for what is new, in seconds.
_TICK_S: Final = 0.1
_SERVER_TICK_S: Final = 0.3
#: How often lost runs are looked for while somebody looks at the page, in seconds.
_LOST_S: Final = 5.0
#: How long a look that is under way may take at the end, in seconds.
_STOP_S: Final = 5.0

Tell = Callable[[], object]


class Onlooker:
    """Somebody who is told of news until ``close``.

    Attributes:
        feed: The run that is followed once it was read; None for the list of runs.
        error: Why it cannot be followed, or None.
    """

    def __init__(self, watch: RecordWatch, run_id: str | None, tell: Tell) -> None:
        self.run_id = run_id
        self.tell = tell
        self.feed: RunFeed | None = None
        self.error: TaskgroveError | None = None
        self._watch = watch

    def close(self) -> None:
        """End it; calling it twice does no harm."""
        self._watch.forget(self)


class RecordWatch:
    """Tells subscribers what is new in a record.

    Args:
        history: The record; it stays the caller's to close.
        look_for_lost: Called now and then on the watch's thread to mark runs as lost whose runner
            is gone; None: nobody does.
        clock: The wall clock.
    """

    def __init__(
        self,
        history: History,
        look_for_lost: Callable[[], object] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._history = history
        self._look_for_lost = look_for_lost
        self._clock = clock
        self._errors = (TaskgroveError, OSError, history.store.connections.error)
        self._is_file = history.store.dialect == "sqlite"
        self._loop = Loop("taskgrove-page-watch")
        self._lock = threading.Lock()
        self._onlookers: list[Onlooker] = []
        self._feeds: dict[str, RunFeed] = {}
        self._changes: Changes | None = None
        self._lost_due_s = 0.0
        self._is_ticking = False
        self._is_closed = False
        self._version = 0
        self._read_ns = 0

    @property
    def is_closed(self) -> bool:
        """Whether the watch is over."""
        return self._is_closed

    @property
    def version(self) -> int:
        """A number that grows with every change of the record that was seen."""
        return self._version

    @property
    def read_ns(self) -> int:
        """When the record could last be read, UTC, nanoseconds since the epoch; 0: never yet."""
        return self._read_ns

    @property
    def count(self) -> int:
        """How many look."""
        return len(self._onlookers)

    def subscribe(self, run_id: str | None, tell: Tell) -> Onlooker:
        """Follow a run, or the list of runs, until the onlooker is closed.

        Args:
            run_id: The run; None: the list of runs.
            tell: Called whenever there may be news; also once the run was read.
        """
        made: Onlooker = Onlooker(self, run_id, tell)
        with self._lock:
            self._onlookers.append(made)
        self._loop.post(self._begin, made)
        return made

    def feed_of(self, run_id: str) -> RunFeed | None:
        """Return the run if somebody looks at it, else None."""
        return self._feeds.get(run_id)

    def forget(self, onlooker: Onlooker) -> None:
        """Tell somebody nothing more."""
        with self._lock:
            if onlooker in self._onlookers:
                self._onlookers.remove(onlooker)

    def close(self) -> None:
        """End the watch, and tell every subscriber."""
        self._is_closed = True
        self._tell(None)
        self._loop.post(self._drop_changes)
        self._loop.stop(_STOP_S)

    # -- the loop's thread ----------------------------------------------------------------------

    def _begin(self, onlooker: Onlooker) -> None:
        if not self._is_ticking:
            self._is_ticking = True
            self._tick()
        self._find_feed(onlooker)
        onlooker.tell()

    def _find_feed(self, onlooker: Onlooker) -> None:
        """Read the run that somebody looks at; what cannot be read is tried again later."""
        run_id = onlooker.run_id
        if run_id is None:
            return
        try:
            feed = self._feeds.get(run_id) or RunFeed(self._history, run_id, self._clock)
            onlooker.feed = self._feeds[run_id] = feed
        except StoreError as exc:
            _LOGGER.debug("run %s cannot be read yet: %s", run_id, exc)
        except TaskgroveError as exc:
            onlooker.error = exc

    def _tick(self) -> None:
        """Look for news, as long as somebody wants them."""
        with self._lock:
            wanted = {item.run_id for item in self._onlookers}
            waiting = [it for it in self._onlookers if it.feed is None and it.error is None]
            self._is_ticking = bool(wanted) and not self._is_closed
        for run_id in self._feeds.keys() - wanted:
            del self._feeds[run_id]
        if not self._is_ticking:
            self._drop_changes()
            return
        is_read = False
        try:
            self._look(has_news=self._has_changed())
            for onlooker in waiting:
                self._find_feed(onlooker)
            self._read_ns, is_read = self._clock.wall_ns(), True
        except self._errors as exc:
            _LOGGER.debug("the record cannot be read: %s", exc)
        finally:  # whatever is wrong with one look, another one follows, and looks at everything
            if not is_read:
                self._drop_changes()
            self._loop.after(_TICK_S if self._is_file else _SERVER_TICK_S, self._tick)

    def _has_changed(self) -> bool:
        if self._changes is None:  # nothing is known of the time before
            self._changes = Changes(self._history.store.connections, ANSWERED)
            self._changes.look()
            return True
        return self._changes.look() or not self._is_file

    def _look(self, *, has_news: bool) -> None:
        now_s = time.monotonic()
        if self._look_for_lost is not None and now_s >= self._lost_due_s:
            self._lost_due_s = now_s + _LOST_S
            self._look_for_lost()
        if has_news:
            self._version += 1
            self._tell(None)
        for run_id, feed in self._feeds.items():
            if feed.refresh(has_news=has_news):
                self._tell(run_id)

    def _drop_changes(self) -> None:
        if self._changes is not None:
            self._changes.close()
        self._changes = None

    def _tell(self, run_id: str | None) -> None:
        """Tell the subscribers of a run, or of the list; at the end all of them."""
        with self._lock:
            told = [it for it in self._onlookers if self._is_closed or it.run_id == run_id]
        for item in told:
            item.tell()
