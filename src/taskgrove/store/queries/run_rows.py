"""Runs as the record keeps them, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut, SteeringAnswer, SteeringRequest
from taskgrove.store.queries.run_filter import from_ns
from taskgrove.store.queries.run_outcome import RunOutcome, outcome_word

_SUMMARY_NAMES: Final = (
    "run_key", "run_id", "command", "state", "status", "result_code", "health_state", "message",
    "progress", "created_ns", "started_ns", "ended_ns", "last_ns", "last_sequence", "leaf_count",
    "failed_leaf_count", "retry_count", "lost_event_count", "parent_run_id", "host", "user",
    "state_note", "labels",
)  # fmt: skip
_ROW_NAMES: Final = ("source", "argv", "versions", "recovered_ns")
#: The run that resumed ``runs r`` last.
_RESUMED_BY: Final = (
    "(SELECT s.run_id FROM resumes s WHERE s.run_key = r.run_key ORDER BY s.number DESC LIMIT 1)"
)
#: The rest of what is known of the root of ``runs r``: what was left out is there.
_ROOT_FACTS: Final = (
    "(SELECT n.facts FROM nodes n WHERE n.run_key = r.run_key AND n.node_number = 0)"
)


def _columns(names: tuple[str, ...]) -> str:
    # "user" is a word of SQL itself.
    return ", ".join(f'r."{name}"' if name == "user" else f"r.{name}" for name in names)


#: The columns of ``runs r`` that :func:`summary_of` reads, in its order.
SUMMARY_COLUMNS: Final = f"{_columns(_SUMMARY_NAMES)}, {_RESUMED_BY}, {_ROOT_FACTS}"
#: The columns of ``runs r`` that :func:`run_row_of` reads, in its order.
ROW_COLUMNS: Final = f"{SUMMARY_COLUMNS}, {_columns(_ROW_NAMES)}"
_NEWEST_FIRST: Final = "ORDER BY r.created_ns DESC, r.run_key DESC"


def newest_sql(columns: str, where: str, limit: int | None) -> str:
    """Return the query for the newest runs that meet a condition, newest first.

    Args:
        columns: :data:`SUMMARY_COLUMNS` or :data:`ROW_COLUMNS`.
        where: The condition on ``runs r``, with ``WHERE``; may be empty.
        limit: How many at most; None: all.
    """
    if limit is None or not where:
        end = "" if limit is None else f" LIMIT {limit}"
        return f"SELECT {columns} FROM runs r{where} {_NEWEST_FIRST}{end}"  # noqa: S608 - our own
    # The runs are chosen first: the columns of all that would be sorted cost many times as much.
    chosen = f"SELECT r.run_key AS chosen FROM runs r{where} {_NEWEST_FIRST} LIMIT {limit}"  # noqa: S608
    if limit == 1:
        return f"SELECT {columns} FROM runs r WHERE r.run_key = ({chosen})"  # noqa: S608
    return (
        f"SELECT {columns} FROM ({chosen}) AS c JOIN runs r ON r.run_key = c.chosen"  # noqa: S608
        f" {_NEWEST_FIRST}"
    )


_STATUSES: Final[dict[int | None, TaskStatus | None]] = {None: None, **{s: s for s in TaskStatus}}
_CODES: Final[dict[int | None, ResultCode | None]] = {None: None, **{c: c for c in ResultCode}}
#: The errors of a row that cannot be read.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
_decode_labels = msgspec.json.Decoder(dict[str, str]).decode


class _Finished(msgspec.Struct):
    left_out: tuple[LeftOut, ...] = ()


class _RootFacts(msgspec.Struct):
    finished: _Finished | None = None


_decode_root = msgspec.json.Decoder(_RootFacts).decode


#: Fields about later runs: they are no part of a run, and do not count in comparisons.
_LATER: Final = ("resumed_by_run_id", "resumed_by")


class RunSummary(msgspec.Struct, frozen=True, eq=False):
    """One run, as a list of runs shows it.

    Instants are UTC in nanoseconds since the epoch (``_ns``), and aware (``_at``).

    Attributes:
        run_key: Its number in this store.
        run_id: Its id.
        command: The command.
        state: The state of its record: ``running``, ``final`` or ``lost``.
        status: The root's status, or None before anything was heard.
        result_code: The root's result code, or None.
        health_state: ``DEGRADED``, ``FAILED`` or None.
        message: The outcome's message: a summary line, then the causes.
        progress: Percent done, 0..100.
        created_ns: When it was submitted.
        started_ns: When it was first in progress, or None.
        ended_ns: When it ended, or None.
        last_ns: When it was last heard of.
        last_sequence: The number of its last event.
        leaf_count: How many leaves it has.
        failed_leaf_count: How many leaves did not end well; casualties do not count.
        retry_count: How many attempts there were beyond the first of each leaf.
        lost_event_count: How many of its events could not be kept; 0 in a whole record.
        parent_run_id: The run that it resumed, or None.
        host: Where it ran.
        user: As whom.
        state_note: Why it is lost, and the result of its recovery, in words.
        labels: Small facts to find it by.
        resumed_by_run_id: The run that resumed it, of several the last; or None.
        left_out: The parts that were left out of it and why, once it has ended.
    """

    run_key: int
    run_id: str
    command: str
    state: str
    status: TaskStatus | None = None
    result_code: ResultCode | None = None
    health_state: str | None = None
    message: str = ""
    progress: int = 0
    created_ns: int = 0
    started_ns: int | None = None
    ended_ns: int | None = None
    last_ns: int = 0
    last_sequence: int = 0
    leaf_count: int = 0
    failed_leaf_count: int = 0
    retry_count: int = 0
    lost_event_count: int = 0
    parent_run_id: str | None = None
    host: str = ""
    user: str = ""
    state_note: str = ""
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    resumed_by_run_id: str | None = None
    left_out: tuple[LeftOut, ...] = ()

    FRAME_COLUMNS: ClassVar[tuple[str, ...]] = (
        "outcome",
        "duration_s",
        "created_at",
        "ended_at",
        "last_at",
    )

    @property
    def outcome(self) -> RunOutcome:
        """Its outcome in one word."""
        return outcome_word(self.state, self.status, self.result_code, self.health_state)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name)
            for name in self.__struct_fields__
            if name not in _LATER
        )

    def __hash__(self) -> int:
        return hash((self.run_key, self.run_id))

    @property
    def duration_s(self) -> float | None:
        """How long it took from its submission, in seconds; None before its end.

        Where another process went on with the run it is a difference of wall clocks; one that
        was set back gives 0.
        """
        if self.ended_ns is None:
            return None
        return max(0, self.ended_ns - self.created_ns) / 1e9

    @property
    def created_at(self) -> datetime:
        """When it was submitted."""
        return from_ns(self.created_ns)

    @property
    def ended_at(self) -> datetime | None:
        """When it ended, or None."""
        return None if self.ended_ns is None else from_ns(self.ended_ns)

    @property
    def last_at(self) -> datetime:
        """When it was last heard of."""
        return from_ns(self.last_ns)

    @property
    def headline(self) -> str:
        """Its first cause, of a DEGRADED run the first two; without causes, its summary."""
        told = self.causes[: self._headline_room]
        return "; ".join(told) or self.message.strip().partition("\n")[0]

    @property
    def headline_is_whole(self) -> bool:
        """Whether the headline names every cause that the message names."""
        return 0 < len(self.causes) <= self._headline_room

    @property
    def _headline_room(self) -> int:
        return 2 if self.health_state == "DEGRADED" else 1  # a sum comes first

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes that its message names."""
        _, found, causes = self.message.partition("Causes:")
        lines = causes.splitlines() if found else []
        return tuple(line.strip().removeprefix("- ") for line in lines if line.strip())


