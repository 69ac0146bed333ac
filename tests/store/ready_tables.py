"""The tables of a new SQLite file, made as Alembic made them for the first one of this process.

Alembic takes most of the time of a short test, and each test has a record of its own. The tests of
migrations ask for Alembic itself: ``test_migrate`` by ``by_alembic``, and a fresh interpreter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taskgrove.store.database import migrate

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from taskgrove.store.database.location import Location

_STATEMENTS: Final = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
_VERSION: Final = "SELECT version_num FROM taskgrove_version"
_by_alembic: Final = migrate._run_alembic
_made: list[str] = []


def use_ready_tables() -> None:
    """Make new SQLite files so, from now on in this process."""
    migrate._run_alembic = _run  # type: ignore[assignment]


@contextmanager
def by_alembic() -> Iterator[None]:
    """Let Alembic make all tables meanwhile."""
    before: Any = migrate._run_alembic
    migrate._run_alembic = _by_alembic  # type: ignore[assignment]
    try:
        yield
    finally:
        migrate._run_alembic = before  # type: ignore[assignment]


def _run(connection: Connection, scripts: Path, location: Location) -> None:
    usual = location.dialect == "sqlite" and scripts == migrate.SCRIPTS
    if not usual or connection.exec_driver_sql(_STATEMENTS).first() is not None:
        _by_alembic(connection, scripts, location)
        return
    for statement in _made:
        connection.exec_driver_sql(statement)
    if not _made:
        _by_alembic(connection, scripts, location)
        (version,) = connection.exec_driver_sql(_VERSION).scalars()
        insert = f"INSERT INTO taskgrove_version VALUES ('{version}')"
        _made[:] = [*connection.exec_driver_sql(_STATEMENTS).scalars(), insert]
