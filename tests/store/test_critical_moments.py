"""What comes to a recorder, or to a recovery, at the worst moment; each is held open here."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from taskgrove import TaskStatus
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import UsageError
from taskgrove.events import NoteDetail, TaskEvent
from taskgrove.recovery import lost_run_recovery as recovery
from taskgrove.store import Recorder, Store
from taskgrove.store.database import held_files
from taskgrove.store.recording import record_link as link_module
from taskgrove.store.recording import saving as saving_module
from taskgrove.store.recording import spill as spill_module
from taskgrove.store.recording import writer as writer_module
from taskgrove.store.recording.inbox import Begin, End, Inbox, Item
from taskgrove.store.recording.run_writer import RunWriter
from taskgrove.store.recording.spill import Spill, orphans_of, take_orphan
from taskgrove.store.recording.spill_file import EventEntry
from taskgrove.store.recording.writer import Writer
from taskgrove.store.tables import runs
from tests.recovery.cut_runs import cut
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import (
    OK,
    PATIENCE_S,
    Troubles,
    end_and_wait,
    event,
    eventually,
    feed,
    kept,
    life,
    new_recorder,
    run_recorded,
)

#: As good as for ever: whoever waits so long is found out by ``PATIENCE_S``.
EVER_S = 3_600.0


class Held:
    """Holds whoever calls it until it is let go."""

    def __init__(self) -> None:
        self.reached, self.let_go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.let_go.wait(PATIENCE_S)


@pytest.fixture
def hangs(monkeypatch: pytest.MonkeyPatch) -> Held:
    """A writer that hangs in the first write of a run's end."""
    held, write_run = Held(), RunWriter._write_run

    def slowly(self: RunWriter, cursor: Any, state: Any, *more: Any) -> None:
        if state.ending is not None:
            held()
        write_run(self, cursor, state, *more)

    monkeypatch.setattr(RunWriter, "_write_run", slowly)
    return held


# -- whoever waits for an end -----------------------------------------------------------------


def test_who_waits_is_let_go_when_a_recorder_is_closed_whose_writer_hangs(
    tmp_path: Path, hangs: Held
) -> None:
    recorder = new_recorder(tmp_path / "runs.db", tmp_path, patience_s=EVER_S)
    feed(recorder.begin_run("run-1", RunAbout()), life("run-1"))
    released, late = threading.Event(), threading.Event()
    recorder.end_run("run-1", OK, released.set)
    assert hangs.reached.wait(PATIENCE_S)
    recorder._patience_s = PATIENCE_S
    try:
        recorder.close(0.0)
        assert released.wait(PATIENCE_S)
        recorder.end_run("run-2", OK, late.set)  # nobody watches any more
        assert late.is_set()
    finally:
        hangs.let_go.set()
        recorder._thread.join(PATIENCE_S)
    kept(tmp_path / "runs.db", "run-1").assert_final()


def test_one_waiter_that_raises_does_not_keep_the_others_waiting(
    tmp_path: Path, hangs: Held
) -> None:
    released = threading.Event()

    def raises() -> None:
        raise ValueError("its handle is broken")

    with new_recorder(tmp_path / "runs.db", tmp_path) as recorder:
        for name in ("run-1", "run-2"):
            feed(recorder.begin_run(name, RunAbout()), life(name))
        recorder._patience_s = 0.0
        recorder.end_run("run-1", OK, raises)
        assert hangs.reached.wait(PATIENCE_S)
        recorder.end_run("run-2", OK, released.set)
        try:
            assert released.wait(PATIENCE_S)
        finally:
            recorder._patience_s = PATIENCE_S
            hangs.let_go.set()


def test_a_run_that_begins_while_the_recorder_is_closed_says_that_it_is_not_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles, put = Troubles(), Inbox.put
    recorder = new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles, patience_s=EVER_S)

    def after_the_end(self: Inbox, item: Item) -> None:
        if isinstance(item, Begin):
            recorder.close()
        put(self, item)

    monkeypatch.setattr(Inbox, "put", after_the_end)
    beginning = threading.Thread(target=recorder.begin_run, args=("run-1", RunAbout()), daemon=True)
    beginning.start()
    beginning.join(PATIENCE_S)
    assert not beginning.is_alive()
    assert troubles.texts == ["run run-1 is not recorded: the recorder is closed"]


# -- what is handed on ------------------------------------------------------------------------


def test_nothing_is_handed_on_twice_when_the_writer_goes_on_in_that_moment(
    tmp_path: Path,
) -> None:
    """The watch is late: what is under way was written meanwhile, and is being handed on."""
    held, seen = Held(), list[int]()

    def observe(item: TaskEvent) -> None:
        seen.append(item.sequence)
        if item.sequence == 2:
            held()

    with new_recorder(tmp_path / "runs.db", tmp_path, patience_s=0.01) as recorder:
        handed = recorder.begin_run("run-1", RunAbout())
        recorder.forward("run-1", observe)
        feed(handed, life("run-1"))
        assert held.reached.wait(PATIENCE_S)
        end_and_wait(recorder, "run-1")  # released by the watch: the writer is held
        held.let_go.set()
    assert sorted(seen) == list(range(1, 7))
    kept(tmp_path / "runs.db", "run-1").assert_final()


