"""Runs, nodes, requests and events as Parquet files, for the analysis of many runs.

Four files in one folder, tied by ``run_id``: ``runs.parquet``, ``nodes.parquet``,
``requests.parquet`` and ``events.parquet``. Instants are UTC timestamps in nanoseconds, enums are
their names, and the columns ``body`` of an event and ``cause`` of a node hold the whole event, and
why it ended so, as JSON. They are written run by run, so a large history needs little memory. Needs
the extra ``export``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from taskgrove.errors import MissingExtraError
from taskgrove.events import TaskEvent, encode_event
from taskgrove.store.queries.export_jsonl import ReadableRuns
from taskgrove.store.queries.run_diff import node_word
from taskgrove.store.queries.run_rows import RequestRow, RunRow, RunSummary
from taskgrove.story.node_note import verdict_in
from taskgrove.story.run_node import RunNode

#: How many rows are gathered before they are written.
_BATCH: Final = 20_000

#: Columns and their types: ``text``, ``texts``, ``count``, ``real``, ``time``, ``flag``.
_RUNS: Final = {
    "run_id": "text", "command": "text", "outcome": "text", "state": "text", "status": "text",
    "result_code": "text", "health_state": "text", "message": "text", "progress": "count",
    "created_at": "time", "started_at": "time", "ended_at": "time", "last_at": "time",
    "duration_s": "real", "last_sequence": "count", "leaf_count": "count",
    "failed_leaf_count": "count", "retry_count": "count", "lost_event_count": "count",
    "parent_run_id": "text", "resumed_by_run_id": "text", "host": "text", "user": "text",
    "state_note": "text", "labels": "text", "source": "text", "argv": "texts", "versions": "text",
}  # fmt: skip
_NODES: Final = {
    "run_id": "text", "path": "text", "execution": "text", "target": "text",
    "command_name": "text", "outcome": "text", "status": "text", "result_code": "text",
    "health_state": "text", "message": "text", "progress": "count", "attempt": "count",
    "queued_at": "time", "started_at": "time", "ended_at": "time", "duration_s": "real",
    "skipped": "flag", "devices": "texts", "failed_devices": "texts", "outside_id": "text",
    "analysis": "text", "accepted_by": "text", "accepted_why": "text", "cause_kind": "text",
    "cause": "text",
}  # fmt: skip
_REQUESTS: Final = {
    "run_id": "text", "request_id": "text", "verb": "text", "path": "text", "who": "text",
    "why": "text", "user": "text", "host": "text", "asked_at": "time", "fate": "text",
    "acted_count": "count", "reasons": "texts", "answered_at": "time",
}  # fmt: skip
_EVENTS: Final = {
    "run_id": "text", "sequence": "count", "sequence_from": "count", "path": "text",
    "kind": "text", "attempt": "count", "status": "text", "result_code": "text",
    "progress": "count", "message": "text", "wall_at": "time", "monotonic_s": "real",
    "body": "text",
}  # fmt: skip


def export_parquet(history: ReadableRuns, runs: Iterable[RunSummary], folder: str | Path) -> int:
    """Write runs, their nodes, requests and events into four files of a folder.

    Args:
        history: The record.
        runs: The runs, in the order wanted.
        folder: The folder; it is made where it does not exist.

    Returns:
        How many runs were written.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError("export", "Parquet") from exc
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    count = 0
    with ExitStack() as stack:

        def table(name: str, columns: dict[str, str]) -> _Table:
            schema = pa.schema([(column, _type(pa, kind)) for column, kind in columns.items()])
            writer = stack.enter_context(parquet.ParquetWriter(target / f"{name}.parquet", schema))
            batch = _Table(lambda rows: writer.write_table(pa.Table.from_pylist(rows, schema)))
            stack.callback(batch.flush)
            return batch

        run_table, node_table = table("runs", _RUNS), table("nodes", _NODES)
        request_table, event_table = table("requests", _REQUESTS), table("events", _EVENTS)
        for summary in runs:
            run = history.run(summary)
            run_table.add([_run_row(run)])
            node_table.add(_node_row(run.run_id, node) for node in history.nodes(run))
            request_table.add(_request_row(row) for row in history.requests(run))
            event_table.add(_event_row(event) for event in history.events(run))
            count += 1
    return count


