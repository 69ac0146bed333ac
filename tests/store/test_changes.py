"""Waiting for changes that another process makes in a record."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskgrove.store import Store
from taskgrove.store.database.changes import ASKED, Changes
from tests.store.postgres_server import PostgresServer
from tests.store.recording import PATIENCE_S


@pytest.fixture
def store(record_url: str) -> Iterator[Store]:
    with Store.open(record_url) as opened:
        yield opened


@pytest.fixture
def changes(store: Store) -> Iterator[Changes]:
    made = Changes(store.connections, ASKED)
    yield made
    made.close()
    made.close()


def change(store: Store) -> None:
    """Change the record, and tell of it, by another connection."""
    with store.writing() as cursor:
        cursor.execute("INSERT INTO paths (path) VALUES ('a') ON CONFLICT (path) DO NOTHING")
        cursor.execute("UPDATE paths SET path = path")
        if store.dialect == "postgresql":
            cursor.rows("SELECT pg_notify(?, '')", (ASKED,))


def test_a_change_is_told_once(store: Store, changes: Changes) -> None:
    assert not changes.look()
    assert not changes.wait(0.0)
    change(store)
    assert changes.wait(PATIENCE_S)
    assert not changes.look()
    change(store)
    change(store)
    assert changes.wait(PATIENCE_S)
    assert changes.rows("SELECT path FROM paths") == [("a",)]


def test_its_own_reading_is_no_change(store: Store, changes: Changes) -> None:
    changes.rows("SELECT count(*) FROM paths")
    assert not changes.look()
    assert (changes.fileno() is None) is (store.dialect == "sqlite")


@pytest.mark.postgres
def test_what_comes_while_an_answer_is_read_is_told(postgres_server: PostgresServer) -> None:
    with Store.open(postgres_server.new_database()) as store:
        changes = Changes(store.connections, ASKED)
        change(store)
        # The notice was sent before the answer to this query, so the driver reads both.
        assert changes.rows("SELECT count(*) FROM paths") == [(1,)]
        assert changes.look()
        assert not changes.look()
        changes.close()
