"""Whatever a tree does, why explains it: truthfully, completely and harmlessly."""

from __future__ import annotations

import re
from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, CauseKind, ChainLink, ComposedDetail, FinishedDetail, Place
from taskgrove.events.cause import NameProblem
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode, RunNodes
from taskgrove.story.run_story import (
    OperatorVerdict,
    RunStory,
    story_of_events,
    story_of_facts,
)
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from taskgrove.view.snapshot import RunView
from taskgrove.view.why import Why, explain, why
from taskgrove.view.why.rendering import render_why, render_why_html
from tests.property.test_executor_properties import HANG_GUARD_S, build, roots

DEVICE = TaskExecutionType.DEVICE
FAILED_CODES = (
    ResultCode.FAILED,
    ResultCode.REJECTED,
    ResultCode.NOT_ALLOWED,
    ResultCode.ABORTED,
    ResultCode.UNKNOWN,
)


def leaves_of(nodes):
    return [node for node in nodes if node.is_leaf]


def ended_badly(node):
    if node.skipped or node.status is TaskStatus.ABORTED:
        return node.status is TaskStatus.ABORTED
    return node.status in (TaskStatus.FAILED, TaskStatus.REJECTED) or (
        node.status is TaskStatus.COMPLETED and node.result_code in FAILED_CODES
    )


def was_got_over(leaf, nodes, failed):
    """Whether a composite above it ended well all the same, or a correlator decided in one."""
    parts = leaf.path.split("/")
    above = [nodes["/".join(parts[:end])] for end in range(1, len(parts))]
    correlators = [node.path for node in failed if "cbf" in (node.composed.target or "")]
    return any(
        node.health_state == "DEGRADED"
        or (node.status is TaskStatus.COMPLETED and node.result_code not in FAILED_CODES)
        or any(path.startswith(f"{node.path}/") for path in correlators)
        for node in above
    )


def check(found: Why, nodes) -> None:
    """Check what holds of every explanation."""
    bad = {node.path for node in leaves_of(nodes) if ended_badly(node)}
    skipped = {node.path for node in leaves_of(nodes) if node.skipped}
    grouped = [path for group in found.groups for path in group.paths]
    casualties = [item.path for item in found.casualties]
    assert len(grouped) == len(set(grouped))
    assert len(casualties) == len(set(casualties))
    assert not set(grouped) & set(casualties)
    # Every leaf that did not end well is told of, and no other.
    assert set(grouped) | set(casualties) == bad | skipped
    assert skipped <= set(casualties)
    if found.first is None:
        assert not grouped
    else:
        assert found.first.path == found.groups[0].paths[0]
    assert "\n" not in found.sentence
    assert len(found.sentence) < 300
    assert found.sentence.isprintable()


@given(roots, st.sampled_from([1, 4]))
def test_a_leaf_that_really_failed_is_named_whenever_the_outcome_is_not_ok(spec, workers):
    scripts: dict[str, Script] = {}
    tree = build(spec, scripts)
    log = EventLog()
    with MainTaskExecutor(workers, runners={DEVICE: FakeDeviceRunner(scripts)}) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        assert handle.wait(HANG_GUARD_S)
    story = story_of_events(log.events, now_ns=log.events[-1].wall_ns)
    found = why(story)
    check(found, story.nodes)
    outcome = handle.outcome
    if (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK):
        assert found.first is None
        assert "nothing failed" in found.sentence
        return
    if not any(map(ended_badly, leaves_of(story.nodes))):
        assert "no leaf failed, but quorum" in found.sentence  # it could never be met
        return
    assert found.first is not None
    nodes = {node.path: node for node in story.nodes}
    assert ended_badly(nodes[found.first.path])
    # Of a long path the last parts are in the line, and all of it is in the tree.
    assert found.first.path.rpartition("/")[2] in found.sentence
    assert found.first.path in [line.path for line in found.tree]
    ended = nodes[found.first.path].finished_sequence
    others = [nodes[path] for group in found.groups for path in group.paths]
    # It is the first, but for failures that the command has got over.
    for other in others:
        if other.finished_sequence < ended:
            assert "but did not decide" in " ".join([found.sentence, *found.also])
            assert was_got_over(other, nodes, others)
    # The surfaces that fold events into a view say the same.
    view = RunView().apply_all(log.events)
    again = why(story_of_facts(view, run_id=story.run_id, now_ns=story.now_ns))
    assert again.sentence == found.sentence
    assert explain(outcome, view, story).sentence == found.sentence


@given(roots, st.data())
def test_every_beginning_of_a_run_is_explained(spec, data):
    scripts: dict[str, Script] = {}
    log = EventLog()
    tree = build(spec, scripts)
    with MainTaskExecutor(2, runners={DEVICE: FakeDeviceRunner(scripts)}) as executor:
        assert executor.submit_main_task(tree, observers=[log]).wait(HANG_GUARD_S)
    # As a share: how long the log is depends on the threads, and Hypothesis must not notice.
    count = round(data.draw(st.floats(0.0, 1.0)) * len(log.events))
    state = data.draw(st.sampled_from(["running", "lost", "unknown", "final"]))
    facts = RunNodes(log.events[:count])
    story = story_of_facts(facts, run_id="run-1", now_ns=facts.last_ns or 0, state=state)
    found = why(story)
    check(found, story.nodes)
    assert str(found)


