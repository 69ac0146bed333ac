"""All that an explanation of a run needs, at one moment: the run, its nodes, verdicts, requests."""

from __future__ import annotations

from typing import Final, NamedTuple

from taskgrove.events import NoteDetail
from taskgrove.events.plain_event import read_event
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.queries.listing import Listing
from taskgrove.store.queries.node_reading import read_run_nodes
from taskgrove.store.queries.reading import Reader
from taskgrove.store.queries.request_reading import read_requests
from taskgrove.store.queries.run_references import find_run_by
from taskgrove.store.queries.run_rows import RequestRow, RunRow, VerdictRow
from taskgrove.story.run_node import RunNode

#: Verdicts are events with numbers of their own; see the schema.
_VERDICTS: Final = "SELECT number, body FROM verdicts WHERE run_key = ? ORDER BY number"


class WholeRun(NamedTuple):
    """A run as one moment of the record has it.

    Attributes:
        run: The run.
        nodes: The facts of each node, in composed order.
        verdicts: The verdicts of operators, oldest first.
        requests: The requests of operators while it lived, oldest first.
    """

    run: RunRow
    nodes: list[RunNode]
    verdicts: Listing[VerdictRow]
    requests: Listing[RequestRow]


def read_whole_run(reader: Reader, reference: str) -> WholeRun:
    """Return the run that a text means; see :meth:`taskgrove.store.history.History.whole`."""
    # One moment: a run that ends meanwhile is not told as running with every leaf at its end.
    with reader.cursor(one_moment=True) as cursor:
        run = find_run_by(reader, cursor, reference)
        nodes = read_run_nodes(cursor, run.run_key)
        verdicts = read_verdicts(cursor, run.run_key, run.run_id)
        return WholeRun(run, nodes, verdicts, read_requests(cursor, run.run_key, run.run_id))


def read_verdicts(cursor: Cursor, run_key: int, run_id: str) -> Listing[VerdictRow]:
    """Return the verdicts of operators on a run, oldest first.

    Args:
        cursor: Reads the store.
        run_key: The run's key in ``runs``.
        run_id: Its id.
    """
    rows = cursor.rows(_VERDICTS, (run_key,))
    events = [read_event(bytes(body), run_id, number) for number, body in rows]
    return Listing(
        VerdictRow(
            event.run_id,
            event.sequence,
            event.path,
            event.detail.data.get("verdict", "note"),
            event.detail.data.get("who", ""),
            event.detail.data.get("why", "") or event.message,
            event.wall_ns,
        )
        for event in events
        if isinstance(event.detail, NoteDetail) and event.detail.topic == "operator"
    )
