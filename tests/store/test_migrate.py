"""Migrations: run on open, forward only, one process at a time, never over a newer record."""

from __future__ import annotations

import importlib.util
import py_compile
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from sqlalchemy import Column, MetaData, inspect

from taskgrove.cli.app import app
from taskgrove.errors import StoreError
from taskgrove.store import Store
from taskgrove.store.database import record_version
from taskgrove.store.database.holders import boot_id
from taskgrove.store.database.location import find_location
from taskgrove.store.database.migrate import SCRIPTS, bring_up_to_date
from taskgrove.store.database.opening import connect_to
from taskgrove.store.database.record_version import (
    STORE_VERSION,
    VERSION_TABLE,
    OlderRecordError,
    version_of,
)
from taskgrove.store.history import History
from taskgrove.store.recording import rights
from taskgrove.store.tables import metadata
from tests.cli.command_line import MANAGER, MAP
from tests.store.by_sqlalchemy import engine_of, tables_of
from tests.store.kept_runs import beams, keep, keep_beams, ran
from tests.store.ready_tables import by_alembic
from tests.store.recording import PATIENCE_S, kept, new_recorder, run_recorded

ROOT = Path(__file__).parents[2]
NEXT = STORE_VERSION + 1

_STEP = """
from alembic import op
import sqlalchemy as sa

revision = "{new}"
down_revision = "{old}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("weather", sa.Text()))
    {more}
"""


@pytest.fixture(autouse=True)
def real_migrations() -> Iterator[None]:
    with by_alembic():
        yield


@pytest.fixture
def next_scripts(tmp_path: Path) -> Path:
    """Give the migrations of a version that is to come."""
    return later_scripts(tmp_path / "scripts")


