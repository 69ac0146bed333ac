"""The nodes of a run, read quickly: rows of the driver, composed parts decoded once."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from taskgrove.commands.node_facts import NodeFacts
from taskgrove.events import AnalysisDetail
from taskgrove.store.queries.reading import Cursor, Reader
from taskgrove.store.recording.node_rows import facts_of


class NodeRow(NamedTuple):
    """A row of ``nodes`` with its path, as ``node_rows.facts_of`` reads it."""

    path_key: int
    path: str
    execution: str
    status: int | None
    result_code: int | None
    health_state: str | None
    message: str
    attempt: int
    queued_ns: int | None
    started_ns: int | None
    ended_ns: int | None
    finished_sequence: int | None
    composed: bytes | None
    facts: bytes | None


_COLUMNS: Final = ", ".join(
    f"p.{name}" if name == "path" else f"n.{name}" for name in NodeRow._fields
)
_NODES: Final = (
    f"SELECT {_COLUMNS} FROM nodes n JOIN paths p ON p.path_key = n.path_key"  # noqa: S608
    " WHERE n.run_key = ? ORDER BY n.node_number"
)
#: The last description of each node's analysis counts.
_ANALYSES: Final = "SELECT path_key, detail FROM analyses WHERE run_key = ? ORDER BY sequence"
_decode_analysis = msgspec.json.Decoder(AnalysisDetail).decode


def read_node_facts(reader: Reader, run_key: int) -> list[NodeFacts]:
    """Return the facts of every node of a run, in composed order.

    Args:
        reader: Reads the store.
        run_key: The run's key in ``runs``.
    """
    with reader.cursor() as cursor:
        rows = [NodeRow._make(row) for row in cursor.rows(_NODES, (run_key,))]
        found = [facts_of(row.path, row) for row in rows]
        if any(row.execution == "ANALYSIS" for row in rows):
            _add_analyses(cursor, run_key, rows, found)
    return found


def _add_analyses(
    cursor: Cursor, run_key: int, rows: list[NodeRow], found: list[NodeFacts]
) -> None:
    details: dict[int, Any] = dict(cursor.rows(_ANALYSES, (run_key,)))
    for row, node in zip(rows, found, strict=True):
        detail = details.get(row.path_key)
        if detail is not None:
            node.analysis = _decode_analysis(bytes(detail))
