"""The history: list, show, why and statistics of many runs, in one SQLite file.

``make bench`` measures 1,000 runs with a million events; the whole size that is aimed at,
10,000 runs with ten million events (3 GB, about three minutes), is
``python -m benchmarks.history 10000``.

The point query that lists are compared with fetches one run by its indexed id over an open
connection of ``sqlite3`` itself. The raw SQL that the statistics are compared with is the
quickest of three ways to the same percentiles and counts.

``python -m benchmarks.history 10000 FILE`` makes the history in a file of that name, or takes
the one that an earlier call made there, and leaves it.
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.history_data import write_history
from benchmarks.measure import Row, paired
from taskgrove.clock import SYSTEM_CLOCK
from taskgrove.store.history import History
from taskgrove.store.queries.run_filter import RunFilter
from taskgrove.store.store import Store
from taskgrove.view.record_view import story_of_record
from taskgrove.view.why import why

RUNS = 1_000
EVENTS_PER_RUN = 1_000
ROUNDS = 5
#: How often one thing is done within one measurement.
REPEATS = 50

_POINT = "SELECT * FROM runs WHERE run_id = ?"
_GOOD = "n.status = 5 AND (coalesce(n.result_code, 0) < 3 OR n.health_state = 'DEGRADED')"
_KIND = (
    "CASE WHEN n.skipped <> 0 THEN 0 WHEN n.status = 5 AND n.health_state = 'DEGRADED' THEN 1"
    " WHEN n.status = 5 AND coalesce(n.result_code, 0) < 3 THEN 2 WHEN n.status = 3 THEN 3"
    " WHEN n.status IN (5, 6, 7) THEN 4 ELSE 5 END"
)


def windows(connection: sqlite3.Connection) -> int:
    """Percentiles of paths and of devices by window functions, counts by grouping."""
    found = 0
    for key in ("path_key", "device"):
        found += len(
            connection.execute(
                f"SELECT {key}, max(CASE WHEN place = (many * 50 + 99) / 100 THEN took END),"
                " max(CASE WHEN place = (many * 90 + 99) / 100 THEN took END) FROM ("
                f" SELECT n.{key}, n.ended_ns - n.started_ns AS took,"
                f" row_number() OVER (PARTITION BY n.{key} ORDER BY n.ended_ns - n.started_ns)"
                f" AS place, count(*) OVER (PARTITION BY n.{key}) AS many"
                f" FROM nodes n WHERE {_GOOD} AND n.{key} IS NOT NULL) GROUP BY {key}"
            ).fetchall()
        )
        connection.execute(
            f"SELECT n.{key}, {_KIND} AS kind, count(*), sum(n.attempt - 1),"
            f" count(DISTINCT n.run_key) FROM nodes n GROUP BY n.{key}, kind"
        ).fetchall()
    return found


def grouped_lists(connection: sqlite3.Connection) -> int:
    """Every duration of a group as one list, sorted here."""
    rows = connection.execute(
        f"SELECT n.path_key, n.device, {_KIND} AS kind, count(*), sum(n.attempt - 1),"
        " group_concat(n.ended_ns - n.started_ns), group_concat(n.run_key) FILTER"
        " (WHERE n.status <> 5 OR n.result_code <> 0)"
        " FROM nodes n GROUP BY n.path_key, n.device, kind"
    ).fetchall()
    return sum(len(sorted(map(int, row[5].split(",")))) for row in rows if row[5])


def plain_rows(connection: sqlite3.Connection) -> int:
    """Every row of the nodes, grouped and sorted here."""
    rows = connection.execute(
        f"SELECT n.path_key, n.device, {_KIND}, n.ended_ns - n.started_ns, n.attempt, n.run_key"
        " FROM nodes n"
    ).fetchall()
    rows.sort(key=lambda row: (row[0], row[3] or 0))
    return sum(len(list(group)) for _, group in groupby(rows, key=lambda row: row[0]))


def rows(runs: int | None = None, kept: Path | None = None) -> Iterator[Row]:
    """Measure and yield the report's rows.

    Args:
        runs: How many runs the history has.
        kept: The file of the history; None: one that is removed afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="taskgrove-bench-") as folder:
        file = kept or Path(folder) / "runs.db"
        if not file.exists():
            Store.open(file).close()
            _, took = write_history(file, RUNS if runs is None else runs, EVENTS_PER_RUN)
            print(f"  made in {took:.0f} s")
        with History.open(file) as history:
            connection = sqlite3.connect(file)
            try:
                yield from _size_rows(file, connection)
                yield from _quick_rows(history, connection)
                yield from _statistics_rows(history, connection)
            finally:
                connection.close()


