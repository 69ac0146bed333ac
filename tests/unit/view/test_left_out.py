"""What was left out of a command is part of its outcome and of its story."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.cli.devices import Reach
from taskgrove.cli.run_session import MapSession
from taskgrove.commands.aggregation import SubtaskResult, TaskAggregationPolicy
from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.composition.context import ComponentContext
from taskgrove.commands.composition.guards import Objection
from taskgrove.commands.execution.refused_run import record_refusal
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.replay import rebuild
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import CommandError
from taskgrove.events import LeftOut, decode_event, encode_event
from taskgrove.story.run_story import story_of_events
from taskgrove.testing import FakeDeviceRunner
from taskgrove.testing.event_log import EventLog
from taskgrove.view.phrases import left_out_lines, left_out_words
from taskgrove.view.snapshot import RunView
from taskgrove.view.why import explain, why

OK = (TaskStatus.COMPLETED, ResultCode.OK, None)
DEGRADED = (TaskStatus.COMPLETED, ResultCode.FAILED, "DEGRADED")
FAILED = (TaskStatus.FAILED, ResultCode.FAILED, "FAILED")
IDLE = {"attr_name": "obsState", "attr_value": ["IDLE"]}
ON = {"command_name": "On"}
GONE = Objection("fault", "no answer", "nothing listens at its address")
BEAMS = [f"low-pst/beam/{number:02}" for number in range(1, 5)]


def beams(count: int, kind: Any = "fault", reason: str = "no answer") -> list[LeftOut]:
    return [LeftOut(f"b{n}", f"low-pst/beam/9{n}", kind, reason) for n in range(count)]


def subs(good: int, bad: int = 0, status: TaskStatus = TaskStatus.FAILED) -> list[SubtaskResult]:
    ends = [TaskStatus.COMPLETED] * good + [status] * bad
    return [SubtaskResult(f"s{n}", end, None, f"low-pst/beam/{n:02}") for n, end in enumerate(ends)]


def judged(task: str, ends: list[SubtaskResult], **kwargs: Any) -> tuple[Any, str, str]:
    outcome = TaskAggregationPolicy(task, is_root=True, **kwargs).aggregate(ends)
    assert outcome.decision is not None
    verdict = (outcome.status, outcome.result, outcome.health_state)
    return verdict, outcome.decision.line, outcome.message


# -- the policy ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["selection", "guard"])
def test_what_was_left_out_by_choice_is_in_no_total(kind: Any) -> None:
    verdict, line, message = judged("configure_pst", subs(12), left_out=beams(4, kind))
    assert verdict == OK
    assert line == "PST success 12/12 → OK"
    assert message == "Task configure_pst completed"


def test_a_fault_counts_in_the_sum_of_a_pst_group() -> None:
    verdict, line, message = judged("configure_pst", subs(12), left_out=beams(4))
    assert verdict == DEGRADED
    assert line == "PST success 12/16, 4 left out: no answer → DEGRADED"
    summary, *causes = message.splitlines()
    assert summary.endswith("DEGRADED state: PST success 12/16, 4 left out: no answer.")
    assert causes[:2] == ["Causes:", "- low-pst/beam/90: left out: no answer"]
    assert len(causes) == 5


def test_reasons_that_differ_are_counted() -> None:
    left_out = [*beams(2), *beams(1, reason="unknown device")]
    _, line, _ = judged("configure_pst", subs(1), left_out=left_out)
    assert line.startswith("PST success 1/4, 3 left out: 2 no answer, 1 unknown device")


def test_a_quorum_of_sixteen_stays_of_sixteen() -> None:
    verdict, line, _ = judged("go", subs(12), rule="quorum 0.8", left_out=beams(4))
    assert verdict == FAILED
    assert line.startswith(
        "quorum 0.8 of 16: 12 succeeded, 13 needed, 4 left out: no answer → FAILED"
    )
    assert judged("go", subs(13), rule="quorum 0.8", left_out=beams(3))[0] == DEGRADED
    assert judged("go", subs(12), rule="any", left_out=beams(4))[0] == DEGRADED
    assert judged("go", subs(12), rule="all", left_out=beams(4))[0] == FAILED


def test_by_default_a_fault_degrades_and_is_never_severe() -> None:
    left_out = [LeftOut("cbf", "low-cbf/subarray/01", "fault", "no answer")]
    verdict, line, _ = judged("configure", subs(1), left_out=left_out)
    assert verdict == DEGRADED
    assert line == "1 of 2 succeeded, 1 left out: no answer → DEGRADED"


def test_a_fault_softens_no_failure_of_all_the_others() -> None:
    assert judged("configure", subs(0, 1), left_out=beams(1))[0] == FAILED
    assert judged("configure_pst", subs(0, 1), left_out=beams(1))[0] == FAILED


def test_a_task_that_has_not_begun_is_queued_whatever_was_left_out() -> None:
    waiting = [SubtaskResult("a"), SubtaskResult("b")]
    assert judged("go", waiting, left_out=beams(1))[0][0] is TaskStatus.QUEUED


# -- the tracker --------------------------------------------------------------------------------


def test_a_tracker_hands_up_what_was_left_out_and_a_parent_takes_it() -> None:
    heard: list[dict[str, Any]] = []
    parent = TaskTracker("configure", 1, lambda **payload: heard.append(payload), is_root=True)
    (gone,) = beams(1)
    child = TaskTracker("configure_pst", 1, parent.update_task, left_out=[gone])
    child.update_task(task_name="pst-beam-01", status=TaskStatus.COMPLETED)
    assert heard[-1]["left_out"] == (gone,)
    assert parent.outcome().left_out == (gone,)
    assert (parent.overall_status, parent.overall_health) == (TaskStatus.COMPLETED, "DEGRADED")


def test_devices_that_succeeded_beside_one_that_was_left_out_have_not_failed() -> None:
    root = Task("configure", is_root=True)
    group = Task("configure_pst", subtasks=[LeafTask("a", BEAMS[0], "On")])
    group.left_out = tuple(beams(1))
    root.add(group, LeafTask("b", "low-pss/subarray/01", "On"))
    heard: list[dict[str, Any]] = []
    root.set_completed_callback(lambda **payload: heard.append(payload))
    for name, path in (("a", "configure/configure_pst"), ("b", "configure")):
        node = root.find(path)
        done = {"status": TaskStatus.COMPLETED, "device_name": BEAMS[0]}
        node.tracker.update_task(task_name=name, **done)
    assert heard[-1]["health_state"] == "DEGRADED"
    assert heard[-1]["devices"] == [BEAMS[0]]
    assert "failed_devices" not in heard[-1]


def test_garbage_in_place_of_what_was_left_out_is_ignored() -> None:
    tracker = TaskTracker("configure", 1)
    tracker.update_task(
        task_name="a", status=TaskStatus.COMPLETED, source="x", left_out=["b", 7, None]
    )
    assert tracker.outcome().left_out == ()


# -- the composer -------------------------------------------------------------------------------


def composed(
    tasks: dict[str, Any], components: dict[str, Any], resources: Any = None, **kwargs: Any
) -> Task:
    data = {
        "commands": {"go": {"type": "parallel", "tasks": tasks, **kwargs}},
        "components": dict.fromkeys(("cbf", "pss", "pst"), "x/y/z"),
    }
    manager = {"components": components, "obsState": "IDLE"}
    return MainTaskComposer("go", data, manager, None, resources).compose()


def device(name: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "obsState": "IDLE", **attributes}


class Raises:
    name = "low-pss/subarray/01"

    @property
    def obsState(self) -> Any:
        raise ConnectionError("no reply")


@pytest.mark.parametrize(
    ("component", "kind", "reason"),
    [
        (
            device("low-pss/subarray/01", obsState="FAULT"),
            "guard",
            "obsState is FAULT; allowed: IDLE",
        ),
        ({"name": "low-pss/subarray/01"}, "guard", "it has no attribute obsState"),
        (Raises(), "fault", "reading obsState raised ConnectionError"),
    ],
)
def test_what_is_left_out_says_of_what_kind_its_reason_is(
    component: Any, kind: str, reason: str
) -> None:
    tasks = {"pss": ON, "pst": ON}
    components = {"pss": component, "pst": device(BEAMS[0])}
    root = composed(tasks, components, allowed_states=IDLE)
    (item,) = root.left_out
    assert (item.name, item.device) == ("pss-subarray-01", "low-pss/subarray/01")
    assert (item.kind, item.reason, item.path) == (kind, reason, "go/pss-subarray-01")


def test_beams_that_the_arguments_do_not_name_are_left_out_by_selection() -> None:
    root = composed({"pst": ON}, {"pst": BEAMS}, {"pst": {"1": {"gain": 1}}})
    (group,) = root.subtasks
    assert isinstance(group, Task)
    assert [(item.device, item.kind) for item in group.left_out] == [
        (name, "selection") for name in BEAMS[1:]
    ]


@pytest.mark.parametrize("tasks", [{"cbf": ON}, {"csp_subs": ON}])
@pytest.mark.parametrize("keyword", ["cbf", "csp_subs"])
@pytest.mark.parametrize("state", ["FAULT", None])
def test_a_correlator_is_never_left_out_in_silence(
    tasks: Any, keyword: str, state: str | None
) -> None:
    attributes = {} if state is None else {"obsState": state}
    cbf = {"name": "low-cbf/subarray/01", **attributes}
    components = {keyword: cbf, "pss": device("low-pss/subarray/01")}
    if keyword not in tasks and keyword == "csp_subs":
        tasks = {"csp_subs": ON}
    tasks = {**tasks, "pss": ON}
    with pytest.raises(CommandError, match="low-cbf/subarray/01") as caught:
        composed(tasks, components, allowed_states=IDLE)
    assert "'reject_missing: false'" in str(caught.value)
    optional = {key: {**entry, "reject_missing": False} for key, entry in tasks.items()}
    root = composed(optional, components, allowed_states=IDLE)
    told = [item for _, node in root.walk() if isinstance(node, Task) for item in node.left_out]
    assert [item.device for item in told] == ["low-cbf/subarray/01"]


def context(data: Any, absences: dict[str, Objection], **kwargs: Any) -> ComponentContext:
    return ComponentContext.from_map(load_command_map(data), absences=absences, **kwargs)


def group_map(inner: dict[str, Any]) -> dict[str, Any]:
    return {
        "commands": {"go": {"type": "parallel", "tasks": {"pss": ON, **inner}}},
        "components": {"pss": "low-pss/subarray/01", "pst": BEAMS},
    }


def test_offline_nobody_is_asked_and_no_fault_is_told() -> None:
    data = group_map({"pst": ON})
    gone = context(data, dict.fromkeys(BEAMS, GONE), ask_devices=False)
    root = MainTaskComposer("go", data, gone, None).compose()
    assert len(root.subtasks) == 2
    assert not root.left_out


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        ({"pst": ON}, "go_pst"),
        ({"beams": {"type": "sequential", "tasks": {"pst": ON}}}, "beams"),
    ],
)
def test_a_group_that_faults_emptied_stays_in_the_outcome_as_failed(
    inner: dict[str, Any], name: str
) -> None:
    data = group_map(inner)
    root = MainTaskComposer("go", data, context(data, dict.fromkeys(BEAMS, GONE)), None).compose()
    assert [child.name for child in root.subtasks] == ["pss-subarray-01"]
    counting = [item for item in root.left_out if item.counts]
    assert [(item.name, item.device, item.kind) for item in counting] == [(name, None, "fault")]
    assert {item.device for item in root.left_out} == {None, *BEAMS}
    root.tracker.update_task(task_name="pss-subarray-01", status=TaskStatus.COMPLETED)
    outcome = root.tracker.outcome()
    assert (outcome.status, outcome.result, outcome.health_state) == DEGRADED
    assert outcome.decision is not None
    assert (outcome.decision.succeeded, outcome.decision.total) == (1, 2)
    assert f"- {name} - failed: no answer" in outcome.message
    assert "- low-pst/beam/01: left out: no answer: nothing listens" in outcome.message
    words = left_out_words(outcome.left_out)
    assert "low-pst/beam/01 (pst-beam-01)" in words
    assert "and 1 more: no answer" in words
    assert name not in words


@pytest.mark.parametrize(
    ("rule", "there", "note"),
    [
        ({"quorum": 4}, 3, "quorum 4 of 4: 3 succeeded, 4 needed, 1 left out: no answer"),
        ({"quorum": 0.8}, 3, "quorum 0.8 of 4: 3 succeeded, 4 needed, 1 left out: no answer"),
        ({"quorum": 3}, 3, None),
        ({"quorum": 5}, 3, "quorum 5 can never be met: there are 4 subtasks"),
    ],
)
def test_a_rule_that_faults_put_out_of_reach_is_told(
    rule: dict[str, Any], there: int, note: str | None
) -> None:
    data = group_map({"pst": {**ON, "rule": rule}})
    gone = context(data, dict.fromkeys(BEAMS[there:], GONE))
    notes = MainTaskComposer("go", data, gone, None).compose().composition_notes
    told = [line for line in notes if "quorum" in line]
    assert [line.startswith(f"go/go_pst: {note}") for line in told] == [True] * (note is not None)


def test_a_group_that_conditions_emptied_changes_no_verdict() -> None:
    tasks = {"pss": ON, "pst": {**ON, "allowed_states": IDLE}}
    components = {"pss": "low-pss/subarray/01", "pst": device(BEAMS[0], obsState="FAULT")}
    root = composed(tasks, components)
    root.tracker.update_task(task_name="pss-subarray-01", status=TaskStatus.COMPLETED)
    outcome = root.tracker.outcome()
    assert outcome.ok
    assert [item.kind for item in outcome.left_out] == ["guard"]


# -- the story ----------------------------------------------------------------------------------


def run_without_beams(kind: Any) -> tuple[Any, EventLog]:
    leaf = LeafTask("pss", "low-pss/subarray/01", "On")
    root = Task("configure", is_root=True, subtasks=[leaf])
    root.left_out = (LeftOut("cbf-subarray-07", "low-cbf/subarray/07", kind, "no answer"),)
    log = EventLog()
    runners = {TaskExecutionType.DEVICE: FakeDeviceRunner()}
    with MainTaskExecutor(runners=runners) as executor:
        handle = executor.submit_main_task(root, observers=[log])
        assert handle.wait(30)
    return handle.outcome, log


@pytest.mark.parametrize(("kind", "well"), [("guard", True), ("fault", False)])
def test_the_whole_story_tells_what_was_left_out(kind: Any, well: bool) -> None:
    outcome, log = run_without_beams(kind)
    assert outcome.ok is well
    (end,) = log.select(kind="finished", path="configure")
    assert end.detail.left_out == outcome.left_out
    assert decode_event(encode_event(end)) == end
    assert rebuild(log.events).outcome == outcome
    told = "left out: low-cbf/subarray/07 (cbf-subarray-07): no answer"
    words = explain(outcome, RunView().apply_all(log.events))
    assert told in words.sentence
    assert [(item.name, item.reason, item.kind) for item in words.left_out] == [
        ("cbf-subarray-07", "no answer", kind)
    ]
    explained = why(story_of_events(log.events, now_ns=0))
    assert told in explained.sentence
    assert "low-cbf/subarray/07" in str(explained).partition("Left out:")[2]
    cut_off = [event for event in log.events if event.kind == "composed"]
    assert told in why(story_of_events(cut_off, now_ns=0)).sentence


def test_a_verdict_from_outside_keeps_what_was_left_out() -> None:
    (gone,) = beams(1)
    tracker = TaskTracker("configure", 2, left_out=[gone])
    tracker.update_task(task_name="a", status=TaskStatus.COMPLETED, left_out=(gone,), source="x")
    tracker.conclude(TaskStatus.ABORTED, ResultCode.ABORTED, "stopped")
    assert tracker.outcome().left_out == (gone, gone)


class Kept:
    """A recorder that keeps what it hears."""

    def __init__(self) -> None:
        self.log = EventLog()
        self.outcome: Any = None

    def begin_run(self, _run_id: str, _about: Any) -> Any:
        return self.log

    def end_run(self, _run_id: str, outcome: Any, on_kept: Any) -> None:
        self.outcome = outcome
        on_kept()


def test_a_refused_command_tells_what_was_left_out_of_its_tree() -> None:
    (gone,) = beams(1)
    leaf = LeafTask("pss", "low-pss/subarray/01", "On")
    root = Task("go", is_root=True, subtasks=[Task("group", subtasks=[leaf])])
    root.find("go/group").left_out = (gone,)  # type: ignore[attr-defined]
    kept = Kept()
    outcome = record_refusal(kept, "r", RunAbout(), "go is rejected", task=root)  # type: ignore[arg-type]
    assert outcome == kept.outcome
    assert outcome.left_out == (gone,)
    (end,) = kept.log.select(kind="finished", path="go")
    assert end.detail.left_out == (gone,)


def test_a_device_that_the_database_does_not_know_is_told_as_such() -> None:
    data = group_map({"pst": ON})

    class Reader:
        def ping_all(self, names: list[str]) -> list[Reach]:
            return [Reach(name, name not in BEAMS, 0.0, unknown=name in BEAMS) for name in names]

        read = find = None

    session = MapSession(load_command_map(data), reader=Reader())  # type: ignore[arg-type]
    root = session.compose("go")
    assert {item.reason for item in root.left_out} == {"unknown device"}


def test_long_lists_end_with_their_rest() -> None:
    lines = left_out_lines(beams(30))
    assert len(lines) == 21
    assert lines[-1] == "… and 10 more"
