"""What a surface is shown of a run: its events in order, each once, and all of them at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from taskgrove.cli.follow import EventQueue, follow
from taskgrove.cli.interrupts import Interrupts
from taskgrove.cli.run_controls import RunControls
from taskgrove.events import ComposedDetail, TaskEvent
from taskgrove.story.run_node import RunNode
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

    def abort(self, reason: str | None = None, *, stop_finally: bool = False) -> None:
        raise AssertionError(reason, stop_finally)


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


class Pressed(Interrupts):
    """Interrupts that a test presses, one batch for each frame."""

    def __init__(self, *batches: int) -> None:
        super().__init__()
        self._batches = list(batches)

    def next_frame(self) -> None:
        self.count += self._batches.pop(0) if self._batches else 0


class Cleaning:
    """A run with a clean-up, which ends once that is stopped."""

    def __init__(self, interrupts: Pressed) -> None:
        self.asked: list[tuple[str | None, bool]] = []
        self._interrupts = interrupts

    def wait(self, timeout_s: float | None = None) -> bool:
        self._interrupts.next_frame()
        return (True in [stop for _, stop in self.asked]) and not self._interrupts._batches

    def abort(self, reason: str | None = None, *, stop_finally: bool = False) -> None:
        self.asked.append((reason, stop_finally))


class Told:
    """A surface that keeps the notices."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def show(self, events: Sequence[TaskEvent]) -> None:
        del events

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def close(self) -> None:
        """Nothing to end."""


class QuitAtOnceError(Exception):
    """The process would end here."""


def pressed(
    monkeypatch: pytest.MonkeyPatch, *batches: int, clean_up: bool = True
) -> tuple[Any, ...]:
    def quit_at_once(code: int) -> None:
        assert code == 5
        raise QuitAtOnceError

    monkeypatch.setattr("os._exit", quit_at_once)
    controls, interrupts, told = RunControls(), Pressed(*batches), Told()
    if clean_up:
        node = RunNode("o/finally", ComposedDetail("SEQUENTIAL", is_finally=True))
        controls.steps.know([node])
    run = Cleaning(interrupts)
    try:
        follow(
            run,
            EventQueue(),
            RunView(),
            told,
            grace_s=5.0,
            interrupts=interrupts,
            controls=controls,
        )
    except QuitAtOnceError:
        return run.asked, told.notices, True
    return run.asked, told.notices, False


@pytest.mark.parametrize("batches", [(1, 1), (0, 2)], ids=["one by one", "two at once"])
def test_the_second_interrupt_stops_the_clean_up(
    monkeypatch: pytest.MonkeyPatch, batches: tuple[int, ...]
) -> None:
    asked, notices, has_quit = pressed(monkeypatch, *batches)
    assert not has_quit
    assert asked == [("interrupted by Ctrl-C", False), ("interrupted by Ctrl-C again", True)]
    assert notices[-1].startswith("Ctrl-C again: the clean-up is stopped. Press Ctrl-C again to")


@pytest.mark.parametrize("batches", [(1, 1, 1), (1, 2), (3,)], ids=str)
def test_the_third_interrupt_quits_at_once(
    monkeypatch: pytest.MonkeyPatch, batches: tuple[int, ...]
) -> None:
    asked, notices, has_quit = pressed(monkeypatch, *batches)
    assert has_quit
    assert [stop for _, stop in asked] == [False, True]
    assert "quit immediately" in notices[-1]


def test_without_a_clean_up_the_second_interrupt_quits_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, _, has_quit = pressed(monkeypatch, 1, 1, clean_up=False)
    assert has_quit
    assert asked == [("interrupted by Ctrl-C", False)]
