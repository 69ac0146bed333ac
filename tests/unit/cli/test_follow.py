"""What a surface is shown of a run: its events in order, each once, and all of them at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from taskgrove.cli.follow import EventQueue, follow
from taskgrove.events import TaskEvent
from taskgrove.view.snapshot import RunView
from tests.unit.event_streams import beam_run


class Frames:
    """A surface that keeps what it is shown."""

    def __init__(self) -> None:
        self.shown: list[list[TaskEvent]] = []

    def show(self, events: Sequence[TaskEvent]) -> None:
        self.shown.append(list(events))

    def notice(self, text: str) -> None:
        raise AssertionError(text)

    def close(self) -> None:
        """Nothing to end."""


class Run:
    """A run whose threads hand over events between frames, one frame after the other."""

    def __init__(self, events: EventQueue, frames: list[list[TaskEvent]]) -> None:
        self._events = events
        self._frames = frames

    def wait(self, timeout_s: float | None = None) -> bool:
        for event in self._frames.pop(0):
            self._events(event)
        return not self._frames

    def abort(self, reason: str | None = None) -> None:
        raise AssertionError(reason)


def test_events_that_frames_tear_apart_are_shown_in_order_and_all_of_them_at_the_end() -> None:
    ahead_s = time.monotonic() + 1_000.0  # however slow the machine: none has waited long enough
    events = [msgspec.structs.replace(event, monotonic_s=ahead_s) for event in beam_run(2)]
    never_came = events.pop(-3)
    frames = [[*events[:3], *reversed(events[4:9])], [events[3], *events[9:], events[0]], []]
    queue, view, surface = EventQueue(), RunView(), Frames()
    assert follow(Run(queue, frames), queue, view, surface, grace_s=0) == 0
    assert [event for shown in surface.shown for event in shown] == events
    assert [len(shown) for shown in surface.shown] == [3, len(events) - 5, 0, 2]
    assert view.root is not None
    assert view.root.state == "completed"
    assert never_came.sequence == events[-2].sequence - 1
