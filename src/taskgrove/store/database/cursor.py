"""Statements on a connection of a database's own driver.

Statements are written with ``?`` and hold no other ``?`` and no ``%``; for PostgreSQL the
placeholders are translated.

Threads: a cursor belongs to one thread at a time, as its connection does.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

#: How many rows of a log are fetched at once.
CHUNK_ROWS: Final = 1000


class Cursor:
    """A cursor of the driver, for statements that belong together.

    Attributes:
        dialect: ``sqlite`` or ``postgresql``.
    """

    def __init__(self, cursor: Any, dialect: str) -> None:
        self.dialect = dialect
        self._cursor = cursor
        self._postgres = dialect == "postgresql"

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Execute a statement and return how many rows it changed."""
        self._cursor.execute(_for_postgres(sql) if self._postgres else sql, parameters)
        return int(self._cursor.rowcount)

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Execute a statement for each row of parameters; return how many rows it changed."""
        self._cursor.executemany(_for_postgres(sql) if self._postgres else sql, rows)
        return int(self._cursor.rowcount)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return every row of a query."""
        self.execute(sql, tuple(parameters))
        found: list[tuple[Any, ...]] = self._cursor.fetchall()
        return found

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def each(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query one by one, without holding all of them."""
        self.execute(sql, tuple(parameters))
        while chunk := self._cursor.fetchmany(CHUNK_ROWS):
            yield from chunk

    def held(self, table: str) -> str:
        """Return the end of a query whose rows of a table nobody else may change meanwhile.

        In SQLite a transaction that writes keeps every other one out already.
        """
        return f" FOR UPDATE OF {table}" if self._postgres else ""


@contextmanager
def transaction_on(connection: Any, dialect: str) -> Iterator[Cursor]:
    """Give a cursor in a transaction that writes, and commit it at the end.

    After a failure the caller rolls the transaction back, or closes the connection.

    Args:
        connection: A connection of the driver, in no transaction.
        dialect: ``sqlite`` or ``postgresql``.
    """
    with closing(connection.cursor()) as cursor:
        if dialect == "sqlite":  # PostgreSQL's driver begins it with the first statement
            cursor.execute("BEGIN IMMEDIATE")
        yield Cursor(cursor, dialect)
        connection.commit()


@functools.lru_cache(maxsize=256)
def _for_postgres(sql: str) -> str:
    return sql.replace("?", "%s")
