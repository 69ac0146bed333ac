"""The writer waits a little for company, and less where a crash would leave work unknown."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from taskgrove.control_model import TaskStatus
from taskgrove.events import Observer, ProgressDraft, SubtaskFacts, TaskEvent
from taskgrove.store.recording import inbox as inbox_module
from taskgrove.store.recording.inbox import Inbox, Item, Stop
from tests.store.recording import PATIENCE_S, event

#: As good as for ever: whoever waits so long is found out by ``PATIENCE_S``.
EVER_S = 3_600.0


class Collecting:
    """A writer that collects once, on a thread of its own."""

    def __init__(self, inbox: Inbox) -> None:
        self.items: list[Item] = []
        self._inbox = inbox
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        self.items = self._inbox.collect(EVER_S)

    def result(self) -> list[Item]:
        """Return what was collected."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the writer still waits"
        return self.items


def draft(sequence: int) -> ProgressDraft:
    return ProgressDraft(SubtaskFacts("run", "root/leaf"), sequence, 10, 1.0, 2)


def begin_or_end(kind: str) -> Callable[[Observer], object]:
    return lambda observe: observe(event("run", 9, kind=kind, status=TaskStatus.IN_PROGRESS))


@pytest.mark.parametrize("kind", ["started", "finished"])
@pytest.mark.parametrize("first", [True, False])
def test_what_begins_or_ends_is_written_without_waiting_for_company(
    monkeypatch: pytest.MonkeyPatch, kind: str, first: bool
) -> None:
    monkeypatch.setattr(inbox_module, "GATHER_S", EVER_S)
    inbox = Inbox(lambda _event: None)
    observe = inbox.observer()
    inbox._collected_at += EVER_S  # whatever the machine does: the writer was not busy
    if not first:
        observe(draft(1))  # type: ignore[arg-type] # it takes drafts
    collecting = Collecting(inbox)
    begin_or_end(kind)(observe)
    assert len(collecting.result()) == 2 - first


def test_progress_waits_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "GATHER_S", EVER_S)
    inbox = Inbox(lambda _event: None)
    observe = inbox.observer()
    collecting = Collecting(inbox)
    for number in range(1, 4):
        observe(event("run", number))
        observe(draft(number + 10))  # type: ignore[arg-type] # it takes drafts
    inbox.put(Stop())  # ... until something is put that nobody may wait with
    assert len(collecting.result()) == 7


def test_nobody_waits_longer_than_for_company(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "GATHER_S", 0.01)
    monkeypatch.setattr(inbox_module, "HURRY_S", EVER_S)
    inbox = Inbox(lambda _event: None)
    begin_or_end("started")(inbox.observer())
    assert len(Collecting(inbox).result()) == 1


def test_what_must_not_wait_ends_every_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "GATHER_S", EVER_S)
    monkeypatch.setattr(inbox_module, "HURRY_S", EVER_S)
    inbox = Inbox(lambda _event: None)
    begin_or_end("started")(inbox.observer())
    collecting = Collecting(inbox)
    inbox.put(Stop())
    assert len(collecting.result()) == 2


def test_a_writer_that_is_slow_rests_as_long_as_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    inbox = Inbox(lambda _event: None)
    monkeypatch.setattr(inbox, "_gather", rests.append)
    begin_or_end("started")(inbox.observer())
    came_back_at = time.monotonic()
    inbox._collected_at = came_back_at - 5.0
    inbox.collect(0)
    assert rests[0] >= came_back_at + 5.0


def test_a_queue_without_a_writer_keeps_no_events() -> None:
    past: list[TaskEvent] = []
    inbox = Inbox(past.append)
    observe = inbox.observer()
    observe(event("run", 1))
    assert [item.sequence for item in inbox.die() if isinstance(item, TaskEvent)] == [1]
    for number in range(2, 5):
        observe(event("run", number))
    assert [item.sequence for item in past] == [2, 3, 4]
    assert len(inbox) == 0
