"""What an outage keeps aside, and what it may leave out: unit tests without a database."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskgrove import TaskStatus
from taskgrove.control_model import ResultCode
from taskgrove.events import TaskEvent, encode_event
from taskgrove.store.recording import inbox as inbox_module
from taskgrove.store.recording.inbox import Begin, End, Inbox, Waiter
from taskgrove.store.recording.outage import Outage
from taskgrove.store.recording.recorded_run import Ending, KeptEvent, RecordedRun
from taskgrove.store.recording.spill import Spill
from taskgrove.store.recording.spill_file import EndEntry, EventEntry, RunEntry, read_entries
from taskgrove.store.recording.telling import Teller
from tests.store.recording import event, life

RECORD = "runs.db"
ENDING = Ending(int(TaskStatus.COMPLETED), int(ResultCode.OK), None, "", 7)


def ended(run_id: str = "run") -> RecordedRun:
    state = going_on(run_id)
    state.end(ENDING)
    return state


def going_on(run_id: str = "run") -> RecordedRun:
    return RecordedRun(run_id, {"run_id": run_id, "created_ns": 5}, {})


def outage_of(spill: Spill) -> Outage:
    outage = Outage(spill, Teller(lambda _: None), RECORD)
    outage.begin(OSError("gone"))
    return outage


def kept(events: list[TaskEvent]) -> list[KeptEvent]:
    return [(item.sequence, encode_event(item), item) for item in events]


def entries_of(spill: Spill) -> list[RunEntry | EventEntry | EndEntry]:
    assert spill.path is not None
    fd = os.open(spill.path, os.O_RDONLY)
    try:
        return [entry for entry, _ in read_entries(fd)]
    finally:
        os.close(fd)


def test_what_is_kept_aside_is_flushed_before_anybody_counts_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: dict[int, int] = {}
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        flushed[os.fstat(fd).st_ino] = os.fstat(fd).st_size

    monkeypatch.setattr(os, "fsync", fsync)
    spill = Spill(RECORD, 10**6, tmp_path)
    state, outage = going_on(), outage_of(spill)
    for events in (life("run")[:3], life("run")[3:]):
        outage.keep([state], [(state, kept(events))])
        assert spill.path is not None
        found = spill.path.stat()
        assert flushed[found.st_ino] == found.st_size
    state.end(ENDING)
    outage.keep([state], [])
    assert flushed[spill.path.stat().st_ino] == spill.path.stat().st_size
    assert outage.is_safe_for(state)
    spill.close()


def test_an_end_that_is_only_in_memory_is_not_safe(tmp_path: Path) -> None:
    no_folder = tmp_path / "file"
    no_folder.touch()
    state, outage = ended(), outage_of(Spill(RECORD, 10**6, no_folder))
    outage.keep([state], [(state, kept(life("run")))])
    assert not outage.is_safe_for(state)


def test_an_end_that_was_kept_before_its_disk_filled_up_is_not_safe_without_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = Spill(RECORD, 10**6, tmp_path)
    state, outage = going_on(), outage_of(spill)
    outage.keep([state], [(state, kept(life("run")[:2]))])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    state.end(ENDING)
    outage.keep([state], [(state, kept(life("run")[2:]))])
    assert not outage.is_safe_for(state)
    spill.close()


def test_an_end_for_which_there_is_no_room_is_not_safe_and_stays_owed(tmp_path: Path) -> None:
    spill = Spill(RECORD, 700, tmp_path)
    state, outage = going_on(), outage_of(spill)
    outage.keep([state], [(state, kept([event("run", n) for n in range(1, 20)]))])
    state.end(ENDING)
    outage.keep([state], [])
    assert not any(isinstance(entry, EndEntry) for entry in entries_of(spill))
    assert not outage.is_safe_for(state)
    # As soon as there is room again, the end is kept, too.
    spill._limit = 10**6
    outage.keep([state], [])
    assert entries_of(spill)[-1] == EndEntry("run", tuple(ENDING))
    assert outage.is_safe_for(state)
    spill.close()


def test_where_room_is_short_progress_goes_and_ends_stay(tmp_path: Path) -> None:
    spill = Spill(RECORD, 10_000, tmp_path)
    state, outage = going_on(), outage_of(spill)
    number = 0
    while not spill.is_crowded:
        number += 1
        outage.keep([state], [(state, kept([event("run", number)]))])
    last = life("run", progress=number)
    state.end(ENDING)
    outage.keep([state], [(state, kept(last[number:]))])
    kinds = [
        next(item for item in last if item.sequence == entry.sequence).kind
        for entry in entries_of(spill)
        if isinstance(entry, EventEntry) and entry.sequence > number
    ]
    assert kinds == ["finished"]
    assert isinstance(entries_of(spill)[-1], EndEntry)
    assert outage.is_safe_for(state)
    spill.close()


def test_a_crowded_queue_loses_progress_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "CROWD", 5)
    inbox = Inbox(lambda _: None)
    observe = inbox.observer()
    begin = Begin(going_on())
    inbox.put(begin)
    for item in life("run", progress=50):
        observe(item)
    end = End("run", ENDING, Waiter("run", lambda: None))
    inbox.put(end)
    for number in range(60, 80):  # another run's, while the queue is crowded still
        observe(event("other", number))
    observe(life("other")[-1])
    left = inbox.collect(0.0)
    assert left[0] is begin
    assert end in left
    told = [item for item in left if isinstance(item, TaskEvent)]
    kinds = [item.kind for item in told if item.kind != "progress"]
    assert kinds == ["composed", "started", "finished", "finished"]
    assert len(told) - len(kinds) <= 5


def test_what_came_behind_the_progress_that_is_too_much_stays() -> None:
    inbox = Inbox(lambda _: None)
    end = End("run", ENDING, Waiter("run", lambda: None))
    inbox.put(end)
    inbox._leave_out_one()  # another thread was quicker with the end
    assert inbox.collect(0.0) == [end]
