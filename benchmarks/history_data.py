"""A large history, written straight into the tables: copies of real runs, with other times.

Three runs are made by the executor with scripted devices (well, degraded, failed); every
run of the history is one of them with an id, times and durations of its own. Rows have the
sizes that the recorder writes; only the way into the file is shorter.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType
from taskgrove.events import TaskEvent, encode_event
from taskgrove.store.recording.node_rows import (
    CHANGING_COLUMNS,
    FIXED_COLUMNS,
    change_of,
    identity_of,
)
from taskgrove.story.run_node import RunNode, RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

#: The run id that templates have; ids of copies have the same length.
_PLACEHOLDER = "20260101T000000Z-00000000"
_BEAMS = 16
_SECOND_NS = 1_000_000_000
#: The history's first run, 2026-01-01.
_EPOCH_NS = 1_767_225_600 * _SECOND_NS


@dataclass(frozen=True)
class Template:
    """A real run to make copies of."""

    events: tuple[TaskEvent, ...]
    nodes: tuple[RunNode, ...]
    bodies: tuple[bytes, ...]

    @property
    def root(self) -> RunNode:
        return self.nodes[0]


def template(events: int, *, failing: tuple[str, ...] = ()) -> Template:
    """Run a tree of eighteen device leaves and keep what it told.

    Args:
        events: About how many events there shall be.
        failing: Names of the leaves that fail.
    """
    steps = max(1, (events - 40) // (_BEAMS + 2))
    progress = [1 + 98 * step // steps for step in range(steps)]
    beams = [f"pst-beam-{number:02}" for number in range(1, _BEAMS + 1)]
    scripts = {
        name: Script.fails("no lock on the pulsar after 3 tries")
        if name in failing
        else Script(progress=progress)
        for name in ["cbf-subarray-01", "pss-subarray-01", *beams]
    }
    tree = Task(
        "configure",
        is_root=True,
        skip_subtasks=True,
        subtasks=[
            LeafTask("cbf-subarray-01", "mid-cbf/subarray/01", "Configure", '{"band": "5a"}'),
            Task(
                "configure_pst",
                TaskExecutionType.PARALLEL,
                subtasks=[
                    LeafTask(name, f"mid-pst/beam/{name[-2:]}", "Configure", '{"beam": 1}')
                    for name in beams
                ],
            ),
            LeafTask("pss-subarray-01", "mid-pss/subarray/01", "Configure", '{"gain": 2}'),
        ],
    )
    log = EventLog()
    runners = {TaskExecutionType.DEVICE: FakeDeviceRunner(scripts)}
    with MainTaskExecutor(4, runners) as executor:
        executor.submit_main_task(tree, observers=[log], run_id=_PLACEHOLDER).wait(60)
    found = log.events
    facts = RunNodes(found)
    return Template(found, tuple(facts.nodes.values()), tuple(map(encode_event, found)))


def write_history(file: Path, runs: int, events: int, *, seed: int = 1) -> tuple[int, float]:
    """Fill the tables of a store that is open nowhere else.

    Args:
        file: The SQLite file; its tables exist.
        runs: How many runs.
        events: About how many events each has.
        seed: What the random numbers begin with.

    Returns:
        How many events were written, and the seconds that it took.
    """
    began = time.perf_counter()
    kinds = [
        template(events),
        template(events, failing=("pst-beam-03", "pst-beam-11")),
        template(events, failing=("cbf-subarray-01",)),
    ]
    chance = random.Random(seed)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-200000")
    written = 0
    try:
        path_keys = _write_paths(connection, kinds)
        for first in range(1, runs + 1, 100):
            connection.execute("BEGIN")
            for key in range(first, min(first + 100, runs + 1)):
                kind = kinds[chance.choices((0, 1, 2), (85, 10, 5))[0]]
                written += _write_run(connection, key, kind, path_keys, chance)
            connection.execute("COMMIT")
        connection.execute("ANALYZE")
    finally:
        connection.close()
    return written, time.perf_counter() - began


def _write_paths(connection: sqlite3.Connection, kinds: list[Template]) -> dict[str, int]:
    paths = dict.fromkeys(node.path for kind in kinds for node in kind.nodes)
    connection.executemany("INSERT INTO paths(path) VALUES (?)", [(path,) for path in paths])
    return {path: key for key, path in connection.execute("SELECT path_key, path FROM paths")}


def _write_run(
    connection: sqlite3.Connection,
    key: int,
    kind: Template,
    path_keys: dict[str, int],
    chance: random.Random,
) -> int:
    run_id = f"20260101T000000Z-{key:08x}"
    created = _EPOCH_NS + key * 600 * _SECOND_NS
    spans = list(_spans(kind, created, chance))
    ended = max(end for _, end in spans)
    _insert(connection, "runs", _run_row(kind, key, run_id, created, ended))
    columns = ("run_key", "node_number", "path_key", *FIXED_COLUMNS, *CHANGING_COLUMNS)
    marks = ", ".join("?" * len(columns))
    connection.executemany(
        f"INSERT INTO nodes({', '.join(columns)}) VALUES ({marks})",
        [
            (
                key,
                number,
                path_keys[node.path],
                *identity_of(node),
                *change_of(node)._replace(
                    queued_ns=created,
                    started_ns=None if node.started_ns is None else began,
                    ended_ns=end,
                ),
            )
            for number, (node, (began, end)) in enumerate(zip(kind.nodes, spans, strict=True))
        ],
    )
    before, after = _PLACEHOLDER.encode(), run_id.encode()
    connection.executemany(
        "INSERT INTO events(run_key, sequence, body) VALUES (?, ?, ?)",
        [(key, number, body.replace(before, after)) for number, body in enumerate(kind.bodies, 1)],
    )
    return len(kind.bodies)


def _spans(kind: Template, created: int, chance: random.Random) -> Iterator[tuple[int, int]]:
    """Yield when each node began and ended: log-normal durations of some seconds."""
    for _ in kind.nodes:
        began = created + int(chance.uniform(0.001, 0.2) * _SECOND_NS)
        yield began, began + int(chance.lognormvariate(1.5, 0.3) * _SECOND_NS)


def _run_row(kind: Template, key: int, run_id: str, created: int, ended: int) -> dict[str, Any]:
    root = kind.root
    assert root.status is not None
    assert root.result_code is not None
    return {
        "run_key": key,
        "run_id": run_id,
        "command": "configure",
        "state": "final",
        "status": int(root.status),
        "result_code": int(root.result_code),
        "health_state": root.health_state,
        "message": root.message,
        "progress": root.progress,
        "created_ns": created,
        "started_ns": created,
        "ended_ns": ended,
        "last_ns": ended,
        "last_sequence": len(kind.bodies),
        "leaf_count": _BEAMS + 2,
        "failed_leaf_count": sum(1 for node in kind.nodes if node.is_leaf and node.failed_devices),
        "source": '{"kind": "map", "file": "/maps/csp.yaml", "command": "configure"}',
        "argv": '["taskgrove", "run", "/maps/csp.yaml", "configure"]',
        "versions": '{"python": "3.11.2", "taskgrove": "0.1.0"}',
        "host": "control-01",
        "user": "operator",
    }


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    given = {"retry_count": 0, "lost_event_count": 0, "labels": "{}", "state_note": "", **row}
    names = ", ".join(f'"{name}"' for name in given)
    marks = ", ".join("?" * len(given))
    connection.execute(f"INSERT INTO {table}({names}) VALUES ({marks})", tuple(given.values()))
