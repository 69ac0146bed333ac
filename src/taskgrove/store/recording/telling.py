"""A recorder's reports of trouble, and the observers that it hands events on to.

Threads: the threads of the writer and of the watch call both classes; callbacks and observers run
outside the locks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from taskgrove.events import Observer, TaskEvent

_LOGGER = logging.getLogger(__name__)


class Teller:
    """Tells the operator of each trouble once, and when it is over.

    Args:
        on_trouble: Called with each text; None writes it to the log.
    """

    def __init__(self, on_trouble: Callable[[str], object] | None) -> None:
        self._on_trouble = on_trouble
        self._lock = threading.Lock()
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """The trouble of the moment, or None."""
        return self._trouble

    def begin(self, text: str) -> None:
        """Tell of trouble, unless earlier trouble is not over yet."""
        with self._lock:
            known = self._trouble is not None
            self._trouble = self._trouble or text
        if not known:
            self.say(text)

    def end(self, text: str) -> None:
        """Tell that the trouble is over; says nothing where there was none."""
        with self._lock:
            known = self._trouble is not None
            self._trouble = None
        if known:
            self.say(text)

    def say(self, text: str) -> None:
        """Tell something."""
        if self._on_trouble is None:
            _LOGGER.warning("%s", text)
            return
        try:
            self._on_trouble(text)
        except BaseException:  # even SystemExit must not end this thread
            _LOGGER.exception("the callback for trouble raised an error; the trouble: %s", text)


class Forwarder:
    """Hands events on to observers once they are kept, or trouble was told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._observers: dict[str, tuple[Observer, ...]] = {}
        self._sent: dict[str, set[int]] = {}
        # Events of the batch under way that the writer has handed on.
        self._handed: dict[str, list[list[TaskEvent]]] = {}

    def add(self, run_id: str, observer: Observer) -> None:
        """Have an observer hear the events of a run."""
        with self._lock:
            self._observers[run_id] = (*self._observers.get(run_id, ()), observer)

    def remove(self, run_id: str) -> None:
        """Forget a run."""
        with self._lock:
            self._observers.pop(run_id, None)
            self._sent.pop(run_id, None)

    def hears(self, run_id: str) -> bool:
        """Return True when somebody hears the events of a run."""
        return run_id in self._observers

    def send(self, run_id: str, events: Iterable[TaskEvent]) -> None:
        """Hand events on, without those that were handed on ahead of time."""
        observers = self._observers.get(run_id)
        if not observers:
            return
        with self._lock:
            sent = self._sent.get(run_id, ())
            batch = [event for event in events if event.sequence not in sent]
            self._handed.setdefault(run_id, []).append(batch)
        self._deliver(run_id, observers, batch)

    def batch_is_over(self) -> None:
        """Forget which events of the batch were handed on."""
        with self._lock:
            self._handed.clear()

    def send_ahead(self, run_id: str, left: Callable[[], Iterable[TaskEvent]]) -> None:
        """Hand on events that are not kept yet, because their writer is stuck or gone.

        Args:
            run_id: The run.
            left: Returns these events; called under the lock, so that the writer does not hand
                them on at the same moment.
        """
        observers = self._observers.get(run_id)
        if not observers:
            return
        with self._lock:
            sent = self._sent.setdefault(run_id, set())
            handed = {
                number
                for batch in self._handed.get(run_id, ())
                for event in batch
                for number in range(event.sequence_from or event.sequence, event.sequence + 1)
            }
            new = [e for e in left() if e.sequence not in sent and e.sequence not in handed]
            sent.update(event.sequence for event in new)
        self._deliver(run_id, observers, sorted(new, key=lambda event: event.sequence))

    def _deliver(
        self, run_id: str, observers: tuple[Observer, ...], events: Iterable[TaskEvent]
    ) -> None:
        for event in events:
            for observer in observers:
                try:
                    observer(event)
                except BaseException:  # even SystemExit must not end this thread
                    _LOGGER.exception("run %s: an observer of the record raised", run_id)
                    with self._lock:
                        left = self._observers.get(run_id, ())
                        self._observers[run_id] = tuple(o for o in left if o is not observer)
                    observers = tuple(o for o in observers if o is not observer)
