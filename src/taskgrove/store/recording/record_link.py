"""The writer's connection to the record: opened when it is needed, again after a failure.

Threads: it belongs to the recorder's writer thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from taskgrove.errors import StoreError
from taskgrove.store.database.connections import close_quietly
from taskgrove.store.database.cursor import Cursor, transaction_on
from taskgrove.store.store import Store

#: How long the writer waits for another process' lock before that is an outage, in seconds.
LOCK_PATIENCE_S: Final = 1.5
#: How long a server may work on one statement of the writer, in seconds.
STATEMENT_S: Final = 20


class RecordGoneError(StoreError):
    """The file of the record was removed or replaced."""


class Link:
    """A connection that writes.

    Args:
        store: The record, where it is open.
        open_store: Opens it, where it is not.
    """

    def __init__(self, store: Store | None, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._connection: Any = None
        self._own: Store | None = None
        self._inode: tuple[int, int] | None = None
        self.store = store

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Give a cursor in a transaction that writes; a failure closes the connection.

        Raises:
            StoreError: The record cannot be opened.
            RecordGoneError: Its file was removed or replaced since it was opened.
        """
        store, connection = self._connect()
        try:
            self._check_file(store)
            with transaction_on(connection, store.dialect) as cursor:
                yield cursor
        except BaseException:
            self.drop()
            raise

    def _connect(self) -> tuple[Store, Any]:
        if self.store is None:
            self.store = self._own = self._open_store()
        store = self.store
        if store.read_only:
            raise StoreError(
                f"the record at {store.location} was opened for reading only",
                location=store.location,
            )
        if self._connection is None:
            connection = store.connections.connect()
            try:
                _set_up(connection, store.dialect)
                if store.file is not None:
                    self._inode = _inode_of(store.file)
            except BaseException:
                close_quietly(connection)
                raise
            self._connection = connection
        return store, self._connection

    def _check_file(self, store: Store) -> None:
        # SQLite goes on writing to a file that has no name any more, and the events are lost.
        if store.file is None or _inode_of(store.file) == self._inode:
            return
        self.drop()
        store.connections.close()
        self.store = None  # the next attempt makes it anew
        raise RecordGoneError(
            f"the record at {store.location} was removed or replaced while it was written to",
            location=store.location,
            hint="a new record is made, without the runs of the old one",
        )

    def drop(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            close_quietly(connection)

    def close(self) -> None:
        """Close the connection, and the record where it was opened here."""
        self.drop()
        if self._own is not None:
            self._own.close()
            self._own = None


def _set_up(connection: Any, dialect: str) -> None:
    if dialect == "sqlite":
        connection.execute(f"PRAGMA busy_timeout={int(LOCK_PATIENCE_S * 1000)}")
        connection.execute("PRAGMA cache_size=-16000")  # KiB: a whole batch
        connection.execute("PRAGMA wal_autocheckpoint=4000")  # pages: 16 MiB
    else:
        connection.execute(f"SET lock_timeout = '{LOCK_PATIENCE_S}s'")
        connection.execute(f"SET statement_timeout = '{STATEMENT_S}s'")
        connection.commit()


def _inode_of(file: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
