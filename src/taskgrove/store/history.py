"""Reading the record: runs, their nodes and events, and statistics.

Threads: any thread may call any method of a :class:`History`; it holds nothing but its store.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from taskgrove.errors import StoreError, UsageError
from taskgrove.events import TaskEvent
from taskgrove.events.plain_event import read_event
from taskgrove.lazy_exports import LaterModule
from taskgrove.store.database.cursor import CHUNK_ROWS
from taskgrove.store.database.full_disk import lacks_room
from taskgrove.store.database.location import find_location
from taskgrove.store.database.record_version import OlderRecordError
from taskgrove.store.queries.listing import Listing
from taskgrove.store.queries.node_reading import read_analysis, read_run_nodes
from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.request_reading import read_requests
from taskgrove.store.queries.run_conditions import conditions_of
from taskgrove.store.queries.run_filter import ALL_RUNS, RunFilter
from taskgrove.store.queries.run_references import find_run
from taskgrove.store.queries.run_rows import (
    SUMMARY_COLUMNS,
    AnalysisRow,
    PageRow,
    RequestRow,
    RunRow,
    RunSummary,
    VerdictRow,
    newest_sql,
    summary_of,
)
from taskgrove.store.queries.whole_run import WholeRun, read_verdicts, read_whole_run
from taskgrove.store.recording.kept_aside import KeptAside, TakenIn
from taskgrove.store.recording.spill import orphans_of
from taskgrove.store.store import Store
from taskgrove.story.run_node import RunNode, RunNodes

if TYPE_CHECKING:
    from taskgrove.store.queries import estimate as estimates
    from taskgrove.store.queries import published_pages, run_results, statistics
    from taskgrove.store.queries import run_diff as run_diffs
else:
    # Imported when the types of a method are asked for, and not before.
    estimates = LaterModule("taskgrove.store.queries.estimate")
    run_diffs = LaterModule("taskgrove.store.queries.run_diff")
    published_pages = LaterModule("taskgrove.store.queries.published_pages")
    run_results = LaterModule("taskgrove.store.queries.run_results")
    statistics = LaterModule("taskgrove.store.queries.statistics")

_LOGGER = logging.getLogger(__name__)

_EVENTS: Final = (
    "SELECT sequence, body FROM events WHERE run_key = ? AND sequence > ?"  # noqa: S608
    f" ORDER BY sequence LIMIT {CHUNK_ROWS}"
)
_ANALYSES: Final = (
    "SELECT a.sequence, p.path, a.analysis, a.status, a.summary, a.experiment, a.experiment_run,"
    " a.wall_ns, a.detail FROM analyses a JOIN paths p ON p.path_key = a.path_key"
    " WHERE a.run_key = ? ORDER BY a.sequence"
)
_PAGES: Final = (
    "SELECT g.sequence, p.path, g.display_name, g.file, g.size_bytes, g.sha256, g.wall_ns"
    " FROM pages g JOIN paths p ON p.path_key = g.path_key"
    " WHERE g.run_key = ? ORDER BY g.sequence"
)


class History:
    """The content of the record.

    ::

        with History.open() as history:
            for run in history.runs(RunFilter(outcomes=("failed",), limit=5)):
                print(run.run_id, run.headline)

    A run is given as a text for :meth:`find`, or as a row that was read before. Before a run is
    looked for, or runs are listed, events that earlier processes could not write are taken into
    the record (:meth:`take_in`); the log reports those that cannot be.

    Args:
        store: An open store; it stays the caller's to close.

    Attributes:
        store: The store.
        disk_is_full: The store could only be opened for reading, because there is no room to
            write; no other process can use it until it is closed.
        kept_aside: Spills that are not in the record, as the last look found them.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.disk_is_full = False
        self.kept_aside: tuple[KeptAside, ...] = ()
        self._told_aside: set[str] = set()
        self._reader = Reader(store)
        self._owns_store = False

    @classmethod
    def open(cls, location: str | Path | None = None) -> History:
        """Open a store for reading; the history closes it.

        Nothing is made, unless an earlier process kept something aside for a record that could
        not be made then.

        Args:
            location: As :meth:`taskgrove.store.store.Store.open`.

        Raises:
            StoreError: There is no record, or it cannot be read.
        """
        # A record of an older version is brought up to date, unless it cannot be written or a
        # taskgrove of that version records in it: then a copy is.
        where = find_location(location)
        file = where.file
        fixed = file is not None and file.exists() and not _may_be_written(file)
        try:
            create = bool(orphans_of(where.shown))
            history = cls(Store.open(location, create=create and not fixed, read_only=fixed))
        except StoreError as exc:
            older = isinstance(exc, OlderRecordError) and file is not None
            if not older and not lacks_room(exc):
                raise
            history = cls(Store.open(location, create=False, read_only=True))
            history.disk_is_full = not older
            if older:  # an older taskgrove records in it
                history.store.copied = exc.message
        history._owns_store = True
        return history

    def close(self) -> None:
        """Close the store, if the history opened it."""
        if self._owns_store:
            self.store.close()

    def __enter__(self) -> History:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def take_in(self) -> TakenIn:
        """Write events into the record that earlier processes could not write, where possible.

        Returns:
            The files that were written, and those that are left: runs, place, reason, next step.
        """
        store = self.store
        damaged = tuple(
            KeptAside(path, (), why, hint, is_damaged=True)
            for path, (why, hint) in store.damaged.items()
            if path.exists()
        )
        if not orphans_of(store.location):
            self.kept_aside = damaged
            return TakenIn()
        from taskgrove.store.recording.orphans import (  # noqa: PLC0415 - slow, rarely needed
            adopt_orphans,
            unwritable,
        )

        try:
            if store.read_only:
                raise self._why_read_only()
            taken = adopt_orphans(store)
        except StoreError as exc:
            taken = unwritable(store.location, exc)
        left = tuple(filter(None, map(self._without_kept, taken.left)))
        self.kept_aside = damaged + left
        self._told_aside.update(file.words for file in left)
        return TakenIn(taken.told, left)

    def _why_read_only(self) -> StoreError:
        where = self.store.location
        if self.disk_is_full:
            return StoreError(f"the disk of {where} is full", hint="make room on it")
        return StoreError(f"the record at {where} is open for reading only")

    def _without_kept(self, file: KeptAside) -> KeptAside | None:
        """Return what a file says that lives with its process without runs of the record."""
        if not file.is_held:
            return file
        marks = ", ".join("?" for _ in file.runs) or "NULL"
        known = self._reader.rows(
            f"SELECT run_id FROM runs WHERE run_id IN ({marks})",  # noqa: S608 - marks
            [run.run_id for run in file.runs],
        )
        names = {name for (name,) in known}
        runs = tuple(run for run in file.runs if run.run_id not in names)
        return dataclasses.replace(file, runs=runs) if runs else None

    def _look_aside(self) -> None:

        if not (self.kept_aside or self.store.damaged or orphans_of(self.store.location)):
            return
        told = set(self._told_aside)
        for text in self.take_in().told:
            _LOGGER.info("%s", text)
        for file in self.kept_aside:
            if file.words not in told:
                _LOGGER.warning("%s", file.words)
                self._told_aside.add(file.words)

    @property
    def reader(self) -> Reader:
        """Reads the tables; for the modules of the store."""
        return self._reader

    def find(self, run: str) -> RunRow:
        """Return the run that a text means.

        Args:
            run: Its id; the beginning of its id, when no other run begins so; ``last``, the
                newest run; ``last-failed``, the newest that did not end well (failed,
                rejected, aborted or lost); ``last-ok``, ``last-degraded``, ``last-running``
                and so on; each with ``:COMMAND`` behind it if wanted (``last:configure``).

        Raises:
            UnknownRunError: There is none, or there are several; it names near misses.
        """
        self._look_aside()
        return find_run(self._reader, run)

    def find_to_act(self, run: str, *, live: bool = False) -> RunRow:
        """Return the run that a text means, for who does something with it.

        Args:
            run: As :meth:`find`.
            live: Whether the run is spoken to while it lives: events that its own process keeps
                aside for a while do not matter then.

        Raises:
            UsageError: The text (``last``) may mean a run that is kept aside, or something of
                the run itself is.
            UnknownRunError: As :meth:`find`.
        """
        row = self.find(run)
        by_id = row.run_id.startswith(run.strip())
        for file in self.kept_aside:
            if live and file.is_held and by_id:
                continue
            if any(item.run_id == row.run_id for item in file.runs):
                raise UsageError(f"run {row.run_id} is not whole: {file.words}")
            newer = not file.runs or any(
                item.created_ns is None or item.created_ns > row.created_ns for item in file.runs
            )
            if newer and not by_id:
                raise UsageError(
                    f"{run.strip()!r} may mean a run that is not in the record: {file.words}",
                    hint=f"name the run by its id; of those in the record it is {row.run_id}",
                )
        return row

    def run(self, run: RunSummary | str) -> RunRow:
        """Return a run with all that the record keeps of it besides nodes and events.

        Raises:
            UnknownRunError: As :meth:`find`.
        """
        if isinstance(run, RunRow):
            return run
        return self.find(run if isinstance(run, str) else run.run_id)

    def runs(self, which: RunFilter = ALL_RUNS) -> Listing[RunSummary]:
        """Return the runs that a filter lets through, newest first."""
        self._look_aside()
        where, parameters = conditions_of(self._reader, which)
        limit = None if which.limit is None else int(which.limit)
        rows = self._reader.rows(newest_sql(SUMMARY_COLUMNS, where, limit), parameters)
        return Listing(map(summary_of, rows))

    def nodes(self, run: RunSummary | str) -> list[RunNode]:
        """Return the facts of each node, in the order in which they were composed.

        They are read from their own table, not from the log, so a large run is read quickly.
        """
        key = self._key(run)
        with self._reader.cursor() as cursor:
            return read_run_nodes(cursor, key)

    def whole(self, run: str) -> WholeRun:
        """Return a run with its nodes, verdicts and requests, all of one moment.

        The quickest way to the facts of an explanation.

        Args:
            run: As :meth:`find`.

        Raises:
            UnknownRunError: As :meth:`find`.
        """
        self._look_aside()
        return read_whole_run(self._reader, run)

    def events(self, run: RunSummary | str, *, first_sequence: int = 1) -> Iterator[TaskEvent]:
        """Yield the events of a run in order, without holding all of them.

        Unreadable parts of an event are replaced, and the event says so.

        Args:
            run: The run.
            first_sequence: The number to begin with.
        """
        row = run if isinstance(run, RunSummary) else self.find(run)
        for sequence, body in self._event_rows(row.run_key, first_sequence):
            yield read_event(body, row.run_id, sequence)

    def event_bodies(self, run: RunSummary | str, *, first_sequence: int = 1) -> Iterator[bytes]:
        """Yield the events of a run as they are kept: lines of JSON without the line's end."""
        for _, body in self._event_rows(self._key(run), first_sequence):
            yield body

    def _event_rows(self, key: int, first_sequence: int) -> Iterator[tuple[int, bytes]]:
        after = first_sequence - 1
        while rows := self._reader.rows(_EVENTS, (key, after)):
            for sequence, body in rows:
                yield sequence, bytes(body)
            after = rows[-1][0]
            if len(rows) < CHUNK_ROWS:
                return

    def facts(self, run: RunSummary | str) -> RunNodes:
        """Return the facts of a run, folded anew from its events: the truth of the record."""
        return RunNodes(self.events(run))

    def verdicts(self, run: RunSummary | str) -> Listing[VerdictRow]:
        """Return the verdicts of operators on a run, oldest first."""
        row = run if isinstance(run, RunSummary) else self.find(run)
        with self._reader.cursor() as cursor:
            return read_verdicts(cursor, row.run_key, row.run_id)

    def requests(self, run: RunSummary | str) -> Listing[RequestRow]:
        """Return the requests of operators to a run while it lived, oldest first."""
        row = run if isinstance(run, RunSummary) else self.find(run)
        with self._reader.cursor() as cursor:
            return read_requests(cursor, row.run_key, row.run_id)

    def analyses(self, run: RunSummary | str) -> Listing[AnalysisRow]:
        """Return the analyses that a run described, in order."""
        row = self.run(run)
        found: Listing[AnalysisRow] = Listing()
        for *fields, detail in self._reader.rows(_ANALYSES, (row.run_key,)):
            fields.append(read_analysis(detail))
            found.append(AnalysisRow(row.run_id, *fields))
        return found

    def pages(self, run: RunSummary | str) -> Listing[PageRow]:
        """Return the pages that a run published, in order."""
        row = self.run(run)
        return Listing(
            PageRow(row.run_id, *found) for found in self._reader.rows(_PAGES, (row.run_key,))
        )

    def newest_pages(
        self,
        run: RunSummary | str | None = None,
        *,
        named: str = "",
        place: str = "",
        limit: int = 100,
    ) -> Listing[published_pages.PublishedPageRow]:
        """Return published pages, the newest first, each with its run and analysis.

        Args:
            run: Of this run only; None: of all runs.
            named: A part of the page's place, or of the name of its analysis; empty: any.
            place: The whole place of the page (its display name); empty: any.
            limit: How many at most.
        """
        from taskgrove.store.queries.published_pages import newest_pages  # noqa: PLC0415 - seldom

        key = None if run is None else self.run(run).run_key
        return newest_pages(self._reader, run_key=key, named=named, place=place, limit=limit)

    def diff(self, first: RunSummary | str, second: RunSummary | str) -> run_diffs.RunDiff:
        """Return the differences between two runs; see :mod:`taskgrove.store.queries.run_diff`."""
        from taskgrove.store.queries.run_diff import diff_runs  # noqa: PLC0415 - slow

        return diff_runs(self._reader, self.run(first), self.run(second))

    def stats(self, which: RunFilter = ALL_RUNS) -> statistics.Statistics:
        """Return the statistics of runs; see :mod:`taskgrove.store.queries.statistics`."""
        from taskgrove.store.queries.statistics import statistics_of  # noqa: PLC0415 - slow

        self._look_aside()
        return statistics_of(self._reader, which)

    def results(self, which: RunFilter = ALL_RUNS) -> run_results.ResultTable:
        """Return the results of analyses over many runs, newest first.

        Args:
            which: Which runs; its limit counts runs that have results. Where it names an
                analysis, only results of that one are returned.
        """
        from taskgrove.store.queries.run_results import results_of  # noqa: PLC0415 - slow

        self._look_aside()
        return results_of(self._reader, which)

    def estimate(
        self, command: str, *, leaf_count: int | None = None, but: str = ""
    ) -> estimates.Estimate | None:
        """Return how long a command usually takes, or None without enough history.

        Args:
            command: The command.
            leaf_count: How many leaves the run at hand has; None counts runs of any size.
            but: The id of a run that does not count, such as the one at hand.
        """
        from taskgrove.store.queries.estimate import estimate_of  # noqa: PLC0415 - slow

        return estimate_of(self._reader, command, leaf_count=leaf_count, but=but)

    def usual_durations(self, command: str, *, node_count: int, but: str = "") -> dict[str, float]:
        """Return how long the nodes of a command usually take, in seconds by path.

        Args:
            command: The command.
            node_count: How many nodes the run at hand has; of large runs fewer are read.
            but: The id of a run that does not count, such as the one at hand.
        """
        from taskgrove.store.queries.usual_durations import usual_durations  # noqa: PLC0415 - slow

        return usual_durations(self._reader, command, node_count=node_count, but=but)

    def export_jsonl(self, file: str | Path, which: RunFilter = ALL_RUNS) -> int:
        """Write runs and their events as JSON lines; return how many runs there were."""
        from taskgrove.store.queries.export_jsonl import export_jsonl  # noqa: PLC0415 - slow

        return export_jsonl(self, self.runs(which), file)

    def export_parquet(self, folder: str | Path, which: RunFilter = ALL_RUNS) -> int:
        """Write runs, nodes and events as Parquet files; return how many runs there were.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        from taskgrove.store.queries.export_parquet import export_parquet  # noqa: PLC0415 - an extra

        return export_parquet(self, self.runs(which), folder)

    def _key(self, run: RunSummary | str) -> int:
        return self.find(run).run_key if isinstance(run, str) else run.run_key


def _may_be_written(file: Path) -> bool:
    # SQLite writes beside the file, too.
    return os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)
