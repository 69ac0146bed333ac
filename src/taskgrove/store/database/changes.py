"""Waiting for changes of a record that other processes make.

SQLite counts the commits of other connections (``PRAGMA data_version``); asking costs
microseconds. PostgreSQL notifies those that listen.

Threads: a :class:`Changes` belongs to one thread at a time.
"""

from __future__ import annotations

import select
import time
from contextlib import closing
from typing import Any, Final

from taskgrove.store.database.connections import Connections, close_quietly
from taskgrove.store.database.cursor import Cursor

#: How often SQLite is asked, in seconds.
POLL_S: Final = 0.05
#: What PostgreSQL notifies of: a request was made; a request was answered.
ASKED: Final = "taskgrove_asked"
ANSWERED: Final = "taskgrove_answered"


class Changes:
    """Tells of changes since the last look, by a connection of its own.

    Args:
        connections: Connect to the record.
        channel: What PostgreSQL is to tell of: :data:`ASKED` or :data:`ANSWERED`. Of other changes
            it does not tell.

    Raises:
        Exception: An error of the driver: the record cannot be reached. So does every method.
    """

    def __init__(self, connections: Connections, channel: str) -> None:
        self._dialect = connections.dialect
        self._is_file = self._dialect == "sqlite"
        self._connection: Any = connections.connect()
        self._seen = -1
        self._is_told = False
        try:
            if self._is_file:
                self._seen = self._version()
            else:
                self._connection.autocommit = True
                self._connection.add_notify_handler(self._hear)
                self._connection.execute(f"LISTEN {channel}")
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int | None:
        """Return the descriptor that is ready when there is news, or None: there is none.

        Of what came during :meth:`rows` the next :meth:`look` tells, the descriptor does not.
        """
        if self._is_file:
            return None
        return int(self._connection.fileno())

    def look(self) -> bool:
        """Return whether something has changed since the last look."""
        if self._is_file:
            before, self._seen = self._seen, self._version()
            return self._seen != before
        server = self._connection.pgconn
        server.consume_input()
        while server.notifies() is not None:
            self._is_told = True
        told, self._is_told = self._is_told, False
        return told

    def wait(self, timeout_s: float) -> bool:
        """Wait for a change, at most so long (in seconds); return whether there was one."""
        deadline = time.monotonic() + timeout_s
        while not self.look():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            if self._is_file:
                time.sleep(min(POLL_S, left_s))
            else:
                news = select.poll()  # takes descriptors of any number
                news.register(self._connection.fileno(), select.POLLIN)
                news.poll(left_s * 1000)
        return True

    def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return every row of a query, as the record is now."""
        with closing(self._connection.cursor()) as cursor:
            return Cursor(cursor, self._dialect).rows(sql, parameters)

    def close(self) -> None:
        """Close the connection; calling it twice does no harm."""
        close_quietly(self._connection)

    def _hear(self, _notice: object) -> None:
        # Of what came while the answer to a query was read, the driver tells in this way only.
        self._is_told = True

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