def _size_rows(file: Path, connection: sqlite3.Connection) -> Iterator[Row]:
    (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    (events,) = connection.execute("SELECT sum(last_sequence) FROM runs").fetchone()
    size = file.stat().st_size
    print(f"  {count:,} runs, {events:,} events, {size / 1e6:,.0f} MB")
    yield Row("size of the file for each event, all told", size / events, "bytes")


def _quick_rows(history: History, connection: sqlite3.Connection) -> Iterator[Row]:
    newest = history.find("last-degraded").run_id

    def point() -> object:
        return connection.execute(_POINT, (newest,)).fetchall()

    def explain() -> object:
        run, nodes, verdicts, requests = history.whole(newest)
        now_ns = SYSTEM_CLOCK.wall_ns()
        return why(story_of_record(run, nodes, now_ns=now_ns, verdicts=verdicts, requests=requests))

    for name, call in (
        ("list of the newest 20 runs", lambda: history.runs(RunFilter(limit=20))),
        ("show: a run and its nodes", lambda: history.whole(newest)),
        ("why: a run explained", explain),
        ("the newest run that failed", lambda: history.find("last-failed")),
        ("estimate of a command's duration", lambda: history.estimate("configure")),
    ):
        _, own, ratio = paired(_each(point), _each(call), ROUNDS)
        yield Row(name, own * 1e6, "µs", ratio, "a point query", 100)
    base, own, ratio = paired(
        _each(point), _each(lambda: history.diff("last-ok", "last-degraded"), 1), ROUNDS
    )
    yield Row("diff of two runs", own * 1e3, "ms", ratio, "a point query")
    yield Row("the point query itself, sqlite3 alone", base * 1e6, "µs")


def _statistics_rows(history: History, connection: sqlite3.Connection) -> Iterator[Row]:
    ways = (windows, grouped_lists, plain_rows)
    taken = {way: statistics.median(_once(way, connection) for _ in range(3)) for way in ways}
    best = min(ways, key=lambda way: taken[way])
    for way in ways:
        yield Row(f"statistics by raw SQL: {way.__name__}", taken[way] * 1e3, "ms")
    _, own, ratio = paired(
        lambda: _once(best, connection), lambda: _once(lambda _: history.stats(), None), 3
    )
    yield Row("statistics of all runs", own * 1e3, "ms", ratio, "the best raw SQL", 3)


def _each(call: Callable[[], object], repeats: int | None = None) -> Callable[[], float]:
    many = REPEATS if repeats is None else repeats

    def timed() -> float:
        # The quickest of single calls, for the subject as for the baseline: other processes only
        # ever add to a time, and they hit a long call more often than a short one.
        taken = []
        for _ in range(many):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        return min(taken)

    return timed


def _once(call: Callable[[Any], object], argument: Any) -> float:
    began = time.perf_counter()
    call(argument)
    return time.perf_counter() - began


if __name__ == "__main__":
    _given = sys.argv[1:]
    for _shown in rows(
        int(_given[0]) if _given else None, Path(_given[1]) if len(_given) > 1 else None
    ):
        print(_shown.line(), flush=True)
