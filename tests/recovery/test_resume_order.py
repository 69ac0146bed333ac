"""A resume respects the order of steps: what follows a step that runs again runs again, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.device_names import device_key
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorEnd
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import (
    Cause,
    ComposedDetail,
    FinishedDetail,
    LeftOut,
    NoteDetail,
    SteeringRequest,
    TaskEvent,
)
from taskgrove.recovery.earlier_runs import EarlierRun, went_well
from taskgrove.recovery.resume_plan import ResumePlan, plan_resume_of
from taskgrove.story.run_node import RunNode, RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.property.tree_strategies import build as build_any
from tests.property.tree_strategies import roots, without_rules
from tests.recovery.cut_runs import DEVICE

HANG_GUARD_S = 200.0
SEQUENTIAL, PARALLEL = TaskExecutionType.SEQUENTIAL, TaskExecutionType.PARALLEL


def leaf(name: str, device: str = "") -> LeafTask:
    return LeafTask(name, device or f"x/y/{name}", "Do")


def seq(name: str, *children: BaseTask) -> Task:
    return Task(name, SEQUENTIAL, subtasks=list(children))


def par(name: str, *children: BaseTask) -> Task:
    return Task(name, PARALLEL, subtasks=list(children))


def facts(task: Task, ends: Mapping[str, str], begin: str = "") -> list[RunNode]:
    """Return what a run left of each leaf: `ok`, `bad`, `skipped`, `reused`; else `ok`."""
    found = []
    for path, node in task.walk():
        if not isinstance(node, LeafTask):
            continue
        end = ends.get(node.name, begin or "ok")
        status = {"ok": TaskStatus.COMPLETED, "bad": TaskStatus.FAILED}.get(end)
        detail = ComposedDetail("DEVICE", target=node.device_name, command_name="Do")
        code = None if status is None else (ResultCode.OK if end == "ok" else ResultCode.FAILED)
        began = None if status is None else 1
        found.append(RunNode(path, detail, status, code, started_ns=began))
    return found


def planned(task: Task, ends: Mapping[str, str], **more: Any) -> dict[str, str]:
    """Return the leaves that run again, by name, each with the name of the one that demands it."""
    plan = plan_resume_of(task, facts(task, ends), run_id="r1", **more)
    return {
        item.path.rpartition("/")[2]: item.because.rpartition("/")[2] for item in plan.of("redo")
    }


def test_every_later_step_runs_again_at_any_depth() -> None:
    tree = seq(
        "root",
        leaf("before"),
        seq("one", leaf("a"), leaf("b"), par("c", leaf("c1"), leaf("c2"))),
        par("two", leaf("d1"), seq("d", leaf("d2"), leaf("d3"))),
        leaf("after"),
    )
    later = ["c1", "c2", "d1", "d2", "d3", "after"]
    assert planned(tree, {"b": "bad"}) == {"b": "", **dict.fromkeys(later, "b")}
    assert planned(tree, {"d2": "bad"}) == {"d2": "", "d3": "d2", "after": "d2"}
    assert planned(tree, {"d1": "bad"}) == {"d1": "", "after": "d1"}
    assert planned(tree, {"c2": "bad"}) == {"c2": "", **dict.fromkeys(later[2:], "c2")}
    assert planned(tree, {}) == {}


def test_a_leaf_that_is_asked_for_makes_later_steps_run_again() -> None:
    tree = seq("root", leaf("a"), leaf("b"), leaf("c"))
    assert planned(tree, {}, redo=["root/b"]) == {"b": "", "c": "b"}


def test_nothing_of_a_parallel_branch_beside_it_runs_again() -> None:
    tree = par("root", seq("one", leaf("a"), leaf("b")), seq("two", leaf("c"), leaf("d")))
    assert planned(tree, {"a": "bad"}) == {"a": "", "b": "a"}


@pytest.mark.parametrize("device", ["x/y/z", "X/Y/z", "tango://localhost:1/x/y/z#dbase=no"])
def test_what_a_later_step_undid_runs_again(device: str) -> None:
    first = "tango://127.0.0.1:1/X/y/z" if device.startswith("tango") else "x/y/z"
    tree = seq("root", leaf("on"), leaf("configure", first), leaf("scan"), leaf("end", device))
    again = {"scan": "", "configure": "end", "end": "configure"}
    assert planned(tree, {"scan": "bad"}) == {**again, "end": "scan"}
    # As long as nothing was undone, it is taken over.
    assert planned(tree, {"scan": "bad", "end": "never"}) == {"scan": "", "end": ""}
    assert planned(tree, {"end": "bad"}) == {"end": ""}
    assert planned(tree, {}) == {}


def test_what_runs_again_because_it_was_undone_goes_on_both_ways() -> None:
    tree = seq(
        "root",
        leaf("on", "x/y/1"),
        par("configure", leaf("c1", "x/y/2"), leaf("c2", "x/y/3")),
        leaf("check", "x/y/1"),
        leaf("scan"),
        leaf("end", "x/y/2"),
    )
    assert planned(tree, {"scan": "bad"}) == {
        "scan": "",  # of itself
        "end": "scan",  # after it
        "c1": "end",  # undone by it
        "check": "c1",  # after that
        "on": "check",  # undone by it
        "c2": "on",  # after that
    }


def test_a_step_that_fails_in_part_is_undone_as_a_whole() -> None:
    beams = par("configure", leaf("c1", "x/y/1"), leaf("c2", "x/y/2"), leaf("c3", "x/y/3"))
    tree = seq("root", beams, par("end", leaf("e1", "x/y/1"), leaf("e2", "x/y/2")))
    assert planned(tree, {"c2": "bad"}) == {"c2": "", "e1": "c2", "e2": "c2", "c1": "e1"}


def test_the_plan_says_because_of_which_step() -> None:
    tree = seq("root", leaf("configure", "x/y/z"), leaf("scan"), leaf("end", "X/Y/Z"))
    plan = plan_resume_of(tree, facts(tree, {"scan": "bad"}), run_id="r1")
    why = {item.path: item.why for item in plan.of("redo")}
    assert why["root/end"] == "root/scan runs again before it"
    assert why["root/configure"] == "root/end has worked on x/y/z since"
    assert [item.because for item in plan.leaves] == ["root/end", "", "root/scan"]


# -- a clean-up ----------------------------------------------------------------------------------


def observe(*steps: BaseTask, name: str = "root", end: str = "end") -> Task:
    return Task(name, SEQUENTIAL, subtasks=list(steps), finally_tasks=[leaf(end)])


def test_a_sequence_whose_clean_up_has_begun_runs_again_from_its_first_step() -> None:
    tree = observe(leaf("on"), leaf("scan"))
    assert planned(tree, {"scan": "bad"}) == {"scan": "", "on": "end", "end": "scan"}
    assert planned(tree, {"scan": "bad", "end": "never"}) == {"scan": "", "end": ""}
    assert planned(tree, {"end": "bad"}) == {"end": "", "on": "end", "scan": "end"}
    assert planned(tree, {"end": "never"}) == {"end": ""}
    assert planned(tree, {}) == {}
    plan = plan_resume_of(tree, facts(tree, {"scan": "bad"}), run_id="r1")
    [first] = [item for item in plan.leaves if item.path == "root/on"]
    assert (first.why, first.because) == (
        "root/finally/end has cleaned up since",
        "root/finally/end",
    )


def test_a_clean_up_concerns_its_own_sequence_and_those_below() -> None:
    inner = observe(leaf("a"), par("b", leaf("b1"), leaf("b2")), name="inner", end="end_inner")
    tree = observe(leaf("before"), inner, leaf("after"), end="end_outer")
    later = {"end_inner": "b1", "after": "a", "end_outer": ""}
    again = planned(tree, {"b1": "bad", "end_outer": "never"})
    assert again == {"b1": "", "a": "end_inner", "b2": "end_inner", **later}
    # The outer one undid what came before the inner sequence, too.
    assert "before" in planned(tree, {"b1": "bad"})
    assert planned(tree, {"after": "bad", "end_outer": "never"}) == {"after": "", "end_outer": ""}


def test_what_was_done_since_the_clean_up_is_taken_over() -> None:
    tree = observe(leaf("on"), leaf("scan"))
    first = (tree, {"scan": "bad"}, "ok", None)
    killed = (tree, {"on": "ok"}, "never", {"on", "scan", "finally/end"})
    assert redone(tree, "r1", chain(first, killed)) == ["scan", "end"]


# -- what an operator decided ---------------------------------------------------------------------

ANN = SteeringRequest(id="q1", verb="accept", path="root/b", who="ann", why="good enough")
LEFT_OUT = SteeringRequest(id="q2", verb="skip", path="root/b", who="bob", why="no beam")
CAUSE = Cause(kind="reported", said="no lock")


def accepted(node: RunNode) -> None:
    node.status, node.result_code, node.message = TaskStatus.COMPLETED, ResultCode.OK, "accepted"
    node.started_ns = 1
    node.finished = FinishedDetail(cause=CAUSE, accepted=True, accepted_by=("ann",), request=ANN)


def left_out(node: RunNode) -> None:
    node.status, node.result_code = TaskStatus.REJECTED, ResultCode.REJECTED
    node.started_ns, node.message = None, "left out by bob"
    item = LeftOut(node.name, None, "operator", "left out by bob", said="no beam")
    node.finished = FinishedDetail(skipped=True, left_out=(item,), request=LEFT_OUT)


def test_a_failure_that_was_accepted_is_taken_over_as_such() -> None:
    tree = seq("root", leaf("a"), leaf("b"), leaf("c"))
    nodes = facts(tree, {"c": "bad"})
    accepted(nodes[1])
    plan = plan_resume_of(tree, nodes, run_id="r1")
    assert [item.path for item in plan.of("redo")] == ["root/c"]
    end = plan.prior["root/b"]
    assert isinstance(end, PriorEnd)
    assert (end.status, end.result) == (TaskStatus.COMPLETED, (ResultCode.OK, "accepted"))
    kept = {name: end.fields[name] for name in ("accepted", "accepted_by", "cause", "request")}
    assert kept == {"accepted": True, "accepted_by": ("ann",), "cause": CAUSE, "request": ANN}
    assert end.facts == NoteDetail("reused", {"run": "r1", "accepted_by": "ann"}, CAUSE, ANN)
    assert "accepted by ann" in end.note
    # What runs again before it makes it run again.
    nodes = facts(tree, {"a": "bad"})
    accepted(nodes[1])
    redo = plan_resume_of(tree, nodes, run_id="r1").of("redo")
    assert [item.path for item in redo] == ["root/a", "root/b", "root/c"]


def test_what_was_left_out_stays_left_out_whatever_runs_again() -> None:
    tree = seq("root", leaf("a"), leaf("b"), leaf("c"))
    nodes = facts(tree, {"a": "bad"})
    left_out(nodes[1])
    plan = plan_resume_of(tree, nodes, run_id="r1")
    assert [item.path for item in plan.of("redo")] == ["root/a", "root/c"]
    assert [(item.path, item.why) for item in plan.of("reuse")] == [
        ("root/b", "left out by bob: no beam")
    ]
    end = plan.prior["root/b"]
    assert isinstance(end, PriorEnd)
    assert end.status is TaskStatus.REJECTED
    assert end.fields["skipped"] is True
    assert [(item.kind, item.path) for item in end.fields["left_out"]] == [("operator", "root/b")]
    assert (end.fields["request"], end.facts.request) == (LEFT_OUT, LEFT_OUT)
    again = plan_resume_of(tree, nodes, run_id="r1", redo=["root/b"])
    assert [item.path for item in again.of("redo")] == ["root/a", "root/b", "root/c"]


def test_all_below_a_node_that_was_left_out_stays_left_out() -> None:
    tree = seq("root", leaf("a"), par("b", leaf("b1"), leaf("b2")))
    nodes = facts(tree, {"a": "bad", "b1": "never", "b2": "never"})
    nodes.append(RunNode("root/b"))
    left_out(nodes[-1])
    plan = plan_resume_of(tree, nodes, run_id="r1")
    assert [item.path for item in plan.of("reuse")] == ["root/b/b1", "root/b/b2"]
    log = EventLog()
    with MainTaskExecutor(1, {DEVICE: FakeDeviceRunner()}) as executor:
        handle = executor.submit_main_task(tree, observers=[log], prior=plan.prior)
        assert handle.wait(HANG_GUARD_S)
    again = RunNodes(log.events).nodes["root/b"]
    assert again.finished is not None
    assert (again.status, again.finished.request) == (TaskStatus.REJECTED, LEFT_OUT)
    assert [item.path for item in again.finished.left_out] == ["root/b"]
    assert [note.topic for note in again.notes] == ["reused"]
    # Once a part of it runs again, the rest is left out step by step.
    tree = seq("root", leaf("a"), par("b", leaf("b1"), leaf("b2")))
    plan = plan_resume_of(tree, nodes, run_id="r1", redo=["root/b/b1"])
    assert "root/b" not in plan.prior


# -- a chain of resumes -------------------------------------------------------------------------


def chain(*runs: tuple[Task, Mapping[str, str], str, set[str] | None]) -> list[EarlierRun]:
    found: list[EarlierRun] = []
    for number, (task, ends, begin, set_out) in enumerate(runs):
        nodes = {node.path: node for node in facts(task, ends, begin)}
        out = None if set_out is None else frozenset(f"root/{name}" for name in set_out)
        found.append(EarlierRun(f"r{number}", nodes, {}, f"r{number - 1}" if number else None, out))
    return found


def redone(tree: Task, run_id: str, family: list[EarlierRun]) -> list[str]:
    nodes = next(list(run.nodes.values()) for run in family if run.run_id == run_id)
    plan = plan_resume_of(tree, nodes, run_id=run_id, family=family)
    return [item.path.rpartition("/")[2] for item in plan.of("redo")]


def test_what_a_killed_resume_had_not_come_to_still_stands() -> None:
    tree = seq("root", leaf("a"), leaf("b"), leaf("c"))
    first = (tree, {"c": "bad"}, "ok", None)
    # Killed before it had told of anything: it would have taken over a and b.
    assert redone(tree, "r1", chain(first, (tree, {}, "never", {"c"}))) == ["c"]
    # What it set out to run again does not stand, whatever became of that.
    assert redone(tree, "r1", chain(first, (tree, {}, "never", {"b", "c"}))) == ["b", "c"]
    # Of a run whose plan is not on record, only its own word counts.
    assert redone(tree, "r1", chain(first, (tree, {}, "never", None))) == ["a", "b", "c"]
    # Two in a row.
    killed = (tree, {}, "never", {"c"})
    assert redone(tree, "r2", chain(first, killed, killed)) == ["c"]


def test_a_run_that_is_resumed_again_knows_what_ran_since() -> None:
    tree = seq("root", leaf("configure", "x/y/z"), leaf("scan"), leaf("end", "x/y/z"))
    first = (tree, {"scan": "bad", "end": "never"}, "ok", None)
    resumed = (tree, {"configure": "never"}, "ok", {"scan", "end"})
    assert redone(tree, "r0", chain(first)) == ["scan", "end"]
    assert redone(tree, "r0", chain(first, resumed)) == ["configure", "scan", "end"]
    ran = (tree, {"scan": "bad", "end": "never"}, "ok", {"configure", "scan", "end"})
    assert redone(tree, "r0", chain(first, ran)) == ["configure", "scan", "end"]


def test_of_several_later_steps_the_one_that_was_there_last_counts() -> None:
    ends = [leaf(f"end{number}", "x/y/z") for number in (1, 2)]
    tree = seq("root", leaf("configure", "x/y/z"), leaf("scan"), *ends)
    first = (tree, {"end1": "ok"}, "never", None)
    second = (tree, {"configure": "ok", "scan": "bad", "end2": "ok"}, "never", None)
    assert redone(tree, "r1", chain(first, second)) == ["configure", "scan", "end1", "end2"]
    second = (tree, {"configure": "ok", "scan": "bad"}, "never", None)
    assert redone(tree, "r1", chain(first, second)) == ["scan", "end1", "end2"]


# -- random trees -------------------------------------------------------------------------------


class Done(NamedTuple):
    """A run of a chain: what its record holds, and what it was to do."""

    facts: RunNodes
    events: list[TaskEvent]
    plan: ResumePlan | None


def build(spec: Any, scripts: dict[str, Script]) -> Task:
    """Return a tree whose leaves share three devices, spelled in several ways."""
    tree = build_any(without_rules(spec), scripts)
    for number, (_, node) in enumerate(tree.walk()):
        if isinstance(node, LeafTask):
            name = f"x/y/{number % 3}"
            node.target = name.upper() if number % 2 else name
    return tree


def work_of(spec: Any, scripts: Mapping[str, Script], runs: Sequence[Done], cut: float) -> Done:
    """Run a tree, or resume the last of the runs, and break its record off after a share of it."""
    tree = build(spec, {})
    plan = None
    if runs:
        family = [
            EarlierRun(
                f"r{number}",
                run.facts.nodes,
                {},
                f"r{number - 1}" if number else None,
                None if run.plan is None else frozenset(it.path for it in run.plan.of("redo")),
            )
            for number, run in enumerate(runs)
        ]
        nodes = list(runs[-1].facts.nodes.values())
        plan = plan_resume_of(tree, nodes, run_id=family[-1].run_id, family=family)
    log, fake = EventLog(), FakeDeviceRunner(scripts)
    with MainTaskExecutor(2, {DEVICE: fake}) as executor:
        prior = {} if plan is None else plan.prior
        assert executor.submit_main_task(tree, observers=[log], prior=prior).wait(HANG_GUARD_S)
    events = list(log.events)
    composed = sum(event.kind == "composed" for event in events)
    events = events[: composed + round((len(events) - composed) * cut)]
    return Done(RunNodes(events), events, plan)


def at_work(runs: Sequence[Done]) -> Iterator[tuple[int, str, str]]:
    """Yield each begin and end of work: the run, what it is, and the leaf."""
    for number, run in enumerate(runs):
        for event in run.events:
            node = run.facts.nodes[event.path]
            reused = any(note.topic == "reused" for note in node.notes)
            works = node.is_leaf and node.started_ns is not None and not reused
            if works and event.kind in ("started", "finished"):
                yield number, event.kind, event.path


def sequences_of(tree: Task) -> list[list[list[str]]]:
    """Return the leaves of each step of each sequence."""
    return [
        [
            [found for found, _ in tree.walk() if found == below or found.startswith(f"{below}/")]
            for below in (f"{path}/{child.name}" for child in node.subtasks)
        ]
        for path, node in tree.walk()
        if isinstance(node, Task) and node.task_type is SEQUENTIAL
    ]


def is_demanded(path: str, number: int, runs: Sequence[Done], tree: Task) -> bool:
    """Return whether the order of steps demands that a leaf runs once more in a run."""
    devices = {p: device_key(n.target) for p, n in tree.walk() if isinstance(n, LeafTask)}
    work = list(at_work(runs))
    again = {p for run, kind, p in work if run == number and kind == "started"}
    again |= {item.path for item in (runs[number].plan or ResumePlan("", ())).of("redo")}
    last = max(
        (at for at, (run, kind, p) in enumerate(work)
         if p == path and kind == "finished" and run < number), default=-1,
    )  # fmt: skip
    since = {p for run, kind, p in work[last + 1 :] if kind == "started" and run < number}
    for steps in sequences_of(tree):
        own = next((at for at, step in enumerate(steps) if path in step), None)
        if own is None:
            continue
        if any(p in again for step in steps[:own] for p in step):
            return True
        later = {p for step in steps[own + 1 :] for p in step}
        if any(devices.get(p) == devices[path] and p in since and p in again for p in later):
            return True
    return False


@given(
    roots,
    st.lists(st.sets(st.integers(0, 11), max_size=4), max_size=2),
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
)
def test_in_every_sequence_a_step_begins_last_after_the_one_before_it_ended_last(
    spec: Any, failing: list[set[int]], cuts: list[float]
) -> None:
    scripts: dict[str, Script] = {}
    tree = build(spec, scripts)
    names = list(scripts)
    runs = [work_of(spec, scripts, [], 1.0)]
    for which, cut in zip(failing, cuts, strict=False):
        bad = {name: Script.fails("no") for n, name in enumerate(names) if n in which}
        runs.append(work_of(spec, bad, runs, cut))
    runs.append(work_of(spec, {}, runs, 1.0))
    assert all(went_well(node) for node in runs[-1].facts.nodes.values() if node.is_leaf)

    work = list(at_work(runs))
    for steps in sequences_of(tree):
        for one, following in pairwise(steps):
            begins = [at for at, (_, kind, p) in enumerate(work) if kind == "started"
                      and p in following]  # fmt: skip
            ends = [at for at, (_, kind, p) in enumerate(work) if kind == "finished" and p in one]
            assert not begins or not ends or begins[-1] > ends[-1]

    for number, kind, path in work:
        if kind != "started" or not number:
            continue
        # It had completed, and nobody had set out to run it since.
        came = [run.facts.nodes[path] for run in runs[:number]]
        plans = [run.plan for run in runs[:number]]
        good = False
        for node, plan in zip(came, plans, strict=True):
            set_out = plan is None or path in {item.path for item in plan.of("redo")}
            good = went_well(node) if set_out else good or went_well(node)
        if good:
            assert is_demanded(path, number, runs, tree), path
