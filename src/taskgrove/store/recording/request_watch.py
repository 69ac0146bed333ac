"""Looks for requests of operators in the record, and hands them to the runs of this process.

One thread serves every run of a recorder. It waits for news of the record, and looks again from
time to time, because news may be lost. While the record cannot be read it tries again: a request
stays in the record until it is answered.

Threads: any thread may call :meth:`RequestWatch.add`, :meth:`RequestWatch.remove` and
:meth:`RequestWatch.stop`. ``_lock`` guards the runs, and whether a look is due; everything else
belongs to the watch's thread. A run is called without a lock.
"""

from __future__ import annotations

import logging
import selectors
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from taskgrove.clock import Clock
from taskgrove.events.steering_request import (
    Steer,
    SteeringAnswer,
    SteeringObjection,
    SteeringRequest,
)
from taskgrove.events.words import exception_text
from taskgrove.loops.loop import Loop, SelectorLoop
from taskgrove.steering.open_request import OpenRequest, RequestStage
from taskgrove.store.database.changes import ASKED, Changes
from taskgrove.store.recording.request_rows import decode_request
from taskgrove.store.store import Store

_LOGGER = logging.getLogger(__name__)

#: How often a SQLite file is looked at, in seconds.
LOOK_S: Final = 0.15
#: How often a server is asked that has not notified, in seconds.
SLOW_LOOK_S: Final = 2.0
#: How long after a failure it is tried again, in seconds.
_AGAIN_S: Final = 1.0

_OPEN: Final = (
    "SELECT r.run_id, q.request_id, q.body FROM requests q JOIN runs r ON r.run_key = q.run_key"
    " WHERE q.answered_ns IS NULL ORDER BY q.request_key"
)


class _Steered:
    """A run that takes requests, and those that it has taken, by id."""

    __slots__ = ("requests", "steer")

    def __init__(self, steer: Steer) -> None:
        self.steer = steer
        self.requests: dict[str, OpenRequest] = {}


