"""The recorder keeps what happens, in SQLite and in PostgreSQL alike."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from taskgrove import LeafTask, MainTaskExecutor, Task, TaskStatus, run
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import StoreError
from taskgrove.events import AnalysisDetail, NoteDetail, PageDetail, TaskEvent
from taskgrove.recovery.finding_lost import find_lost
from taskgrove.redaction import REDACTED
from taskgrove.store import History, Recorder, Store
from taskgrove.testing import EventLog
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import (
    PATIENCE_S,
    Kept,
    Troubles,
    busy_writer,
    end_and_wait,
    event,
    eventually,
    feed,
    kept,
    life,
    new_recorder,
    run_recorded,
    tree,
)


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_is_recorded_whole(record_url: str, tmp_path: Path, fails: bool) -> None:
    log = EventLog()
    with new_recorder(record_url, tmp_path) as recorder:
        recorder.forward("run-1", log)
        outcome = run_recorded(recorder, "run-1", tree(4, fails=fails))
        found = kept(record_url, "run-1")  # while the recorder is open still
    found.assert_final()
    assert tuple(found.events) == log.events
    row = found.run
    assert row["status"] == outcome.status
    assert row["result_code"] == outcome.result
    assert row["message"] == outcome.message
    assert row["health_state"] == outcome.health_state
    assert row["progress"] == 100
    assert row["leaf_count"] == 4 + fails
    assert row["failed_leaf_count"] == int(fails)
    assert row["started_ns"] <= row["ended_ns"] <= row["last_ns"]


def test_what_a_handle_has_reported_is_kept(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        for number in range(10):
            run_recorded(recorder, f"run-{number}")
            kept(record_url, f"run-{number}").assert_final()


def test_the_run_is_known_before_its_first_event(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        recorder.begin_run("run-1", RunAbout(command="configure", labels={"shift": "night"}))
        found = kept(record_url, "run-1")
        assert found.run["state"] == "running"
        assert found.run["command"] == "configure"
        assert json.loads(found.run["labels"]) == {"shift": "night"}
        assert json.loads(found.run["versions"])["taskgrove"]
        (lease,) = found.leases
        assert lease.pid > 0
        assert lease.interval_s > 0


def test_a_retry_and_the_node_that_failed_are_counted(record_url: str, tmp_path: Path) -> None:
    def badly() -> None:
        raise ValueError("no")

    leaf = LeafTask.from_callable(badly, name="leaf")
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, life("run-1"))
        observe(event("run-1", 7, kind="note", detail=NoteDetail("late"), message="late"))
        end_and_wait(recorder, "run-1")
        run_recorded(recorder, "run-2", Task("root", subtasks=[leaf]))
    kept(record_url, "run-1").assert_final()
    second = kept(record_url, "run-2")
    second.assert_final()
    assert (second.run["failed_leaf_count"], second.run["leaf_count"]) == (1, 1)


def test_late_events_of_a_run_that_ended_are_added(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        for number in range(40):  # more than the recorder remembers
            observe = recorder.begin_run(f"run-{number}", RunAbout())
            feed(observe, life(f"run-{number}"))
            end_and_wait(recorder, f"run-{number}")
        note = NoteDetail("late")
        for run_id in ("run-0", "run-39"):
            observe(event(run_id, 7, path="root", kind="note", detail=note, message="too late"))
    for run_id in ("run-0", "run-39"):
        found = kept(record_url, run_id)
        found.assert_final()
        assert found.nodes[0].notes[-1].text == "too late"
        assert found.nodes[0].status is TaskStatus.COMPLETED


def test_events_may_come_out_of_order(record_url: str, tmp_path: Path) -> None:
    events = life("run-1", progress=20)
    disorder = [events[0], *reversed(events[1:8]), events[9], events[8], *reversed(events[10:])]
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        for item in disorder:
            observe(item)
            eventually(lambda: not recorder._inbox._items)  # each is a batch of its own
        end_and_wait(recorder, "run-1")
    kept(record_url, "run-1").assert_final()


def test_events_that_come_after_the_end_are_still_folded_in_order(
    record_url: str, tmp_path: Path
) -> None:
    events = life("run-1", progress=4)
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, [*events[:3], *events[5:]])  # two are under way in other threads
        end_and_wait(recorder, "run-1")
        assert kept(record_url, "run-1").run["lost_event_count"] == 2  # nothing is hidden
        feed(observe, events[3:5])
    kept(record_url, "run-1").assert_final()


def test_a_number_that_never_comes_is_counted_as_lost(record_url: str, tmp_path: Path) -> None:
    events = life("run-1", progress=4)
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, [*events[:3], *events[4:]])
        end_and_wait(recorder, "run-1")
    found = kept(record_url, "run-1")
    assert found.run["lost_event_count"] == 1
    assert found.run["state"] == "final"
    assert found.nodes == found.folded


def test_progress_is_coalesced_under_load_without_a_gap(
    record_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        seen: list[TaskEvent] = []
        recorder.forward("run-1", seen.append)
        observe = recorder.begin_run("run-1", RunAbout())
        burst = [
            event("run-1", 3 + n, path=f"root/leaf-{n % 50}", progress=n // 50)
            for n in range(5_000)
        ]
        with busy_writer(monkeypatch) as is_busy:  # else it depends on the machine who is faster
            feed(observe, life("run-1")[:2])
            assert is_busy.wait(PATIENCE_S)
            feed(observe, burst)
        observe(event("run-1", 5_003, path="root", kind="finished", status=TaskStatus.COMPLETED))
        end_and_wait(recorder, "run-1")
    found = kept(record_url, "run-1")
    found.assert_final()
    assert seen == found.events
    assert len(found.events) < 200
    assert {node.progress for node in found.nodes[1:]} == {99}


def test_a_run_that_goes_on_is_continued(record_url: str, tmp_path: Path) -> None:
    events = life("run-1", progress=6)
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout(command="configure"))
        feed(observe, events[:4])
    before = kept(record_url, "run-1")
    assert (before.run["state"], len(before.leases)) == ("running", 1)
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout(), resumed=True)
        feed(observe, events[4:])
        end_and_wait(recorder, "run-1")
    found = kept(record_url, "run-1")
    found.assert_final()
    assert found.run["command"] == "configure"
    assert len(found.events) == len(events)


def test_an_id_that_is_taken_is_told_and_nothing_is_mixed_up(
    record_url: str, tmp_path: Path
) -> None:
    troubles = Troubles()
    with new_recorder(record_url, tmp_path, on_trouble=troubles) as recorder:
        run_recorded(recorder, "run-1", tree(2))
        first = kept(record_url, "run-1")
        assert run_recorded(recorder, "run-1", tree(5, fails=True)).status is TaskStatus.FAILED
        assert "holds another run run-1 already" in troubles.wait_for("run-1")
        run_recorded(recorder, "run-2", tree(2))
    again = kept(record_url, "run-1")
    assert (again.run, again.events) == (first.run, first.events)
    kept(record_url, "run-2").assert_final()


def test_secrets_are_not_written(record_url: str, tmp_path: Path) -> None:
    about = RunAbout(
        source={
            "kind": "map",
            "text": "a:\n  token: hunter2\n",
            "argin": {"db_password": "hunter2"},
        },
        argv=("taskgrove", "--token=hunter2", "--password", "hunter2"),
    )
    detail = AnalysisDetail(
        "peaks",
        parameters='{"api_key": "hunter2", "n_peaks": 3}',
        environment={"GITHUB_TOKEN": "hunter2", "DB": "postgresql://u:hunter2@h/d"},
        argv=("peaks", "--secret=hunter2"),
    )
    seen: list[TaskEvent] = []
    with new_recorder(record_url, tmp_path) as recorder:
        recorder.forward("run-1", seen.append)
        observe = recorder.begin_run("run-1", about)
        feed(observe, life("run-1"))
        observe(event("run-1", 7, kind="note", detail=detail))
        end_and_wait(recorder, "run-1")
    found = kept(record_url, "run-1")
    assert "hunter2" not in json.dumps(found.run, default=str)
    assert REDACTED in found.run["argv"]
    assert "hunter2" not in repr(found.events)
    assert "n_peaks" in repr(found.events)
    assert "hunter2" not in repr(seen)


def test_analyses_and_pages_have_rows_of_their_own(record_url: str, tmp_path: Path) -> None:
    begun = AnalysisDetail("peaks", parameters='{"n": 3}', status="RUNNING")
    done = AnalysisDetail("peaks", parameters='{"n": 3}', status="COMPLETED", summary="3 peaks")
    page = PageDetail("scans/motor", "/pages/scans/motor/report.html", 1234, "ab" * 32)
    leaf = {"path": "root", "kind": "note", "progress": None}
    labels = {"experiment": "mfx123", "run": "7"}
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout(labels=labels))
        feed(observe, life("run-1"))
        feed(
            observe,
            [event("run-1", 7 + n, detail=d, **leaf) for n, d in enumerate((begun, done, page))],
        )
        end_and_wait(recorder, "run-1")
    with Store.open(record_url, read_only=True) as store, tables_of(store) as connection:
        rows = connection.exec_driver_sql(
            "SELECT analysis, status, summary, experiment, experiment_run FROM analyses"
            " ORDER BY sequence"
        ).all()
        pages = connection.exec_driver_sql("SELECT display_name, size_bytes FROM pages").all()
    assert [tuple(row) for row in rows] == [
        ("peaks", "RUNNING", "", "mfx123", "7"),
        ("peaks", "COMPLETED", "3 peaks", "mfx123", "7"),
    ]
    assert [tuple(row) for row in pages] == [("scans/motor", 1234)]


def test_what_is_no_text_is_kept(record_url: str, tmp_path: Path) -> None:
    awkward = "half \ud800 a pair, a NUL \0 and ✓"
    long_path = "root/" + "é" * 3_000
    events = life("run-1")
    events[-1] = event(
        "run-1", 6, path="root", kind="finished", status=TaskStatus.FAILED, message=awkward
    )
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout(command=awkward, argv=(awkward,)))
        feed(observe, events)
        observe(event("run-1", 7, path=long_path, message=awkward))
        observe(event("run-1", 8, path=f"root/{awkward}"))
        end_and_wait(recorder, "run-1")
    found = kept(record_url, "run-1")
    assert found.run["lost_event_count"] == 0
    assert [node.path for node in found.nodes][:2] == ["root", long_path]
    assert found.nodes[0].message == "half \\ud800 a pair, a NUL \\x00 and ✓"


def test_two_recorders_of_one_process_share_a_store(record_url: str, tmp_path: Path) -> None:
    with (
        Store.open(record_url) as store,
        new_recorder(store, tmp_path) as one,
        new_recorder(store, tmp_path) as other,
    ):
        threads = [
            threading.Thread(
                target=lambda r=r, n=n: [run_recorded(r, f"{n}-{k}") for k in range(5)]
            )
            for n, r in enumerate((one, other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
        for run_id in (f"{n}-{k}" for n in range(2) for k in range(5)):
            Kept(store, run_id).assert_final()


def test_a_heartbeat_says_that_the_process_lives(
    record_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskgrove.store.recording.saving.HEARTBEAT_S", 0.05)
    with new_recorder(record_url, tmp_path) as recorder:
        recorder.begin_run("run-1", RunAbout())
        first = kept(record_url, "run-1").leases[0].heartbeat_ns
        eventually(lambda: kept(record_url, "run-1").leases[0].heartbeat_ns > first)


def test_a_running_row_is_not_far_behind_in_progress(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, life("run-1")[:2])
        observe(event("run-1", 3, path="root", progress=42))
        eventually(lambda: [n.progress for n in kept(record_url, "run-1").nodes] == [42])
        end_and_wait(recorder, "run-1")


def state_of(location: str, run_id: str) -> str:
    with History.open(location) as history:
        return history.find(run_id).state


@pytest.mark.parametrize("ends_at_once", [True, False])
def test_a_run_that_was_taken_for_lost_and_lives_is_taken_back(
    record_url: str, tmp_path: Path, ends_at_once: bool
) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, life("run-1")[:2])
        eventually(lambda: len(kept(record_url, "run-1").events) == 2)
        with Store.open(record_url) as store:

            def taken_for_lost() -> bool:
                # Its heartbeat did not come for a minute, say because the record was away.
                with tables_of(store) as connection:
                    connection.exec_driver_sql(
                        "UPDATE leases SET heartbeat_ns = heartbeat_ns - 60000000000,"
                        " boot_id = 'other'"
                    )
                return [lost.run_id for lost in find_lost(store)] == ["run-1"]

            eventually(taken_for_lost)  # a heartbeat that comes just then shows that it lives
        if not ends_at_once:
            eventually(lambda: state_of(record_url, "run-1") == "running")
            with Store.open(record_url) as store:
                assert find_lost(store) == []
        feed(observe, life("run-1")[2:])
        end_and_wait(recorder, "run-1")
    with History.open(record_url) as history:
        run = history.find("run-1")
        assert (run.state, run.state_note, run.lease) == ("final", "", None)
    kept(record_url, "run-1").assert_final()


def test_one_argument_records_a_run_of_the_library(record_url: str, tmp_path: Path) -> None:
    assert run(tree(), record=record_url).status is TaskStatus.COMPLETED
    with Store.open(record_url, read_only=True) as store, tables_of(store) as connection:
        (run_id,) = connection.exec_driver_sql("SELECT run_id FROM runs").one()
    kept(record_url, run_id).assert_final()


def test_a_recorder_is_used_and_left_open(tmp_path: Path) -> None:
    with new_recorder(tmp_path / "runs.db", tmp_path) as recorder:
        run(tree(), record=recorder)
        run(tree(), record=recorder)
        assert recorder.trouble is None


def test_a_library_run_is_refused_where_the_record_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(b"no database at all, but long enough" * 10)
    root = tree()
    with pytest.raises(StoreError, match="not a SQLite database"):
        run(root, record=tmp_path / "runs.db")
    assert not root.submitted


def test_a_recorder_that_is_closed_lets_runs_go_on(tmp_path: Path) -> None:
    troubles = Troubles()
    recorder = new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles)
    recorder.close()
    recorder.close()
    log = EventLog()
    recorder.forward("run-1", log)
    assert run_recorded(recorder, "run-1").status is TaskStatus.COMPLETED
    assert "not recorded" in troubles.wait_for("run-1")
    log.assert_gapless()
    log.assert_one_end("root")


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_an_observer_that_raises_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    log = EventLog()

    def raises(_event: TaskEvent) -> None:
        raise kind("mine")

    with new_recorder(tmp_path / "runs.db", tmp_path) as recorder:
        recorder.forward("run-1", raises)
        recorder.forward("run-1", log)
        run_recorded(recorder, "run-1")
    kept(tmp_path / "runs.db", "run-1").assert_final()
    log.assert_gapless()
    assert caplog.text.count("an observer of the record raised") == 1


def test_a_store_for_reading_cannot_be_recorded_into(tmp_path: Path) -> None:
    Store.open(tmp_path / "runs.db").close()
    with (
        Store.open(tmp_path / "runs.db", read_only=True) as store,
        pytest.raises(StoreError, match="for reading only"),
    ):
        Recorder(store)


def test_the_events_that_observers_hear_are_kept(record_url: str, tmp_path: Path) -> None:
    unkept: list[TaskEvent] = []

    def check(item: TaskEvent) -> None:
        if item not in kept(record_url, "run-1").events:
            unkept.append(item)

    with new_recorder(record_url, tmp_path) as recorder:
        recorder.forward("run-1", check)
        run_recorded(recorder, "run-1")
    assert unkept == []


def test_a_run_that_ends_at_once_is_recorded(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder, MainTaskExecutor() as executor:
        handle = executor.submit_main_task(Task("empty"), run_id="run-1", recorder=recorder)
        assert handle.wait(PATIENCE_S)
    found = kept(record_url, "run-1")
    found.assert_final()
    assert found.run["status"] == TaskStatus.COMPLETED


def test_a_node_that_is_told_late_stands_where_the_log_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskgrove.story.reorder.PATIENCE_S", 0.0)
    with Store.open(tmp_path / "runs.db") as store, new_recorder(store, tmp_path) as recorder:
        observe = recorder.begin_run("run", RunAbout())
        observe(event("run", 2, path="root/b", kind="queued"))
        observe(event("run", 3, path="root", kind="queued"))
        eventually(lambda: len(Kept(store, "run").nodes) == 2)
        observe(event("run", 1, path="root/a", kind="queued"))
        end_and_wait(recorder, "run")
        found = Kept(store, "run")
    found.assert_final()
    assert [node.path for node in found.nodes] == ["root/a", "root/b", "root"]
