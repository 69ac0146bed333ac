"""The view model: folding events into nodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import FinishedDetail, StartedDetail
from taskgrove.story.run_node import RunNode
from taskgrove.view.snapshot import RunView
from tests.unit.event_streams import RUN_ID, Stream, beam_run


def facts(view: RunView, node: RunNode) -> dict[str, Any]:
    """Everything that a surface can see of a node."""
    branch = view.branch(node)
    return {
        "node": node,
        "attempt began": node.attempt_started_ns,
        "state": node.state,
        "shown": node.shown_devices,
        "children": [child.name for child in branch.children],
        "common": branch.common_name,
        "tally": +branch.tally,
        "troubled": sorted(branch.troubled),
        "ladder": node.abort_ladder,
        "leaf": view.is_leaf(node),
    }


def all_facts(view: RunView) -> tuple[Any, ...]:
    nodes = {path: facts(view, node) for path, node in view.nodes.items()}
    return nodes, +view.leaf_tally, view.last_sequence, view.last_ns


def eventful() -> Stream:
    """A run with everything: retry, abort ladder, late notes, casualties, nesting."""
    stream = Stream()
    stream.events = beam_run(3, failed=(2,), running=(3,))
    path = "configure/configure_pst/pst-beam-03"
    stream.note(path, "retry", "attempt 2")
    stream.running(path, attempt=2, detail=StartedDetail("command", "second"))
    stream.add(path, "progress", status=TaskStatus.IN_PROGRESS, progress=10, attempt=2)
    stream.add(path, "progress", status=TaskStatus.NOT_FOUND, attempt=2)
    stream.note(path, "abort-asked", "asked to stop")
    stream.note(path, "abort-acknowledged")
    stream.add(path, "progress", status=TaskStatus.IN_PROGRESS, progress=30, attempt=2)
    stream.ended(path, TaskStatus.ABORTED, ResultCode.ABORTED, "stopped", attempt=2)
    stream.note(path, "late", "COMPLETED reported, it stays ABORTED")
    stream.ended(
        "configure/later",
        TaskStatus.REJECTED,
        ResultCode.REJECTED,
        "skipped: it failed",
        detail=FinishedDetail(skipped=True),
    )
    stream.ended("configure", TaskStatus.ABORTED, ResultCode.ABORTED, "Task configure aborted")
    return stream


EVENTS = eventful().events


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=30))
def test_any_order_and_any_repetition_give_the_same_view(shuffled: Any, repeated: Any) -> None:
    expected = all_facts(RunView(RUN_ID).apply_all(EVENTS))
    assert all_facts(RunView(RUN_ID).apply_all([*shuffled, *repeated])) == expected


@given(st.data())
def test_counts_agree_with_the_nodes_after_any_part_of_a_run(data: Any) -> None:
    part = data.draw(st.lists(st.sampled_from(EVENTS), max_size=60))
    view = RunView(RUN_ID).apply_all(part)
    if data.draw(st.booleans()):
        view.settle()
    leaves = [node for node in view.nodes.values() if view.is_leaf(node)]
    for state in {node.state for node in view.nodes.values()}:
        assert view.leaf_tally[state] == sum(leaf.state == state for leaf in leaves)
    below = {path: path for path in view.nodes}
    for node in view.nodes.values():
        branch = view.branch(node)
        for child in branch.children:
            inside = [n for p, n in view.nodes.items() if f"{p}/".startswith(f"{child.path}/")]
            assert (child.name in branch.troubled) == any(item.is_problem for item in inside)
            below.pop(child.path)
        assert branch.tally.total() == len(branch.children)
    assert len(below) <= 1  # every node but the root is the child of one
    assert sorted(node.path for node in view.walk()) == sorted(view.nodes)


def test_every_field_of_a_degraded_run() -> None:
    view = RunView().apply_all(beam_run(16, failed=(3, 7)))
    root = view.root
    assert root is not None
    assert root.state == "degraded"
    assert root.failed_devices == ("mid-pst/beam/03", "mid-pst/beam/07")
    group = view.node("configure/configure_pst")
    assert group is not None
    assert group.decision == "PST success 14/16 → DEGRADED"
    assert view.branch(group).tally["completed"] == 14
    beam = view.node("configure/configure_pst/pst-beam-03")
    assert beam is not None
    assert (beam.state, beam.outside_id) == ("failed", "17_3_Configure")
    assert beam.message == "mid-pst/beam/03: band 3 not locked"
    assert beam.shown_devices == ("mid-pst/beam/03",)


def test_elapsed_time_runs_while_the_node_runs_and_stays_after_its_end() -> None:
    view = RunView().apply_all(beam_run(2, running=(2,)))
    done = view.node("configure/configure_pst/pst-beam-01")
    runs = view.node("configure/configure_pst/pst-beam-02")
    assert done is not None
    assert runs is not None
    assert runs.started_ns is not None
    assert done.elapsed_s(10**18) == done.elapsed_s()
    assert runs.elapsed_s() is None
    assert runs.elapsed_s(runs.started_ns + 7_000_000_000) == 7
    assert view.now_ns(107.0) == pytest.approx(7_000_000_000, abs=10)
    waiting = Stream()
    waiting.composed("a", "DEVICE")
    assert RunView().apply_all(waiting.events).nodes["a"].elapsed_s(10**18) is None


def test_an_end_is_never_rewritten() -> None:
    stream = Stream()
    stream.running("a")
    stream.ended("a", TaskStatus.FAILED, ResultCode.FAILED, "first")
    stream.add("a", "progress", status=TaskStatus.IN_PROGRESS, progress=50, message="late")
    stream.ended("a", message="second")
    node = RunView().apply_all(stream.events).nodes["a"]
    assert (node.state, node.message, node.ended_ns) == ("failed", "first", 2_000_000)


def test_events_of_another_run_are_ignored() -> None:
    view = RunView(RUN_ID).apply_all(beam_run(1))
    before = all_facts(view)
    other = Stream("other")
    other.running("configure")
    assert view.apply(other.events[0]) == []
    assert all_facts(view) == before


def test_the_abort_ladder_keeps_the_first_time_of_each_rung() -> None:
    stream = Stream()
    stream.running("a")
    stream.note("a", "abort-asked")
    stream.note("a", "abort-asked")
    stream.note("a", "abandoned")
    node = RunView().apply_all(stream.events).nodes["a"]
    assert node.abort_ladder == {"asked": 2_000_000, "abandoned": 4_000_000}


def test_a_tree_hundreds_deep_needs_no_recursion() -> None:
    stream = Stream()
    stream.running("/".join(f"level-{number}" for number in range(3000)))
    view = RunView().apply_all(stream.events)
    assert sum(1 for _ in view.walk()) == 3000
    assert view.leaf_tally["running"] == 1


def test_nodes_that_are_known_are_drawn_as_they_are_whatever_comes_first() -> None:
    whole = RunView().apply_all(beam_run(2, failed=(1,)))
    view = RunView.of(RUN_ID, reversed(whole.nodes.values()))
    assert [node.path for node in view.walk()] == [node.path for node in whole.walk()]
    assert all(view.nodes[path] is node for path, node in whole.nodes.items())
    assert +view.leaf_tally == +whole.leaf_tally


def test_health_of_a_completed_leaf_shows() -> None:
    stream = Stream()
    stream.ended("a", health_state="DEGRADED")
    stream.ended("b", code=ResultCode.REJECTED)
    view = RunView().apply_all(stream.events)
    assert view.nodes["a"].state == "degraded"
    assert view.nodes["b"].state == "failed"