class RequestWatch:
    """Hands the requests of a record to runs; see the module.

    Args:
        store_of: Returns the record, or None while it is not open.
        give: Takes the answer of a run.
        clock: The wall clock.
        is_server: Whether the record is on a server.
    """

    def __init__(
        self,
        store_of: Callable[[], Store | None],
        give: Callable[[str, SteeringAnswer], None],
        clock: Clock,
        *,
        is_server: bool,
    ) -> None:
        self._store_of = store_of
        self._give = give
        self._clock = clock
        self._loop: Loop = (SelectorLoop if is_server else Loop)("taskgrove-requests")
        self._period_s = SLOW_LOOK_S if is_server else LOOK_S
        self._lock = threading.Lock()
        self._runs: dict[str, _Steered] = {}
        self._is_due = False
        self._store: Store | None = None
        self._changes: Changes | None = None
        self._watched: int | None = None
        self._must_read = True
        self._is_failing = False

    def add(self, run_id: str, steer: Steer) -> None:
        """Hand a run its requests from now on."""
        with self._lock:
            self._runs[run_id] = _Steered(steer)
            starts, self._is_due = not self._is_due, True
        self._must_read = True
        if not starts:
            return
        try:  # a little later: many a run is over by then
            self._loop.after(LOOK_S, self._look)
        except RuntimeError as exc:
            self._is_due = False
            _LOGGER.warning("run %s takes no requests of other processes: %s", run_id, exc)

    def remove(self, run_id: str) -> None:
        """Hand a run nothing more."""
        with self._lock:
            self._runs.pop(run_id, None)

    def stop(self, timeout_s: float) -> None:
        """End the thread, waiting at most so long (in seconds)."""
        with self._lock:
            self._runs.clear()
        if self._loop.is_alive:
            self._loop.post(self._disconnect)
        ended = self._loop.stop(timeout_s)
        if ended and isinstance(self._loop, SelectorLoop):
            self._loop.close_descriptors()

    # -- on its own thread --------------------------------------------------------------------

    def _look(self) -> None:
        """Look for requests now, and again later while there are runs."""
        with self._lock:
            self._is_due = bool(self._runs)
            if not self._is_due:
                return
        again_s = self._period_s
        try:
            self._find()
            self._is_failing = False
        except Exception as exc:
            if not self._is_failing:
                _LOGGER.info("requests of operators cannot be read", exc_info=exc)
            self._is_failing, again_s = True, _AGAIN_S
            self._disconnect()
        self._loop.after(again_s, self._look)

    def _find(self) -> None:
        store = self._store_of()
        if store is None:
            return
        if self._changes is None or store is not self._store:
            self._connect(store)
        changes = self._changes
        assert changes is not None
        # The word of a server may be lost.
        if changes.look() or self._must_read or self._watched is not None:
            self._must_read = False
            self._read(changes)

    def _connect(self, store: Store) -> None:
        self._disconnect()
        self._store, self._changes = store, Changes(store.connections, ASKED)
        self._must_read = True
        if isinstance(self._loop, SelectorLoop):
            self._watched = self._changes.fileno()
            self._loop.watch(self._watched, selectors.EVENT_READ, self._on_news)

    def _disconnect(self) -> None:
        changes, self._changes = self._changes, None
        if changes is None:
            return
        if isinstance(self._loop, SelectorLoop) and self._watched is not None:
            self._loop.unwatch(self._watched)
            self._watched = None
        changes.close()

    def _on_news(self) -> None:
        """Look because a server has something to say, or has gone."""
        changes = self._changes
        if changes is None:
            return
        try:
            if changes.look():
                self._read(changes)
        except Exception as exc:
            _LOGGER.info("requests of operators cannot be read", exc_info=exc)
            self._disconnect()

    def _read(self, changes: Changes) -> None:
        self._hand_over(changes.rows(_OPEN))
        if self._watched is not None:  # what came meanwhile does not wake this thread
            while changes.look():
                self._hand_over(changes.rows(_OPEN))

    def _hand_over(self, rows: list[tuple[Any, ...]]) -> None:
        with self._lock:
            runs = dict(self._runs)
        still_open: dict[str, set[str]] = {run_id: set() for run_id in runs}
        for run_id, request_id, body in rows:
            run = runs.get(run_id)
            if run is None:  # another process', or over
                continue
            still_open[run_id].add(request_id)
            if request_id not in run.requests:
                self._steer(run_id, run, request_id, body)
        for run_id, run in runs.items():
            for request_id, asked in list(run.requests.items()):
                if request_id not in still_open[run_id] and asked.stage is RequestStage.ANSWERED:
                    asked.keep()
                    del run.requests[request_id]

    def _steer(self, run_id: str, run: _Steered, request_id: str, body: bytes) -> None:
        try:
            asked = OpenRequest(replace(decode_request(body), id=request_id))
        except Exception as exc:  # noqa: BLE001 - of a newer version, or no request at all
            asked = OpenRequest(SteeringRequest(id=request_id, verb="abort"))
            run.requests[request_id] = asked
            self._take_answer(run_id, asked, self._fault(request_id, exc))
            return
        run.requests[request_id] = asked
        asked.take()
        try:
            run.steer(asked.request, partial(self._take_answer, run_id, asked))
        except BaseException as exc:
            _LOGGER.exception("run %s: request %s failed", run_id, request_id)
            self._take_answer(run_id, asked, self._fault(request_id, exc))

    def _take_answer(self, run_id: str, asked: OpenRequest, answer: SteeringAnswer) -> None:
        told = replace(
            answer,
            request_id=asked.request.id,
            answered_ns=answer.answered_ns or self._clock.wall_ns(),
        )
        if asked.answer(told):
            self._give(run_id, told)

    def _fault(self, request_id: str, error: BaseException) -> SteeringAnswer:
        objection = SteeringObjection(reason="fault", said=exception_text(error))
        return SteeringAnswer(
            request_id=request_id,
            fate="refused",
            objections=(objection,),
            answered_ns=self._clock.wall_ns(),
        )
