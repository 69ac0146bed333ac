"""Whatever order the events of a run come in, its nodes are the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ComposedDetail, FinishedDetail, NoteDetail, StartedDetail, TaskEvent
from taskgrove.events.cause import Cause
from taskgrove.store.database.plain_bytes import json_bytes
from taskgrove.store.recording import coalescing
from taskgrove.store.recording.node_rows import change_of, facts_of
from taskgrove.story.node_note import OUTSIDE_END
from taskgrove.story.run_node import RunNode, RunNodes
from taskgrove.view.snapshot import RunView

PATHS = ["root", "root/a", "root/b", "root/b/c"]
CHILDREN = {"root": ("a", "b"), "root/b": ("c",)}
WAITS = ["held", "undecided", "delayed", "parked", "retry"]
WORDS = st.sampled_from(["", "", "tuning", "locked"])


def lives(draw: st.DrawFn, path: str) -> Iterator[dict[str, Any]]:
    """Yield the life of a node as far as it gets: composed, queued, started, tried again, ended."""
    children = CHILDREN.get(path, ())
    detail = ComposedDetail("PARALLEL" if children else "DEVICE", children, target="x/y/z")
    yield {"kind": "composed", "detail": detail, "devices": ("x/y/z",)}
    if draw(st.booleans()):
        yield {"kind": "queued", "status": TaskStatus.QUEUED}
    attempts = draw(st.integers(0, 2))
    for attempt in range(1, attempts + 1):
        running = {"attempt": attempt, "status": TaskStatus.IN_PROGRESS}
        outside = StartedDetail("command", f"{attempt}_On") if draw(st.booleans()) else None
        yield {"kind": "started", "progress": 0, "detail": outside, **running}
        for _ in range(draw(st.integers(0, 4))):
            told = {"progress": draw(st.integers(0, 100)), "message": draw(WORDS)}
            yield {"kind": "progress", **running, **told}
        if draw(st.booleans()):
            cause = Cause(kind="reported", said="no lock", attempt=attempt)
            yield {"kind": "note", "message": "again", "detail": NoteDetail("retry", {}, cause)}
        for topic in draw(st.lists(st.sampled_from(WAITS), max_size=2)):
            failure = Cause(kind="reported", said="no lock", attempt=attempt)
            told_by = None if topic == "parked" else failure
            yield {"kind": "note", "detail": NoteDetail(topic, {}, told_by)}
    if draw(st.booleans()):
        outside_end = {OUTSIDE_END: str(draw(st.integers(0, 60)) * 1_000_000)}
        yield {"kind": "note", "detail": NoteDetail("reconciled", outside_end)}
    for _ in range(draw(st.integers(0, 2))):  # what comes after the first end changes nothing
        yield {
            "kind": "finished",
            "attempt": max(1, attempts),
            "status": draw(st.sampled_from([TaskStatus.COMPLETED, TaskStatus.FAILED])),
            "result_code": draw(st.sampled_from([ResultCode.OK, ResultCode.FAILED])),
            "message": draw(WORDS),
            "health_state": draw(st.sampled_from([None, "DEGRADED"])),
            "failed_devices": draw(st.sampled_from([(), ("x/y/z",)])),
            "detail": FinishedDetail(skipped=draw(st.booleans())),
        }


@st.composite
def streams(draw: st.DrawFn) -> list[TaskEvent]:
    """Return the events of a run in order, one millisecond apart."""
    waiting = {path: list(lives(draw, path)) for path in PATHS}
    told = [(path, waiting[path].pop(0)) for path in PATHS]
    while any(waiting.values()):
        path = draw(st.sampled_from([path for path in PATHS if waiting[path]]))
        told.append((path, waiting[path].pop(0)))
    return [
        TaskEvent(
            run_id="r", sequence=number, path=path, monotonic_s=5.0 + number / 1000,
            wall_ns=number * 1_000_000, **fields,
        )
        for number, (path, fields) in enumerate(told, 1)
    ]  # fmt: skip


def told_of(nodes: Mapping[str, RunNode]) -> dict[str, Any]:
    """Everything that is known of nodes, also what no row of the record holds."""
    return {path: (node, node.attempt_started_ns) for path, node in nodes.items()}


def shown(view: RunView) -> tuple[Any, ...]:
    branches = [
        (node.path, view.branch(node).children, +view.branch(node).tally)
        for node in view.walk()
    ]  # fmt: skip
    troubled = [sorted(view.branch(node).troubled) for node in view.walk()]
    return told_of(view.nodes), branches, troubled, +view.leaf_tally, view.last_sequence


@contextmanager
def without_the_short_cut() -> Iterator[None]:
    with patch.object(RunNode, "go_on", lambda _self, _event: None):
        yield


@given(streams())
def test_the_short_way_of_progress_gives_the_nodes_of_the_long_one(events: list[TaskEvent]) -> None:
    quick = RunNodes(events)
    with without_the_short_cut():
        assert told_of(RunNodes(events).nodes) == told_of(quick.nodes)


@given(streams(), st.booleans(), st.data())
def test_any_order_and_any_doubles_give_the_nodes_of_the_stream(
    events: list[TaskEvent], coalesced: bool, data: st.DataObject
) -> None:
    if coalesced:
        with patch.object(coalescing, "LOAD", 0):
            events = coalescing.coalesce(events)
    coming = [*events, *data.draw(st.lists(st.sampled_from(events), max_size=5))]
    view = RunView()
    known = [item for event in data.draw(st.permutations(coming)) for item in view.apply(event)]
    assert known == events
    assert view.settle() == []
    whole = RunNodes(events)
    assert told_of(view.nodes) == told_of(whole.nodes)
    assert shown(view) == shown(RunView().apply_all(events))
    assert shown(RunView.of("r", whole.nodes.values()))[:-1] == shown(view)[:-1]
    assert (view.last_sequence, view.last_ns) == (whole.last_sequence, whole.last_ns)


def fixed(node: RunNode) -> dict[str, Any]:
    """What newer events cannot have changed, or not in another order."""
    known = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    if not node.is_final:  # what was said last while it ran may be overtaken
        del known["message"]
        del known["result_code"]
    for name in ("_outside_end_ns", "_changed", "_noted"):
        del known[name]
    if node.status is TaskStatus.FAILED:  # another end, which came first, may have said 100 %
        del known["progress"]
    return known


@given(streams())
def test_a_row_of_the_record_tells_the_same_wait(events: list[TaskEvent]) -> None:
    for node in RunNodes(events).nodes.values():
        row = facts_of((node.path, *change_of(node)[:9], json_bytes(node.composed), None))
        row.notes, row.outside_id = node.notes, node.outside_id
        assert row.wait == node.wait
        assert row.state == (node.state if not node.is_final else row.state)


@given(streams(), st.data())
def test_what_comes_too_late_adds_what_is_missing(
    events: list[TaskEvent], data: st.DataObject
) -> None:
    view = RunView()
    for event in data.draw(st.permutations(events)):
        view.apply(event)
        if data.draw(st.booleans()):
            view.settle()  # nothing before it is waited for
    view.settle()
    for path, node in RunNodes(events).nodes.items():
        assert fixed(view.nodes[path]) == fixed(node)


@given(streams())
def test_what_is_late_never_overrides_what_is_newer(events: list[TaskEvent]) -> None:
    for node in RunNodes(events).nodes.values():
        before = fixed(node), node.message, node.outside_id
        for event in events:
            if event.path == node.path and event.kind != "note":
                node.apply(event)
        assert (fixed(node), node.message, node.outside_id) == before


def of_another_run(events: Iterable[TaskEvent]) -> RunView:
    return RunView("other").apply_all(events)


@given(streams())
def test_events_of_another_run_are_not_taken(events: list[TaskEvent]) -> None:
    assert of_another_run(events).nodes == {}