class _Table:
    """Rows on their way into one file."""

    def __init__(self, write: Callable[[list[dict[str, Any]]], object]) -> None:
        self._write = write
        self._rows: list[dict[str, Any]] = []

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self._rows.append(row)
            if len(self._rows) >= _BATCH:
                self.flush()

    def flush(self) -> None:
        if self._rows:
            self._write(self._rows)
            self._rows = []


def _type(pa: Any, kind: str) -> Any:
    return {
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "count": pa.int64(),
        "real": pa.float64(),
        "time": pa.timestamp("ns", tz="UTC"),
        "flag": pa.bool_(),
    }[kind]


def _run_row(run: RunRow) -> dict[str, Any]:
    row = {name: getattr(run, name, None) for name in _RUNS}
    row |= {
        "status": _name(run.status),
        "result_code": _name(run.result_code),
        "created_at": run.created_ns,
        "started_at": run.started_ns,
        "ended_at": run.ended_ns,
        "last_at": run.last_ns,
        "argv": list(run.argv),
    }
    for name in ("labels", "source", "versions"):
        row[name] = json.dumps(getattr(run, name), ensure_ascii=False, default=str)
    return row


def _node_row(run_id: str, node: RunNode) -> dict[str, Any]:
    composed = node.composed
    row = {name: getattr(node, name, None) for name in _NODES}
    row |= {name: getattr(composed, name, None) for name in ("execution", "target", "command_name")}
    ended = node.started_ns is not None and node.ended_ns is not None
    accepted_by, accepted_why = _acceptance(node)
    cause = None if node.finished is None else node.finished.cause
    row |= {
        "run_id": run_id,
        "outcome": node_word(node),
        "status": _name(node.status),
        "result_code": _name(node.result_code),
        "queued_at": node.queued_ns,
        "started_at": node.started_ns,
        "ended_at": node.ended_ns,
        "duration_s": max(0, node.ended_ns - node.started_ns) / 1e9 if ended else None,  # type: ignore[operator]
        "devices": list(node.devices),
        "failed_devices": list(node.failed_devices),
        "analysis": None if node.analysis is None else node.analysis.analysis,
        "accepted_by": accepted_by,
        "accepted_why": accepted_why,
        "cause_kind": None if cause is None else cause.kind,
        "cause": None if cause is None else msgspec.json.encode(cause).decode(),
    }
    return row


def _acceptance(node: RunNode) -> tuple[str | None, str | None]:
    """Return who accepted the failure of a node, and why: in the run itself, or by a verdict."""
    verdict, finished = verdict_in(node.notes), node.finished
    if verdict is not None:
        return verdict.data.get("who"), verdict.data.get("why")
    if finished is None or not finished.accepted:
        return None, None
    why = None if finished.request is None else finished.request.why
    return ", ".join(finished.accepted_by), why


def _request_row(row: RequestRow) -> dict[str, Any]:
    request, answer = row.request, row.answer
    found = {name: getattr(request, name, None) for name in _REQUESTS}
    found |= {"run_id": row.run_id, "request_id": request.id, "asked_at": request.asked_ns}
    if answer is not None:
        found |= {
            "fate": answer.fate,
            "acted_count": answer.acted_count,
            "reasons": [objection.reason for objection in answer.objections],
            "answered_at": answer.answered_ns,
        }
    return found


def _event_row(event: TaskEvent) -> dict[str, Any]:
    row = {name: getattr(event, name, None) for name in _EVENTS}
    row |= {
        "status": _name(event.status),
        "result_code": _name(event.result_code),
        "wall_at": event.wall_ns,
        "body": encode_event(event).decode(),
    }
    return row


def _name(value: Any) -> str | None:
    return None if value is None else value.name


def parquet_files(folder: str | Path) -> Iterator[Path]:
    """Yield the files that :func:`export_parquet` writes into a folder."""
    for name in ("runs", "nodes", "requests", "events"):
        yield Path(folder) / f"{name}.parquet"
