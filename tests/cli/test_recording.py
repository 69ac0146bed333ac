"""``taskgrove run`` records what it runs, and goes on where it cannot."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from taskgrove import TaskStatus
from taskgrove.events import decode_event
from tests.cli.command_line import PATIENCE_S, begun, environment, read_until, start, taskgrove
from tests.store.recording import Kept, kept

MANAGER = ("--manager", "site_manager:Manager")


def run_id_of(words: str) -> str:
    (line,) = [line for line in words.splitlines() if line.startswith("Recorded as ")]
    return line.removeprefix("Recorded as ").partition(":")[0]


def recorded(place: Path, words: str) -> Kept:
    return kept(place / "runs.db", run_id_of(words))


def test_a_run_is_recorded_with_what_it_takes_to_compose_it_again(place: Path) -> None:
    (place / "argin.json").write_text('{"cbf": {"password": "hunter2", "gain": 2}}')
    done = taskgrove(
        "run", "map.yaml", "good", *MANAGER, "--argin", "argin.json", "--db", "runs.db", cwd=place
    )
    assert done.returncode == 0
    found = recorded(place, done.stdout)
    found.assert_final()
    source = json.loads(found.run["source"])
    assert source["kind"] == "map"
    assert source["file"] == str(place / "map.yaml")
    assert source["text"] == (place / "map.yaml").read_text()
    assert (source["command"], source["manager"]) == ("good", "site_manager:Manager")
    assert source["argin"] == {"cbf": {"password": "<redacted>", "gain": 2}}
    assert found.run["command"] == "good"
    assert "hunter2" not in json.dumps(found.run, default=str)
    assert json.loads(found.run["argv"])[1:4] == ["run", "map.yaml", "good"]


def test_what_to_do_next_is_said(place: Path) -> None:
    good = taskgrove("run", "map.yaml", "good", *MANAGER, "--db", "runs.db", cwd=place).stdout
    assert f"taskgrove runs show {run_id_of(good)}" in good
    bad = taskgrove("run", "map.yaml", "bad", *MANAGER, "--db", "runs.db", cwd=place).stdout
    assert f"taskgrove why {run_id_of(bad)}" in bad
    assert recorded(place, bad).run["status"] == TaskStatus.FAILED


def test_the_record_is_where_the_environment_says(place: Path) -> None:
    env = environment(TASKGROVE_DB=str(place / "runs.db"))
    done = taskgrove("run", "map.yaml", "good", *MANAGER, cwd=place, env=env)
    recorded(place, done.stdout).assert_final()
    own = environment(XDG_DATA_HOME=str(place / "data"))
    done = taskgrove("run", "map.yaml", "good", *MANAGER, cwd=place, env=own)
    kept(place / "data/taskgrove/runs.db", run_id_of(done.stdout)).assert_final()


def test_the_events_on_standard_output_are_those_of_the_record(place: Path) -> None:
    done = taskgrove("run", "map.yaml", "bad", *MANAGER, "--json", "--db", "runs.db", cwd=place)
    events = [decode_event(line) for line in done.stdout.splitlines()]
    assert events == recorded(place, done.stderr).events


def test_no_record_leaves_no_trace(place: Path) -> None:
    own = environment(XDG_DATA_HOME=str(place / "data"))
    done = taskgrove("run", "map.yaml", "good", *MANAGER, "--no-record", cwd=place, env=own)
    assert done.returncode == 0
    assert "Recorded" not in done.stdout
    assert not (place / "data").exists()


def test_a_record_that_was_named_must_be_usable(place: Path) -> None:
    (place / "notes.db").write_text("no database, only notes, and rather more than a few of them")
    done = taskgrove("run", "map.yaml", "good", *MANAGER, "--db", "notes.db", cwd=place)
    assert done.returncode == 2
    assert "is not a SQLite database" in done.stderr
    assert "started" not in done.stdout


def test_a_command_goes_on_where_the_record_is_unusable(place: Path) -> None:
    (place / "notes.db").write_text("no database, only notes, and rather more than a few of them")
    env = environment(TASKGROVE_DB=str(place / "notes.db"), XDG_STATE_HOME=str(place / "state"))
    done = taskgrove("run", "map.yaml", "good", *MANAGER, cwd=place, env=env)
    assert done.returncode == 0
    assert "is not a SQLite database" in done.stdout
    assert "good completed: nothing failed" in done.stdout
    assert "they are kept in" in done.stdout
    assert "Recorded as" not in done.stdout
    # With the file out of the way, the next run brings what was kept aside into the record.
    (place / "notes.db").unlink()
    again = taskgrove("run", "map.yaml", "good", *MANAGER, cwd=place, env=env)
    assert "of 1 run that an earlier process could not write" in again.stdout
    with sqlite3.connect(place / "notes.db") as connection:
        assert connection.execute("SELECT state FROM runs").fetchall() == [("final",)] * 2
    connection.close()


def test_what_names_no_database_is_told_and_the_command_goes_on(place: Path) -> None:
    env = environment(TASKGROVE_DB="mysql://u:hunter2@host/runs")
    done = taskgrove("run", "map.yaml", "half", *MANAGER, cwd=place, env=env)
    assert done.returncode == 3
    assert "not recorded" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr


def test_without_the_extra_a_run_is_not_recorded_and_says_so(place: Path) -> None:
    (place / "sitecustomize.py").write_text("import sys; sys.modules['sqlalchemy'] = None\n")
    env = environment()
    env["PYTHONPATH"] += os.pathsep + str(place)
    done = taskgrove("run", "map.yaml", "good", *MANAGER, cwd=place, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "note: not recorded" in done.stdout
    assert "taskgrove[store]" in done.stdout
    named = taskgrove("run", "map.yaml", "good", *MANAGER, "--db", "x.db", cwd=place, env=env)
    assert named.returncode == 2
    assert "taskgrove[store]" in named.stderr


def test_trouble_in_mid_run_is_told_at_once(place: Path) -> None:
    with start("run", "map.yaml", "long", *MANAGER, "--db", "runs.db", cwd=place) as process:
        read_until(process.stdout, "long: started")
        begun(place)
        holder = sqlite3.connect(place / "runs.db", isolation_level=None, timeout=PATIENCE_S)
        with closing(holder):
            holder.execute("BEGIN IMMEDIATE")
            process.send_signal(signal.SIGINT)
            words = read_until(process.stdout, "locked")
            assert "record: " in words
            holder.execute("ROLLBACK")
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    with sqlite3.connect(place / "runs.db") as connection:
        (run_id,) = connection.execute("SELECT run_id FROM runs").fetchone()
    connection.close()
    kept(place / "runs.db", run_id).assert_final()


def test_what_was_seen_before_the_second_interrupt_is_on_record(place: Path) -> None:
    words = ("run", "map.yaml", "deaf", *MANAGER, "--db", "runs.db", "--grace", "3000")
    with start(*words, cwd=place) as process:
        read_until(process.stdout, "deaf: started")
        begun(place)
        process.send_signal(signal.SIGINT)
        read_until(process.stdout, "Ctrl-C")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5
    with sqlite3.connect(place / "runs.db") as connection:
        ((run_id, state),) = connection.execute("SELECT run_id, state FROM runs").fetchall()
    connection.close()
    assert state == "running"  # it has not ended: recovery says what became of it
    found = kept(place / "runs.db", run_id)
    found.assert_whole()
    assert any("interrupted" in event.message for event in found.events)
