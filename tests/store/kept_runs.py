"""Real runs with times of our choosing, written into a store without a recorder's thread."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import insert, select

from taskgrove import BaseTask, LeafTask, MainTaskExecutor, Task, TaskExecutionType
from taskgrove.events import AnalysisDetail, PageDetail, TaskEvent, encode_event
from taskgrove.store import tables
from taskgrove.store.recording.node_rows import change_of, identity_of
from taskgrove.store.store import Store
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.store.by_sqlalchemy import tables_of

HANG_GUARD_S = 200
SECOND_NS = 1_000_000_000
#: When the first run of a test began.
START = datetime(2026, 11, 21, 7, 0, tzinfo=UTC)


def ns(instant: datetime) -> int:
    return int(instant.timestamp()) * SECOND_NS


def beams(count: int = 3, *, command: str = "configure", extra: Sequence[BaseTask] = ()) -> Task:
    """Return a tree of a correlator, some beams, and more steps if wanted."""
    names = [f"pst-beam-{number:02}" for number in range(1, count + 1)]
    return Task(
        command,
        is_root=True,
        skip_subtasks=True,
        subtasks=[
            LeafTask("cbf-subarray-01", "mid-cbf/subarray/01", "Configure"),
            Task(
                f"{command}_pst",
                TaskExecutionType.PARALLEL,
                subtasks=[
                    LeafTask(name, f"mid-pst/beam/{name[-2:]}", "Configure", retries=2)
                    for name in names
                ],
            ),
            *extra,
        ],
    )


def ran(task: Task, scripts: Mapping[str, Any] | None = None, *, run_id: str) -> list[TaskEvent]:
    """Run a tree on scripted devices and return what it told."""
    log = EventLog()
    runners = {TaskExecutionType.DEVICE: FakeDeviceRunner(scripts or {})}
    with MainTaskExecutor(1, runners) as executor:
        handle = executor.submit_main_task(task, observers=[log], run_id=run_id)
        assert handle.wait(HANG_GUARD_S)
    return list(log.events)


def retimed(
    events: Sequence[TaskEvent],
    start: datetime = START,
    durations: Mapping[str, float] | None = None,
    usual_s: float = 1.0,
) -> list[TaskEvent]:
    """Give every node a duration; all of them begin with the run.

    Args:
        events: The events of one run.
        start: When it begins.
        durations: How long nodes take, by path or name, in seconds.
        usual_s: How long all others take.
    """
    began = ns(start)
    taken = durations or {}
    placed = []
    for event in events:
        name = event.path.rpartition("/")[2]
        took = taken.get(event.path, taken.get(name, usual_s))
        late = event.kind == "finished"
        wall = began + (int(took * SECOND_NS) if late else 0)
        placed.append(msgspec.structs.replace(event, wall_ns=wall, monotonic_s=wall / SECOND_NS))
    return placed


def keep(
    store: Store,
    events: Sequence[TaskEvent],
    *,
    state: str | None = None,
    lease: Mapping[str, Any] | None = None,
    **columns: Any,
) -> int:
    """Write a run with its nodes and events; return its key."""
    facts = RunNodes(events)
    root = facts.root
    leaves = [node for node in facts.nodes.values() if node.is_leaf]
    ended = root is not None and root.is_final
    row = {
        "run_id": events[0].run_id,
        "command": "" if root is None else root.name,
        "state": state or ("final" if ended else "running"),
        "created_ns": events[0].wall_ns,
        "last_ns": facts.last_ns,
        "last_sequence": facts.last_sequence,
        "leaf_count": len(leaves),
        "failed_leaf_count": sum(1 for node in leaves if _is_bad(node)),
        "retry_count": sum(node.attempt - 1 for node in leaves),
        "host": "control-01",
        "user": "operator",
    }
    if root is not None:
        row |= {
            "status": None if root.status is None else int(root.status),
            "result_code": None if root.result_code is None else int(root.result_code),
            "health_state": root.health_state,
            "message": root.message,
            "progress": root.progress,
            "started_ns": root.started_ns,
            "ended_ns": root.ended_ns,
        }
    for name, value in columns.items():
        row[name] = json.dumps(value) if isinstance(value, (dict, list, tuple)) else value
    with tables_of(store) as connection:
        key = connection.execute(insert(tables.runs).values(row)).inserted_primary_key[0]
        _keep_nodes(connection, key, facts)
        _keep_log(connection, key, events)
        if lease is not None:
            connection.execute(insert(tables.leases).values({"run_key": key, **lease}))
    return key


def _is_bad(node: Any) -> bool:
    if not node.is_final or node.skipped:
        return False
    return int(node.status) != 5 or node.result_code not in (None, 0)


def path_keys(connection: Any, paths: Iterable[str]) -> dict[str, int]:
    table = tables.paths
    known = {row.path: row.path_key for row in connection.execute(select(table))}
    new = [path for path in dict.fromkeys(paths) if path not in known]
    if new:
        connection.execute(insert(table), [{"path": path} for path in new])
    return {row.path: row.path_key for row in connection.execute(select(table))}


def _keep_nodes(connection: Any, key: int, facts: RunNodes) -> None:
    keys = path_keys(connection, facts.nodes)
    rows = [
        {
            "run_key": key,
            "node_number": number,
            "path_key": keys[path],
            **identity_of(node)._asdict(),
            **change_of(node)._asdict(),
        }
        for number, (path, node) in enumerate(facts.nodes.items())
    ]
    if rows:
        connection.execute(insert(tables.nodes), rows)


def _keep_log(connection: Any, key: int, events: Sequence[TaskEvent]) -> None:
    connection.execute(
        insert(tables.events),
        [{"run_key": key, "sequence": e.sequence, "body": encode_event(e)} for e in events],
    )
    keys = path_keys(connection, [])
    for event in events:
        common = {"run_key": key, "sequence": event.sequence, "wall_ns": event.wall_ns}
        detail = event.detail
        if isinstance(detail, AnalysisDetail):
            row = {
                **common,
                "path_key": keys[event.path],
                "analysis": detail.analysis,
                "status": detail.status,
                "summary": detail.summary,
                "detail": msgspec.json.encode(detail),
            }
            connection.execute(insert(tables.analyses).values(row))
        elif isinstance(detail, PageDetail):
            row = {
                **common,
                "path_key": keys[event.path],
                **{name: getattr(detail, name) for name in detail.__struct_fields__},
            }
            connection.execute(insert(tables.pages).values(row))


def keep_beams(
    store: Store,
    run_id: str,
    *,
    failing: Iterable[str] = (),
    start: datetime = START,
    durations: Mapping[str, float] | None = None,
    count: int = 3,
    command: str = "configure",
    scripts: Mapping[str, Any] | None = None,
    **columns: Any,
) -> list[TaskEvent]:
    """Run the tree of beams, give it times, keep it, and return its events."""
    plays = {name: Script.fails("no lock") for name in failing} | dict(scripts or {})
    events = ran(beams(count, command=command), plays, run_id=run_id)
    events = retimed(events, start, durations)
    keep(store, events, **columns)
    return events


def every_minute(number: int) -> datetime:
    """Return the start of run ``number`` of a series."""
    return START + timedelta(minutes=number)