def later_scripts(folder: Path, more: str = "") -> Path:
    (folder / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        (folder / name).write_bytes((SCRIPTS / name).read_bytes())
    for step in (SCRIPTS / "versions").glob("v*.py"):
        (folder / "versions" / step.name).write_bytes(step.read_bytes())
    text = _STEP.format(new=NEXT, old=STORE_VERSION, more=more)
    (folder / "versions" / f"v{NEXT:04}_weather.py").write_text(text)
    return folder


def migrate(location: str, scripts: Path) -> Path | None:
    where = find_location(location)
    connections = connect_to(where, create=True, read_only=False)
    try:
        return bring_up_to_date(connections, where, NEXT, scripts=scripts)
    finally:
        connections.close()


def test_the_rights_of_a_recorder_are_asked_for_every_table() -> None:
    assert sorted(rights._TABLES) == sorted(metadata.tables)


def kind_of(column: Column[object], store: Store) -> str:
    kind = str(column.type.compile(engine_of(store).dialect))
    return "FLOAT" if kind == "DOUBLE PRECISION" else kind  # PostgreSQL's other name of it


def test_the_migrations_make_the_tables_of_the_schema(record_url: str) -> None:
    with Store.open(record_url) as store:
        assert store.backup is None
        found = MetaData()
        found.reflect(engine_of(store))
        inspector = inspect(engine_of(store))
        assert set(found.tables) == set(metadata.tables) | {VERSION_TABLE}
        for name, table in metadata.tables.items():
            there = found.tables[name]
            assert [(c.name, c.nullable, c.primary_key) for c in there.columns] == [
                (c.name, c.nullable, c.primary_key) for c in table.columns
            ]
            assert [kind_of(c, store) for c in there.columns] == [
                kind_of(c, store) for c in table.columns
            ]
            assert {
                (index["name"], tuple(index["column_names"]))
                for index in inspector.get_indexes(name)
                if not str(index["name"]).endswith("_key")
            } == {(i.name, tuple(c.name for c in i.columns)) for i in table.indexes}
            assert {
                (fk["constrained_columns"][0], fk["referred_table"], fk["options"].get("ondelete"))
                for fk in inspector.get_foreign_keys(name)
            } == {(fk.parent.name, fk.column.table.name, fk.ondelete) for fk in table.foreign_keys}
        assert version_of(store.connections) == STORE_VERSION


def test_an_older_record_is_migrated_and_a_file_is_copied_before(
    record_url: str, tmp_path: Path, next_scripts: Path
) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        run_recorded(recorder, "run-1")
        # The copy holds what is only in the write-ahead log still, too.
        copy = migrate(record_url, next_scripts)
    where = find_location(record_url)
    connections = connect_to(where, create=False, read_only=False)
    assert version_of(connections) == NEXT
    with connections.lent() as connection:
        assert connection.execute("SELECT weather FROM runs").fetchall() == [(None,)]
    connections.close()
    if where.file is None:
        assert copy is None
        return
    assert copy is not None
    assert copy.parent == where.file.parent
    kept(copy, "run-1").assert_final()


def test_a_newer_record_is_refused_and_left_alone(record_url: str, next_scripts: Path) -> None:
    migrate(record_url, next_scripts)
    for read_only in (False, True):
        with pytest.raises(StoreError) as caught:
            Store.open(record_url, read_only=read_only)
        assert f"has version {NEXT}" in caught.value.message
        assert "newer taskgrove" in str(caught.value.hint)


def test_a_migration_that_fails_changes_nothing(record_url: str, tmp_path: Path) -> None:
    with new_recorder(record_url, tmp_path) as recorder:
        run_recorded(recorder, "run-1")
    broken = later_scripts(tmp_path / "broken", "op.execute('SELECT * FROM no_such_table')")
    with pytest.raises(StoreError, match="no_such_table"):
        migrate(record_url, broken)
    kept(record_url, "run-1").assert_final()


def test_no_copy_no_migration(
    tmp_path: Path, next_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("taskgrove.store.database.migrate.os.fsync", full)
    with pytest.raises(StoreError, match="cannot be copied before") as caught:
        migrate(str(file), next_scripts)
    assert "make room" in str(caught.value.hint)
    monkeypatch.undo()
    Store.open(file).close()
    assert not list(tmp_path.glob("*.bak"))


def test_processes_that_open_a_new_record_at_once_make_it_once(record_url: str) -> None:
    code = f"from taskgrove.store import Store; Store.open({record_url!r}).close()"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        with process:
            _, told = process.communicate(timeout=2 * PATIENCE_S)
        assert (told, process.returncode) == ("", 0)
    with Store.open(record_url, read_only=True) as store, tables_of(store) as connection:
        assert connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").all() == [
            (str(STORE_VERSION),)
        ]


def test_threads_migrate_at_once_too(record_url: str, next_scripts: Path) -> None:
    Store.open(record_url).close()
    copies: list[Path | None] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            copies.append(migrate(record_url, next_scripts))
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert errors == []
    assert len(copies) == 6
    assert sum(copy is not None for copy in copies) <= 1


def test_opening_again_needs_no_alembic(tmp_path: Path) -> None:
    Store.open(tmp_path / "runs.db").close()
    code = (
        "import sys; sys.modules['alembic'] = None\n"
        "from taskgrove.store import Store\n"
        f"Store.open({str(tmp_path / 'runs.db')!r}).close()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_a_migration_waits_for_whoever_writes(tmp_path: Path, next_scripts: Path) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, connection.execute, ["COMMIT"])
    timer.start()
    assert migrate(str(file), next_scripts) is not None
    timer.join()
    connection.close()


@pytest.mark.parametrize("said", ["'abc'", "NULL", "0", "-1"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_record_that_does_not_tell_its_version_is_refused(
    tmp_path: Path, said: str, read_only: bool
) -> None:
    file = tmp_path / "runs.db"
    Store.open(file).close()
    with sqlite3.connect(file) as connection:
        change = f"UPDATE {VERSION_TABLE} SET version_num = {said}"
        connection.execute(f"DELETE FROM {VERSION_TABLE}" if said == "NULL" else change)
    connection.close()
    with pytest.raises(StoreError, match="does not tell its version") as told:
        Store.open(file, read_only=read_only)
    assert "restore a copy" in str(told.value.hint)


def test_byte_code_that_was_cut_short_is_told_and_what_to_do(
    tmp_path: Path, next_scripts: Path
) -> None:
    """Python writes half a file on a full disk, and trusts it ever after."""
    (step,) = (next_scripts / "versions").glob("v0001*.py")
    code = Path(py_compile.compile(str(step), doraise=True))
    code.write_bytes(code.read_bytes()[:-100])
    with pytest.raises(StoreError, match="marshal data too short") as told:
        migrate(str(tmp_path / "runs.db"), next_scripts)
    assert "__pycache__" in str(told.value.hint)
    assert str(next_scripts) in told.value.message
    code.unlink()
    assert migrate(str(tmp_path / "runs.db"), next_scripts) is None


def test_migrating_writes_no_byte_code(
    tmp_path: Path, next_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    migrate(str(tmp_path / "runs.db"), next_scripts)
    for step in (next_scripts / "versions").glob("*.py"):
        assert not Path(importlib.util.cache_from_source(str(step))).exists()
    assert not sys.dont_write_bytecode


@pytest.fixture
def runner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds leases; what it does else does not matter."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


def hold_lease(location: str, process: subprocess.Popen[bytes], **changes: object) -> None:
    """Leave a run in a record that a process records, as an older taskgrove does."""
    lease = {
        "host": "control-01",
        "boot_id": boot_id(),
        "pid": process.pid,
        "pid_started": psutil.Process(process.pid).create_time(),
        "heartbeat_ns": time.time_ns(),
        "interval_s": 2.0,
        **changes,
    }
    columns = {"state": "running", "status": 2, "result_code": 1, "ended_ns": None}
    with Store.open(location) as store:
        keep(store, ran(beams(), {}, run_id="run-1")[:4], lease=lease, **columns)


def end_lease(location: str) -> None:
    with Store.open(location) as store, tables_of(store) as connection:
        connection.exec_driver_sql("DELETE FROM leases")


def test_a_record_is_not_migrated_while_an_older_version_records_in_it(
    record_url: str, next_scripts: Path, runner: subprocess.Popen[bytes]
) -> None:
    hold_lease(record_url, runner)
    with pytest.raises(OlderRecordError) as told:
        migrate(record_url, next_scripts)
    words = f"an older taskgrove records run run-1 (configure) in it: process {runner.pid} on"
    assert words in told.value.message
    assert "when that run has ended" in str(told.value.hint)
    with Store.open(record_url) as store:  # the older version finds what it left
        assert store.backup is None
        assert len(list(History(store).events("run-1"))) == 4
    end_lease(record_url)
    migrate(record_url, next_scripts)
    with pytest.raises(StoreError, match=f"has version {NEXT}"):
        Store.open(record_url)


@pytest.mark.parametrize(
    "dead",
    [
        {"pid_started": 1.0, "heartbeat_ns": 1},  # the number is another process' now
        {"boot_id": "another boot", "heartbeat_ns": 1},
    ],
)
def test_a_lease_that_ran_out_holds_up_no_migration(
    record_url: str, next_scripts: Path, runner: subprocess.Popen[bytes], dead: dict[str, object]
) -> None:
    hold_lease(record_url, runner, **dead)
    migrate(record_url, next_scripts)


def test_the_command_line_reads_a_copy_meanwhile_and_records_nothing(
    record_url: str,
    tmp_path: Path,
    next_scripts: Path,
    runner: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold_lease(record_url, runner)
    (tmp_path / "map.yaml").write_text(MAP)
    (tmp_path / "later_steps.py").write_text(MANAGER)
    with monkeypatch.context() as later:
        later.setattr(record_version, "STORE_VERSION", NEXT)
        later.setitem(bring_up_to_date.__kwdefaults__, "scripts", next_scripts)
        later.setattr(sys, "path", [str(tmp_path), *sys.path])
        given = ("--db", record_url)
        for words in (("runs", "list"), ("runs", "show", "run-1"), ("why", "run-1")):
            done = CliRunner().invoke(app, [*words, *given], env={"TASKGROVE_DB": None})
            assert f"process {runner.pid} on control-01" in done.stderr
            if "://" in record_url:  # a server's tables cannot be copied aside
                assert (done.exit_code, done.stdout) == (2, "")
                continue
            assert done.exit_code == 0, done.output
            assert "configure" in done.stdout
            assert "a copy of it is read" in done.stderr
        line = ["run", str(tmp_path / "map.yaml"), "good", "--manager", "later_steps:Manager"]
        done = CliRunner().invoke(app, [*line, *given], env={"TASKGROVE_DB": None})
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"process {runner.pid} on control-01" in done.stderr
    with Store.open(record_url) as store:
        assert [run.run_id for run in History(store).runs()] == ["run-1"]
    assert not list(tmp_path.glob("*.bak"))


def test_an_older_record_that_may_not_be_written_is_read_as_a_copy(
    tmp_path: Path, next_scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "runs.db"
    with Store.open(file) as store:
        keep_beams(store, "run-1")
    before = file.read_bytes()
    monkeypatch.setattr(record_version, "STORE_VERSION", NEXT)
    monkeypatch.setitem(bring_up_to_date.__kwdefaults__, "scripts", next_scripts)
    with Store.open(file, read_only=True) as store:
        assert "older version" in str(store.copied)
        assert store.location == str(file)
        assert History(store).find("last").run_id == "run-1"
        with store.connections.lent() as connection:
            copies = [Path(row[2]) for row in connection.execute("PRAGMA database_list")]
        assert copies[0].exists()
    assert file.read_bytes() == before
    assert not copies[0].exists()
