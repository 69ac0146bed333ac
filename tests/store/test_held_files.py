"""A record that a process has open stays in use, whatever the process looks at besides.

A second look at the file (an estimate, a verb's history) once dropped the process's locks on it,
so that a reader in another process, when it closed, removed the log that was still written to.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from taskgrove.store.database import held_files, sqlite_file
from taskgrove.store.database.held_files import connect_holding, read_aside
from taskgrove.store.history import History
from taskgrove.store.store import Store
from tests.cli.command_line import taskgrove
from tests.store.kept_runs import keep_beams


def test_what_is_written_after_another_process_has_read_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Store.open(file) as writer:
        keep_beams(writer, "20261121T070000Z-00000001")
        with History.open(file) as second:  # as the estimate does while a run is recorded
            assert len(second.runs()) == 1
        done = taskgrove("runs", "list", "--db", str(file), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert Path(f"{file}-wal").exists(), "the reader took itself for the last one"
        keep_beams(writer, "20261121T080000Z-00000002")
        # Seen from outside, while the writer still has it open.
        done = taskgrove("runs", "list", "--db", str(file), "--json", cwd=tmp_path)
        assert "00000002" in done.stdout, done.stderr


def test_a_file_that_is_open_is_not_opened_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    assert read_aside(file, 16) is not None
    first, second = (connect_holding(file, f"file:{file}?mode=ro") for _ in range(2))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: pytest.fail("it was opened"))
        for connection in (first, second):
            assert read_aside(file, 16) is None
            assert sqlite_file.check_file(file, create=False, read_only=True)
            connection.close()
            connection.close()
    assert read_aside(file, 16) is not None


def test_a_file_that_cannot_be_opened_is_not_held(tmp_path: Path) -> None:
    missing = tmp_path / "missing.db"
    with pytest.raises(sqlite3.OperationalError):
        connect_holding(missing, f"file:{missing}?mode=ro").execute("SELECT 1 FROM runs")
    missing.write_bytes(b"")
    assert read_aside(missing, 16) == (b"", 0)


def test_every_store_lets_go(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with Store.open(file) as store, store.connections.lent():
        assert read_aside(file, 16) is None
    assert read_aside(file, 16) is not None
    assert not any(count < 0 for count in held_files._HELD.values())
