"""The store: where the record of runs is kept.

Threads: any thread may use a store; each gets a connection of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from taskgrove.private_files import make_private_folder
from taskgrove.store.database import record_version
from taskgrove.store.database.connections import Connections
from taskgrove.store.database.cursor import Cursor, transaction_on
from taskgrove.store.database.database_faults import RefusedDataError, is_outage, store_error
from taskgrove.store.database.location import Location, default_file, find_location
from taskgrove.store.database.opening import connect_to

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory


class Store:
    """A record, opened and up to date; a context manager. Made by :meth:`open`.

    Attributes:
        location: The file, or the URL without its password, as text.
        dialect: ``sqlite`` or ``postgresql``.
        file: The SQLite file, absolute; None for PostgreSQL.
        connections: Connections of the database's driver.
        read_only: True when nothing can be written through it.
        backup: The copy that opening made of a SQLite file before it was migrated, or None.
        copied: Why a copy of the record is read in its place, or None.
        damaged: Spills that were found damaged while it was open: for each the reason and the
            next step.
    """

    def __init__(
        self,
        where: Location,
        connections: Connections,
        *,
        read_only: bool,
        backup: Path | None = None,
    ) -> None:
        self.location = where.shown
        self.dialect = where.dialect
        self.file = where.file
        self.connections = connections
        self.read_only = read_only
        self.backup = backup
        self.copied: str | None = None
        self.damaged: dict[Path, tuple[str, str]] = {}
        self._folder: TemporaryDirectory[str] | None = None

    @classmethod
    def open(
        cls,
        location: str | Path | None = None,
        *,
        create: bool = True,
        read_only: bool = False,
    ) -> Store:
        """Open a record, make it where there is none, and bring it up to date.

        Args:
            location: A file, ``sqlite:///FILE`` or ``postgresql://…``; None takes
                ``TASKGROVE_DB``, and without it the file in the user's data folder.
            create: Whether a SQLite file is made where there is none.
            read_only: Nothing is made, migrated or written. A SQLite file of an older version is
                read as a copy, which is migrated in its place.

        Raises:
            StoreError: It cannot be opened, is damaged, is no record, or is of a newer
                version; the text says which.
            MissingExtraError: The extra ``store`` (or ``postgres``) is not installed.
        """
        where = find_location(location)
        if create and not read_only and where.file == default_file():
            _make_folder(where)
        newest = record_version.STORE_VERSION
        connections = connect_to(where, create=create, read_only=read_only)
        backup: Path | None = None
        try:
            found = record_version.version_of(connections)
            if not record_version.is_current(found, newest, where.shown, read_only=read_only):
                from taskgrove.store.database.migrate import bring_up_to_date  # noqa: PLC0415 - slow

                backup = bring_up_to_date(connections, where, newest)
        except BaseException as exc:
            connections.close()
            older = isinstance(exc, record_version.OlderRecordError)
            if older and read_only and where.file is not None:
                return cls._open_copy(where, newest, str(exc))
            raise
        return cls(where, connections, read_only=read_only, backup=backup)

    @classmethod
    def _open_copy(cls, where: Location, newest: int, why: str) -> Store:
        from tempfile import TemporaryDirectory  # noqa: PLC0415 - as above

        from taskgrove.store.database.migrate import (  # noqa: PLC0415 - slow, rarely needed
            bring_up_to_date,
            copy_aside,
        )

        folder = TemporaryDirectory(prefix="taskgrove-")
        try:
            copy = copy_aside(where, Path(folder.name))
            connections = connect_to(copy, create=False, read_only=False)
            bring_up_to_date(connections, copy, newest, is_copy=True)
            connections.close()
            store = cls(where, connect_to(copy, create=False, read_only=True), read_only=True)
        except BaseException:
            folder.cleanup()
            raise
        store.copied, store._folder = why, folder
        return store

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        """Give a cursor in a transaction that writes, and commit it at the end.

        In SQLite the writer's lock is taken at the beginning, so that what was read in the
        transaction still holds when it is written.

        Raises:
            RefusedDataError: The record does not take the data.
            StoreError: The record cannot be written.
        """
        with self.connections.lent() as connection:
            try:
                with transaction_on(connection, self.dialect) as cursor:
                    yield cursor
            except self.connections.error as exc:
                if is_outage(exc):
                    raise
                raise store_error(exc, self.location, RefusedDataError) from exc

    def close(self) -> None:
        """Close every connection; calling it twice does no harm."""
        self.connections.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.location}>"


def _make_folder(where: Location) -> None:
    assert where.file is not None
    try:
        make_private_folder(where.file.parent)
    except OSError as exc:
        raise store_error(exc, where.shown) from exc
