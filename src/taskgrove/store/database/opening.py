"""How each kind of database is connected to: by its driver, and by SQLAlchemy for migrations.

SQLite: a write-ahead log, so that readers and writers do not hold each other up;
``synchronous=FULL``, so that a committed batch is on the disk before the commit returns and
survives a power loss as well as ``kill -9`` (one fsync a batch); foreign keys. Transactions are
begun explicitly: readers with ``BEGIN``, writers with ``BEGIN IMMEDIATE``, so that two
processes that write take turns in place of failing half way.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from taskgrove.errors import MissingExtraError, StoreError
from taskgrove.private_files import give_to_group, make_private_file
from taskgrove.store.database.connections import Connections
from taskgrove.store.database.database_faults import store_error
from taskgrove.store.database.full_disk import connect_alone, must_be_alone
from taskgrove.store.database.held_files import connect_holding
from taskgrove.store.database.location import Location
from taskgrove.store.database.sqlite_file import check_file

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

#: How long a statement waits for another process' lock, in seconds.
BUSY_S: Final = 5.0
#: How long a server may take to answer when it is connected to, in seconds.
CONNECT_S: Final = 5
#: For the loggers of the libraries. They tell of connections that are lost, which is an error that
#: the store raises, or trouble that the recorder reports; a program's own handlers still get them.
_SILENT: Final = logging.NullHandler()
#: ``PRAGMA application_id`` of a record: the file says whose it is.
APPLICATION_ID: Final = 0x74677265
#: TCP notices within this many seconds that a server is gone.
_TCP: Final[dict[str, Any]] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def connect_to(location: Location, *, create: bool, read_only: bool) -> Connections:
    """Return connections that are set up for a record; nothing is migrated yet.

    Raises:
        StoreError: The database cannot be a record, or is not there.
        MissingExtraError: An extra is not installed.
    """
    if location.file is not None:
        return _to_file(location, location.file, create=create, read_only=read_only)
    return _to_server(location, read_only=read_only)


def _to_file(location: Location, file: Path, *, create: bool, read_only: bool) -> Connections:
    exists = check_file(file, create=create, read_only=read_only)
    uri = uri_of(file, read_only=read_only)
    alone = read_only and exists and _must_be_alone(file, uri, location)

    def connect() -> sqlite3.Connection:
        if alone:
            return connect_alone(file, BUSY_S)
        return connect_sqlite(file, uri, read_only=read_only)

    connections = Connections("sqlite", connect, sqlite3.Error, location.shown, alone=alone)
    try:
        # First, because other connections would set up what may be another program's file.
        if exists:
            with closing(connect() if alone else _connect_to_look(file)) as connection:
                _check_owner(connection, location)
        else:
            make_private_file(file)  # SQLite gives its other files the same mode
            _prepare_new(uri)
        with connections.lent():
            pass
        if not read_only:
            for suffix in ("-wal", "-shm"):
                give_to_group(Path(f"{file}{suffix}"))
    except (sqlite3.Error, OSError) as exc:
        raise store_error(exc, location.shown) from exc
    return connections


def connect_sqlite(file: Path, uri: str, *, read_only: bool) -> sqlite3.Connection:
    """Return a connection that is set up; its transactions are begun explicitly."""
    connection = connect_holding(
        file, uri, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
            return connection
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=ON")  # macOS: fsync alone does not reach the disk
        connection.execute(f"PRAGMA journal_size_limit={64 * 2**20}")
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            _switch_to_wal(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # Two processes that switch a new file at once may find it locked in spite of the timeout.
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchone()
            return
        except sqlite3.OperationalError as exc:
            if (exc.sqlite_errorcode & 0xFF) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _prepare_new(uri: str) -> None:
    """Mark a new file as a record; freed room can later be given back."""
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # counts only before the first page
        connection.execute("BEGIN IMMEDIATE")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    finally:
        connection.close()


def _must_be_alone(file: Path, uri: str, location: Location) -> bool:
    if uri.endswith("immutable=1"):  # no shared memory is made for that
        return False
    try:
        return must_be_alone(file, BUSY_S)
    except sqlite3.Error as exc:
        raise store_error(exc, location.shown) from exc


def _connect_to_look(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(uri_of(file, read_only=True), uri=True, timeout=BUSY_S)


def _check_owner(connection: sqlite3.Connection, location: Location) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and owner != APPLICATION_ID:
        raise StoreError(
            f"{location.shown} is a SQLite database, but no record of taskgrove",
            location=location.shown,
            hint="name another file; this one is left as it is",
        )


def uri_of(file: Path, *, read_only: bool) -> str:
    """Return how SQLite is to open a file.

    Args:
        file: The file.
        read_only: Nothing is written through it.
    """
    uri = f"file:{quote(str(file))}"
    if not read_only:
        return f"{uri}?mode=rwc"
    if os.access(file.parent, os.W_OK) or Path(f"{file}-wal").exists():
        return f"{uri}?mode=ro"
    # SQLite would have to make its shared memory beside the file, and may not write there.
    return f"{uri}?mode=ro&immutable=1"


def _to_server(location: Location, *, read_only: bool) -> Connections:
    try:
        import psycopg  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("postgres", "a record in PostgreSQL") from exc
    # Without a handler its warnings go to standard error, raw, amid a live tree.
    logging.getLogger("psycopg").addHandler(_SILENT)
    options = "-c default_transaction_read_only=on" if read_only else ""

    def connect() -> Any:
        try:
            return psycopg.connect(location.url, connect_timeout=CONNECT_S, options=options, **_TCP)
        except psycopg.ProgrammingError as exc:
            raise StoreError(
                f"{location.shown} is no URL of a database",
                location=location.shown,
                hint="postgresql://USER@HOST/DATABASE",
            ) from exc

    connections = Connections("postgresql", connect, psycopg.Error, location.shown)
    with connections.lent():
        pass
    return connections


def make_engine(connections: Connections) -> Engine:
    """Return an engine of SQLAlchemy, to make or migrate a record.

    Raises:
        MissingExtraError: The extra is not installed.
    """
    try:
        from sqlalchemy import create_engine, event  # noqa: PLC0415 - an extra
        from sqlalchemy.pool import NullPool  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("store", "the record of runs") from exc
    logging.getLogger("sqlalchemy").addHandler(_SILENT)
    is_file = connections.dialect == "sqlite"
    engine = create_engine(
        "sqlite://" if is_file else "postgresql+psycopg://",
        creator=connections.connect,
        poolclass=NullPool,
    )
    if is_file:
        event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
