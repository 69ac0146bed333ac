"""Requests of operators to a live run: each rule, with devices that follow a script."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from taskgrove.commands.prior import PriorEnd
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import LeftOut, NoteDetail
from taskgrove.events.steering_request import SteeringAnswer, SteeringRequest, SteeringVerb
from taskgrove.testing import Script
from tests.unit.commands.execution.live_steering import (
    DEGRADED,
    GOOD,
    GUARD_S,
    HANGS,
    NO_LOCK,
    OK,
    PARALLEL,
    SEQUENTIAL,
    leaf,
    live,
    tree,
    why_not,
)


def test_a_held_step_is_tried_again_and_the_run_goes_on() -> None:
    task = tree(leaf("configure"), leaf("scan"), leaf("end"), skip_subtasks=True)
    with live(task, {"scan": [NO_LOCK, GOOD]}, hold=True) as run:
        held = run.note("held", "observe/scan")
        assert held.cause is not None
        assert held.cause.said == "no lock"
        assert run.handle.held == ("observe/scan",)
        assert run.handle.status is TaskStatus.IN_PROGRESS
        answer = run.handle.retry("observe/scan", "receiver fixed", who="ann")
        assert (answer.fate, answer.paths) == ("done", ("observe/scan",))
        assert run.ends() == OK
        retry = run.note("retry", "observe/scan")
        assert retry.request is not None
        assert (retry.request.who, retry.request.why) == ("ann", "receiver fixed")
        run.fake.assert_calls(["configure", "scan", "scan", "end"])
        assert run.handle.held == ()


def test_an_accepted_step_is_a_success_that_a_person_made() -> None:
    task = tree(leaf("scan"), leaf("end"), skip_subtasks=True)
    with live(task, {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        assert run.handle.accept("observe/scan", "seen by eye", who="ann").fate == "done"
        assert run.ends() == DEGRADED
        event, end = run.end_of("observe/scan")
        assert event.status is TaskStatus.COMPLETED
        assert event.message.endswith("accepted by ann: seen by eye; no lock")
        assert (end.accepted, end.accepted_by) == (True, ("ann",))
        assert end.request is not None
        assert end.cause is not None
        assert end.cause.said == "no lock"
        run.fake.assert_calls(["scan", "end"])


@pytest.mark.parametrize(("verb", "called"), [("fail", ["scan"]), ("skip", ["scan", "end"])])
def test_a_failure_stands_and_skip_lets_the_later_steps_run(verb: str, called: list[str]) -> None:
    task = tree(leaf("scan"), leaf("end"), skip_subtasks=True)
    with live(task, {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        answer: SteeringAnswer = getattr(run.handle, verb)("observe/scan", who="ann")
        assert answer.fate == "done"
        run.ends()
        event, end = run.end_of("observe/scan")
        assert (event.result_code, end.accepted) == (ResultCode.FAILED, False)
        assert end.request is not None
        assert end.request.verb == verb
        run.fake.assert_calls(called)


def test_skip_reaches_over_a_composite_that_failed_only_because_of_it() -> None:
    inner = Task("inner", SEQUENTIAL, skip_subtasks=True, subtasks=[leaf("scan"), leaf("stow")])
    task = tree(inner, leaf("end"), skip_subtasks=True)
    with live(task, {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/inner/scan")
        assert run.handle.skip("observe/inner/scan").fate == "done"
        run.ends()
        run.fake.assert_calls(["scan", "stow", "end"])


def test_a_held_step_is_aborted_with_its_failure_as_cause() -> None:
    with live(tree(leaf("scan"), leaf("end")), {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        assert run.handle.abort("weather")
        assert run.ends()[0] is TaskStatus.ABORTED
        event, end = run.end_of("observe/scan")
        assert event.status is TaskStatus.ABORTED
        assert event.message.endswith("aborted while it was held; attempt 1: no lock")
        assert end.cause is not None
        assert end.cause.said == "no lock"
        assert run.end_of("observe/end")[1].cause.kind == "not_started"  # type: ignore[union-attr]


def test_a_pause_parks_what_comes_and_continue_starts_it() -> None:
    task = tree(leaf("scan"), leaf("end"))
    with live(task, {"scan": HANGS}) as run:
        run.fake.wait_for_call("scan")
        assert run.handle.pause("lunch", who="ann").fate == "done"
        assert run.handle.is_paused
        run.fake.release("scan")
        run.note("parked", "observe/end")
        assert run.note("paused", "observe").request is not None
        run.fake.assert_calls(["scan"])
        again = run.handle.pause()
        assert why_not(again) == ("refused", ["already"])
        assert again.objections[0].who == "ann"
        assert run.handle.continue_run().fate == "done"
        assert run.ends() == OK
        run.fake.assert_calls(["scan", "end"])
        assert why_not(run.handle.continue_run()) == ("too_late", ["run_ended"])


def test_the_run_pauses_before_a_node() -> None:
    with live(tree(leaf("scan"), leaf("end")), pause_before=["observe/end"]) as run:
        assert run.note("paused", "observe").data == {"before": "observe/end"}
        run.note("parked", "observe/end")
        run.fake.assert_calls(["scan"])
        assert run.handle.continue_run().fate == "done"
        assert run.ends() == OK


def test_a_step_that_has_not_begun_is_left_out() -> None:
    task = tree(leaf("scan"), leaf("stow"), leaf("end"), skip_subtasks=True)
    with live(task, {"scan": HANGS}) as run:
        run.fake.wait_for_call("scan")
        assert run.handle.skip("observe/stow", "no wind", who="ann").fate == "done"
        assert why_not(run.handle.skip("observe/stow")) == ("refused", ["already"])
        assert why_not(run.handle.skip("observe/scan")) == ("refused", ["has_begun"])
        run.fake.release("scan")
        assert run.ends() == DEGRADED
        event, end = run.end_of("observe/stow")
        assert event.status is TaskStatus.REJECTED
        assert end.skipped
        assert [item.kind for item in end.left_out] == ["operator"]
        assert end.request is not None
        run.fake.assert_calls(["scan", "end"])


def test_a_composite_that_has_not_begun_is_left_out_as_a_whole() -> None:
    inner = Task("inner", PARALLEL, subtasks=[leaf("a"), leaf("b")])
    task = tree(leaf("scan"), inner, leaf("end"), skip_subtasks=True)
    with live(task, {"scan": HANGS}) as run:
        run.fake.wait_for_call("scan")
        assert run.handle.skip("observe/inner").fate == "done"
        run.fake.release("scan")
        assert run.ends() == DEGRADED
        _, end = run.end_of("observe/inner")
        assert [item.path for item in end.left_out] == ["observe/inner"]
        assert run.end_of("observe/inner/a")[1].cause.because_of == "observe/inner"  # type: ignore[union-attr]
        run.fake.assert_calls(["scan", "end"])


def test_steps_that_a_person_left_out_stay_so_where_the_sequence_breaks_before_their_turn() -> None:
    inner = Task("inner", SEQUENTIAL, subtasks=[leaf("a"), leaf("b")])
    whole = Task("whole", PARALLEL, subtasks=[leaf("c")])
    task = tree(leaf("scan"), leaf("stow"), inner, whole, leaf("end"), skip_subtasks=True)
    left_out = ("observe/stow", "observe/inner/b", "observe/whole")
    with live(task, {"scan": HANGS}) as run:
        run.fake.wait_for_call("scan")
        for path in left_out:
            assert run.handle.skip(path, "no wind", who="ann").fate == "done"
        run.fake.release("scan", NO_LOCK)
        assert run.ends()[0] is TaskStatus.FAILED
        for path in left_out:
            event, end = run.end_of(path)
            assert event.message == "left out by ann: no wind"
            assert [(item.kind, item.path) for item in end.left_out] == [("operator", path)]
            assert end.request is not None
        for path in ("observe/inner", "observe/inner/a", "observe/end"):
            event, end = run.end_of(path)
            assert (event.message, end.left_out) == ("skipped: scan failed", ())
        below = run.end_of("observe/whole/c")[1].cause
        assert below is not None
        assert below.because_of == "observe/whole"
        run.fake.assert_calls(["scan"])


def test_a_step_left_out_in_the_record_stays_so_where_the_sequence_breaks() -> None:
    request = SteeringRequest(id="q1", verb="skip", who="ann")
    told = LeftOut("stow", None, "operator", "left out by ann", "observe/stow")
    fields = {"skipped": True, "left_out": (told,), "request": request}
    end = PriorEnd(TaskStatus.REJECTED, (ResultCode.REJECTED, told.reason), fields=fields)
    task = tree(leaf("scan"), leaf("stow"), leaf("end"), skip_subtasks=True)
    with live(task, {"scan": NO_LOCK}, prior={"observe/stow": end}) as run:
        assert run.ends()[0] is TaskStatus.FAILED
        assert [item.kind for item in run.end_of("observe/stow")[1].left_out] == ["operator"]
        assert run.end_of("observe/end")[1].left_out == ()


def test_a_group_is_judged_when_all_have_ended() -> None:
    task = tree(leaf("a"), leaf("b"), leaf("c"), task_type=PARALLEL, rule="any", hold="on_failure")
    with live(task, {"a": NO_LOCK, "b": NO_LOCK, "c": HANGS}) as run:
        run.note("undecided", "observe/a")
        run.note("undecided", "observe/b")
        run.fake.release("c")
        assert run.ends()[0] is TaskStatus.COMPLETED
        assert run.end_of("observe/a")[0].result_code is ResultCode.FAILED


def test_a_group_that_misses_its_rule_is_held_until_it_is_met() -> None:
    task = tree(leaf("a"), leaf("b"), task_type=PARALLEL, rule="any", hold="on_failure")
    with live(task, {"a": [NO_LOCK, GOOD], "b": NO_LOCK}) as run:
        run.note("held", "observe/a")
        run.note("held", "observe/b")
        assert run.handle.retry("observe/a").fate == "done"
        assert run.ends()[0] is TaskStatus.COMPLETED
        assert run.end_of("observe/b")[0].result_code is ResultCode.FAILED


def test_further_attempts_come_after_longer_and_longer_delays() -> None:
    flaky = Script.fails("busy", may_retry=True)
    step = leaf("scan", retries=2, retry_delay=0.01, retry_backoff=3.0)
    with live(tree(step), {"scan": [flaky, flaky, GOOD]}) as run:
        assert run.ends() == OK
        delays = [
            int(event.detail.data["until_ns"]) - event.wall_ns
            for event in run.log.events
            if isinstance(event.detail, NoteDetail) and event.detail.topic == "delayed"
        ]
        assert len(delays) == 2
        assert delays[0] < 0.015e9 < delays[1] < 0.045e9


def test_a_delayed_step_takes_decisions() -> None:
    flaky = Script.fails("busy", may_retry=True)
    with live(tree(leaf("scan", retries=1, retry_delay=GUARD_S)), {"scan": [flaky, GOOD]}) as run:
        run.note("delayed", "observe/scan")
        assert run.handle.held == ("observe/scan",)
        assert run.handle.retry("observe/scan").fate == "done"
        assert run.ends() == OK


def test_a_request_is_carried_out_once_whatever_its_number() -> None:
    with live(tree(leaf("scan")), {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        answers: SimpleQueue[SteeringAnswer] = SimpleQueue()
        request = SteeringRequest(id="r1", verb="retry", path="observe/scan")
        for _ in range(3):
            run.handle.steer(request, answers.put)
        run.log.wait_for(topic="held", where=lambda event: event.attempt == 2, timeout_s=GUARD_S)
        run.handle.steer(request, answers.put)
        given = [answers.get(timeout=GUARD_S) for _ in range(4)]
        assert given[0].fate == "done"
        assert all(answer is given[0] for answer in given)
        run.fake.assert_calls(["scan", "scan"])


def test_the_newest_answers_are_remembered() -> None:
    with live(tree(leaf("scan")), {"scan": HANGS}) as run:
        assert why_not(run.handle.continue_run())[1] == ["not_paused"]  # the run has begun
        answers: list[SteeringAnswer] = []
        for number in range(1_200):
            run.handle.steer(SteeringRequest(id=f"r{number}", verb="continue"), answers.append)
        assert len(answers) == 1_200
        run.handle.steer(SteeringRequest(id="r1199", verb="continue"), answers.append)
        assert answers[-1] is answers[-2]
        assert len(run.handle._run._steering._answers) == 1_000


def test_a_request_may_name_the_command_of_a_step() -> None:
    with live(tree(leaf("scan")), {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        answer = run.handle.accept("observe/Run", "by eye")
        assert (answer.fate, answer.paths) == ("done", ("observe/scan",))


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("observe/scam", "observe/scan"),
        ("observe/scam/**", "observe/scan"),
        ("sc*", "observe/scan"),
        ("scan", "observe/scan"),
        ("nothing/alike/at/all", None),
    ],
)
def test_an_unknown_path_is_refused_with_the_near_one(path: str, near: str | None) -> None:
    with live(tree(leaf("scan"), leaf("end")), {"scan": HANGS}) as run:
        answer = run.handle.retry(path)
        assert why_not(answer) == ("refused", ["no_such_node"])
        assert (answer.objections[0].path, answer.objections[0].nearest) == (path, near)


def test_a_hold_ends_with_its_own_limit() -> None:
    with live(tree(leaf("scan", hold="on_failure", hold_timeout=0.01)), {"scan": NO_LOCK}) as run:
        assert "until_ns" in run.note("held", "observe/scan").data
        run.note("hold-expired", "observe/scan")
        assert run.ends()[1] is ResultCode.FAILED


def test_steps_that_failed_alike_end_each_as_its_own() -> None:
    free = threading.Event()

    def fails() -> None:
        raise ValueError("no lock")

    steps = [LeafTask.from_callable(fails, name=name) for name in ("one", "two")]
    last = LeafTask.from_callable(lambda: None if free.wait(GUARD_S) else fails(), name="last")
    with live(tree(*steps, last, task_type=PARALLEL, rule="any"), hold=True) as run:
        for name in ("one", "two"):
            run.note("undecided", f"observe/{name}")
        first, second = run.handle._run.schedule.waiting.all()
        assert first._failures is second._failures
        run.handle.fail("observe/one", who="ann")
        free.set()  # the rule is met
        run.ends()
        assert run.end_of("observe/one")[1].request is not None
        assert run.end_of("observe/two")[1].request is None


class Incomparable:
    """A foreign value that cannot be compared, as arrays cannot."""

    __hash__ = None  # type: ignore[assignment] # on purpose

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value is ambiguous")


@pytest.mark.parametrize("told", [{"error": True}, {"result": True}])
def test_steps_that_failed_with_foreign_values_are_held(told: dict[str, bool]) -> None:
    def step(task_callback: Any) -> None:
        own = {"result": (ResultCode.FAILED, "no lock")}
        odd = {name: (Incomparable(), "no lock") for name in told}
        task_callback(status=TaskStatus.FAILED, **{**own, **odd})

    steps = [LeafTask.from_callable(step, name=name) for name in ("one", "two")]
    with live(tree(*steps, task_type=PARALLEL), hold=True) as run:
        for name in ("one", "two"):
            run.note("held", f"observe/{name}")
        assert set(run.handle.held) == {"observe/one", "observe/two"}


def test_who_asks_without_a_name_is_the_user_of_the_machine() -> None:
    with live(tree(leaf("scan"), leaf("end")), {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        answers: SimpleQueue[SteeringAnswer] = SimpleQueue()
        decisions: tuple[tuple[SteeringVerb, str], ...] = (
            ("skip", "observe/end"),
            ("accept", "observe/scan"),
        )
        for verb, path in decisions:
            request = SteeringRequest(id=verb, verb=verb, path=path, user="ops")
            run.handle.steer(request, answers.put)
            assert answers.get(timeout=GUARD_S).fate == "done"
        assert run.ends() == DEGRADED
        assert run.end_of("observe/scan")[1].accepted_by == ("ops",)
        assert run.end_of("observe/end")[1].left_out[0].reason == "left out by ops"


def test_without_a_thread_a_request_is_carried_out_where_it_was_made_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with live(tree(leaf("scan")), {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        control = run.handle._run.engine.control
        submit = control.submit

        def refuses(job: Callable[[], object]) -> None:
            submit(job)
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(control, "submit", refuses)
        assert run.handle.accept("observe/scan", who="ann").fate == "done"
        monkeypatch.undo()
        assert run.ends() == DEGRADED
        run.log.assert_one_end("observe/scan")
