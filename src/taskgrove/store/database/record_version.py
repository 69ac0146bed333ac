"""The version of a record's tables, read by the database's own driver."""

from __future__ import annotations

from typing import Any, Final

from taskgrove.errors import StoreError
from taskgrove.store.database.connections import Connections

#: Version of the tables; it is the number of the newest migration.
STORE_VERSION: Final = 5
#: Where a record keeps the version of its tables.
VERSION_TABLE: Final = "taskgrove_version"

_IS_THERE: Final = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{}'",
    "postgresql": "SELECT 1 WHERE to_regclass('{}') IS NOT NULL",
}


class OlderRecordError(StoreError):
    """A record has tables of an older version, and they stay as they are for now."""


def version_of(connections: Connections) -> int:
    """Return the version of a record's tables; 0 where there are none.

    Raises:
        StoreError: The record cannot be read, or its tables do not tell their version.
    """
    with connections.lent() as connection:
        return version_in(connection.cursor(), connections.dialect, connections.shown)


def version_in(cursor: Any, dialect: str, shown: str) -> int:
    """Return the version of a record's tables, read by a cursor of the driver.

    Args:
        cursor: The cursor.
        dialect: ``sqlite`` or ``postgresql``.
        shown: Where the record is, for people.
    """
    cursor.execute(_IS_THERE[dialect].format(VERSION_TABLE))
    if cursor.fetchone() is None:
        return 0
    cursor.execute(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - our own name
    (said,) = cursor.fetchone() or (None,)
    text = str(said)
    found = int(text) if text.isdecimal() else 0
    if not found:
        raise StoreError(
            f"the record at {shown} does not tell its version: {VERSION_TABLE} says {said!r}",
            location=shown,
            hint="it was changed by hand, or is damaged: restore a copy, or name another record",
        )
    return found


def is_current(found: int, newest: int, shown: str, *, read_only: bool) -> bool:
    """Return whether a record has this version's tables; False: it is to be migrated.

    Args:
        found: Its version.
        newest: This version.
        shown: Where it is, for people.
        read_only: Nothing may be changed; an older record is an error then.

    Raises:
        OlderRecordError: It is older, and read only.
        StoreError: It is newer, or read only and empty.
    """
    if found == newest:
        return True
    if found > newest:
        raise StoreError(
            f"the record at {shown} has version {found}, this taskgrove reads up to {newest}",
            location=shown,
            hint="a newer taskgrove wrote it: use that one, or name another record with --db",
        )
    if read_only and not found:
        raise StoreError(f"the record at {shown} holds no record yet", location=shown)
    if read_only:
        raise OlderRecordError(
            f"the record at {shown} has the older version {found}",
            location=shown,
            hint="open it once for writing: that brings it up to date",
        )
    return False
