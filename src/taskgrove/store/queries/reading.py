"""Reading the tables by the database's own driver.

Rows are read without the layers above the driver: they cost more than the queries themselves.

Threads: a :class:`Reader` may be used by any thread; every ``with`` block has a connection of
its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from taskgrove.store.database.cursor import Cursor

if TYPE_CHECKING:
    from taskgrove.store.store import Store

#: Begins a transaction whose queries see one moment; PostgreSQL's driver began it already.
_ONE_MOMENT: Final = {
    "sqlite": "BEGIN",
    "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
}


class Reader:
    """Hands out connections of one store for reading."""

    def __init__(self, store: Store) -> None:
        self._connections = store.connections
        self.location = store.location
        self.dialect: str = store.dialect

    @contextmanager
    def cursor(self, *, one_moment: bool = False) -> Iterator[Cursor]:
        """Give a connection for the queries inside the block.

        Args:
            one_moment: Whether all of them see the record as it was at the first of them;
                else each sees the record as it is then.

        Raises:
            StoreError: The database cannot be read.
        """
        with self._connections.lent() as connection, closing(connection.cursor()) as cursor:
            if one_moment:  # it ends when the connection is given back
                cursor.execute(_ONE_MOMENT[self.dialect])
            yield Cursor(cursor, self.dialect)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return every row of one query, on a connection of its own."""
        with self.cursor() as cursor:
            return cursor.rows(sql, parameters)

    def glob(self, column: str, pattern: str) -> tuple[str, str]:
        """Return a condition and its parameter: the column matches a pattern of a shell."""
        if not any(sign in pattern for sign in "*?["):
            return f"{column} = ?", pattern
        if self.dialect == "postgresql":
            return f"{column} ~ ?", glob_as_regex(pattern)
        return f"{column} GLOB ?", glob_for_sqlite(pattern)


def glob_as_regex(pattern: str) -> str:
    """Return a pattern of a shell as an advanced regular expression of PostgreSQL."""
    parts = []
    for sign, chars in _glob_tokens(pattern):
        if sign == "set":
            negated = "^" if chars.startswith("!") else ""
            inner = re.sub(r"([\\\[^])", r"\\\1", chars.removeprefix("!"))
            # A bracket that closes is only literal in the first place.
            parts.append(f"[{negated}{inner}]")
        elif sign == "text":
            parts.append("".join(c if c.isalnum() or c in "_-/ " else f"\\{c}" for c in chars))
        else:
            parts.append({"*": ".*", "?": "."}[sign])
    return f"^{''.join(parts)}$"


def glob_for_sqlite(pattern: str) -> str:
    """Return a pattern of a shell as SQLite's GLOB reads it."""
    parts = []
    for sign, chars in _glob_tokens(pattern):
        if sign == "text":
            parts.append(chars.replace("[", "[[]"))
        elif sign == "set" and chars.startswith("^"):  # a literal there, a negation here
            parts.append(f"[{chars[1:]}^]" if chars[1:] else "^")
        elif sign == "set":
            parts.append(f"[^{chars[1:]}]" if chars.startswith("!") else f"[{chars}]")
        else:
            parts.append(sign)
    return "".join(parts)


def _glob_tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a pattern: ``*``, ``?``, a set with its signs, or plain text."""
    position = 0
    while position < len(pattern):
        sign = pattern[position]
        if sign == "[":
            first = position + 1 + (pattern[position + 1 : position + 2] == "!")
            end = pattern.find("]", first + 1)
            if end > 0:
                yield "set", pattern[position + 1 : end]
                position = end + 1
                continue
        yield (sign, "") if sign in "*?" else ("text", sign)
        position += 1
