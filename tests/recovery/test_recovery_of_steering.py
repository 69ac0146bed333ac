"""Runs that were lost while steps waited: for a decision, an attempt, or the end of a pause."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.commands.execution.composed_events import composed_detail
from taskgrove.commands.prior import PriorEnd, PriorWork
from taskgrove.commands.replay import rebuild
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import (
    Cause,
    EventDetail,
    NoteDetail,
    StartedDetail,
    SteeringRequest,
    TaskEvent,
)
from taskgrove.recovery.clean_up import pending_clean_up, run_clean_up
from taskgrove.recovery.recovery_plan import RecoveryPlan, plan_recovery
from taskgrove.story.run_node import RunNodes

CAUSE = Cause(kind="reported", said="no lock", attempt=1)
SCAN = "observe/scan"
RETRY = SteeringRequest(id="q1", verb="retry", path=SCAN, who="ann")


def observe() -> Task:
    steps = [LeafTask(name, "x/y/z", name.title()) for name in ("configure", "scan")]
    return Task("observe", subtasks=steps, finally_tasks=[LeafTask("end", "x/y/z", "End")])


class Told:
    """The events of a run as far as they were told, one nanosecond after another."""

    def __init__(self, tree: Task) -> None:
        self.events: list[TaskEvent] = []
        for path, node in tree.walk():
            self.tell(path, "composed", composed_detail(node))

    def tell(
        self,
        path: str,
        kind: str,
        detail: EventDetail | None = None,
        message: str = "",
        **more: object,
    ) -> Told:
        number = len(self.events) + 1
        told = {"monotonic_s": float(number), "wall_ns": number, "message": message, **more}
        self.events.append(
            TaskEvent(run_id="r1", sequence=number, path=path, kind=kind, detail=detail, **told)  # type: ignore[arg-type]
        )
        return self

    def begin(self, path: str, attempt: int = 1) -> Told:
        self.tell(path, "started", StartedDetail("command", f"id-{attempt}"), attempt=attempt)
        running = TaskStatus.IN_PROGRESS
        return self.tell(path, "progress", status=running, attempt=attempt)

    def note(self, topic: str, path: str = SCAN, **more: object) -> Told:
        data, cause, request = (more.pop(name, None) for name in ("data", "cause", "request"))
        detail = NoteDetail(topic, data or {}, cause, request)  # type: ignore[arg-type]
        return self.tell(path, "note", detail, **more)

    def plan(self, **more: Any) -> RecoveryPlan:
        return plan_recovery(RunNodes(self.events), run_id="r1", lost_at="noon", **more)


@pytest.fixture
def told() -> Told:
    run = Told(observe()).begin("observe/configure")
    done = {"status": TaskStatus.COMPLETED, "result_code": ResultCode.OK}
    return run.tell("observe/configure", "finished", None, "done", **done).begin(SCAN)


@pytest.mark.parametrize("topic", ["held", "undecided", "delayed", "hold-expired"])
def test_the_failure_of_a_leaf_that_waited_stands(told: Told, topic: str) -> None:
    plan = told.note(topic, cause=CAUSE, message="no lock").plan()
    assert plan.of("held") == (SCAN,)
    end = plan.prior[SCAN]
    assert isinstance(end, PriorEnd)
    assert (end.status, end.result) == (TaskStatus.FAILED, (ResultCode.FAILED, "no lock"))
    assert end.fields["cause"] == CAUSE
    assert (end.facts.topic, end.facts.cause) == ("was-held", CAUSE)
    assert end.facts.data["waiting"] == {"hold-expired": "held"}.get(topic, topic)
    assert "was held" in end.note


def may_have_begun(plan: RecoveryPlan, path: str) -> bool:
    end = plan.prior.get(path)
    return isinstance(end, PriorEnd) and (
        end.facts.topic == "lost" or "may_have_begun" in end.facts.data
    )


def test_an_attempt_may_have_begun_in_the_last_moments(told: Told) -> None:
    told.note("held", cause=CAUSE, message="no lock")
    assert not may_have_begun(told.plan(), SCAN)
    assert may_have_begun(told.plan(asked=[RETRY]), SCAN)  # taken, perhaps, and not answered
    told.note("retry", request=RETRY, cause=CAUSE).note("parked")
    assert may_have_begun(told.plan(), SCAN)  # the pause is over, for all that is known
    told.note("paused", "observe")
    assert not may_have_begun(told.plan(), SCAN)
    go_on = SteeringRequest(id="q2", verb="continue")
    assert may_have_begun(told.plan(asked=[go_on]), SCAN)


def test_a_delay_may_have_been_over(told: Told) -> None:
    told.note("delayed", cause=CAUSE, message="no lock", data={"until_ns": "5000"})
    assert may_have_begun(told.plan(), SCAN)
    assert may_have_begun(told.plan(lost_ns=5000), SCAN)
    assert not may_have_begun(told.plan(lost_ns=4999), SCAN)


def test_a_step_that_was_kept_back_may_have_begun_after_the_pause() -> None:
    run = Told(observe()).note("paused", "observe").note("parked", "observe/configure")
    assert not may_have_begun(run.plan(), "observe/configure")
    assert may_have_begun(run.note("continued", "observe").plan(), "observe/configure")


def test_an_attempt_that_was_asked_for_and_not_heard_of_is_not_known(told: Told) -> None:
    told.note("held", cause=CAUSE, message="no lock").note("retry", request=RETRY, cause=CAUSE)
    plan = told.plan()
    # The id on record is that of the attempt before: to follow it would hide the new one.
    assert plan.of("unknown") == (SCAN,)
    end = plan.prior[SCAN]
    assert isinstance(end, PriorEnd)
    assert (end.fields["cause"].kind, end.fields["cause"].outside_id) == ("lost", None)


def test_an_attempt_after_the_decision_is_followed(told: Told) -> None:
    told.note("held", cause=CAUSE, message="no lock").note("retry", request=RETRY, cause=CAUSE)
    plan = told.begin(SCAN, attempt=2).plan()
    assert plan.of("followed") == (SCAN,)
    work = plan.prior[SCAN]
    assert isinstance(work, PriorWork)
    assert (work.outside_id, work.attempt) == ("id-2", 2)


def test_an_attempt_that_began_after_its_delay_is_followed(told: Told) -> None:
    told.note("retry", cause=CAUSE).note("delayed", message="no lock")
    assert told.plan().of("held") == (SCAN,)
    assert told.begin(SCAN, attempt=2).plan().of("followed") == (SCAN,)


def test_an_attempt_that_a_pause_kept_back_leaves_the_failure(told: Told) -> None:
    told.note("held", cause=CAUSE, message="no lock").note("retry", request=RETRY, cause=CAUSE)
    plan = told.note("parked").plan()
    assert plan.of("held") == (SCAN,)
    end = plan.prior[SCAN]
    assert isinstance(end, PriorEnd)
    assert (end.facts.data["waiting"], end.fields["cause"]) == ("parked", CAUSE)


def test_a_leaf_that_a_pause_kept_back_never_began() -> None:
    run = Told(observe()).note("paused", "observe")
    plan = run.note("parked", "observe/configure").plan()
    assert plan.of("not_started") == ("observe/configure", SCAN, "observe/finally/end")
    # Nothing of it may have been started in the last moments, so nothing may run twice.
    assert "observe/configure" not in plan.prior
    assert "observe/configure" in Told(observe()).plan().prior


# -- the clean-up ---------------------------------------------------------------------------------

END = "observe/finally/end"


def test_a_clean_up_is_pending_once_a_step_before_it_has_begun(told: Told) -> None:
    assert pending_clean_up(told.plan()) == (END,)
    assert pending_clean_up(Told(observe()).plan()) == ()
    told.begin(END)
    assert pending_clean_up(told.plan()) == ()


def test_the_steps_of_a_clean_up_come_from_the_tree_that_is_composed_again(told: Told) -> None:
    plan, tree = told.plan(), observe()
    own = tree.find(END)
    assert isinstance(own, LeafTask)
    own.argin, own.settings = {"a": 1}, {"b": 2}
    run_clean_up(plan, tree)
    step = plan.root.find(END)
    assert isinstance(step, LeafTask)
    assert (step.argin, step.settings) == ({"a": 1}, {"b": 2})
    assert END not in plan.prior
    assert plan.of("clean_up") == (END,)
    assert plan.line.endswith("1 of the clean-up, which runs now")


@pytest.mark.parametrize("change", ["missing", "command", "device"])
def test_a_clean_up_that_has_changed_is_refused(told: Told, change: str) -> None:
    steps = [LeafTask(name, "x/y/z", name.title()) for name in ("configure", "scan")]
    ends = {
        "missing": LeafTask("other", "x/y/z", "End"),
        "command": LeafTask("end", "x/y/z", "Off"),
        "device": LeafTask("end", "x/y/other", "End"),
    }
    tree = Task("observe", subtasks=steps, finally_tasks=[ends[change]])
    with pytest.raises(UsageError):
        run_clean_up(told.plan(), tree)


def test_a_tree_of_the_record_is_composed_as_it_was() -> None:
    called = Task("scan", subtasks=[LeafTask("go", "x/y/z", "Scan", retry_delay=2, retries=1)])
    called.call, called.description = "scan", "One scan."
    end = LeafTask("end", "x/y/z", "End")
    root = Task("observe", is_root=True, subtasks=[called], finally_tasks=[end])
    root.description = "All of it."
    run = Told(root)
    again = rebuild(run.events).root
    assert again is not None
    assert {path: composed_detail(node) for path, node in again.walk()} == {
        path: composed_detail(node) for path, node in root.walk()
    }


def test_a_step_that_a_person_left_out_before_its_turn_stays_left_out() -> None:
    skip = SteeringRequest(id="q3", verb="skip", who="ann", why="wind")
    told = Told(observe()).begin("observe/configure").note("asked", request=skip)
    left_out = told.plan().prior[SCAN]
    assert isinstance(left_out, PriorEnd)
    assert left_out.result == (ResultCode.REJECTED, "left out by ann: wind")
    assert [item.kind for item in left_out.fields["left_out"]] == ["operator"]
    assert left_out.fields["request"] == skip
