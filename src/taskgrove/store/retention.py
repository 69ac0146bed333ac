"""Removing old runs from the record.

A run may go when it is over (final, or lost), began before a limit, and is not among the
newest that are kept. Where both conditions are given, both must hold. A run that is not over
stays, whatever its age. With a run go its nodes, events, analyses, verdicts, requests and its
list of pages; the pages themselves are files, and stay.

Threads: any thread may call any function here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from taskgrove.clock import SYSTEM_CLOCK, Clock
from taskgrove.errors import UsageError
from taskgrove.store.history import History
from taskgrove.store.queries.listing import Listing
from taskgrove.store.queries.run_rows import SUMMARY_COLUMNS, RunSummary, summary_of
from taskgrove.store.store import Store

#: How many runs one transaction removes: a recorder waits no longer than that.
_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Pruned:
    """The runs that pruning removed, or would remove.

    Attributes:
        runs: The runs, oldest first.
        kept_count: How many runs stay.
        event_count: How many events went, or would go, with them.
        dry_run: True when nothing was removed.
    """

    runs: Listing[RunSummary]
    kept_count: int
    event_count: int
    dry_run: bool


def prune(
    store: Store,
    *,
    older_than: timedelta | None = None,
    keep_last: int | None = None,
    dry_run: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> Pruned:
    """Remove old runs.

    Args:
        store: The record, open for writing unless it is a dry run.
        older_than: Only runs that began longer ago than this; None: of any age.
        keep_last: The newest so many runs stay, whatever they are, from 0; None: none stays
            for that reason.
        dry_run: Only return the runs that would be removed.
        clock: What the age is counted by.

    Raises:
        UsageError: Neither limit is given, or one cannot be used.
        StoreError: The record cannot be written.
    """
    if older_than is None and keep_last is None:
        raise UsageError(
            "nothing says which runs may go", hint="--older-than 90d, --keep-last 100, or both"
        )
    if keep_last is not None and keep_last < 0:
        raise UsageError(f"keep_last is a whole number from 0, not {keep_last!r}")
    reader = History(store).reader
    before_ns = None if older_than is None else clock.wall_ns() - _ns(older_than)
    with reader.cursor() as cursor:
        (total,) = cursor.rows("SELECT count(*) FROM runs")[0]
        rows = cursor.rows(*_candidates(before_ns, keep_last))
        found = Listing(summary_of(row) for row in rows)
        event_count = sum(
            cursor.rows("SELECT count(*) FROM events WHERE run_key = ?", (run.run_key,))[0][0]
            for run in found
        )
    if not dry_run:
        _remove(store, [run.run_key for run in found])
    return Pruned(found, total - len(found), event_count, dry_run)


def _ns(span: timedelta) -> int:
    return span // timedelta(microseconds=1) * 1000


def _candidates(before_ns: int | None, keep_last: int | None) -> tuple[str, list[Any]]:
    conditions, parameters = ["r.state <> 'running'"], []
    if before_ns is not None:
        conditions.append("r.created_ns < ?")
        parameters.append(before_ns)
    if keep_last is not None:
        conditions.append(
            "r.run_key NOT IN (SELECT run_key FROM runs"
            " ORDER BY created_ns DESC, run_key DESC LIMIT ?)"
        )
        parameters.append(keep_last)
    return (
        f"SELECT {SUMMARY_COLUMNS} FROM runs r WHERE {' AND '.join(conditions)}"  # noqa: S608
        " ORDER BY r.created_ns, r.run_key",
        parameters,
    )


def _remove(store: Store, keys: list[int]) -> None:
    # All else goes with the run's row. Paths stay: who records may know their keys.
    for first in range(0, len(keys), _AT_ONCE):
        some = keys[first : first + _AT_ONCE]
        marks = ", ".join("?" for _ in some)
        with store.writing() as cursor:
            cursor.execute(  # recovery may have taken up a run meanwhile
                f"DELETE FROM runs WHERE run_key IN ({marks}) AND state <> 'running'",  # noqa: S608
                some,
            )
    if keys and store.dialect == "sqlite":
        _give_back(store)


def _give_back(store: Store) -> None:
    """Give freed room back to the file system, a little at a time."""
    while True:
        with store.connections.lent() as connection:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            connection.execute("PRAGMA incremental_vacuum(2000)").fetchall()
            (left,) = connection.execute("PRAGMA freelist_count").fetchone()
        if left == 0 or left >= free:
            return
