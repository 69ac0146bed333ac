"""SQLAlchemy's view of a record, for tests that look at its tables or change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.pool import NullPool

from taskgrove.store.store import Store


def engine_of(store: Store) -> Engine:
    """Return an engine whose connections are a store's own."""
    url = "sqlite://" if store.dialect == "sqlite" else "postgresql+psycopg://"
    return create_engine(url, creator=store.connections.connect, poolclass=NullPool)


@contextmanager
def tables_of(store: Store) -> Iterator[Connection]:
    """Give a connection in a transaction, and commit it at the end."""
    with engine_of(store).begin() as connection:
        if store.dialect == "sqlite":
            connection.exec_driver_sql("BEGIN")
        yield connection
