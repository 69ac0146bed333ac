"""Requests of operators in the record: read, answered by the run, closed when the run is over.

An answer is written in a transaction that holds every event that the request has caused. Where a
run is over and has not answered, its log does: a request took effect when an event carries its id.

Threads: it belongs to the thread that holds the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import msgspec

from taskgrove.events.details import NoteDetail
from taskgrove.events.event import TaskEvent
from taskgrove.events.plain_event import read_event
from taskgrove.events.steering_request import (
    PATHS_KEPT,
    SteeringAnswer,
    SteeringObjection,
    SteeringReason,
    SteeringRequest,
    SteeringVerb,
)
from taskgrove.store.database.changes import ANSWERED
from taskgrove.store.database.cursor import Cursor
from taskgrove.store.database.plain_bytes import json_bytes
from taskgrove.store.recording import statements as sql

_REQUEST: Final = msgspec.json.Decoder(SteeringRequest)
_ANSWER: Final = msgspec.json.Decoder(SteeringAnswer)
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)
_LOCK_RUN: Final = "SELECT run_key FROM runs WHERE run_key = ?"
_NOTIFY: Final = "SELECT pg_notify(?, ?)"


def decode_request(body: bytes | memoryview) -> SteeringRequest:
    """Return the request of a row.

    Raises:
        msgspec.MsgspecError: It is none, or of a newer version.
    """
    return _REQUEST.decode(bytes(body))


def read_request(request_id: str, body: bytes | memoryview, asked_ns: int) -> SteeringRequest:
    """Return the request of a row for its readers; of one that is unreadable the readable parts."""
    try:
        return decode_request(body)
    except _UNREADABLE:
        pass
    try:
        data = msgspec.json.decode(bytes(body), type=dict[str, Any])
    except _UNREADABLE:
        data = {}
    texts: dict[str, Any] = {
        name: value
        for name in ("path", "who", "why", "user", "host")
        if isinstance(value := data.get(name), str)
    }
    verb = cast("SteeringVerb", str(data.get("verb", "?")))
    return SteeringRequest(id=request_id, verb=verb, asked_ns=asked_ns, **texts)


def read_answer(answer: bytes | memoryview | None) -> SteeringAnswer | None:
    """Return the answer of a row; None where there is none yet, or none that can be read."""
    if answer is None:
        return None
    try:
        return _ANSWER.decode(bytes(answer))
    except _UNREADABLE:
        return None


def too_late(
    request_id: str, reason: SteeringReason, now_ns: int, since_ns: int | None = None
) -> SteeringAnswer:
    """Return the answer to a request that came when the run was over.

    Args:
        request_id: The request.
        reason: ``run_ended`` or ``runner_lost``.
        now_ns: The time, UTC, nanoseconds since the epoch.
        since_ns: Since when it is over, or None.
    """
    objection = SteeringObjection(reason=reason, since_ns=since_ns)
    return SteeringAnswer(
        request_id=request_id, fate="too_late", objections=(objection,), answered_ns=now_ns
    )


def write_answers(cursor: Cursor, run_key: int, answers: Iterable[SteeringAnswer]) -> None:
    """Write answers of a run; an answer that is there already stands."""
    for answer in answers:
        row = (json_bytes(answer), answer.answered_ns, run_key, answer.request_id)
        if cursor.execute(sql.ANSWER_REQUEST, row) == 1 and cursor.dialect == "postgresql":
            cursor.rows(_NOTIFY, (ANSWERED, answer.request_id))


def close_requests(
    cursor: Cursor, run_key: int, run_id: str, reason: SteeringReason, now_ns: int
) -> None:
    """Answer every request of a run that nobody has answered: the run is over.

    Args:
        cursor: In a transaction that writes, and that says so of the run, too.
        run_key: The run's key in ``runs``.
        run_id: The run.
        reason: Why it is too late for a request that has caused no event.
        now_ns: The time, UTC, nanoseconds since the epoch.
    """
    # Who asks holds the row of a run that lives until the request is committed, and sees after
    # that whether it lives; see the desk.
    held = cursor.held("runs")
    if held:
        cursor.rows(f"{_LOCK_RUN}{held}", (run_key,))
    left = [request_id for (request_id,) in cursor.rows(sql.OPEN_REQUESTS, (run_key,))]
    if left:
        answers = answers_of_log(cursor, run_key, run_id, left, reason, now_ns)
        write_answers(cursor, run_key, answers)


def answers_of_log(
    cursor: Cursor,
    run_key: int,
    run_id: str,
    request_ids: list[str],
    reason: SteeringReason,
    now_ns: int,
) -> list[SteeringAnswer]:
    """Return the answers to requests of a run that is over, as its log gives them.

    Args:
        cursor: Reads the store.
        run_key: The run's key in ``runs``.
        run_id: The run.
        request_ids: The requests, which the run has not answered.
        reason: As :func:`close_requests`.
        now_ns: The time, UTC, nanoseconds since the epoch.
    """
    paths = _paths_of(request_ids, cursor.each(sql.READ_EVENTS, (run_key,)), run_id)
    return [
        _done(request_id, paths[request_id], now_ns)
        if request_id in paths
        else too_late(request_id, reason, now_ns)
        for request_id in request_ids
    ]


def _done(request_id: str, paths: list[str], now_ns: int) -> SteeringAnswer:
    return SteeringAnswer(
        request_id=request_id,
        fate="done",
        paths=tuple(paths[:PATHS_KEPT]),
        acted_count=len(paths),
        answered_ns=now_ns,
    )


def _paths_of(
    wanted: list[str], log: Iterator[tuple[Any, ...]], run_id: str
) -> dict[str, list[str]]:
    """Return the nodes on which requests took effect, by request."""
    found: dict[str, dict[str, None]] = {}
    marks = {request_id: json_bytes(request_id) for request_id in wanted}
    for sequence, body in log:
        line = bytes(body)
        for request_id, mark in marks.items():
            if mark not in line:
                continue
            event = read_event(line, run_id, sequence)
            if request_of(event) == request_id:
                found.setdefault(request_id, {})[event.path] = None
    return {request_id: list(paths) for request_id, paths in found.items()}


def request_of(event: TaskEvent) -> str | None:
    """Return the id of the request that took effect with an event, or None."""
    detail = event.detail
    request = getattr(detail, "request", None)
    if not isinstance(request, SteeringRequest):
        return None
    # An earlier attempt is asked to stop before another one begins: that is not the effect yet.
    stops = isinstance(detail, NoteDetail) and detail.topic.startswith("abort-")
    return None if stops and request.verb != "abort" else request.id
