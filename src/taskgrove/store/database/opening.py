"""Making an engine for a location: how each kind of database is connected to.

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
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from taskgrove.errors import MissingExtraError, StoreError
from taskgrove.private_files import give_to_group, make_private_file
from taskgrove.store.database.faults import store_error
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
#: Loggers of what the store stands on. They tell of connections that are lost, which is an error
#: that the store raises, or trouble that the recorder tells; who sets up logging still hears them.
_DRIVERS: Final = ("psycopg", "sqlalchemy")
_SILENT: Final = logging.NullHandler()
#: ``PRAGMA application_id`` of a record: the file says whose it is.
APPLICATION_ID: Final = 0x74677265
#: The option of a connection whose transactions write.
WRITES: Final = "taskgrove_writes"

#: TCP notices within this many seconds that a server is gone.
_TCP: Final = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def make_engine(location: Location, *, create: bool, read_only: bool) -> Engine:
    """Return an engine whose connections are set up for a record; nothing is migrated yet.

    Raises:
        StoreError: The database cannot be a record, or is not there.
        MissingExtraError: An extra is not installed.
    """
    try:
        import sqlalchemy  # noqa: F401, PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("store", "the record of runs") from exc
    for name in _DRIVERS:
        # Without a handler their warnings go to standard error, raw, amid a live tree.
        logging.getLogger(name).addHandler(_SILENT)
    if location.file is not None:
        return _sqlite_engine(location, location.file, create=create, read_only=read_only)
    return _postgres_engine(location, read_only=read_only)


def _sqlite_engine(location: Location, file: Path, *, create: bool, read_only: bool) -> Engine:
    from sqlalchemy import create_engine, event  # noqa: PLC0415 - an extra
    from sqlalchemy.pool import QueuePool  # noqa: PLC0415 - an extra

    exists = check_file(file, create=create, read_only=read_only)
    uri = uri_of(file, read_only=read_only)
    alone = read_only and exists and _must_be_alone(file, uri, location)

    def connect() -> sqlite3.Connection:
        if alone:
            return connect_alone(file, BUSY_S)
        return connect_sqlite(file, uri, read_only=read_only)

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=1 if alone else 4,
        max_overflow=0 if alone else 16,
    )
    event.listen(engine, "begin", _begin)
    try:
        # Before the engine, whose connections would set up what may be somebody else's file.
        if exists:
            with closing(connect() if alone else _connect_to_look(file)) as connection:
                _check_owner(connection, location)
        else:
            make_private_file(file)  # SQLite gives what it makes beside it the same mode
            _prepare_new(uri)
        with engine.connect():
            pass
        if not read_only:
            for suffix in ("-wal", "-shm"):
                give_to_group(Path(f"{file}{suffix}"))
    except StoreError:
        engine.dispose()
        raise
    except (sqlite3.Error, OSError, sqlalchemy_error()) as exc:
        engine.dispose()
        raise store_error(exc, location.shown) from exc
    return engine


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
    """Say in a new file whose it is; the room of what is removed later can then be given back."""
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
    # SQLite would have to make its shared memory beside the file; nobody writes there.
    return f"{uri}?mode=ro&immutable=1"


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres_engine(location: Location, *, read_only: bool) -> Engine:
    from sqlalchemy import create_engine  # noqa: PLC0415 - an extra
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - an extra

    try:
        import psycopg  # noqa: F401, PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("postgres", "a record in PostgreSQL") from exc
    options = "-c default_transaction_read_only=on" if read_only else ""
    try:
        engine = create_engine(
            location.url,
            pool_pre_ping=True,
            pool_size=4,
            max_overflow=16,
            connect_args={"connect_timeout": CONNECT_S, "options": options, **_TCP},
        )
    except (ArgumentError, ValueError) as exc:
        raise StoreError(
            f"{location.shown} is no URL of a database",
            location=location.shown,
            hint="postgresql://USER@HOST/DATABASE",
        ) from exc
    try:
        with engine.connect():
            pass
    except sqlalchemy_error() as exc:
        engine.dispose()
        raise store_error(exc, location.shown) from exc
    return engine


def sqlalchemy_error() -> type[Exception]:
    """Return the class of every error of SQLAlchemy."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - an extra

    return SQLAlchemyError
