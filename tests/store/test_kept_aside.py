"""What an earlier process could not write is taken in before a question is answered."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from taskgrove import LeafTask, Task, TaskStatus
from taskgrove.cli.app import app
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import StoreError, UsageError
from taskgrove.store import History, Recorder, Store, find_lost, resume
from taskgrove.store.database import location as location_module
from taskgrove.store.recording import spill_file
from taskgrove.store.recording.orphans import TakenIn, adopt_orphans
from taskgrove.store.recording.run_writer import RunWriter
from taskgrove.store.recording.spill import orphans_of
from taskgrove.store.verdicts import give_verdict
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import end_and_wait, feed, kept, life, run_recorded


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a state folder of its own, where the recorder keeps things aside."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@contextmanager
def outage() -> Iterator[None]:
    """Have nobody write a run meanwhile."""

    def full(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunWriter, "write", full)
        yield


def one_step(name: str, *, fails: bool = False, done: list[str] | None = None) -> Task:
    def step() -> tuple[int, str]:
        if done is not None:
            done.append(name)
        return (3, "no lock") if fails else (0, "")

    return Task(name, subtasks=[LeafTask.from_callable(step, name="a")])


def stow_then_configure(url: str | Path) -> None:
    """Record ``stow``, which fails; then ``configure`` fails while nothing can be written."""
    with Recorder(str(url)) as recorder:
        run_recorded(recorder, "old", one_step("stow", fails=True), RunAbout("stow"))
        with outage():
            run_recorded(recorder, "new", one_step("configure", fails=True), RunAbout("configure"))
            recorder.close()
    assert aside(url)


def aside(url: str | Path) -> list[Path]:
    return orphans_of(location_module.find_location(str(url)).shown)


def test_the_last_run_is_the_one_that_was_kept_aside(record_url: str) -> None:
    stow_then_configure(record_url)
    with History.open(record_url) as history:
        assert history.find("last").run_id == "new"
    assert not aside(record_url)
    kept(record_url, "new").assert_final()


@pytest.mark.parametrize(
    "question",
    [
        lambda history: [run.run_id for run in history.runs()] == ["new", "old"],
        lambda history: history.whole("last-failed").run.run_id == "new",
        lambda history: history.stats().run_count == 2,
        lambda history: history.run("last:configure").outcome == "failed",
    ],
)
def test_every_question_takes_it_in_first(tmp_path: Path, question: Any) -> None:
    stow_then_configure(tmp_path / "runs.db")
    with Store.open(tmp_path / "runs.db") as store:
        assert question(History(store))
        assert not aside(tmp_path / "runs.db")


def test_a_record_that_may_only_be_read_names_what_is_kept_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "runs.db"
    stow_then_configure(file)
    with Store.open(file, read_only=True) as store:
        history = History(store)
        with caplog.at_level(logging.WARNING, logger="taskgrove"):
            assert history.find("last").run_id == "old"
            assert history.find("last").run_id == "old"
        (left,) = history.kept_aside
        assert [(run.run_id, run.command) for run in left.runs] == [("new", "configure")]
        (words,) = [record.getMessage() for record in caplog.records if "history" in record.name]
        for fact in ("new", "configure", str(left.path), "reading only"):
            assert fact in words
        assert aside(file) == [left.path]


def test_nobody_acts_on_a_run_that_may_not_be_the_newest(tmp_path: Path) -> None:
    file, done = tmp_path / "runs.db", list[str]()
    stow_then_configure(file)
    with outage():
        with pytest.raises(UsageError, match="configure") as told:
            resume("last", one_step("stow", done=done), store=file)
        assert str(aside(file)[0]) in str(told.value)
        with Store.open(file) as store, pytest.raises(UsageError, match="new"):
            give_verdict(store, "last-failed", "stow/a", "ok", why="it was replaced")
    assert done == []
    with Store.open(file) as store:
        assert History(store).find("old").run_id == "old"
    # Once it can be written, `last` is the newest.
    outcome = resume("last", one_step("configure", done=done), store=file)
    assert outcome.status is TaskStatus.COMPLETED
    assert done == ["configure"]


def test_a_run_may_be_named_by_its_id_while_a_newer_one_is_kept_aside(tmp_path: Path) -> None:
    stow_then_configure(tmp_path / "runs.db")
    with outage(), Store.open(tmp_path / "runs.db") as store:
        assert History(store).find_to_act("old").run_id == "old"


def test_a_run_of_which_the_end_is_kept_aside_is_not_acted_on(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Recorder(file) as recorder:
        observe = recorder.begin_run("half", RunAbout("stow"))
        with outage():
            feed(observe, life("half"))
            end_and_wait(recorder, "half")
            recorder.close()
    with outage(), Store.open(file) as store, pytest.raises(UsageError, match="not whole"):
        History(store).find_to_act("half")


def test_one_run_that_cannot_be_taken_in_keeps_no_other_out(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Recorder(file) as recorder, outage():
        for run_id in ("first", "taken", "third"):
            feed(recorder.begin_run(run_id, RunAbout("scan")), life(run_id))
            end_and_wait(recorder, run_id)
        recorder.close()
    with Recorder(tmp_path / "other.db") as other:
        run_recorded(other, "taken")  # the id is in use by the time that the file is read
    (tmp_path / "other.db").rename(file)
    with Store.open(file) as store:
        taken = History(store).take_in()
        (left,) = taken.left
        assert [run.run_id for run in left.runs] == ["taken"]
        assert "another run taken" in left.words
        assert f"rm {left.path}" in left.words
        again = adopt_orphans(store)
        assert [item.words for item in again.left] == [left.words]
        assert again.told == ()
    for run_id in ("first", "third"):
        kept(file, run_id).assert_final()


def test_a_record_that_could_not_be_made_is_made_from_what_was_kept_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKGROVE_DB", str(tmp_path / "no" / "runs.db"))
    with Recorder(must_open=False, patience_s=0.2) as recorder:
        run_recorded(recorder, "new", one_step("configure"), RunAbout("configure"))
    (tmp_path / "no").mkdir()
    with History.open() as history:
        assert history.find("last").run_id == "new"


def three_kept_aside(file: Path) -> Path:
    """Keep three runs aside, and return the file that holds them."""
    with Recorder(file) as recorder, outage():
        for run_id in ("first", "second", "third"):
            feed(recorder.begin_run(run_id, RunAbout("scan")), life(run_id))
            end_and_wait(recorder, run_id)
        recorder.close()
    (path,) = aside(file)
    return path


def starts_of(path: Path, run_id: str) -> list[int]:
    """Return where the entries of a run begin, and where the last of them ends."""
    start, found = 0, []
    with path.open("rb") as file:
        for entry, end in spill_file.read_entries(file.fileno()):
            found += [start, end] if entry.run_id == run_id else []
            start = end
    return [*dict.fromkeys(found)]


@pytest.mark.parametrize("byte", [0, 3, 4, 20], ids=["length", "huge-length", "crc", "body"])
def test_damage_keeps_nothing_out_that_can_be_read(tmp_path: Path, byte: int) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    data = bytearray(path.read_bytes())
    data[starts_of(path, "second")[1] + byte] ^= 0x55
    path.write_bytes(data)
    path.chmod(0o644)
    with Store.open(file) as store:
        taken = History(store).take_in()
        (left,) = taken.left
        assert left.is_damaged
        assert left.path.read_bytes() == data
        assert left.path.stat().st_mode & 0o777 == 0o600
        for fact in (f"mv {left.path} {path}", f"rm {left.path}"):
            assert fact in left.words
        assert "of 3 runs" in taken.told[0]
        assert not aside(file)
        assert History(store).take_in() == TakenIn()
    for run_id in ("first", "third"):
        kept(file, run_id).assert_final()


@pytest.mark.parametrize(
    "rest", [b"\0" * 64, b"no entry at all", b"\xff" * 100], ids=["zeros", "words", "ones"]
)
def test_bytes_behind_the_last_entry_are_kept(tmp_path: Path, rest: bytes) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    data = path.read_bytes() + rest
    path.write_bytes(data)
    with Store.open(file) as store:
        (left,) = adopt_orphans(store).left
    assert left.path.read_bytes() == data
    assert f"{len(rest)} bytes" in left.words
    kept(file, "third").assert_final()


def test_a_run_without_its_beginning_stays_beside_the_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    data = bytearray(path.read_bytes())
    data[starts_of(path, "second")[0] + 10] ^= 0x55
    path.write_bytes(data)
    with Store.open(file) as store:
        damaged, broken = adopt_orphans(store).left
    assert damaged.path.read_bytes() == data
    assert (broken.path, [run.run_id for run in broken.runs]) == (path, ["second"])
    assert aside(file) == [path]


def test_a_damaged_file_takes_the_place_of_no_other(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    path.with_suffix(".damaged").write_text("an earlier one")
    path.write_bytes(path.read_bytes() + b"no entry at all")
    with Store.open(file) as store:
        (left,) = adopt_orphans(store).left
    assert left.path.suffix == ".damaged"
    assert path.with_suffix(".damaged").read_text() == "an earlier one"


def test_who_looks_for_lost_runs_first_is_told_of_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    path.write_bytes(path.read_bytes() + b"no entry at all")
    with Store.open(file) as store:
        find_lost(store)
        assert str(path.with_suffix(".damaged")) in caplog.text
        caplog.clear()
        history = History(store)
        assert len([history.find("last") for _ in range(2)]) == 2
        assert sum("history" in record.name for record in caplog.records) == 1
        (left,) = history.kept_aside
        left.path.unlink()
        history.find("last")
        assert history.kept_aside == ()


def test_damage_is_named_where_nothing_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    path.write_bytes(b"no entry at all")
    Store.open(file).close()
    with Store.open(file, read_only=True) as store:
        (left,) = History(store).take_in().left
    assert left.path == path


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_an_entry_that_was_cut_off_at_the_end_is_dropped(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    os.truncate(path, path.stat().st_size - cut)
    with Store.open(file) as store:
        taken = adopt_orphans(store)
    assert taken.left == ()
    assert f"the end of {path} was cut off" in taken.told[0]
    assert list(path.parent.iterdir()) == []


def test_an_empty_file_is_removed_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    os.truncate(path, 0)
    with Store.open(file) as store:
        assert adopt_orphans(store) == TakenIn()
    assert list(path.parent.iterdir()) == []


def test_a_run_is_not_lost_while_its_end_is_kept_aside(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Recorder(file) as recorder:
        observe = recorder.begin_run("half", RunAbout("stow"))
        with outage():
            feed(observe, life("half"))
            end_and_wait(recorder, "half")
            recorder.close()
    with Store.open(file) as store:
        with tables_of(store) as connection:  # as if the runner had been another process
            connection.exec_driver_sql("UPDATE leases SET pid = 4194305, pid_started = 1")
        with outage():
            with pytest.raises(StoreError):
                find_lost(store)
            assert kept(file, "half").run["state"] == "running"
        assert find_lost(store) == []
    kept(file, "half").assert_final()


def test_nobody_says_lost_of_a_run_whose_end_cannot_be_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs.db"
    with Recorder(file) as recorder:
        observe = recorder.begin_run("half", RunAbout("stow"))
        with outage():
            feed(observe, life("half"))
            end_and_wait(recorder, "half")
            recorder.close()

    def refused(*_: object) -> None:
        raise sqlite3.IntegrityError("not this one")

    with Store.open(file) as store:
        with tables_of(store) as connection:
            connection.exec_driver_sql("UPDATE leases SET pid = 4194305, pid_started = 1")
        with monkeypatch.context() as patch:
            patch.setattr(RunWriter, "_write_run", refused)
            assert find_lost(store) == []
        assert kept(file, "half").run["state"] == "running"
        assert find_lost(store) == []
    kept(file, "half").assert_final()


def test_a_file_of_a_runner_that_lives_is_named(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    with Recorder(file) as recorder, outage():
        feed(recorder.begin_run("now", RunAbout("stow")), life("now"))
        end_and_wait(recorder, "now")
        with Store.open(file, read_only=True) as store:
            (left,) = History(store).take_in().left
            assert [run.run_id for run in left.runs] == ["now"]
    kept(file, "now").assert_final()


# -- the command line -------------------------------------------------------------------------


def ask(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})


def test_the_command_line_takes_in_first(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    stow_then_configure(file)
    done = ask("why", "last", "--db", str(file))
    assert "configure" in done.stdout
    assert "1 run that an earlier process could not write" in done.stderr


def test_the_command_line_names_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    path = three_kept_aside(file)
    path.write_bytes(path.read_bytes() + b"no entry at all")
    done = ask("runs", "list", "--db", str(file))
    assert done.exit_code == 0
    assert f"rm {path.with_suffix('.damaged')}" in done.stderr


def test_nobody_acts_on_last_when_damage_is_found(tmp_path: Path) -> None:
    file, done = tmp_path / "runs.db", list[str]()
    stow_then_configure(file)
    (path,) = aside(file)
    path.write_bytes(b"no entry at all")
    with pytest.raises(UsageError, match=r"\.damaged"):
        resume("last", one_step("stow", done=done), store=file)
    assert done == []
    # It was told: who asks again knows of it.
    assert resume("last", one_step("stow", done=done), store=file).ok
    assert done == ["stow"]


def test_the_command_line_does_not_act_on_last_when_damage_is_found(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    stow_then_configure(file)
    (path,) = aside(file)
    path.write_bytes(b"no entry at all")
    done = ask("resume", "last", "--yes", "--db", str(file))
    assert done.exit_code == 2
    assert str(path.with_suffix(".damaged")) in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("why", "last"),
        ("runs", "list"),
        ("runs", "show", "last"),
        ("runs", "stats"),
        ("runs", "diff", "last", "last"),
        ("runs", "export", "last"),
    ],
)
def test_the_command_line_warns_where_the_record_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    file = tmp_path / "runs.db"
    stow_then_configure(file)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    done = ask(*words, "--db", str(file))
    assert done.exit_code == 0, done.output
    told = [line for line in done.stderr.splitlines() if "kept aside" in line]
    assert len(told) == 1
    assert "new (configure)" in told[0]
    assert str(aside(file)[0]) in told[0]


@pytest.mark.parametrize("words", [("resume", "last", "--yes"), ("recover", "last")])
def test_the_command_line_does_not_act_on_an_older_run(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    file = tmp_path / "runs.db"
    stow_then_configure(file)
    with outage():
        done = ask(*words, "--db", str(file))
    assert done.exit_code == 2
    assert str(aside(file)[0]) in done.stderr