hostile = st.one_of(
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "timed out after 1 s (limit set by <b>)",
            'not started: the limit of & s set by " expired',
            "cannot be reached, x was not sent: <i>",
            "skipped: <x> failed",
            "Causes:\n- <a>\n- <b>",
            "long/" * 40,
            "words " * 90,
            "\x1b[31mred\x07",
            "\u202eturned",
            "{command} {0} %s",
            "",
        ]
    ),
    st.text(max_size=40),
)
instants = st.one_of(st.none(), st.integers(-(10**18), 4 * 10**18))
segments = st.one_of(st.sampled_from(["a", "b", "<c>", "d&e"]), st.text("<>&\"'x", min_size=1))


details = st.builds(
    ComposedDetail,
    st.sampled_from(["SEQUENTIAL", "PARALLEL", "INTERNAL", "DEVICE", "ANALYSIS"]),
    target=st.one_of(st.none(), hostile),
    command_name=st.one_of(st.none(), hostile),
    timeout_s=st.one_of(st.none(), st.floats(0.1, 1e6)),
)
notes = st.builds(
    NodeNote,
    st.sampled_from(["abort-asked", "abandoned", "late", "operator", "reused", "silent"]),
    hostile,
    st.integers(0, 10**18),
    st.dictionaries(st.sampled_from(["who", "why", "verdict"]), hostile, max_size=2),
)
causes = st.builds(
    Cause,
    kind=st.sampled_from(get_args(CauseKind)),
    said=hostile,
    limit_s=st.one_of(st.none(), st.floats(0.0, 1e9)),
    limit_owner=st.one_of(st.none(), hostile),
    because_of=st.one_of(st.none(), hostile),
    last_answer_ns=st.one_of(st.none(), st.integers(0, 4 * 10**18)),
    device=st.one_of(st.none(), hostile),
    chain=st.lists(st.builds(ChainLink, hostile, hostile), max_size=2).map(tuple),
    output_file=st.one_of(st.none(), hostile),
    return_code=st.one_of(st.none(), st.integers(-64, 255)),
    signal=st.one_of(st.none(), hostile),
    last_lines=st.lists(hostile, max_size=2).map(tuple),
    place=st.one_of(st.none(), st.builds(Place, hostile, st.one_of(st.none(), st.just(7)))),
    nearest=st.one_of(st.none(), hostile),
    program=st.one_of(st.none(), hostile),
    errno_name=st.sampled_from([None, "ENOENT", "EACCES", "ENOEXEC", "ETIMEDOUT"]),
    name_problem=st.sampled_from([None, *get_args(NameProblem)]),
)
ends = st.builds(
    FinishedDetail,
    cause=st.one_of(st.none(), causes),
    skipped=st.booleans(),
    line=st.one_of(st.none(), hostile),
    rule=st.sampled_from([None, "PST group", "default"]),
    error=st.one_of(st.none(), hostile),
)
facts = st.builds(
    RunNode,
    st.just(""),
    composed=st.one_of(st.none(), details),
    status=st.one_of(st.none(), st.sampled_from(TaskStatus)),
    result_code=st.one_of(st.none(), st.sampled_from(ResultCode)),
    message=hostile,
    devices=st.lists(hostile, max_size=2).map(tuple),
    health_state=st.sampled_from([None, "DEGRADED", "FAILED"]),
    attempt=st.integers(1, 3),
    queued_ns=instants,
    started_ns=instants,
    ended_ns=instants,
    last_ns=instants,
    finished=st.one_of(st.none(), ends),
    finished_sequence=st.one_of(st.none(), st.integers(1, 99)),
    notes=st.lists(notes, max_size=2),
)
paths = st.lists(st.lists(segments, min_size=1, max_size=4).map("/".join), unique=True, max_size=6)


@st.composite
def any_nodes(draw):
    nodes = []
    found = draw(paths)
    for path in found:
        node = draw(facts)
        node.path = path
        if node.composed is not None:
            names = tuple(n.rpartition("/")[2] for n in found if n.startswith(f"{path}/"))
            node.composed = msgspec.structs.replace(node.composed, children=names)
        nodes.append(node)
    return nodes


@given(
    any_nodes(),
    st.sampled_from(["running", "final", "lost", "unknown"]),
    hostile,
    st.one_of(st.none(), st.sampled_from(TaskStatus)),
    st.lists(st.builds(OperatorVerdict, hostile, hostile, hostile, hostile), max_size=2),
)
def test_any_facts_are_explained_and_nothing_gets_out(nodes, state, text, status, verdicts):
    story = RunStory(
        run_id=text,
        command=text,
        state=state,
        nodes=nodes,
        now_ns=10**18,
        state_note=text,
        message=text,
        status=status,
        verdicts=verdicts,
        map_file=text,
        can_resume=bool(text),
    )
    found = why(story)
    assert found.sentence.isprintable()
    assert len(found.sentence) < 300
    grouped = {path for group in found.groups for path in group.paths}
    assert not grouped & {item.path for item in found.casualties}
    for line in render_why(found).split("\n"):
        assert line.isprintable()
    html = render_why_html(found)
    assert html == found._repr_html_()
    # What is left of the page without our own tags holds no sign that begins one.
    ours = r'</?(?:div|p|b|table|tr|td|ul|li)(?: (?:class|style|colspan)="[\w :;#.,%()/-]*")*>'
    bare = re.sub(ours, "", html)
    assert "<" not in bare
    assert ">" not in bare
    assert re.sub(r"&(?:lt|gt|amp|quot|#x27);", "", bare).count("&") == 0
