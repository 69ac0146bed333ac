"""A record on a disk that is wholly full is read all the same, with what only its log holds."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskgrove.errors import StoreError
from taskgrove.store.database.full_disk import lacks_room
from taskgrove.store.history import History
from taskgrove.store.store import Store
from taskgrove.store.verdicts import give_verdict
from tests.cli.command_line import PATIENCE_S, ROOT, environment, taskgrove
from tests.store.kept_runs import keep_beams


def crashed(folder: Path, place: Path) -> Path:
    """Make a record whose writer was killed: the last run stands in the write-ahead log only."""
    made = place / "made.db"
    with Store.open(made) as store:
        keep_beams(store, "20261121T070000Z-00000001")
        with sqlite3.connect(made) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        keep_beams(store, "20261121T080000Z-00000002", failing=["pst-beam-02"])
        copy = folder / "runs.db"
        shutil.copy(made, copy)
        shutil.copy(f"{made}-wal", f"{copy}-wal")
    assert Path(f"{copy}-wal").stat().st_size > 0
    return copy


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on a disk without a free byte; ``runs.db`` is in it."""
    folder = tmp_path / "full"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        crashed(folder, tmp_path)
        with (folder / "ballast").open("wb", buffering=0) as taken, contextlib.suppress(OSError):
            while True:
                taken.write(b"x" * 4096)
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_every_reading_verb_answers(full_disk: Path, tmp_path: Path) -> None:
    file = str(full_disk / "runs.db")
    for words, told in (
        (("runs", "list"), "pst-beam-02"),
        (("why", "last"), "no lock"),
        (("runs", "export", "last", "--format", "html"), "no lock"),
    ):
        done = taskgrove(*words, "--db", file, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout or told.replace("pst-beam-02", "mid-pst/beam/02") in done.stdout
        assert "full; the record is read and not changed" in " ".join(done.stderr.split())


def test_nothing_is_lost_by_reading(full_disk: Path) -> None:
    file = full_disk / "runs.db"
    with History.open(file) as history:
        assert history.disk_is_full
        assert history.store.read_only
        with ThreadPoolExecutor(4) as pool:  # one connection, in turns
            told = list(pool.map(lambda _: [run.run_id for run in history.runs()], range(8)))
    assert told == [["20261121T080000Z-00000002", "20261121T070000Z-00000001"]] * 8
    (full_disk / "ballast").unlink()
    with History.open(file) as history:
        assert not history.disk_is_full
        assert [run.outcome for run in history.runs()] == ["degraded", "ok"]


def test_writing_says_what_is_wrong(full_disk: Path) -> None:
    with pytest.raises(StoreError, match="the disk is full") as caught:
        Store.open(full_disk / "runs.db", create=False)
    assert lacks_room(caught.value)
    assert caught.value.hint == "make room on it"
    with History.open(full_disk / "runs.db") as history, pytest.raises(StoreError):
        give_verdict(history.store, "last", "configure", "note", why="seen")


def test_a_quota_does_the_same(tmp_path: Path) -> None:
    """The same without a disk of its own: no file may grow."""
    file = crashed(tmp_path, tmp_path)
    code = (
        "import resource, signal, sys\n"
        "sys.dont_write_bytecode = True\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, {resource_infinity()}))\n"
        "from taskgrove.__main__ import main\n"
        "sys.argv = ['taskgrove', *sys.argv[1:]]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "why", "last", "--db", str(file)],
        cwd=ROOT, env=environment(), capture_output=True, encoding="utf-8",
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert "no lock" in done.stdout, done.stderr
    assert "is full" in done.stderr
    assert not os.path.exists(f"{file}-shm") or os.path.getsize(f"{file}-shm") < 32_768


def resource_infinity() -> int:
    resource = pytest.importorskip("resource")
    return int(resource.RLIM_INFINITY)


def test_other_errors_are_no_full_disk() -> None:
    assert not lacks_room(None)
    assert not lacks_room(sqlite3.OperationalError("no such table"))
    busy = sqlite3.OperationalError("database is locked")
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    assert not lacks_room(StoreError("x", location="y"))
    error = StoreError("x", location="y")
    error.__cause__ = busy
    assert not lacks_room(error)
