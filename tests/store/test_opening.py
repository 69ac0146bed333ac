"""Opening a record: what is made, what is refused, and in which words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import ProgrammingError

from taskgrove.errors import MissingExtraError, StoreError
from taskgrove.store import Store
from taskgrove.store.database.database_faults import is_outage, why_refused, words_of
from taskgrove.store.database.location import find_location
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import kept, new_recorder, run_recorded


def refusal(file: str | Path, **options: bool) -> StoreError:
    with pytest.raises(StoreError) as caught:
        Store.open(file, **options)
    assert str(file).rpartition("/")[2] in caught.value.message
    return caught.value


def test_a_new_file_is_durable_by_its_settings(tmp_path: Path) -> None:
    with Store.open(tmp_path / "runs.db") as store, tables_of(store) as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "auto_vacuum")
        }
    full = 2
    assert settings == {
        "journal_mode": "wal", "synchronous": full, "foreign_keys": 1, "auto_vacuum": 2,
    }  # fmt: skip


def test_a_commit_reaches_the_disk_before_it_returns(tmp_path: Path) -> None:
    """One fsync a batch, on the log, seen from outside."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    code = (
        "from taskgrove.store import Store\n"
        f"store = Store.open({str(tmp_path / 'runs.db')!r})\n"
        "print('MARK', flush=True)\n"
        "with store.writing() as c:\n"
        "    c.execute(\"INSERT INTO paths (path) VALUES ('x')\")\n"
        "print('DONE', flush=True)\n"
    )
    done = subprocess.run(
        [strace, "-f", "-e", "trace=write,fsync,fdatasync,pwrite64", sys.executable, "-c", code],
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    if "MARK" not in done.stderr:
        pytest.skip("strace does not work here")
    between = done.stderr.split("MARK")[1].split("DONE")[0]
    assert "fdatasync" in between or "fsync" in between


def test_an_empty_file_is_a_new_record(tmp_path: Path) -> None:
    (tmp_path / "runs.db").touch()
    assert "is empty" in refusal(tmp_path / "runs.db", read_only=True).message
    assert "is empty" in refusal(tmp_path / "runs.db", create=False).message
    Store.open(tmp_path / "runs.db").close()
    Store.open(tmp_path / "runs.db", read_only=True).close()


@pytest.mark.parametrize("options", [{"read_only": True}, {"create": False}])
def test_a_mistyped_name_makes_no_file(tmp_path: Path, options: dict[str, bool]) -> None:
    error = refusal(tmp_path / "mistyped.db", **options)
    assert "does not exist" in error.message
    assert error.hint
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nowhere" / "runs.db")
    assert "nowhere does not exist" in error.message
    assert error.hint == f"mkdir -p {tmp_path / 'nowhere'}"
    (tmp_path / "file").touch()
    assert "is no folder" in refusal(tmp_path / "file" / "runs.db").message


def test_what_is_no_ordinary_file_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path).message
    os.mkfifo(tmp_path / "pipe")
    assert "no ordinary file" in refusal(tmp_path / "pipe").message


@pytest.mark.parametrize(
    "content", [b"x", b"no database " * 100, b"SQLite format 3\0", b"\0" * 200]
)
@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, read_only: bool
) -> None:
    file = tmp_path / "notes.db"
    file.write_bytes(content)
    assert "is not a SQLite database" in refusal(file, read_only=read_only).message
    assert file.read_bytes() == content


def test_another_program_s_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "theirs.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE runs (distance REAL)")
    connection.close()
    before = file.read_bytes()
    assert "no record of taskgrove" in refusal(file).message
    assert "no record of taskgrove" in refusal(file, read_only=True).message
    assert file.read_bytes() == before


def record_with_runs(tmp_path: Path) -> Path:
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        for number in range(20):
            run_recorded(recorder, f"run-{number}")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return file


