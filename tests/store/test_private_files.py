"""What a record keeps of runs is private, or shared by a group, whatever the umask."""

from __future__ import annotations

import grp
import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from taskgrove.analysis.payload_store import store_payload
from taskgrove.analysis.running.guardian import ledger_folder
from taskgrove.cli.app import app
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.errors import StoreError
from taskgrove.private_files import make_private_file, make_private_folder
from taskgrove.store import Store
from taskgrove.store.database.location import default_file
from taskgrove.store.recording.spill import Spill
from taskgrove.store.recording.spill_file import RunEntry
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import end_and_wait, feed, life, new_recorder


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """A umask that says something else, or hides what we make from ourselves."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder below which the user's own record is, which does not exist yet."""
    for kind in ("DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / "home" / kind.lower()))
    monkeypatch.delenv("TASKGROVE_DB", raising=False)
    return tmp_path / "home"


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> int:
    """A group of this user that shares what is private."""
    known = [entry.gr_gid for entry in grp.getgrall()] if os.geteuid() == 0 else os.getgroups()
    others = [number for number in known if number != os.getegid()]
    number = others[0] if others else os.getegid()
    monkeypatch.setenv("TASKGROVE_GROUP", grp.getgrgid(number).gr_name)
    return number


def modes(folder: Path) -> dict[str, str]:
    """Return the mode of each file and folder below a folder."""
    return {
        str(path.relative_to(folder)): f"{stat.S_IMODE(path.stat().st_mode):o}"
        for path in sorted(folder.rglob("*"))
    }


def test_the_record_and_its_folders_are_private(data: Path, umask: None) -> None:
    with Store.open() as store:
        with tables_of(store) as connection:
            connection.exec_driver_sql("INSERT INTO paths (path) VALUES ('a')")
        assert modes(data) == {
            "data": "700",
            "data/taskgrove": "700",
            "data/taskgrove/runs.db": "600",
            "data/taskgrove/runs.db-shm": "600",
            "data/taskgrove/runs.db-wal": "600",
        }


def test_a_record_at_another_place_is_private_and_the_folder_is_left(
    tmp_path: Path, umask: None
) -> None:
    tmp_path.chmod(0o755)
    Store.open(tmp_path / "runs.db").close()
    assert modes(tmp_path)["runs.db"] == "600"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_what_is_kept_aside_is_private(data: Path, umask: None) -> None:
    spill = Spill("somewhere", 1 << 20)
    assert spill.add([RunEntry("run-1", {}, {}, False)]) == []
    assert spill.path is not None
    found = modes(data)
    assert found.pop(str(spill.path.relative_to(data))) == "600"
    assert found == {"state": "700", "state/taskgrove": "700", "state/taskgrove/spill": "700"}
    spill.close()


def test_payloads_are_private(tmp_path: Path, umask: None) -> None:
    kept = store_payload(b"x" * 100, tmp_path / "work" / "payloads", limit_bytes=10)
    name = Path(kept.path).name
    assert modes(tmp_path) == {
        "work": "700",
        "work/payloads": "700",
        f"work/payloads/{name}": "600",
    }


def test_the_list_of_what_analyses_started_is_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: None
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    ledger_folder()
    assert modes(tmp_path) == {"taskgrove": "700"}


def test_a_group_shares_them(data: Path, group: int, umask: None) -> None:
    with Store.open() as store:
        with tables_of(store) as connection:
            connection.exec_driver_sql("INSERT INTO paths (path) VALUES ('a')")
        assert modes(data) == {
            "data": "2770",
            "data/taskgrove": "2770",
            "data/taskgrove/runs.db": "660",
            "data/taskgrove/runs.db-shm": "660",
            "data/taskgrove/runs.db-wal": "660",
        }
        assert {path.stat().st_gid for path in data.rglob("*")} == {group}


def test_the_log_beside_a_shared_record_belongs_to_the_group_in_any_folder(
    tmp_path: Path, group: int
) -> None:
    with Store.open(tmp_path / "runs.db"):
        assert {path.stat().st_gid for path in tmp_path.glob("runs.db*")} == {group}


def test_a_group_that_does_not_exist_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKGROVE_GROUP", "no-such-group")
    with pytest.raises(StoreError, match="TASKGROVE_GROUP names no group 'no-such-group'"):
        Store.open(tmp_path / "runs.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_keeps_its_mode_and_doctor_names_the_cure(data: Path) -> None:
    file = default_file()
    file.parent.mkdir(parents=True, mode=0o755)
    file.touch(mode=0o644)
    with new_recorder(file, data) as recorder:
        feed(recorder.begin_run("run-1", RunAbout()), life("run-1"))
        end_and_wait(recorder, "run-1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    told = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "300"}).output
    lines = [line for line in told.splitlines() if "others may use" in line]
    assert len(lines) == 2
    for line in lines:
        subprocess.run(shlex.split(line.rpartition("): ")[2]), check=True)  # as it is printed
    assert "others may use" not in CliRunner().invoke(app, ["doctor"]).output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_file_that_is_there_is_left(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("kept")
    (tmp_path / "x").chmod(0o640)
    make_private_file(tmp_path / "x")
    make_private_folder(tmp_path)
    assert (tmp_path / "x").read_text() == "kept"
    assert modes(tmp_path) == {"x": "640"}
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "x")
