"""Whether a user of PostgreSQL may write a record, asked before anything is started.

Opening a SQLite file shows that; a server also lets in a user with the right to read only.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from taskgrove.errors import StoreError
from taskgrove.store.database.cursor import Cursor

if TYPE_CHECKING:
    from taskgrove.store.store import Store

_TABLES: Final = (
    "runs",
    "leases",
    "nodes",
    "events",
    "paths",
    "analyses",
    "pages",
    "verdicts",
    "resumes",
    "requests",
    "device_holds",
)
#: The rights that a recorder needs besides adding rows to every table.
_CHANGED: Final = {
    "runs": ("UPDATE",),
    "leases": ("UPDATE", "DELETE"),
    "nodes": ("UPDATE", "DELETE"),
    "resumes": ("DELETE",),
    "requests": ("UPDATE",),
    "device_holds": ("DELETE",),
}
_KEYS: Final = (("runs", "run_key"), ("paths", "path_key"))


def check_rights(store: Store) -> None:
    """Make sure that a server lets this user record runs.

    Raises:
        StoreError: It does not; the text names the missing rights.
    """
    if store.dialect != "postgresql":
        return
    location = store.location
    with store.connections.lent() as connection, closing(connection.cursor()) as raw:
        ask = Cursor(raw, store.dialect).rows
        ((user,),) = ask("SELECT current_user")
        read_only = ask("SHOW transaction_read_only") == [("on",)]
        missing = [] if read_only else [name for (name,) in ask(_missing_rights())]
    if read_only:
        raise StoreError(
            f"the record at {location} cannot be written: its server lets user {user} only read",
            location=location,
            hint="name another user or server, or another record",
        )
    if missing:
        raise StoreError(
            f"the record at {location} may not be written by user {user}: no right to write"
            f" {', '.join(missing)}",
            location=location,
            hint="ask the owner of the database for the right to read and write its tables and"
            " sequences, or name another record",
        )


def check_may_ask(store: Store) -> None:
    """Make sure that this user may add requests to a record.

    Raises:
        StoreError: The record was opened for reading only, or its server does not let the user.
    """
    location = store.location
    if store.read_only:
        raise StoreError(
            f"the record at {location} cannot be written, so it takes no request",
            location=location,
            hint=None if store.copied is None else store.copied,
        )
    if store.dialect != "postgresql":
        return
    with store.connections.lent() as connection, closing(connection.cursor()) as raw:
        ask = Cursor(raw, store.dialect).rows
        ((user, may),) = ask("SELECT current_user, has_table_privilege('requests', 'INSERT')")
    if not may:
        raise StoreError(
            f"user {user} may make no requests in the record at {location}: no right to add rows"
            " to its table requests",
            location=location,
            hint=f'its owner can give that right: GRANT INSERT ON requests TO "{user}"',
        )


def _missing_rights() -> str:
    wanted = [(name, right) for name in _TABLES for right in ("SELECT", "INSERT")]
    wanted += [(name, right) for name, rights in _CHANGED.items() for right in rights]
    rights = ", ".join(f"('{name}', '{right}')" for name, right in wanted)
    keys = ", ".join(f"(pg_get_serial_sequence('{table}', '{key}'))" for table, key in _KEYS)
    return (
        f"SELECT DISTINCT name FROM (VALUES {rights}) AS wanted(name, privilege)"  # noqa: S608 - our own names
        " WHERE NOT has_table_privilege(name, privilege)"
        f" UNION SELECT name FROM (VALUES {keys}) AS keys(name)"
        " WHERE name IS NOT NULL AND NOT has_sequence_privilege(name, 'USAGE') ORDER BY 1"
    )