# -- outages ----------------------------------------------------------------------------------


def test_a_late_event_of_a_run_whose_record_is_gone_does_not_keep_others_from_it(
    tmp_path: Path,
) -> None:
    file, troubles = tmp_path / "runs.db", Troubles()
    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, life("run-1"))
        end_and_wait(recorder, "run-1")
        for name in ("runs.db", "runs.db-wal", "runs.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        observe(event("run-1", 7, path="root", kind="note", detail=NoteDetail("late", {})))
        troubles.wait_for("was removed")
        assert run_recorded(recorder, "run-2").status is TaskStatus.COMPLETED
        troubles.wait_for("run run-1 is not recorded")
        troubles.wait_for("is written again")
    kept(file, "run-2").assert_final()


def test_what_an_earlier_process_left_unreadable_costs_no_run_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> list[str]:
        raise ValueError("an entry of another version")

    troubles = Troubles()
    monkeypatch.setattr(saving_module, "adopt", fails)
    with new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles) as recorder:
        assert run_recorded(recorder, "run-1").status is TaskStatus.COMPLETED
        troubles.wait_for("an entry of another version")
    kept(tmp_path / "runs.db", "run-1").assert_final()


def test_a_spill_that_is_taken_for_an_orphan_while_it_is_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = fcntl.flock, list[Path]()

    def after_another_process(fd: int, how: int) -> None:
        if not taken:
            (path,) = orphans_of("here", tmp_path)
            taken.append(path)
            other = take_orphan(path)
            assert other is not None
            path.unlink()
            os.close(other)
        lock(fd, how)

    monkeypatch.setattr(spill_module.fcntl, "flock", after_another_process)
    spill = Spill("here", 10_000, tmp_path)
    assert spill.add([EventEntry("run-1", 1, b"x")]) == []
    assert spill.durable
    assert spill.path is not None
    assert spill.path.exists()
    spill.close()


def test_a_connection_that_cannot_be_set_up_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Store.open(tmp_path / "runs.db") as store:
        link = link_module.Link(store, lambda: store)
        monkeypatch.setattr(link_module, "_inode_of", fails)
        before = held_files._HELD.total()
        with pytest.raises(OSError, match="Input/output") as caught, link.transaction():
            pass
        assert held_files._HELD.total() == before, caught  # its traceback knows the connection
        link.close()


def test_a_sign_of_life_that_cannot_be_given_is_not_tried_without_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    recorder: list[Recorder] = []

    def fails(self: RunWriter, *_: object) -> None:
        tries.append(recorder[0]._writer._timeout_s())
        raise ValueError("a bug")

    with new_recorder(tmp_path / "runs.db", tmp_path) as made:
        recorder.append(made)
        feed(made.begin_run("run-1", RunAbout()), life("run-1")[:2])
        monkeypatch.setattr(RunWriter, "heartbeat", fails)
        made._saver.beat_at = 0.0
        feed(made.begin_run("run-2", RunAbout()), life("run-2")[:2])
        eventually(lambda: bool(tries))
        assert tries[0] > 0
        monkeypatch.undo()


def test_the_end_of_a_run_waits_for_an_event_that_another_thread_is_about_to_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, ended, step = threading.Event(), threading.Event(), Writer._step

    def looks(writer: Writer, items: Sequence[Item], *, last: bool) -> None:
        step(writer, items, last=last)
        if any(isinstance(item, End) for item in items):
            for _ in range(3):  # as it does while it waits
                step(writer, (), last=last)
            looked.set()

    monkeypatch.setattr(writer_module, "STRAGGLERS_S", EVER_S)
    monkeypatch.setattr(Writer, "_step", looks)
    *told, late, last = life("run-1")
    with new_recorder(tmp_path / "runs.db", tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, [*told, last])
        recorder.end_run("run-1", OK, ended.set)
        assert looked.wait(PATIENCE_S)
        was_kept = ended.is_set()
        feed(observe, [late])
        assert ended.wait(PATIENCE_S)
    assert not was_kept
    kept(tmp_path / "runs.db", "run-1").assert_final()


# -- recovery ---------------------------------------------------------------------------------


def test_a_run_that_was_recovered_and_lost_again_meanwhile_is_not_claimed_by_an_old_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        run_recorded(recorder, "run-1")
    check: Callable[..., None] = recovery._check_followable
    with Store.open(file) as store:
        cut(store, "run-1", 8)

        def meanwhile(*given: Any, **named: Any) -> None:
            check(*given, **named)
            with tables_of(store) as connection:  # somebody came further, and was lost as well
                connection.execute(update(runs).values(last_sequence=12))

        monkeypatch.setattr(recovery, "_check_followable", meanwhile)
        with pytest.raises(UsageError, match="by another process"):
            recovery.recover(store, "run-1")
    assert kept(file, "run-1").run["state"] == "lost"
