"""Watching a run of another process in its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.cli import watch as watch_module
from taskgrove.cli.terminal import Terminal
from taskgrove.cli.watch import _Watched
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.events import TaskEvent
from taskgrove.store import Store
from taskgrove.store.history import History
from tests.store.recording import eventually, feed, life, new_recorder


class Kept:
    """A record that holds more and more of a run."""

    def __init__(self, location: Path) -> None:
        connections = SimpleNamespace(dialect="postgresql", alone=False)
        self.store = SimpleNamespace(location=str(location), connections=connections)
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


def test_an_event_that_is_kept_later_than_the_next_one_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "_SERVER_READ_S", 0.0)
    events = life("run-1", progress=5)
    record, shown = Kept(tmp_path / "runs.db"), Shown()
    row: Any = SimpleNamespace(run_id="run-1")
    watched = _Watched(Terminal(json=True), record, row, json=True)  # type: ignore[arg-type]
    for part in (events[:2], events[3:6], events[2:3], events[6:]):
        record.kept += part
        watched._show(shown)  # type: ignore[arg-type]
    assert shown.numbers == [event.sequence for event in events]


class Counted(History):
    """A record that counts how often its events are read."""

    reads = 0

    def events(self, run: Any, **which: Any) -> Iterator[TaskEvent]:
        self.reads += 1
        return super().events(run, **which)


def test_events_are_read_only_where_the_record_has_changed(tmp_path: Path) -> None:
    events, shown = life("run-1", progress=5), Shown()
    with Store.open(tmp_path / "runs.db") as store, new_recorder(store, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout("root"))
        feed(observe, events[:3])
        eventually(lambda: len(list(History(store).events("run-1"))) == 3)
        history = Counted(store)
        watched = _Watched(Terminal(json=True), history, history.find("run-1"), json=True)
        for _ in range(20):
            assert watched._frame(shown)  # type: ignore[arg-type]
        assert shown.numbers == [1, 2, 3]
        assert history.reads <= 10  # the runner gives its sign of life now and then
        feed(observe, events[3:])
        eventually(lambda: len(list(History(store).events("run-1"))) == len(events))
        watched._frame(shown)  # type: ignore[arg-type]
        assert shown.numbers == [event.sequence for event in events]
        watched._drop_changes()
