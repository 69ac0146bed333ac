"""What goes wrong around a record, with real processes, disks and servers; nothing is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskgrove import TaskStatus
from taskgrove.clock import SystemClock
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import StoreError
from taskgrove.events import TaskEvent
from taskgrove.store import Recorder, Store
from taskgrove.store.recording.inbox import Inbox
from taskgrove.store.recording.orphans import TakenIn, adopt_orphans
from taskgrove.store.recording.recorded_run import RecordedRun
from taskgrove.store.recording.run_writer import RunWriter
from taskgrove.store.recording.writer import Writer
from taskgrove.testing import EventLog
from tests.cli.command_line import Forked, environment
from tests.store.postgres_server import PostgresServer
from tests.store.recording import (
    PATIENCE_S,
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
    troubles_of,
)

ROOT = Path(__file__).parents[2]


def start(
    record: str | Path, folder: Path, prefix: str = "run", *, runs: int = 1, events: object = 50
) -> subprocess.Popen[str]:
    """Start a process that records."""
    words = [sys.executable, "-m", "tests.store.recording_process"]
    return Forked(
        [*words, str(record), str(folder / "spill"), prefix, str(runs), str(events)],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def told_by(lines: list[str]) -> dict[str, dict[str, set[str]]]:
    """Return what was told of each run: the words of its lines, by their first one."""
    told: dict[str, dict[str, set[str]]] = {}
    for line in lines:
        what, _, rest = line.strip().partition(" ")
        run_id, _, more = rest.partition(" ")
        told.setdefault(run_id, {}).setdefault(what, set()).add(more)
    return told


# -- kill -9 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [1, 5, 60, 450])
def test_what_was_told_survives_kill_9_in_the_midst_of_batches(
    record_url: str, tmp_path: Path, line: int
) -> None:
    process = start(record_url, tmp_path, runs=3, events=150)
    assert process.stdout is not None
    lines = []
    for text in process.stdout:
        lines.append(text)
        if len(lines) == line:
            process.send_signal(signal.SIGKILL)
            break
    with process:
        lines += process.stdout.readlines()
    for run_id, told in told_by([text for text in lines if text.endswith("\n")]).items():
        found = kept(record_url, run_id)
        sequences = [e.sequence for e in found.events]
        assert sequences == list(range(1, len(sequences) + 1))
        assert max((int(n) for n in told.get("kept", ())), default=0) <= len(sequences)
        if "ended" in told:
            found.assert_final()
        elif found.run["state"] == "running":
            assert found.leases
        statuses = [node.status for node in found.nodes]
        assert statuses == [node.status for node in found.folded]


# -- several processes --------------------------------------------------------------------------


def test_several_processes_record_into_one_record_at_once(record_url: str, tmp_path: Path) -> None:
    Store.open(record_url).close()
    processes = [start(record_url, tmp_path, f"p{n}", runs=10, events=80) for n in range(3)]
    for process in processes:
        with process:
            told, _ = process.communicate(timeout=4 * PATIENCE_S)
        assert troubles_of(told) == []
        assert process.returncode == 0
    for number in range(3):
        for run in range(10):
            kept(record_url, f"p{number}-{run}").assert_final()


def test_several_processes_make_one_record_at_once(record_url: str, tmp_path: Path) -> None:
    processes = [start(record_url, tmp_path, f"p{n}", events=5) for n in range(3)]
    for process in processes:
        with process:
            told, _ = process.communicate(timeout=4 * PATIENCE_S)
        assert troubles_of(told) == []
    for number in range(3):
        kept(record_url, f"p{number}-0").assert_final()


# -- outages ------------------------------------------------------------------------------------


@contextmanager
def locked(file: Path) -> Iterator[sqlite3.Connection]:
    """Hold the writer's lock of a file, as another process would."""
    connection = sqlite3.connect(file, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def test_a_locked_file_is_told_and_written_when_it_is_free(tmp_path: Path) -> None:
    file, troubles, log = tmp_path / "runs.db", Troubles(), EventLog()
    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        recorder.forward("run-1", log)
        with locked(file):
            feed(observe, life("run-1"))
            assert "locked" in troubles.wait_for("goes on")
            assert recorder.trouble is not None
            end_and_wait(recorder, "run-1")  # the command is not held up
            log.wait_for(kind="finished")
            assert kept(file, "run-1").events == []
            # A whole run begins and ends meanwhile.
            assert run_recorded(recorder, "run-2").status is TaskStatus.COMPLETED
        troubles.wait_for("is written again")
        assert recorder.trouble is None
        run_recorded(recorder, "run-3")
    for run_id in ("run-1", "run-2", "run-3"):
        kept(file, run_id).assert_final()
    assert not list((tmp_path / "spill").iterdir())
    assert len(troubles.texts) == 2  # once each, not for every batch


def test_what_was_kept_aside_survives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    with locked(file):
        process = start(file, tmp_path, runs=2, events=20)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if sum(text.startswith("ended") for text in lines) == 2:
                process.kill()
                break
        with process:
            process.wait()
        assert any("locked" in text for text in lines)
    troubles = Troubles()
    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder:
        run_recorded(recorder, "later")
        troubles.wait_for("of 2 runs that an earlier process could not write")
    for run_id in ("run-0", "run-1", "later"):
        kept(file, run_id).assert_final()
    assert not list((tmp_path / "spill").iterdir())


def test_an_end_that_was_kept_aside_is_kept_until_its_row_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up again when every event is in the log, and the row of the run is not."""
    file, troubles, tried = tmp_path / "runs.db", Troubles(), threading.Event()
    Store.open(file).close()

    def full(*_: object, **__: object) -> None:
        tried.set()
        raise sqlite3.OperationalError("database or disk is full")

    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder:
        with locked(file):
            assert run_recorded(recorder, "run-1").status is TaskStatus.COMPLETED
            monkeypatch.setattr(RunWriter, "_write_run", full)
        assert tried.wait(PATIENCE_S)
    assert "lacks the last events" in troubles.texts[-1]
    found = kept(file, "run-1")
    assert found.events
    assert found.run["state"] == "running"
    monkeypatch.undo()
    with Store.open(file) as store:
        adopt_orphans(store, tmp_path / "spill")
    kept(file, "run-1").assert_final()
    assert not list((tmp_path / "spill").iterdir())


def test_a_run_that_was_killed_in_an_outage_is_there_and_not_final(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    with locked(file):
        process = start(file, tmp_path, events="50+")
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("kept"):
                process.kill()
                break
        with process:
            process.stdout.read()
    with Store.open(file) as store:
        (told,) = adopt_orphans(store, tmp_path / "spill").told
        assert "1 run" in told
        assert adopt_orphans(store, tmp_path / "spill") == TakenIn()
    found = kept(file, "run-0")
    assert found.run["state"] == "running"
    assert found.leases[0].pid == process.pid
    assert found.events
    assert found.nodes == found.folded


def test_a_spill_that_somebody_still_uses_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        with locked(file):
            feed(observe, life("run-1"))
            eventually(lambda: recorder.trouble is not None)
            eventually(lambda: any((tmp_path / "spill").glob("*.spill")))
            with Store.open(tmp_path / "other.db") as other:
                assert adopt_orphans(other, tmp_path / "spill") == TakenIn()
        eventually(lambda: recorder.trouble is None)
        end_and_wait(recorder, "run-1")
    kept(file, "run-1").assert_final()


def test_a_full_spill_is_told_and_counted(tmp_path: Path) -> None:
    file, troubles = tmp_path / "runs.db", Troubles()
    with new_recorder(
        file, tmp_path, on_trouble=troubles, spill_limit_bytes=20_000, patience_s=0.5
    ) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        with locked(file):
            feed(observe, life("run-1", progress=3_000))
            troubles.wait_for("events are lost")
            end_and_wait(recorder, "run-1")
        told = troubles.wait_for("is written again")
    found = kept(file, "run-1")
    lost = found.run["lost_event_count"]
    assert lost > 0
    assert lost + len(found.events) == 3_003
    assert f"{lost:,} events could not be kept" in told
    assert found.run["state"] == "final"
    assert found.run["status"] == TaskStatus.COMPLETED


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(file: Path) -> None:
    """Write a file until its disk is full."""
    with file.open("wb", buffering=0) as taken, contextlib.suppress(OSError):
        while True:
            taken.write(b"x" * 4096)


def test_a_full_disk_is_told_and_written_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    file, troubles = small_disk / "runs.db", Troubles()
    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder:
        run_recorded(recorder, "before")
        ballast = small_disk / "ballast"
        fill(ballast)
        assert run_recorded(recorder, "full", tree(40)).status is TaskStatus.COMPLETED
        feed(recorder.begin_run("big", RunAbout()), life("big", progress=5_000))
        end_and_wait(recorder, "big")
        assert "disk is full" in troubles.wait_for("goes on")
        ballast.unlink()
        troubles.wait_for("is written again")
        run_recorded(recorder, "after")
        for run_id in ("before", "full", "big", "after"):
            kept(file, run_id).assert_final()


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_quota_does_to_a_file_what_a_full_disk_does(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    limit = 400_000
    code = (
        "import resource, signal, sys\n"
        "sys.dont_write_bytecode = True\n"  # the limit would cut it short, for everybody
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {resource.RLIM_INFINITY}))\n"
        "from tests.store.recording_process import main\n"
        "main(*sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), str(tmp_path / "spill"), "run", "1", "5000"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE, encoding="utf-8", timeout=4 * PATIENCE_S, check=False,
    )  # fmt: skip
    told = told_by(done.stdout.splitlines())
    assert "ended" in told["run-0"]
    assert "trouble" in done.stdout
    # The limit ended with the process; what it had kept aside within it is written now.
    with Store.open(file) as store:
        adopt_orphans(store, tmp_path / "spill")
    found = kept(file, "run-0")
    # What is there is a beginning without a gap, and the rows claim no more than that.
    sequences = [event.sequence for event in found.events]
    assert sequences == list(range(1, len(sequences) + 1))
    assert 2 < len(sequences) < 5003
    assert found.run["state"] == "running"
    assert found.run["last_sequence"] == sequences[-1]
    assert found.nodes[0].status is TaskStatus.IN_PROGRESS
    assert found.nodes[0].message == found.events[-1].message


@pytest.mark.postgres
def test_a_server_that_is_stopped_and_started_in_mid_run(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url, troubles, log = postgres_server.new_database(), Troubles(), EventLog()
    with new_recorder(url, tmp_path, on_trouble=troubles) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        recorder.forward("run-1", log)
        events = life("run-1", progress=30)
        feed(observe, events[:10])
        log.wait_for(where=lambda e: e.sequence == 10)
        postgres_server.stop()
        try:
            feed(observe, events[10:25])
            troubles.wait_for("goes on")
            log.wait_for(where=lambda e: e.sequence == 25)
            assert run_recorded(recorder, "meanwhile").status is TaskStatus.COMPLETED
        finally:
            postgres_server.start()
        feed(observe, events[25:])
        end_and_wait(recorder, "run-1")
        troubles.wait_for("is written again")
    log.assert_gapless()
    for run_id in ("run-1", "meanwhile"):
        kept(url, run_id).assert_final()


@pytest.mark.postgres
def test_a_server_that_does_not_answer_holds_nobody_up(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url, troubles, log = postgres_server.new_database(), Troubles(), EventLog()
    with new_recorder(url, tmp_path, on_trouble=troubles, patience_s=0.5) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        recorder.forward("run-1", log)
        feed(observe, life("run-1")[:2])
        log.wait_for(kind="started")
        found: list[int] = []

        def is_alone() -> bool:  # it may just be at a heartbeat, too
            found[:] = backends(url)
            return len(found) == 1

        eventually(is_alone)
        (backend,) = found
        os.kill(backend, signal.SIGSTOP)
        try:
            feed(observe, life("run-1")[2:])
            end_and_wait(recorder, "run-1")
            assert "does not answer" in troubles.wait_for("goes on")
            log.assert_one_end("root")  # what waits for it has seen all of it
        finally:
            os.kill(backend, signal.SIGCONT)
        troubles.wait_for("answers again")
        eventually(lambda: recorder.trouble is None)
        eventually(lambda: kept(url, "run-1").run["state"] == "final")
    kept(url, "run-1").assert_final()
    log.assert_gapless()


def backends(url: str) -> list[int]:
    """Return the processes of the server that serve a recorder of this database."""
    import psycopg

    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND query NOT LIKE '%pg_stat_activity%'"
            " AND query LIKE '%COMMIT%' "
        ).fetchall()
    return [pid for (pid,) in rows]


def test_a_record_that_cannot_be_opened_is_an_outage_where_it_may_be(tmp_path: Path) -> None:
    folder, troubles = tmp_path / "later", Troubles()
    file = folder / "runs.db"
    with pytest.raises(StoreError, match="does not exist"):
        new_recorder(file, tmp_path)
    with new_recorder(file, tmp_path, on_trouble=troubles, must_open=False) as recorder:
        assert run_recorded(recorder, "run-1").status is TaskStatus.COMPLETED
        assert "does not exist" in troubles.wait_for("goes on")
        folder.mkdir()
        troubles.wait_for("is written again")
        kept(file, "run-1").assert_final()


def test_a_file_that_is_removed_in_the_midst_is_told(tmp_path: Path) -> None:
    file, troubles = tmp_path / "runs.db", Troubles()
    with new_recorder(file, tmp_path, on_trouble=troubles) as recorder:
        run_recorded(recorder, "run-1")
        for name in ("runs.db", "runs.db-wal", "runs.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        run_recorded(recorder, "run-2")
        assert "was removed" in troubles.wait_for("removed")
        run_recorded(recorder, "run-3")
    kept(file, "run-3").assert_final()


# -- the recorder itself ------------------------------------------------------------------------


@pytest.mark.thorough  # it waits for seconds; its neighbours test the rule sooner
def test_a_writer_that_fails_is_told_and_lets_everybody_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file, troubles, log = tmp_path / "runs.db", Troubles(), EventLog()
    with new_recorder(file, tmp_path, on_trouble=troubles, patience_s=5.0) as recorder:
        run_recorded(recorder, "run-1")

        def fails(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(Writer, "_sort_in", fails)
        monkeypatch.setattr(Writer, "_blame", fails)
        recorder.forward("run-2", log)
        assert run_recorded(recorder, "run-2").status is TaskStatus.COMPLETED
        assert "ZeroDivisionError: a bug" in troubles.wait_for("the recorder failed")
        log.assert_gapless()
        log.assert_one_end("root")
        log3 = EventLog()
        recorder.forward("run-3", log3)
        assert run_recorded(recorder, "run-3").status is TaskStatus.COMPLETED
        troubles.wait_for("run run-3 is not recorded")
        log3.assert_gapless()
    kept(file, "run-1").assert_final()
    assert "the recorder failed" in caplog.text


def test_a_run_that_cannot_be_folded_does_not_keep_others_from_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles, log = Troubles(), EventLog()
    real = RecordedRun.take

    def fails(self: RecordedRun, *arguments: Any) -> Any:
        if self.run_id == "bad":
            raise ZeroDivisionError("a bug")
        return real(self, *arguments)

    monkeypatch.setattr(RecordedRun, "take", fails)
    with new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles) as recorder:
        recorder.forward("bad", log)
        for run_id in ("good", "bad", "fine"):
            assert run_recorded(recorder, run_id).status is TaskStatus.COMPLETED
        assert "ZeroDivisionError: a bug" in troubles.wait_for("run bad is not recorded")
        log.assert_gapless()
    kept(tmp_path / "runs.db", "good").assert_final()
    kept(tmp_path / "runs.db", "fine").assert_final()


def test_a_batch_that_fails_ends_its_own_runs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = Troubles()
    real = Writer._settle_ends

    def fails(self: Writer, **more: Any) -> None:
        if "bad" in self._ends:
            raise ZeroDivisionError("a bug")
        real(self, **more)

    monkeypatch.setattr(Writer, "_settle_ends", fails)
    with new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles) as recorder:
        run_recorded(recorder, "good")
        run_recorded(recorder, "bad")
        troubles.wait_for("run bad is not recorded")
        run_recorded(recorder, "fine")
    kept(tmp_path / "runs.db", "good").assert_final()
    kept(tmp_path / "runs.db", "fine").assert_final()


def test_a_run_that_cannot_be_written_does_not_keep_others_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = Troubles()
    real = RunWriter._write_nodes

    def poisoned(self: RunWriter, connection: object, state: RecordedRun, *a: object, **k: object):
        if state.run_id == "bad":
            raise sqlite3.IntegrityError("poison")
        return real(self, connection, state, *a, **k)

    monkeypatch.setattr(RunWriter, "_write_nodes", poisoned)
    with new_recorder(tmp_path / "runs.db", tmp_path, on_trouble=troubles) as recorder:
        observers = {name: recorder.begin_run(name, RunAbout()) for name in ("good", "bad", "fine")}
        for name, observe in observers.items():
            feed(observe, life(name))
        for name in observers:
            end_and_wait(recorder, name)
        assert "poison" in troubles.wait_for("run bad is not recorded")
        assert [name for name in observers if recorder.is_kept(name)] == ["good", "fine"]
    kept(tmp_path / "runs.db", "good").assert_final()
    kept(tmp_path / "runs.db", "fine").assert_final()


def test_a_clock_that_steps_back_an_hour_breaks_nothing(tmp_path: Path) -> None:
    class Stepping(SystemClock):
        back_ns = 0

        def wall_ns(self) -> int:
            return super().wall_ns() - self.back_ns

    clock = Stepping()
    with new_recorder(tmp_path / "runs.db", tmp_path, clock=clock) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        events = life("run-1", progress=10)
        feed(observe, events[:5])
        clock.back_ns = 3_600_000_000_000
        feed(observe, [event("run-1", 6, path="root", wall_ns=1)])
        feed(observe, events[6:])
        end_and_wait(recorder, "run-1")
        run_recorded(recorder, "run-2")
    first = kept(tmp_path / "runs.db", "run-1")
    first.assert_final()
    assert first.run["last_ns"] >= max(e.wall_ns for e in first.events)
    kept(tmp_path / "runs.db", "run-2").assert_final()


def test_a_queue_that_nobody_empties_leaves_progress_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskgrove.store.recording.inbox.CROWD", 100)
    inbox = Inbox(lambda _event: None)
    observe = inbox.observer()
    for number in range(1, 1_001):
        observe(event("run-1", number))
    for number in range(1_001, 1_051):
        observe(event("run-1", number, kind="finished", status=TaskStatus.COMPLETED))
    left = inbox.collect(0)
    assert len(left) == 150
    assert sum(isinstance(e, TaskEvent) and e.kind == "finished" for e in left) == 50


def test_the_observer_only_appends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the writer is busy, whoever makes an event is not held up."""
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        events = life("run-1", progress=2_000)
        with busy_writer(monkeypatch) as is_busy:
            feed(observe, events[:2])
            assert is_busy.wait(PATIENCE_S)
            thread = threading.Thread(target=feed, args=(observe, events[2:]))
            thread.start()
            thread.join(PATIENCE_S / 2)
            assert not thread.is_alive(), "it waits for the writer"
        end_and_wait(recorder, "run-1")
    kept(file, "run-1").assert_final()


def test_the_recorder_is_never_detached_from_its_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskgrove.events.bus.SLOW_LIMIT_S", -1.0)  # every call counts as slow
    monkeypatch.setattr("taskgrove.events.bus.STALL_LIMIT_S", -1.0)
    with new_recorder(tmp_path / "runs.db", tmp_path) as recorder:
        run_recorded(recorder, "run-1")
    kept(tmp_path / "runs.db", "run-1").assert_final()


def test_a_recorder_that_is_never_closed_keeps_what_it_was_given(tmp_path: Path) -> None:
    code = (
        "from taskgrove.store import Recorder\n"
        "from taskgrove.commands.run_recorder import RunAbout\n"
        "from tests.store.recording import life, feed, OK\n"
        f"recorder = Recorder({str(tmp_path / 'runs.db')!r})\n"
        "feed(recorder.begin_run('run-1', RunAbout()), life('run-1'))\n"
        "recorder.end_run('run-1', OK, lambda: None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    kept(tmp_path / "runs.db", "run-1").assert_final()


def test_recorders_end_their_threads(tmp_path: Path) -> None:
    before = threading.active_count()
    recorders = [Recorder(tmp_path / f"{n}.db", spill_folder=tmp_path) for n in range(3)]
    for number, recorder in enumerate(recorders):
        run_recorded(recorder, f"run-{number}")
        recorder.close()
    assert threading.active_count() == before
