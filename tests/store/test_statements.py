"""Many rows of one statement are what they are one by one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from taskgrove.commands.run_recorder import RunAbout
from taskgrove.events import ComposedDetail
from taskgrove.store.recording.statements import (
    INSERT_EVENT,
    INSERT_NODE,
    INSERT_PATH,
    MOST_PARAMETERS,
    block_of,
)
from tests.store.recording import PATIENCE_S, end_and_wait, event, feed, kept, new_recorder


@pytest.mark.parametrize("insert", [INSERT_EVENT, INSERT_NODE, INSERT_PATH])
def test_a_block_inserts_what_one_by_one_does(insert: str) -> None:
    table, columns = insert.removeprefix("INSERT INTO ").split(" (", 1)
    names = columns.split(")", 1)[0].split(", ")
    key = {"events": "run_key, sequence", "nodes": "run_key, node_number", "paths": "path"}[table]
    block = block_of(insert)
    assert block.width == len(names)
    assert block.width * block.rows <= MOST_PARAMETERS
    rows = [tuple([number] * block.width) for number in range(block.rows)]
    found = []
    for at_once in (True, False):
        connection = sqlite3.connect(":memory:")
        connection.execute(f"CREATE TABLE {table} ({', '.join(names)}, PRIMARY KEY ({key}))")
        for _ in range(2):  # the answer to a commit may be lost: it is done again
            if at_once:
                connection.execute(block.sql, [value for row in rows for value in row])
            else:
                connection.executemany(insert, rows)
        found.append(
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
            if block.width > 1
            else connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
        )
        connection.close()
    assert found[0] == found[1]
    assert len(found[0]) == block.rows


def test_a_batch_of_many_rows_is_recorded_whole(record_url: str, tmp_path: Path) -> None:
    """Some blocks, and what is left of them, of every table."""
    count = 2 * MOST_PARAMETERS + 7
    composed = {"kind": "composed", "status": None, "progress": None}
    events = [event("run-1", 1, path="root", detail=ComposedDetail("PARALLEL"), **composed)]
    events += [
        event(
            "run-1",
            2 + number,
            path=f"root/{number}",
            detail=ComposedDetail("INTERNAL"),
            **composed,
        )
        for number in range(count)
    ]
    with new_recorder(record_url, tmp_path, patience_s=PATIENCE_S) as recorder:
        observe = recorder.begin_run("run-1", RunAbout())
        feed(observe, events)
        end_and_wait(recorder, "run-1")
    found = kept(record_url, "run-1")
    assert found.events == events
    assert [node.path for node in found.nodes] == [e.path for e in events]
