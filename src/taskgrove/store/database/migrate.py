"""Bringing a record up to this version's tables, on open; forward only.

Two processes never migrate at once: the one that holds the writer's lock (SQLite) or an
advisory lock (PostgreSQL) looks again at the version before it begins. A migration is one
transaction: it happens as a whole or not at all. A SQLite file is copied before it is changed.
A record in which a taskgrove of the older version still records a run is left as it is until that
run has ended: its process would go on writing by the old tables.

Threads: any thread may open a store; ``_ALEMBIC`` keeps Alembic, whose context is global to
the process, to one of them at a time.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.errors import StoreError, TaskgroveError
from taskgrove.private_files import make_private_file
from taskgrove.store.database.connections import Connections
from taskgrove.store.database.database_faults import store_error
from taskgrove.store.database.holders import why_expired
from taskgrove.store.database.location import Location, find_location
from taskgrove.store.database.opening import make_engine, uri_of
from taskgrove.store.database.record_version import OlderRecordError, is_current, version_in

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

SCRIPTS: Final = Path(__file__).parent / "migrations"
#: The key of the lock in PostgreSQL: any number that others do not take.
_ADVISORY_KEY: Final = 0x7467_7265_6F76_6531
#: How long one process waits for another that migrates, in seconds.
_WAIT_S: Final = 60

#: The leases of every version so far.
_LEASES: Final = (
    "SELECT r.run_id, r.command, l.host, l.boot_id, l.pid, l.pid_started, l.heartbeat_ns,"
    " l.interval_s FROM leases l JOIN runs r ON r.run_key = l.run_key ORDER BY r.run_key"
)

_ALEMBIC: Final = threading.Lock()


def bring_up_to_date(
    connections: Connections,
    location: Location,
    newest: int,
    *,
    is_copy: bool = False,
    scripts: Path = SCRIPTS,
) -> Path | None:
    """Migrate a record to the version ``newest``, unless another process has done that already.

    Args:
        connections: Connect to the record; it may be written.
        location: Where it is.
        newest: The version to bring it to.
        is_copy: No other process uses it, whatever leases are in it; it is not copied again.
        scripts: Alembic's folder.

    Returns:
        The copy that was made of a SQLite file before, or None.

    Raises:
        OlderRecordError: Runs are being recorded in it.
        StoreError: It is of a newer version, or cannot be migrated.
    """
    engine = make_engine(connections)
    try:
        return _migrate(engine, location, newest, scripts, is_copy=is_copy)
    except (connections.error, _sqlalchemy_error()) as exc:
        raise store_error(exc, location.shown) from exc
    finally:
        engine.dispose()


def _check_unused(connection: Connection, found: int, newest: int, location: Location) -> None:
    """Make sure that no process records a run by the older tables."""
    now_ns = SYSTEM_CLOCK.wall_ns()
    leases = connection.exec_driver_sql(_LEASES).all()
    alive = [lease for lease in leases if why_expired(lease, now_ns) is None]
    if not alive:
        return
    first, more = alive[0], len(alive) - 1
    raise OlderRecordError(
        f"the record at {location.shown} has version {found} and is not brought up to {newest}"
        f" while an older taskgrove records run {first.run_id} ({first.command}) in it: process"
        f" {first.pid} on {first.host}{f', and {more} more' if more else ''}",
        location=location.shown,
        hint="try again when that run has ended, or name another record with --db",
    )


def _migrate(
    engine: Engine, location: Location, newest: int, scripts: Path, *, is_copy: bool
) -> Path | None:
    copy: Path | None = None
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        if location.file is not None:
            raw.execute(f"PRAGMA busy_timeout={_WAIT_S * 1000}")
        with connection.begin():
            if location.file is None:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_WAIT_S}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_KEY})")
            # Looked at again: another process may have been quicker.
            found = version_in(raw.cursor(), location.dialect, location.shown)
            if is_current(found, newest, location.shown, read_only=False):
                return None
            if found and not is_copy:
                _check_unused(connection, found, newest, location)
            if location.file is not None and found and not is_copy:
                copy = _copy_of(location.file, found)
            _run_alembic(connection, scripts, location)
    return copy


def _sqlalchemy_error() -> type[Exception]:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - an extra

    return SQLAlchemyError


def _run_alembic(connection: Connection, scripts: Path, location: Location) -> None:
    try:
        from alembic import command  # noqa: PLC0415 - slow to import, rarely needed
        from alembic.config import Config  # noqa: PLC0415 - slow to import, rarely needed

        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.attributes["connection"] = connection
        with _ALEMBIC, _no_byte_code():
            command.upgrade(config, "head")
    except (TaskgroveError, _sqlalchemy_error()):
        raise
    except Exception as exc:
        # Scripts that cannot be loaded: Python trusts byte code that was cut short by a full disk.
        raise StoreError(
            f"the record at {location.shown} cannot be brought up to date: the migrations in"
            f" {scripts} cannot be used ({type(exc).__name__}: {exc})",
            location=location.shown,
            hint="remove the folders __pycache__ there, and try again; else install taskgrove anew",
        ) from exc


@contextmanager
def _no_byte_code() -> Iterator[None]:
    """Have Python write no byte code: it notices no full disk, and leaves half a file behind."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _copy_of(file: Path, version: int) -> Path:
    """Copy a SQLite file as it is, its write-ahead log included."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    copy = file.with_name(f"{file.name}.version-{version}.{stamp}-{os.getpid()}.bak")
    try:
        make_private_file(copy)
        # From a connection of its own: the lock that we hold keeps others from writing meanwhile.
        source, target = sqlite3.connect(file), sqlite3.connect(copy)
        try:
            source.backup(target)
        finally:
            target.close()
            source.close()
        with copy.open("rb") as written:
            os.fsync(written.fileno())
    except (sqlite3.Error, OSError) as exc:
        copy.unlink(missing_ok=True)
        raise StoreError(
            f"the record at {file} must be brought up to date, and cannot be copied before: {exc}",
            location=str(file),
            hint="make room beside it, and try again",
        ) from exc
    return copy


def copy_aside(location: Location, folder: Path) -> Location:
    """Copy a SQLite record as it is, to be migrated and read in its place.

    Args:
        location: The record.
        folder: A private folder; the copy is made in it.

    Raises:
        StoreError: It cannot be copied.
    """
    assert location.file is not None
    copy = find_location(folder / location.file.name)
    assert copy.file is not None
    try:
        source = sqlite3.connect(uri_of(location.file, read_only=True), uri=True)
        target = sqlite3.connect(copy.file)
        try:
            source.backup(target)
        finally:
            target.close()
            source.close()
    except (sqlite3.Error, OSError) as exc:
        raise store_error(exc, location.shown) from exc
    return copy
