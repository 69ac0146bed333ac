"""What an analysis tells while it runs, and who hears it.

Threads: any thread may call every method of :class:`EventDelivery`. ``_lock`` guards the
callbacks and the history, and is not held while a callback runs. The callbacks of one analysis
are called one at a time and in order, on a few threads that all analyses share and that supervise
nothing: a callback that hangs delays no analysis; the end waits for it at most
:data:`HEARD_WITHIN_S`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.outcome import AnalysisOutcome
from taskgrove.loops.outbox import Outbox

_LOGGER = logging.getLogger(__name__)

AnalysisEventKind: TypeAlias = Literal[
    "started", "progress", "log", "result", "failed", "stopped", "resumed", "cancelled", "done"
]
#: Every kind of event, in the order of an analysis' life.
KINDS: Final[tuple[AnalysisEventKind, ...]] = get_args(AnalysisEventKind)

#: How many events may wait for slow callbacks before the analysis itself is made to wait.
MANY: Final = 4096
#: How many events somebody who subscribes late gets to hear.
REMEMBERED: Final = 1000
#: How long the end of an analysis waits for its callbacks, in seconds.
HEARD_WITHIN_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisEvent:
    """One thing that an analysis, or its executor, has told.

    Attributes:
        kind: ``started``; ``progress``; ``log``; ``stopped`` and ``resumed``; one of ``result``
            (COMPLETED), ``failed`` (FAILED, TIMEDOUT) and ``cancelled``; and last, ``done``.
        analysis: The analysis' name.
        wall_ns: UTC, nanoseconds since the epoch.
        status: The analysis' status after the event.
        progress: Percent done, 0..100, or None where not known.
        text: The message, the line of the log, or the cause.
        level: The level of a line of the log, as :mod:`logging` counts them.
        source: Who said a line of the log: ``analysis`` (its logger), ``stdout``, ``stderr`` or
            ``executor``.
        outcome: The outcome, with ``result``, ``failed``, ``cancelled`` and ``done``.
    """

    kind: AnalysisEventKind
    analysis: str
    wall_ns: int
    status: TaskStatus
    progress: float | None = None
    text: str = ""
    level: int = logging.INFO
    source: str = ""
    outcome: AnalysisOutcome | None = None


Callback: TypeAlias = Callable[[AnalysisEvent], object]


class EventDelivery:
    """Brings the events of one analysis to its callbacks.

    Args:
        submit: Runs a function on another thread, soon.
        callbacks: Who hears everything.
    """

    def __init__(
        self, submit: Callable[[Callable[[], object]], object], callbacks: Iterable[Callback] = ()
    ) -> None:
        self._lock = threading.Lock()
        self._callbacks = tuple(callbacks)
        self._history: deque[AnalysisEvent] = deque(maxlen=REMEMBERED)
        self._outbox: Outbox[tuple[AnalysisEvent, tuple[Callback, ...]]]
        self._outbox = Outbox(submit, self._deliver)
        self._on_few: Callable[[], object] | None = None

    @property
    def has_callbacks(self) -> bool:
        """Whether anybody listens."""
        return bool(self._callbacks)

    @property
    def pending(self) -> int:
        """How many events wait for callbacks."""
        return len(self._outbox)

    def subscribe(self, callback: Callback) -> None:
        """Have ``callback`` called with every event, those of the past first.

        Of a long past it hears the last :data:`REMEMBERED`.
        """
        with self._lock:
            self._callbacks = (*self._callbacks, callback)
            self._outbox.put(*((event, (callback,)) for event in self._history))

    def publish(self, event: AnalysisEvent) -> None:
        """Bring an event to all callbacks."""
        with self._lock:
            self._history.append(event)
            if self._callbacks:
                self._outbox.put((event, self._callbacks))

    def when_few(self, function: Callable[[], object]) -> None:
        """Have ``function`` called once, by any thread, when few events wait."""
        with self._lock:
            if self.pending > MANY // 2:
                self._on_few = function
                return
        function()

    def wait_heard(self, limit_s: float = HEARD_WITHIN_S) -> bool:
        """Wait until the callbacks have heard everything; False: not within the limit.

        Called by a callback it returns at once.
        """
        return self._outbox.wait_idle(limit_s)

    def _deliver(self, item: tuple[AnalysisEvent, tuple[Callback, ...]]) -> None:
        few = None
        with self._lock:
            if self.pending <= MANY // 2:
                few, self._on_few = self._on_few, None
        if few is not None:
            few()
        event, callbacks = item
        for callback in callbacks:
            _call(callback, event)


def _call(callback: Callback, event: AnalysisEvent) -> None:
    began = time.monotonic()
    try:
        callback(event)
    except BaseException:  # also one that exits: what follows must still be heard
        _LOGGER.exception("a callback of analysis %s raised on %s", event.analysis, event.kind)
    took = time.monotonic() - began
    if took > HEARD_WITHIN_S:
        _LOGGER.warning(
            "a callback of analysis %s took %.1f s on %s", event.analysis, took, event.kind
        )