@pytest.mark.parametrize("read_only", [False, True])
def test_a_truncated_file_is_told_with_what_is_left(tmp_path: Path, read_only: bool) -> None:
    file = record_with_runs(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    error = refusal(file, read_only=read_only)
    assert f"is cut short: {len(whole) // 2:,} of {len(whole):,} bytes" in error.message
    assert ".recover" in str(error.hint)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    file = record_with_runs(tmp_path)
    data = bytearray(file.read_bytes())
    data[4096:] = b"\x55" * (len(data) - 4096)
    file.write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"):
        Store.open(file)


def test_what_is_not_on_the_disk_yet_is_in_the_log(tmp_path: Path) -> None:
    """A process that was killed leaves a write-ahead log; the next one reads it."""
    file = tmp_path / "runs.db"
    with new_recorder(file, tmp_path) as recorder:
        run_recorded(recorder, "run-1")
        for name in ("runs.db", "runs.db-wal"):
            (tmp_path / "copy").mkdir(exist_ok=True)
            shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    kept(tmp_path / "copy" / "runs.db", "run-1").assert_final()


def test_reading_only_writes_nothing(tmp_path: Path) -> None:
    file = record_with_runs(tmp_path)
    with (
        Store.open(file, read_only=True) as store,
        pytest.raises(StoreError, match="cannot be written"),
        store.writing() as cursor,
    ):
        cursor.execute("DELETE FROM runs")


@pytest.mark.root
def test_a_record_on_a_disk_that_is_read_only_can_be_read(tmp_path: Path) -> None:
    file = record_with_runs(tmp_path)
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode")
    connection.close()
    for name in ("runs.db-wal", "runs.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    seen = tmp_path / "seen"
    seen.mkdir()
    mount = ["mount", "--bind", str(tmp_path), str(seen)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user cannot mount a folder")
    try:
        remount = ["mount", "-o", "remount,bind,ro", str(seen)]
        subprocess.run(remount, check=True, capture_output=True)
        kept(seen / "runs.db", "run-1").assert_final()
        assert "may not be written" in refusal(seen / "runs.db").message
    finally:
        subprocess.run(["umount", str(seen)], check=True)


def test_a_record_in_a_folder_that_may_not_be_written_can_be_read(tmp_path: Path) -> None:
    """The file may be written, and SQLite could not write beside it."""
    file = record_with_runs(tmp_path)
    code = (
        "import sys\n"
        "from taskgrove.store import History\n"
        "with History.open(sys.argv[1]) as history:\n"
        "    print(history.store.read_only, history.runs()[-1].run_id)\n"
    )
    words = [sys.executable, "-B", "-c", code, str(file)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv, to give up that root may write everywhere")
        without = "-dac_override,-dac_read_search,-fowner"
        words = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *words]
    tmp_path.chmod(0o555)
    try:
        done = subprocess.run(words, check=False, capture_output=True, encoding="utf-8")
    finally:
        tmp_path.chmod(0o755)
    assert (done.stdout, done.stderr) == ("True run-0\n", "")


# -- where it is --------------------------------------------------------------------------------


def test_the_record_is_where_it_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_location("here.db").file == tmp_path / "here.db"
    assert find_location("sqlite:///here.db").file == tmp_path / "here.db"
    assert find_location(f"sqlite:///{tmp_path}/a%20b.db").file == tmp_path / "a b.db"
    assert find_location(Path("~/x.db")).file == Path.home() / "x.db"
    monkeypatch.setenv("TASKGROVE_DB", "there.db")
    assert find_location().file == tmp_path / "there.db"
    assert find_location("here.db").file == tmp_path / "here.db"
    monkeypatch.delenv("TASKGROVE_DB")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert find_location().file == tmp_path / "data/taskgrove/runs.db"
    with Store.open() as store:  # the one place whose folder is made
        assert store.file == tmp_path / "data/taskgrove/runs.db"


@pytest.mark.parametrize(
    "given", ["mysql://u:hunter2@host/runs", "sqlite://", "sqlite:///", "http://x", "\0.db"]
)
def test_what_names_no_database_is_refused(given: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://someone:hunter2@127.0.0.1:1/runs",
        "postgresql://someone:hunter2@127.0.0.1:notaport/runs",
        "postgresql://someone:hunt@er2@[::1:5/runs",
    ],
)
def test_a_server_that_is_not_there_is_told_without_its_password(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    for text in (caught.value.message, str(caught.value.hint), str(caught.value.location)):
        assert "hunter2" not in text
        assert "er2" not in text


@pytest.mark.postgres
def test_a_database_that_does_not_exist_is_told(postgres_server: object) -> None:
    url = postgres_server.url("nowhere")  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match='database "nowhere" does not exist') as caught:
        Store.open(url)
    assert "createdb" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("kind", "outage", "words"),
    [
        ("InsufficientPrivilege", True, "does not allow that: permission denied for table runs"),
        ("ReadOnlySqlTransaction", True, "lets this user only read"),
        ("DiskFull", True, "the disk of its server is full"),
        ("QueryCanceled", True, "did not answer in time"),
        ("UndefinedTable", True, "lacks a table"),
        ("AdminShutdown", True, "permission denied for table runs"),
        ("UntranslatableCharacter", False, "permission denied for table runs"),
        ("UniqueViolation", False, "permission denied for table runs"),
        ("ProgramLimitExceeded", False, "permission denied for table runs"),
    ],
)
def test_what_is_no_fault_of_the_data_is_an_outage(kind: str, outage: bool, words: str) -> None:
    errors = pytest.importorskip("psycopg.errors")
    told = getattr(errors, kind)("permission denied for table runs.\nLINE 1: INSERT INTO runs")
    for error in (told, ProgrammingError("INSERT INTO runs VALUES (1)", {}, told)):
        assert is_outage(error) is outage
        assert words in words_of(error)
        assert "INSERT" not in words_of(error)
        assert not words_of(error).endswith(".")
    assert why_refused(told) == words_of(told)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("sqlalchemy", "store"), ("psycopg", "postgres"), ("platformdirs", "store")],
)
def test_a_missing_extra_is_named(tmp_path: Path, module: str, extra: str) -> None:
    given = {"psycopg": "'postgresql://localhost/x'", "platformdirs": "None"}
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from taskgrove.errors import MissingExtraError\n"
        "from taskgrove.store import Store\n"
        f"try: Store.open({given.get(module, repr(str(tmp_path / 'x.db')))})\n"
        f"except MissingExtraError as exc: assert exc.extra == {extra!r}, exc\n"
        "else: raise SystemExit('opened')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stderr, done.returncode) == ("", 0)
    assert issubclass(MissingExtraError, ImportError)
