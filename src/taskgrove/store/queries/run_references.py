"""Finding the run that a text means: an id, the beginning of one, or ``last``."""

from __future__ import annotations

from typing import Any, Final

from taskgrove.errors import UnknownRunError, UsageError, nearest
from taskgrove.store.database.advice import quoted_line
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.run_conditions import command_condition
from taskgrove.store.queries.run_filter import parse_outcome
from taskgrove.store.queries.run_outcome import NOT_WELL, OUTCOME_SQL, RunOutcome, outcome_word
from taskgrove.store.queries.run_rows import (
    ROW_COLUMNS,
    RunResumption,
    RunRow,
    newest_sql,
    run_row_of,
)

_LAST: Final = "last"
#: How many runs an error names, and among how many it looks for a near miss.
_NAMED: Final = 5
_LOOKED_AT: Final = 2000

_BY_ID: Final = f"SELECT {ROW_COLUMNS} FROM runs r WHERE r.run_id = ?"  # noqa: S608 - our own constants
_LEASE: Final = (
    "SELECT host, boot_id, pid, pid_started, heartbeat_ns, interval_s FROM leases WHERE run_key = ?"
)
#: The resumes of a run, each with how the run that resumed stands, if it is still there.
_RESUMES: Final = (
    "SELECT s.run_id, s.number, s.claimed_ns, n.state, n.status, n.result_code, n.health_state"
    " FROM runs r JOIN resumes s ON s.run_key = r.run_key LEFT JOIN runs n ON n.run_id = s.run_id"
    " WHERE r.run_id = ?"
)


def find_run(reader: Reader, reference: str) -> RunRow:
    """Return the run that a text means; see :meth:`taskgrove.store.history.History.find`."""
    with reader.cursor() as cursor:
        return find_run_by(reader, cursor, reference)


def find_run_by(reader: Reader, cursor: Cursor, reference: str) -> RunRow:
    """Return the run that a text means, read through a cursor that is open already.

    Raises:
        UnknownRunError: As :meth:`taskgrove.store.history.History.find`.
    """
    wanted = reference.strip()
    row = cursor.row(_BY_ID, (wanted,))
    if row is None and (wanted == _LAST or wanted.startswith(("last-", "last:"))):
        row = _last(reader, cursor, wanted)
    elif row is None:
        row = _by_prefix(reader, cursor, wanted)
    lease = cursor.row(_LEASE, (row[0],)) if row[3] == "running" else None
    return run_row_of(row, lease, _resumed_by(cursor, row[1]) if row[23] is not None else ())


def _resumed_by(cursor: Cursor, run_id: str) -> tuple[RunResumption, ...]:
    """Return the runs that resumed a run, then those that resumed these, and so on."""
    found: dict[str, RunResumption] = {}
    wanted = [run_id]
    for earlier in wanted:
        for later, number, claimed_ns, *fields in cursor.rows(_RESUMES, (earlier,)):
            if later in found:
                continue
            outcome = None if fields[0] is None else outcome_word(*fields)
            found[later] = RunResumption(later, earlier, number, claimed_ns, outcome)
            wanted.append(later)
    return tuple(sorted(found.values(), key=lambda it: it.claimed_ns))


def _last(reader: Reader, cursor: Cursor, wanted: str) -> tuple[Any, ...]:
    head, _, command = wanted.partition(":")
    conditions: list[str] = []
    parameters: list[Any] = []
    outcomes = _outcomes_of(head)
    if outcomes:
        conditions.append(f"({' OR '.join(OUTCOME_SQL[outcome] for outcome in outcomes)})")
    if command:
        condition, values = command_condition(reader, command)
        conditions.append(condition)
        parameters += values
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    row = cursor.row(newest_sql(ROW_COLUMNS, where, 1), parameters)
    if row is None:
        raise _no_such_last(reader, cursor, outcomes, command)
    return row


def _outcomes_of(head: str) -> tuple[RunOutcome, ...]:
    word = head.removeprefix(_LAST).removeprefix("-")
    if word == "failed":
        return NOT_WELL
    try:
        return (parse_outcome(word),) if word else ()
    except UsageError as exc:
        raise UnknownRunError(f"no run is called {head!r}: {exc.message}", hint=exc.hint) from None


def _no_such_last(
    reader: Reader, cursor: Cursor, outcomes: tuple[RunOutcome, ...], command: str
) -> UnknownRunError:
    commands = [str(name) for (name,) in cursor.rows("SELECT DISTINCT command FROM runs")]
    if not commands:
        return _empty(reader)
    what = " or ".join(outcomes)
    of = f" of the command {command!r}" if command else ""
    close = nearest(command, commands) if command and command not in commands else None
    return UnknownRunError(
        f"the record holds no {f'{what} ' if what else ''}run{of}",
        hint=f"did you mean {close!r}?" if close else f"{_list_of(reader)} lists all runs",
    )


def _by_prefix(reader: Reader, cursor: Cursor, wanted: str) -> tuple[Any, ...]:
    if not wanted:
        raise UnknownRunError("a run is named by its id, the beginning of it, or 'last'")
    if reader.dialect == "postgresql":
        condition, parameters = "starts_with(r.run_id, ?)", [wanted]
    else:  # a range, which the index of the ids answers
        condition, parameters = "r.run_id >= ? AND r.run_id < ?", [wanted, f"{wanted}\U0010ffff"]
    rows = cursor.rows(
        f"SELECT {ROW_COLUMNS} FROM runs r WHERE {condition}"  # noqa: S608 - our own constants
        f" ORDER BY r.created_ns DESC LIMIT {_NAMED + 1}",
        parameters,
    )
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise _unknown(reader, cursor, wanted)
    names = [f"{row[1]} ({row[2]})" for row in rows[:_NAMED]]
    more = ", ..." if len(rows) > _NAMED else ""
    raise UnknownRunError(
        f"several runs begin with {wanted!r}: {', '.join(names)}{more}",
        hint="give more of the id",
    )


def _unknown(reader: Reader, cursor: Cursor, wanted: str) -> UnknownRunError:
    rows = cursor.rows(
        f"SELECT run_id FROM runs ORDER BY created_ns DESC LIMIT {_LOOKED_AT}"  # noqa: S608
    )
    if not rows:
        return _empty(reader)
    names = [str(name) for (name,) in rows]
    # People copy the end of an id, or remember it.
    ends = [name for name in names if name.endswith(wanted)] if len(wanted) > 3 else []
    close = ends[0] if ends else nearest(wanted, [_LAST, *names])
    return UnknownRunError(
        f"the record holds no run {wanted!r}",
        hint=f"did you mean {close!r}?"
        if close
        else f"{_list_of(reader)} shows the runs; 'last' is the newest",
    )


def _empty(reader: Reader) -> UnknownRunError:
    line = quoted_line(reader.location, "run", "MAP", "COMMAND")
    return UnknownRunError("the record holds no run yet", hint=f"{line} records one")


def _list_of(reader: Reader) -> str:
    return quoted_line(reader.location, "runs", "list")
