"""Connections of a database's own driver to one record, kept for the next who asks.

Everything but a migration uses them: SQLAlchemy costs more to import than most verbs cost to run.

Threads: any thread may call any method; a connection is used by one thread at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from taskgrove.errors import StoreError
from taskgrove.store.database.database_faults import store_error

#: How many unused connections are kept.
_KEPT: Final = 4
#: How many are open at once, at most.
_MOST: Final = 20
#: How long a thread waits for one of them, in seconds.
_PATIENCE_S: Final = 30.0


class Connections:
    """Connections to one record.

    Args:
        dialect: ``sqlite`` or ``postgresql``.
        connect: Makes a new one; its transactions are begun explicitly in SQLite.
        error: The class of the driver's errors.
        shown: Where the record is, for people.
        alone: Only one connection may be open, because it keeps others out.
    """

    def __init__(
        self,
        dialect: str,
        connect: Callable[[], Any],
        error: type[Exception],
        shown: str,
        *,
        alone: bool = False,
    ) -> None:
        self.dialect = dialect
        self.connect = connect
        self.error = error
        self.shown = shown
        self.alone = alone
        self._idle: list[Any] = []
        self._free = threading.BoundedSemaphore(1 if alone else _MOST)
        self._keeps = True

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """Lend a connection to the block; changes that it did not commit are rolled back.

        Raises:
            StoreError: The record cannot be reached, or the block failed with an error of the
                driver.
        """
        if not self._free.acquire(timeout=_PATIENCE_S):
            raise StoreError(
                f"the record at {self.shown} is in use by {_MOST} threads", location=self.shown
            )
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)
        except self.error as exc:
            raise store_error(exc, self.shown) from exc
        finally:
            self._free.release()

    def close(self) -> None:
        """Close the unused connections, and keep none from now on."""
        self._keeps = False
        while self._idle:
            close_quietly(self._idle.pop())

    def _take(self) -> Any:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return self.connect()
            try:
                if self.dialect == "postgresql":  # the server may have gone since
                    connection.execute("SELECT 1")
                    connection.rollback()
                return connection
            except self.error:
                close_quietly(connection)

    def _give_back(self, connection: Any) -> None:
        try:
            connection.rollback()
        except self.error:
            close_quietly(connection)
            return
        if self._keeps and len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            close_quietly(connection)


def close_quietly(connection: Any) -> None:
    """Close a connection, whatever state it is in."""
    with suppress(Exception):  # the connection may be broken
        connection.close()
