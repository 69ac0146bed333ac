"""The requests of operators to a run, as the record keeps them."""

from __future__ import annotations

from typing import Final

from taskgrove.store.database.cursor import Cursor
from taskgrove.store.queries.listing import Listing
from taskgrove.store.queries.run_rows import RequestRow
from taskgrove.store.recording.request_rows import read_answer, read_request

_REQUESTS: Final = (
    "SELECT request_id, body, asked_ns, answer FROM requests WHERE run_key = ? ORDER BY request_key"
)


def read_requests(cursor: Cursor, run_key: int, run_id: str) -> Listing[RequestRow]:
    """Return the requests of operators to a run, in the order in which they came.

    Args:
        cursor: Reads the store.
        run_key: The run's key in ``runs``.
        run_id: Its id.
    """
    return Listing(
        RequestRow(run_id, read_request(request_id, body, asked_ns), read_answer(answer))
        for request_id, body, asked_ns, answer in cursor.rows(_REQUESTS, (run_key,))
    )
