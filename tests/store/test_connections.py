"""Connections of the driver: lent, given back clean, and kept only while that is of use."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from taskgrove.errors import StoreError
from taskgrove.store import History, Store
from taskgrove.store.database import connections as module
from taskgrove.store.database.connections import Connections
from taskgrove.store.database.database_faults import RefusedDataError, is_outage
from taskgrove.store.database.location import find_location
from tests.store.kept_runs import keep_beams


def to_file(file: Path, **options: Any) -> tuple[Connections, list[sqlite3.Connection]]:
    made: list[sqlite3.Connection] = []

    def connect() -> sqlite3.Connection:
        made.append(sqlite3.connect(file, isolation_level=None, check_same_thread=False))
        return made[-1]

    return Connections("sqlite", connect, sqlite3.Error, str(file), **options), made


def test_a_connection_is_used_again_and_what_was_not_committed_is_rolled_back(
    tmp_path: Path,
) -> None:
    connections, made = to_file(tmp_path / "x.db")
    with connections.lent() as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (1)")
    with connections.lent() as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert len(made) == 1
    connections.close()
    with pytest.raises(sqlite3.ProgrammingError):
        made[0].execute("SELECT 1")


def test_after_the_close_none_is_kept(tmp_path: Path) -> None:
    connections, made = to_file(tmp_path / "x.db")
    with connections.lent():
        connections.close()
    with pytest.raises(sqlite3.ProgrammingError):
        made[0].execute("SELECT 1")


def test_an_error_of_the_driver_is_told_with_the_place(tmp_path: Path) -> None:
    connections, _ = to_file(tmp_path / "x.db")
    with pytest.raises(StoreError, match=r"x\.db"), connections.lent() as connection:
        connection.execute("SELECT * FROM no_such_table")
    with connections.lent() as connection:  # it goes on
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_of_one_that_keeps_others_out_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    connections, made = to_file(tmp_path / "x.db", alone=True)
    refused: list[StoreError] = []

    def second() -> None:
        try:
            with connections.lent():
                pass
        except StoreError as exc:
            refused.append(exc)

    with connections.lent():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    second()
    assert len(refused) == len(made) == 1


@pytest.mark.postgres
def test_a_connection_that_the_server_ended_is_replaced(postgres_server: Any) -> None:
    url = postgres_server.new_database()
    with Store.open(url) as store:
        keep_beams(store, "run-1")
        history = History(store)
        assert len(history.runs()) == 1
        with store.connections.lent() as connection:
            (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone()
        with Store.open(url) as other, other.connections.lent() as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        assert len(history.runs()) == 1


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgresql://u:p@ss@host/db", "postgresql://u:p%40ss@host/db"),
        ("postgresql://u:p%40ss@host/db?x=1", "postgresql://u:p%40ss@host/db?x=1"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql:///db", "postgresql:///db"),
    ],
)
def test_a_password_may_hold_an_at_sign(given: str, url: str) -> None:
    assert find_location(given).url == url


def test_a_transaction_that_fails_leaves_nothing_and_data_is_told_from_an_outage(
    record_url: str,
) -> None:
    insert = "INSERT INTO paths (path) VALUES (?)"
    with Store.open(record_url) as store:
        with pytest.raises(RefusedDataError) as caught, store.writing() as cursor:
            cursor.many(insert, [("a",), ("a",)])
        assert not is_outage(caught.value)
        with pytest.raises(StoreError) as broken, store.writing() as cursor:
            cursor.rows("SELECT * FROM no_such_table")
        assert is_outage(broken.value)
        with store.writing() as cursor:
            assert cursor.rows("SELECT path FROM paths") == []
            assert cursor.many(insert, [("a",), ("b",)]) == 2
        with store.writing() as cursor:
            assert cursor.rows("SELECT path FROM paths ORDER BY path") == [("a",), ("b",)]
