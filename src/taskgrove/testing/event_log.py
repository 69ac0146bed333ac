"""An observer that keeps every event, and can wait for one.

Threads: every method may be called by any thread. ``_changed`` guards the list of
events; the predicates that callers hand in run outside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import EventKind, NoteDetail, TaskEvent

#: How long the blocking calls wait unless told otherwise, in seconds: a guard
#: against a test that hangs, far above the time that any of them should need.
WAIT_LIMIT_S: Final = 60.0

#: How many of the last events the text of a failed assertion shows.
_SHOWN: Final = 40


class EventLog:
    """Collects the events of a run; subscribe it to a bus, or pass it as an observer.

    ::

        log = EventLog()
        handle = executor.submit_main_task(task, observers=[log])
        log.wait_for(kind="finished", path="configure")
        log.assert_gapless()
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._events: list[TaskEvent] = []

    def __call__(self, event: TaskEvent) -> None:
        """Keep the event; this is the observer."""
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._events)

    @property
    def events(self) -> tuple[TaskEvent, ...]:
        """The events so far, in the order of their sequence numbers."""
        with self._changed:
            seen = tuple(self._events)
        return tuple(sorted(seen, key=lambda event: event.sequence))

    def of(self, path: str) -> tuple[TaskEvent, ...]:
        """Return the events of the node at ``path``, in order."""
        return self.select(path=path)

    def select(
        self,
        *,
        kind: EventKind | None = None,
        path: str | None = None,
        status: TaskStatus | None = None,
        topic: str | None = None,
        where: Callable[[TaskEvent], bool] | None = None,
    ) -> tuple[TaskEvent, ...]:
        """Return the events that meet every condition given, in order.

        Args:
            kind: The kind of event.
            path: The whole path of a node.
            status: The status that the event tells.
            topic: The topic of a note.
            where: A further condition.
        """
        return tuple(
            event
            for event in self.events
            if (kind is None or event.kind == kind)
            and (path is None or event.path == path)
            and (status is None or event.status == status)
            and (topic is None or _topic(event) == topic)
            and (where is None or where(event))
        )

    def wait_for(
        self,
        *,
        kind: EventKind | None = None,
        path: str | None = None,
        status: TaskStatus | None = None,
        topic: str | None = None,
        where: Callable[[TaskEvent], bool] | None = None,
        count: int = 1,
        timeout_s: float = WAIT_LIMIT_S,
    ) -> TaskEvent:
        """Block until events that meet the conditions have come; those before the call count.

        Args:
            kind: As in :meth:`select`.
            path: As in :meth:`select`.
            status: As in :meth:`select`.
            topic: As in :meth:`select`.
            where: As in :meth:`select`.
            count: How many such events must have come, from 1.
            timeout_s: How long to wait, in seconds.

        Returns:
            The ``count``-th such event.

        Raises:
            AssertionError: They did not come in time; the text lists the events that did.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            seen = len(self._events)
            found = self.select(kind=kind, path=path, status=status, topic=topic, where=where)
            if len(found) >= count:
                return found[count - 1]
            with self._changed:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait_for(partial(self._holds_more_than, seen), left)
        given = {"kind": kind, "path": path, "status": status, "topic": topic, "where": where}
        wanted = ", ".join(
            f"{name}={value!r}" for name, value in given.items() if value is not None
        )
        raise AssertionError(
            f"{len(found)} of {count} events with {wanted or 'any content'} came"
            f" within {timeout_s:g} s; {self._told()}"
        )

    def statuses(self, path: str) -> tuple[TaskStatus, ...]:
        """Return the statuses that the node went through, without repetitions in a row."""
        passed: list[TaskStatus] = []
        for event in self.of(path):
            if event.status is not None and passed[-1:] != [event.status]:
                passed.append(event.status)
        return tuple(passed)

    def assert_gapless(self, first: int | None = 1) -> None:
        """Check that every sequence number of the run came exactly once.

        A coalesced event counts for the range that it replaces.

        Args:
            first: The number that the log must begin with; None for a log that was
                subscribed in the midst of a run.

        Raises:
            AssertionError: A number is missing or came twice, or events are of several runs.
        """
        events = self.events
        runs = {event.run_id for event in events}
        if len(runs) > 1:
            raise AssertionError(f"events of {len(runs)} runs in one log: {sorted(runs)}")
        expected = first
        for event in events:
            begin = event.sequence if event.sequence_from is None else event.sequence_from
            if expected is not None and begin != expected:
                what = "missing" if begin > expected else "there twice"
                raise AssertionError(
                    f"event {min(expected, begin)} is {what}: expected {expected},"
                    f" then came {_line(event)}"
                )
            expected = event.sequence + 1

    def assert_one_end(self, path: str, status: TaskStatus | None = None) -> TaskEvent:
        """Check that the node ended exactly once and told no status or progress afterwards.

        Args:
            path: The node.
            status: The status that it must have ended with; None accepts any.

        Returns:
            The ``finished`` event.

        Raises:
            AssertionError: It did not end, ended twice, otherwise, or went on afterwards.
        """
        ends = self.select(kind="finished", path=path)
        if len(ends) != 1:
            raise AssertionError(f"{path} ended {len(ends)} times; {self._told(path)}")
        [end] = ends
        if status is not None and end.status != status:
            raise AssertionError(
                f"{path} ended {_name(end.status)}, not {_name(status)}: {end.message}"
            )
        late = [e for e in self.of(path) if e.sequence > end.sequence and e.kind != "note"]
        if late:
            raise AssertionError(f"{path} went on after its end: {_line(late[0])}")
        return end

    def _holds_more_than(self, count: int) -> bool:
        return len(self._events) > count

    def _told(self, path: str | None = None) -> str:
        events = self.events if path is None else self.of(path)
        about = "" if path is None else f" of {path}"
        if not events:
            return f"no event{about} came"
        shown = "\n".join(f"  {_line(event)}" for event in events[-_SHOWN:])
        return f"the last of {len(events)} events{about}:\n{shown}"


def _topic(event: TaskEvent) -> str | None:
    return event.detail.topic if isinstance(event.detail, NoteDetail) else None


def _name(value: TaskStatus | ResultCode | None) -> str:
    return "no status" if value is None else value.name


def _line(event: TaskEvent) -> str:
    parts = [f"#{event.sequence}", event.path, event.kind]
    if event.status is not None:
        parts.append(event.status.name)
    if event.result_code is not None:
        parts.append(event.result_code.name)
    if event.progress is not None:
        parts.append(f"{event.progress} %")
    if (topic := _topic(event)) is not None:
        parts.append(f"[{topic}]")
    if event.message:
        parts.append(repr(event.message[:200]))
    return " ".join(parts)