@dataclass(frozen=True, slots=True)
class RunLease:
    """Who keeps a run alive.

    Attributes:
        host: The machine.
        boot_id: The kernel's name of that boot; empty where there is none.
        pid: The process.
        pid_started: When it began, as ``psutil.Process.create_time``, in seconds.
        heartbeat_ns: Its last sign of life, UTC, nanoseconds since the epoch.
        interval_s: How often it gives one, in seconds.
    """

    host: str
    boot_id: str
    pid: int
    pid_started: float
    heartbeat_ns: int
    interval_s: float


@dataclass(frozen=True, slots=True)
class RunResumption:
    """One resume of a run, or of a run that resumed it.

    Attributes:
        run_id: The run that resumed.
        of_run_id: The run that was resumed.
        number: Which resume of that run it is, from 1.
        claimed_ns: When it began, UTC, nanoseconds since the epoch.
        outcome: Its outcome in one word; None: it is not in the record any more.
    """

    run_id: str
    of_run_id: str
    number: int
    claimed_ns: int
    outcome: RunOutcome | None


class RunRow(RunSummary, frozen=True, eq=False):
    """One run with all that the record keeps of it besides its nodes and events.

    Attributes:
        source: Its source; empty where only its program can compose it.
        argv: The command line of its process.
        versions: The versions of Python, taskgrove and the packages, by name.
        recovered_ns: When recovery took it over, the last time, or None.
        lease: Who keeps it alive, or None once it has ended.
        resumed_by: The runs that resumed it, and that resumed those, as they began.
    """

    source: Mapping[str, Any] = msgspec.field(default_factory=dict)
    argv: tuple[str, ...] = ()
    versions: Mapping[str, str] = msgspec.field(default_factory=dict)
    recovered_ns: int | None = None
    lease: RunLease | None = None
    resumed_by: tuple[RunResumption, ...] = ()


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    """One described analysis of a run.

    Attributes:
        run_id: The run.
        sequence: The number of the event that tells of it.
        path: The path of its leaf.
        analysis: Its name.
        status: The name of its own status.
        summary: Its short summary.
        experiment: The experiment of its configuration, or None.
        experiment_run: The experiment's run, or None.
        wall_ns: When, UTC, nanoseconds since the epoch.
        detail: The whole description, plain data as :class:`~taskgrove.events.AnalysisDetail`.
    """

    run_id: str
    sequence: int
    path: str
    analysis: str
    status: str
    summary: str
    experiment: str | None
    experiment_run: str | None
    wall_ns: int
    detail: Any


