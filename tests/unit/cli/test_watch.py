"""Watching a run of another process in its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from taskgrove.cli.terminal import Terminal
from taskgrove.cli.watch import _Watched
from taskgrove.events import TaskEvent
from tests.store.recording import life


class Kept:
    """A record that holds more and more of a run."""

    def __init__(self, location: Path) -> None:
        self.store = SimpleNamespace(location=str(location))
        self.kept: list[TaskEvent] = []

    def events(self, _run: object, *, first_sequence: int) -> Iterator[TaskEvent]:
        ordered = sorted(self.kept, key=lambda event: event.sequence)
        return iter([event for event in ordered if event.sequence >= first_sequence])


class Shown:
    """A surface that keeps what it is shown."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def show(self, events: list[TaskEvent]) -> None:
        self.numbers += [event.sequence for event in events]


def test_an_event_that_is_kept_later_than_the_next_one_is_not_missed(tmp_path: Path) -> None:
    events = life("run-1", progress=5)
    record, shown = Kept(tmp_path / "runs.db"), Shown()
    row: Any = SimpleNamespace(run_id="run-1")
    watched = _Watched(Terminal(json=True), record, row, json=True)  # type: ignore[arg-type]
    for part in (events[:2], events[3:6], events[2:3], events[6:]):
        record.kept += part
        watched._show(shown)  # type: ignore[arg-type]
    assert shown.numbers == [event.sequence for event in events]
