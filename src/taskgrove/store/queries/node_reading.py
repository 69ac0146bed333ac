"""The nodes of a run, read quickly: rows of the driver, composed parts decoded once."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from taskgrove.events import AnalysisDetail
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.recording.node_rows import NodeRow, facts_of
from taskgrove.story.run_node import RunNode

_COLUMNS: Final = ", ".join(
    f"p.{name}" if name == "path" else f"n.{name}" for name in NodeRow._fields
)
_NODES: Final = (
    f"SELECT {_COLUMNS} FROM nodes n JOIN paths p ON p.path_key = n.path_key"  # noqa: S608
    " WHERE n.run_key = ? ORDER BY n.node_number"
)
#: The last description of each node's analysis counts.
_ANALYSES: Final = (
    "SELECT p.path, a.detail FROM analyses a JOIN paths p ON p.path_key = a.path_key"
    " WHERE a.run_key = ? ORDER BY a.sequence"
)
_decode_analysis = msgspec.json.Decoder(AnalysisDetail).decode


def read_analysis(detail: bytes | memoryview) -> AnalysisDetail:
    """Return a described analysis; one that cannot be read says so as its summary."""
    try:
        return _decode_analysis(bytes(detail))
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        return AnalysisDetail(analysis="", summary=f"this row cannot be read: {exc}")


def read_run_nodes(cursor: Cursor, run_key: int) -> list[RunNode]:
    """Return the facts of every node of a run, in composed order.

    Args:
        cursor: Reads the store.
        run_key: The run's key in ``runs``.
    """
    rows = cursor.rows(_NODES, (run_key,))
    found = [facts_of(row) for row in rows]
    if any(node.composed is not None and node.composed.execution == "ANALYSIS" for node in found):
        details: dict[str, Any] = dict(cursor.rows(_ANALYSES, (run_key,)))
        for row, node in zip(rows, found, strict=True):
            detail = details.get(row[0])  # the path as the table has it: a long one is cut
            if detail is not None:
                node.analysis = read_analysis(detail)
    return found