@dataclass(frozen=True, slots=True)
class PageRow:
    """One published page of a run.

    Attributes:
        run_id: The run.
        sequence: The number of the event that tells of it.
        path: The path of its leaf.
        display_name: The page's place, such as ``scans/my_motor_scan``.
        file: Where it was written.
        size_bytes: Its size.
        sha256: The hash of its content, in hex.
        wall_ns: When, UTC, nanoseconds since the epoch.
    """

    run_id: str
    sequence: int
    path: str
    display_name: str
    file: str
    size_bytes: int
    sha256: str
    wall_ns: int


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """An operator's verdict on a node of a run; it never changes the outcome of record.

    Attributes:
        run_id: The run.
        sequence: Its number among the run's verdicts, from 1; not one of the log's.
        path: The node's path.
        verdict: ``ok`` (treat as OK), ``acknowledged`` or ``note``.
        who: Who gave it.
        why: Why, in the operator's words.
        wall_ns: When, UTC, nanoseconds since the epoch.
    """

    run_id: str
    sequence: int
    path: str
    verdict: str
    who: str
    why: str
    wall_ns: int


@dataclass(frozen=True, slots=True)
class RequestRow:
    """A request of an operator to a run while it lived.

    Attributes:
        run_id: The run.
        request: The request.
        answer: The answer of the run; None while nobody has answered.
    """

    run_id: str
    request: SteeringRequest
    answer: SteeringAnswer | None


def summary_of(row: tuple[Any, ...]) -> RunSummary:
    """Return a row of :data:`SUMMARY_COLUMNS` as a summary."""
    return RunSummary(*_summary_fields(row))


def run_row_of(
    row: tuple[Any, ...],
    lease: tuple[Any, ...] | None,
    resumed_by: tuple[RunResumption, ...] = (),
) -> RunRow:
    """Return a row of :data:`ROW_COLUMNS`, one of ``leases`` and its resumes as a run."""
    try:
        source, argv, versions = (msgspec.json.decode(text) for text in row[25:28])
    except _UNREADABLE:  # no run can be composed from it, and all else is told
        source, argv, versions = {}, (), {}
    kept_by = None if lease is None else RunLease(*lease)
    fields = [*_summary_fields(row), source, tuple(argv), versions, row[28], kept_by, resumed_by]
    return RunRow(*fields)


def _summary_fields(row: tuple[Any, ...]) -> list[Any]:
    status, code, left_out = _STATUSES.get(row[4]), _CODES.get(row[5]), _left_out(row[24])
    try:
        return [*row[:4], status, code, *row[6:22], _labels(row[22]), row[23], left_out]
    except _UNREADABLE as exc:
        words = f"labels of this run cannot be read: {exc}"
        return [*row[:4], status, code, row[6], row[7] or words, *row[8:22], {}, row[23], left_out]


def _left_out(facts: Any) -> tuple[LeftOut, ...]:
    """Return the parts that were left out, from the row of a root; most rows hold none."""
    if facts is None or b'"left_out"' not in (data := bytes(facts)):
        return ()
    try:
        finished = _decode_root(data).finished
    except _UNREADABLE:  # what reads the nodes says so
        return ()
    return () if finished is None else finished.left_out


def _labels(text: str) -> Mapping[str, str]:
    return {} if text == "{}" else _decode_labels(text)
