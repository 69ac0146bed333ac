"""``taskgrove doctor``: what is installed, the record, and where analyses run and publish."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import taskgrove
from taskgrove.cli import doctor, doctor_record
from taskgrove.cli.app import app
from taskgrove.cli.extras import EXTRAS
from taskgrove.commands.task import LeafTask, Task
from taskgrove.store.database import record_version
from taskgrove.store.database.record_version import STORE_VERSION
from tests.cli.command_line import PATIENCE_S, ROOT, environment


@pytest.fixture(autouse=True)
def nothing_steers_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TASKGROVE_DB", "TASKGROVE_PAGES", "TANGO_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")


def ask(*words: str) -> SimpleNamespace:
    done = CliRunner().invoke(app, ["doctor", *words])
    return SimpleNamespace(code=done.exit_code, words=done.output)


def a_record(file: Path) -> Path:
    root = Task("configure", subtasks=[LeafTask.from_callable(lambda: 0, name="step")])
    taskgrove.run(root, record=file)
    return file


def test_it_lists_every_part_with_its_version_and_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"panel": None, "pytango": None}
    monkeypatch.setattr(doctor, "installed_version", lambda name: versions.get(name, "1.2.3"))
    told = ask()
    assert told.code == 0
    assert "  store      SQLAlchemy 1.2.3, alembic 1.2.3, platformdirs 1.2.3" in told.words
    assert "missing; real devices, and the simulator: pip install 'taskgrove[tango]'" in told.words
    assert "without panel; summary plots: pip install 'taskgrove[plots]'" in told.words


def test_the_parts_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {"": project["dependencies"], **project["optional-dependencies"]}
    for extra in EXTRAS:
        names = [re.split(r"[\[>=<]", line)[0] for line in declared[extra.name]]
        assert set(names) - {"taskgrove"} == set(extra.packages), extra.name
    assert {extra.name for extra in EXTRAS} == set(declared) - {"all", "test", "dev"}


def test_a_record_that_is_not_there_yet_is_no_problem_and_is_not_made(tmp_path: Path) -> None:
    told = ask()
    assert told.code == 0
    assert f"at         {tmp_path / 'data' / 'taskgrove' / 'runs.db'}" in told.words
    assert "not there yet; the first run makes it" in told.words
    assert not (tmp_path / "data").exists()


def test_a_record_is_told_with_its_version_its_runs_and_what_is_lost(tmp_path: Path) -> None:
    file = a_record(tmp_path / "runs.db")
    told = ask("--db", str(file))
    assert told.code == 0
    assert f"version {STORE_VERSION}, 1 run, can be written" in told.words
    assert "GiB free" in told.words
    assert "lost" not in told.words
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE runs SET state = 'lost'")
    connection.close()
    told = ask("--db", str(file))
    assert told.code == 0
    assert re.search(r"lost +(\S+) \(configure\): taskgrove recover \1", told.words)


def test_a_record_that_cannot_be_used_is_told_and_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"no record at all " * 100)
    told = ask("--db", str(tmp_path / "bad.db"))
    assert told.code == 1
    assert "cannot be used: " in told.words
    told = ask("--db", str(tmp_path / "missing" / "runs.db"))
    assert told.code == 1
    assert f"cannot be made: there is no folder {tmp_path / 'missing'}" in told.words
    assert not (tmp_path / "missing").exists()
    told = ask("--db", "mysql://here/runs")
    assert told.code == 1
    assert "names no database" in told.words


def test_an_older_record_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = a_record(tmp_path / "runs.db")
    before = file.read_bytes()
    monkeypatch.setattr(record_version, "STORE_VERSION", STORE_VERSION + 1)
    told = ask("--db", str(file))
    newer = f"version {STORE_VERSION}; the next verb that opens it brings it to {STORE_VERSION + 1}"
    assert newer in told.words
    assert told.code == 0
    assert file.read_bytes() == before
    (tmp_path / "empty.db").touch()
    assert "empty; the first run makes it" in ask("--db", str(tmp_path / "empty.db")).words
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_a_record_that_was_changed_by_hand_is_told(tmp_path: Path) -> None:
    file = a_record(tmp_path / "runs.db")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE taskgrove_version SET version_num = 'x'")
    connection.close()
    told = ask("--db", str(file))
    assert told.code == 1
    assert "does not tell its version" in told.words


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = SimpleNamespace(free=3 * 1024**2)
    monkeypatch.setattr(doctor_record.shutil, "disk_usage", lambda folder: full)
    told = ask("--db", str(tmp_path / "runs.db"))
    assert told.code == 1
    assert "only 3 MiB free" in told.words


def test_where_pages_go_and_what_starts_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mpirun").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = ask()
    assert "pages      not published: --pages DIR, or TASKGROVE_PAGES" in told.words
    assert f"launchers  mpirun ({tmp_path / 'mpirun'})" in told.words
    monkeypatch.setenv("TASKGROVE_PAGES", str(tmp_path / "mpirun" / "pages"))
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    told = ask()
    assert told.code == 1
    assert f"cannot be made: {tmp_path / 'mpirun'} is no folder" in told.words
    assert "none of mpirun, mpiexec, srun" in told.words


def test_verbs_that_need_the_record_name_its_extra_where_it_is_missing(tmp_path: Path) -> None:
    program = """
import sys
for name in ("sqlalchemy", "alembic", "platformdirs", "psutil"):
    sys.modules[name] = None
from click.testing import CliRunner
from taskgrove.cli.app import app
for words in sys.argv[1:]:
    done = CliRunner().invoke(app, words.split())
    print(words, done.exit_code, "taskgrove[store]" in done.output, "unexpected" in done.output)
"""
    needed = ["runs list", "runs show last", "runs export last", "runs prune --keep-last 1", "why"]
    needed += ["recover", "resume last", "verdict last a ok --why x"]
    done = subprocess.run(
        [sys.executable, "-c", program, *needed, "doctor"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    *lines, of_doctor = done.stdout.splitlines()
    assert lines == [f"{words} 2 True False" for words in needed], done.stderr
    assert of_doctor == "doctor 0 True False"
