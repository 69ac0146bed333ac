"""Reading the runs that are linked with a run by resumes, for a plan of its next resume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from taskgrove.errors import UnknownRunError
from taskgrove.recovery.earlier_runs import EarlierRun, earlier_run
from taskgrove.store.history import History
from taskgrove.store.queries.run_rows import RunRow, VerdictRow
from taskgrove.story.run_node import RunNode

_SET_OUT: Final = "SELECT set_out FROM resumes WHERE run_id = ?"


def base_of(history: History, row: RunRow) -> RunRow:
    """Return the run whose work a resume of ``row`` goes on with.

    A resume that was refused, or that ended before a leaf began, holds no claim: then the work of
    the run before is still to be done.

    Args:
        history: The record.
        row: The run that was named.
    """
    while row.state == "final":
        parent = _parent_of(history, row)
        if parent is None or any(it.run_id == row.run_id for it in parent.resumed_by):
            break
        row = parent
    return row


def family_of(
    history: History, row: RunRow, nodes: Sequence[RunNode], verdicts: Sequence[VerdictRow]
) -> tuple[EarlierRun, ...]:
    """Return a run and all that are linked with it, in the order in which they began.

    Args:
        history: The record.
        row: The run.
        nodes: Its nodes.
        verdicts: The verdicts of operators on it.
    """
    rows = {row.run_id: row}
    before = _parent_of(history, row)
    while before is not None and before.run_id not in rows:
        rows[before.run_id] = before
        before = _parent_of(history, before)
    for run_id in dict.fromkeys(it.run_id for run in list(rows.values()) for it in run.resumed_by):
        later = rows.get(run_id) or _find(history, run_id)
        if later is not None:
            rows[run_id] = later
    return tuple(
        earlier_run(
            run.run_id,
            nodes if run is row else history.nodes(run),
            verdicts if run is row else history.verdicts(run),
            run.parent_run_id,
            _set_out(history, run.run_id),
        )
        for run in sorted(rows.values(), key=lambda run: run.run_key)
    )


def _parent_of(history: History, row: RunRow) -> RunRow | None:
    return _find(history, row.parent_run_id)


def _find(history: History, run_id: str | None) -> RunRow | None:
    """Return a run by its whole id; None where it was removed."""
    if run_id is None:
        return None
    try:
        found = history.find(run_id)
    except UnknownRunError:
        return None
    return found if found.run_id == run_id else None


def _set_out(history: History, run_id: str) -> frozenset[str] | None:
    rows = history.reader.rows(_SET_OUT, (run_id,))
    text = rows[0][0] if rows else None
    return None if text is None else frozenset(msgspec.json.decode(text, type=list[str]))
