"""Statistics of many runs: usual durations, failure rates, devices with the most failures.

How it is counted:

- Percentiles are by nearest rank (:mod:`taskgrove.store.queries.percentiles`) over the nodes that
  completed well or degraded: the time that a failure took says nothing about how long the
  work takes. A duration runs from the node's first start to its end, retries included. The
  instants of a run go on by the monotonic clock of its process, so a step of the wall clock
  spoils no duration; what an older version recorded over a step back has none.
- A run that took over ends from an earlier one, or that was recovered, has no durations: what
  was taken over took no time in it, and what recovery followed had ended before it was seen.
- The failure rate is failures / ends. An end is a node that ran to a final state; a casualty
  (a step that was not run because an earlier one failed) has none, and neither has a node
  that was aborted: whoever aborts it says nothing about it. A failure is an end that is FAILED,
  REJECTED, or COMPLETED with a code other than OK and no degraded health; a failure that a
  person accepted is one, too.
- What waited for a person, held or kept by a pause, has no duration; neither has what is above.
- A device spoils a run when a leaf of it ended in a failure, or degraded, in that run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskgrove.store.queries.listing import Listing
from taskgrove.store.queries.percentiles import percentile
from taskgrove.store.queries.run_conditions import conditions_of
from taskgrove.store.queries.run_filter import ALL_RUNS, RunFilter
from taskgrove.store.queries.run_outcome import (
    BROKEN_SQL,
    RUN_OUTCOMES,
    RunOutcome,
    accepted_sql,
    good_code_sql,
    outcome_word,
    run_waited_sql,
    waited_sql,
)

if TYPE_CHECKING:
    from taskgrove.store.database.cursor import Cursor
    from taskgrove.store.queries.reading import Reader

_OK, _DEGRADED, _FAILED, _ABORTED, _SKIPPED, _NO_END = range(6)


def _nodes_sql(dialect: str) -> str:
    accepted = accepted_sql(dialect)
    kind = (
        f"CASE WHEN n.skipped <> 0 THEN {_SKIPPED}"
        f" WHEN n.status = 5 AND n.health_state = 'DEGRADED' THEN {_DEGRADED}"
        f" WHEN n.status = 5 AND {accepted} THEN {_FAILED}"
        f" WHEN n.status = 5 AND {good_code_sql('n.result_code')} THEN {_OK}"
        f" WHEN n.status IN (5, 6, 7) THEN {_FAILED}"
        f" WHEN n.status = 3 THEN {_ABORTED} ELSE {_NO_END} END"
    )
    took = f"CASE WHEN {waited_sql(dialect)} THEN NULL ELSE n.ended_ns - n.started_ns END"
    return f"SELECT n.path_key, n.device, {kind}, {took}, n.attempt, n.run_key FROM nodes n"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Counts:
    """How many times something ended how.

    Attributes:
        ok_count: Well.
        degraded_count: Degraded.
        failed_count: In a failure: FAILED, REJECTED, or COMPLETED with a bad code.
        aborted_count: Aborted.
        skipped_count: Not run, because an earlier step failed.
        retry_count: Attempts beyond the first.
        p50_s: Half of the good ends took at most so long, in seconds; None without any.
        p90_s: Nine tenths of them did.
    """

    ok_count: int = 0
    degraded_count: int = 0
    failed_count: int = 0
    aborted_count: int = 0
    skipped_count: int = 0
    retry_count: int = 0
    p50_s: float | None = None
    p90_s: float | None = None

    @property
    def end_count(self) -> int:
        """How many ends the failure rate is of."""
        return self.ok_count + self.degraded_count + self.failed_count

    @property
    def failure_rate(self) -> float | None:
        """Failures / ends, 0..1; None without any end."""
        return self.failed_count / self.end_count if self.end_count else None


@dataclass(frozen=True, slots=True)
class NodeStatistics(Counts):
    """One node path over many runs.

    Attributes:
        path: The path.
    """

    FRAME_COLUMNS = ("end_count", "failure_rate")

    path: str = ""


@dataclass(frozen=True, slots=True)
class DeviceStatistics(Counts):
    """One device over many runs.

    Attributes:
        device: The device.
        spoiled_run_count: Runs in which a leaf of it failed or was degraded.
    """

    FRAME_COLUMNS = ("end_count", "failure_rate")

    device: str = ""
    spoiled_run_count: int = 0


@dataclass(frozen=True, slots=True)
class CommandStatistics:
    """One command over many runs.

    Attributes:
        command: The command.
        run_count: How many runs.
        outcomes: How many of each outcome; one without any is missing.
        p50_s: Half of the runs that ended well or degraded took at most so long, in seconds.
        p90_s: Nine tenths of them did.
    """

    command: str
    run_count: int
    outcomes: Mapping[RunOutcome, int] = field(default_factory=dict)
    p50_s: float | None = None
    p90_s: float | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of the runs of a filter.

    Attributes:
        which: The filter.
        run_count: How many runs.
        outcomes: How many of each outcome; one without any is missing.
        commands: Each command, the most frequent first.
        nodes: Each node path, in the order of the paths.
        devices: Each device, the one that spoils most runs first.
    """

    which: RunFilter
    run_count: int
    outcomes: Mapping[RunOutcome, int]
    commands: Listing[CommandStatistics]
    nodes: Listing[NodeStatistics]
    devices: Listing[DeviceStatistics]

    def to_frame(self) -> Any:
        """Return the node paths as a pandas DataFrame; the other parts have frames of their own.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return self.nodes.to_frame()


class _Sum:
    """The sums of one path, or of one device, while rows come in."""

    __slots__ = ("durations", "kinds", "retries", "runs")

    def __init__(self) -> None:
        self.kinds = [0] * 6
        self.durations: list[int] = []
        self.retries = 0
        self.runs: set[int] = set()

    def take_in(self, other: _Sum) -> None:
        self.kinds = [mine + its for mine, its in zip(self.kinds, other.kinds, strict=True)]
        self.durations += other.durations
        self.retries += other.retries
        self.runs |= other.runs

    def fields(self) -> dict[str, Any]:
        kinds = self.kinds
        return {
            "ok_count": kinds[_OK],
            "degraded_count": kinds[_DEGRADED],
            "failed_count": kinds[_FAILED],
            "aborted_count": kinds[_ABORTED],
            "skipped_count": kinds[_SKIPPED],
            "retry_count": self.retries,
            **_percentiles(self.durations),
        }


def statistics_of(reader: Reader, which: RunFilter = ALL_RUNS) -> Statistics:
    """Return statistics of runs.

    Args:
        reader: Reads the record.
        which: Which runs; its device chooses runs, whose other devices count too.
    """
    where, parameters = conditions_of(reader, which)
    with reader.cursor() as cursor:
        commands = _commands(cursor, where, parameters, which.limit)
        broken = {key for (key,) in cursor.rows(f"SELECT r.run_key FROM runs r WHERE {BROKEN_SQL}")}  # noqa: S608 - our own constant
        query = _nodes_query(_nodes_sql(reader.dialect), where, parameters, which.limit)
        sums = _sums(cursor, *query, broken)
        names = {key: str(path) for key, path in cursor.rows("SELECT path_key, path FROM paths")}
    outcomes: Counter[RunOutcome] = Counter()
    for command in commands:
        outcomes.update(command.outcomes)
    return Statistics(
        which,
        sum(outcomes.values()),
        _in_order(outcomes),
        commands,
        _by_path(sums, names),
        _by_device(sums),
    )


def _nodes_query(
    nodes: str, where: str, parameters: list[Any], limit: int | None
) -> tuple[str, list[Any]]:
    if limit is not None:
        return (
            f"{nodes} WHERE n.run_key IN (SELECT r.run_key FROM runs r{where}"  # noqa: S608
            f" ORDER BY r.created_ns DESC, r.run_key DESC LIMIT {int(limit)})",
            parameters,
        )
    if not where:
        return nodes, []
    return f"{nodes} JOIN runs r ON r.run_key = n.run_key{where}", parameters


def _sums(
    cursor: Cursor, sql: str, parameters: list[Any], broken: Collection[int]
) -> dict[tuple[int, str | None], _Sum]:
    # One pass over plain rows; sorting them inside the database took twice as long.
    sums: dict[tuple[int, str | None], _Sum] = {}
    for path_key, device, kind, took, attempt, run_key in cursor.each(sql, parameters):
        found = sums.get((path_key, device))
        if found is None:
            found = sums[path_key, device] = _Sum()
        found.kinds[kind] += 1
        if kind <= _DEGRADED and took is not None and took >= 0 and run_key not in broken:
            found.durations.append(took)
        if kind in (_DEGRADED, _FAILED):
            found.runs.add(run_key)
        if attempt > 1:
            found.retries += attempt - 1
    return sums


def _by_path(
    sums: dict[tuple[int, str | None], _Sum], names: dict[int, str]
) -> Listing[NodeStatistics]:
    paths: dict[int, _Sum] = {}
    for (path_key, _), found in sums.items():
        paths.setdefault(path_key, _Sum()).take_in(found)
    rows = [NodeStatistics(path=names[key], **found.fields()) for key, found in paths.items()]
    return Listing(sorted(rows, key=lambda row: row.path.split("/")))


def _by_device(sums: dict[tuple[int, str | None], _Sum]) -> Listing[DeviceStatistics]:
    devices: dict[str, _Sum] = {}
    for (_, device), found in sums.items():
        if device is not None:
            devices.setdefault(device, _Sum()).take_in(found)
    rows = [
        DeviceStatistics(device=name, spoiled_run_count=len(found.runs), **found.fields())
        for name, found in devices.items()
    ]
    return Listing(sorted(rows, key=lambda row: (-row.spoiled_run_count, row.device)))


def _commands(
    cursor: Cursor, where: str, parameters: list[Any], limit: int | None
) -> Listing[CommandStatistics]:
    newest = (
        "" if limit is None else f" ORDER BY r.created_ns DESC, r.run_key DESC LIMIT {int(limit)}"
    )
    outcomes: dict[str, Counter[RunOutcome]] = {}
    durations: dict[str, list[int]] = {}
    for command, state, status, code, health, took in cursor.each(
        "SELECT r.command, r.state, r.status, r.result_code, r.health_state,"  # noqa: S608
        f" CASE WHEN {BROKEN_SQL} OR {run_waited_sql(cursor.dialect)} THEN NULL"
        " ELSE r.ended_ns - r.created_ns END"
        f" FROM runs r{where}{newest}",
        parameters,
    ):
        word = outcome_word(state, status, code, health)
        outcomes.setdefault(command, Counter())[word] += 1
        if word in ("ok", "degraded") and took is not None and took >= 0:
            durations.setdefault(command, []).append(took)
    rows = [
        CommandStatistics(
            command, sum(found.values()), _in_order(found), **_percentiles(durations.get(command))
        )
        for command, found in outcomes.items()
    ]
    return Listing(sorted(rows, key=lambda row: (-row.run_count, row.command)))


def _in_order(found: Counter[RunOutcome]) -> dict[RunOutcome, int]:
    return {word: found[word] for word in RUN_OUTCOMES if found[word]}


def _percentiles(durations: list[int] | None) -> dict[str, float | None]:
    if not durations:
        return {"p50_s": None, "p90_s": None}
    ordered = sorted(durations)
    return {"p50_s": percentile(ordered, 50) / 1e9, "p90_s": percentile(ordered, 90) / 1e9}
