"""Every cell of the recorder's tables of states, walked with the real machines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.run_recorder import ResumeClaim, RunAbout
from taskgrove.errors import StoreError
from taskgrove.store.recording import inbox, recorded_run, saving
from taskgrove.store.recording.inbox import Begin, BeginRequest, BeginStage, End
from taskgrove.store.recording.recorded_run import Ending, RecordedRun, RecordRequest, RunStage
from taskgrove.store.recording.saving import Saver, SaverRequest, SaverStage
from taskgrove.store.recording.writer import Writer
from tests.moves_walk import walk_cells
from tests.store.recording import OK, PATIENCE_S, Troubles, new_recorder

ENDING = Ending(5, 0, None, "", 7)


def none_refused(_machine: object) -> int:
    return 0


def run() -> RecordedRun:
    return RecordedRun("run-1", {"run_id": "run-1", "created_ns": 5}, {})


ASKED_OF_A_RUN: dict[RecordRequest, Callable[[RecordedRun], object]] = {
    RecordRequest.KEEP: lambda state: state.kept(1),
    RecordRequest.END: lambda state: state.end(ENDING),
    RecordRequest.FINISH: lambda state: state.committed(lazy=True),
    RecordRequest.GIVE_UP: lambda state: state.give_up("a fault"),
    RecordRequest.START_OVER: lambda state: state.start_over(),
}


def run_in(stage: RunStage) -> RecordedRun:
    way = {
        RunStage.NEW: [],
        RunStage.KEPT: [RecordRequest.KEEP],
        RunStage.ENDED: [RecordRequest.KEEP, RecordRequest.END],
        RunStage.FINAL: [RecordRequest.KEEP, RecordRequest.END, RecordRequest.FINISH],
        RunStage.BROKEN: [RecordRequest.GIVE_UP],
    }[stage]
    state = run()
    for request in way:
        ASKED_OF_A_RUN[request](state)
    return state


def test_the_record_of_a_run_moves_as_its_table_says() -> None:
    walk_cells(
        recorded_run.MOVES,
        run_in,
        lambda state, request: ASKED_OF_A_RUN[request](state),
        lambda state: state.stage,
        none_refused,
    )


def test_a_second_end_changes_nothing() -> None:
    for stage in RunStage:
        state = run_in(stage)
        before = state.ending
        state.end(ENDING._replace(status=6))
        moved = stage in (RunStage.NEW, RunStage.KEPT)
        assert (state.ending is not before) is moved


def begin_in(stage: BeginStage) -> Begin:
    begin = Begin(run())
    if stage is not BeginStage.ASKED:
        begin.ask(BeginRequest.TAKE)
        name = {"TAKEN": "TAKE", "KEPT": "KEEP", "REFUSED": "REFUSE", "LEFT": "LEAVE"}
        begin.ask(BeginRequest[name.get(stage.name, "WITHDRAW")])
    return begin


def test_the_begin_of_a_run_moves_as_its_table_says() -> None:
    walk_cells(inbox.MOVES, begin_in, Begin.ask, lambda begin: begin.stage, none_refused)
    for stage in BeginStage:
        waits = stage in (BeginStage.ASKED, BeginStage.TAKEN)
        assert begin_in(stage).done.is_set() is not waits


def test_a_saver_moves_as_its_table_says(tmp_path: Path) -> None:
    made: list[Any] = []

    def saver_in(stage: SaverStage) -> Saver:
        made.append(new_recorder(tmp_path / "runs.db", tmp_path))
        found: Saver = made[-1]._saver
        if stage is SaverStage.ASIDE:
            found.move(SaverRequest.FAIL)
        elif stage is SaverStage.OVER:
            made[-1].close()
        return found

    try:
        walk_cells(saving.MOVES, saver_in, Saver.move, lambda it: it.stage, none_refused)
    finally:
        for recorder in made:
            recorder.close()


@pytest.mark.parametrize("claims", [False, True])
def test_a_run_does_not_wait_for_a_writer_that_died_with_its_begin_in_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, claims: bool
) -> None:
    real, troubles = Writer._sort_in, Troubles()

    def dies(self: Writer, items: Any) -> Any:
        found = real(self, items)
        if any(isinstance(item, Begin) for item in items):
            raise SystemExit("the writer is gone")
        return found

    monkeypatch.setattr(Writer, "_sort_in", dies)
    claim = ResumeClaim(1, ()) if claims else None
    told: list[BaseException | None] = []
    recorder = new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles, patience_s=3600.0)

    def begin() -> None:
        try:
            recorder.begin_run("run-1", RunAbout(claim=claim))
            told.append(None)
        except StoreError as exc:
            told.append(exc)

    thread = threading.Thread(target=begin, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the run waits for a writer that is gone"
    assert "SystemExit: the writer is gone" in troubles.wait_for("the recorder failed")
    if claims:
        assert "was not started" in str(told[0])
    else:
        assert told == [None]
        troubles.wait_for("run run-1 is not recorded")
    recorder.close()


def test_an_end_in_the_hands_of_a_writer_that_dies_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, released = Writer._sort_in, threading.Event()

    def dies(self: Writer, items: Any) -> Any:
        if any(isinstance(item, End) for item in items):
            raise SystemExit("the writer is gone")
        return real(self, items)

    monkeypatch.setattr(Writer, "_sort_in", dies)
    troubles = Troubles()
    recorder = new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles, patience_s=3600.0)
    recorder.begin_run("run-1", RunAbout())
    recorder.end_run("run-1", OK, released.set)
    assert released.wait(PATIENCE_S)
    recorder.close()
