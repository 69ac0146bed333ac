"""The view model: folding events into nodes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import FinishedDetail, StartedDetail
from taskgrove.view.node_view import NodeView
from taskgrove.view.snapshot import RunView
from tests.unit.event_streams import RUN_ID, Stream, beam_run


def facts(node: NodeView) -> dict[str, Any]:
    """Everything that a surface can see of a node."""
    return {
        "path": node.path,
        "depth": node.depth,
        "state": node.state,
        "status": node.status,
        "code": node.result_code,
        "progress": node.progress,
        "percent": node.percent,
        "message": node.message,
        "devices": node.devices,
        "failed": node.failed_devices,
        "health": node.health_state,
        "attempts": node.attempts,
        "outside": node.outside,
        "times": (node.started_s, node.started_ns, node.ended_s, node.ended_ns),
        "finished": node.finished,
        "children": [child.name for child in node.children],
        "common": node.common_name,
        "tally": +node.tally,
        "troubled": sorted(node.troubled),
        "notes": [(note.sequence, note.topic, note.text) for note in node.notes],
        "ladder": node.abort_ladder,
        "leaf": node.is_leaf,
    }


def all_facts(view: RunView) -> tuple[Any, ...]:
    nodes = {path: facts(node) for path, node in view.nodes.items()}
    return nodes, +view.leaf_tally, view.last_sequence, view.last_monotonic_s


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
    leaves = [node for node in view.nodes.values() if node.is_leaf]
    for state in {node.state for node in view.nodes.values()}:
        assert view.leaf_tally[state] == sum(leaf.state == state for leaf in leaves)
    for node in view.nodes.values():
        for child in node.children:
            below = any(item.is_problem for item in child.walk())
            assert (child.name in node.troubled) == below
        assert sum(node.tally.values()) == len(node.children)


def test_every_field_of_a_degraded_run() -> None:
    view = RunView().apply_all(beam_run(16, failed=(3, 7)))
    root = view.root
    assert root is not None
    assert root.state == "degraded"
    assert root.depth == 0
    assert root.failed_devices == ("mid-pst/beam/03", "mid-pst/beam/07")
    group = view.node("configure/configure_pst")
    assert group is not None
    assert group.decision == "PST success 14/16 → DEGRADED"
    assert group.tally["completed"] == 14
    beam = view.node("configure/configure_pst/pst-beam-03")
    assert beam is not None
    assert (beam.state, beam.depth, beam.outside) == ("failed", 2, "17_3_Configure")
    assert beam.message == "mid-pst/beam/03: band 3 not locked"
    assert beam.devices == ("mid-pst/beam/03",)


def test_elapsed_time_runs_while_the_node_runs_and_stays_after_its_end() -> None:
    view = RunView().apply_all(beam_run(2, running=(2,)))
    done = view.node("configure/configure_pst/pst-beam-01")
    runs = view.node("configure/configure_pst/pst-beam-02")
    assert done is not None
    assert runs is not None
    assert runs.started_s is not None
    assert done.elapsed_s(1e9) == done.elapsed_s()
    assert runs.elapsed_s() is None
    assert runs.elapsed_s(runs.started_s + 7) == 7
    waiting = Stream()
    waiting.composed("a", "DEVICE")
    assert RunView().apply_all(waiting.events).nodes["a"].elapsed_s(1e9) is None


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
    assert view.apply(other.events[0]) is None
    assert all_facts(view) == before


def test_the_abort_ladder_keeps_the_first_time_of_each_rung() -> None:
    stream = Stream()
    stream.running("a")
    stream.note("a", "abort-asked")
    stream.note("a", "abort-asked")
    stream.note("a", "abandoned")
    node = RunView().apply_all(stream.events).nodes["a"]
    assert node.abort_ladder == {"asked": 100.002, "abandoned": 100.004}


def test_a_tree_hundreds_deep_needs_no_recursion() -> None:
    stream = Stream()
    stream.running("/".join(f"level-{number}" for number in range(3000)))
    view = RunView().apply_all(stream.events)
    root = view.root
    assert root is not None
    assert sum(1 for _ in root.walk()) == 3000
    assert view.leaf_tally["running"] == 1


def test_health_of_a_completed_leaf_shows() -> None:
    stream = Stream()
    stream.ended("a", health_state="DEGRADED")
    stream.ended("b", code=ResultCode.REJECTED)
    view = RunView().apply_all(stream.events)
    assert view.nodes["a"].state == "degraded"
    assert view.nodes["b"].state == "failed"
