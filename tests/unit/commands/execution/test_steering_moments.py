"""Requests at every moment, from several threads at once, and on many steps at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

from taskgrove.commands.aggregation.base import AggregationOutcome
from taskgrove.commands.execution.schedule import Schedule
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import TaskStatus
from taskgrove.errors import SelfWaitError, UsageError
from taskgrove.events import NoteDetail, Observer, TaskEvent
from taskgrove.events.steering_request import (
    PATHS_KEPT,
    Steer,
    SteeringAnswer,
    SteeringRequest,
    SteeringVerb,
)
from taskgrove.testing import EventLog, Script
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

BUSY = Script.fails("busy", may_retry=True)


def asked(verb: SteeringVerb, path: str = "", **fields: Any) -> SteeringRequest:
    return SteeringRequest(id=f"{verb}-{path}", verb=verb, path=path, who="ann", **fields)


# -- several at once -----------------------------------------------------------------------------


def test_of_two_retries_at_once_one_is_done() -> None:
    with live(tree(leaf("scan")), {"scan": [NO_LOCK, HANGS]}, hold=True) as run:
        run.note("held", "observe/scan")
        together = threading.Barrier(2)
        answers: SimpleQueue[SteeringAnswer] = SimpleQueue()

        def ask(number: int) -> None:
            together.wait(GUARD_S)
            request = SteeringRequest(id=f"r{number}", verb="retry", path="observe/scan")
            run.handle.steer(request, answers.put)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(GUARD_S)
        given = sorted(
            (answers.get(timeout=GUARD_S) for _ in range(2)), key=lambda answer: answer.fate
        )
        assert given[0].fate == "done"
        assert why_not(given[1]) == ("refused", ["already"])
        run.fake.release("scan")
        assert run.ends() == OK
        run.fake.assert_calls(["scan", "scan"])


def test_a_pattern_acts_on_many_steps_and_its_answer_names_some() -> None:
    beams = [leaf(f"beam-{number:02}") for number in range(25)]
    group = Task("beams", PARALLEL, subtasks=beams)
    scripts = {beam.name: [NO_LOCK, GOOD] for beam in beams}
    with live(tree(group, leaf("end")), scripts, hold=True) as run:
        for beam in beams:
            run.note("held", f"observe/beams/{beam.name}")
        answer = run.handle.retry("observe/beams/beam-0*")
        assert (answer.fate, answer.acted_count, len(answer.paths)) == ("done", 10, 10)
        answer = run.handle.accept("observe/beams", who="ann")
        assert (answer.acted_count, len(answer.paths)) == (15, PATHS_KEPT - 5)
        assert run.ends() == DEGRADED


def test_a_decision_on_a_composite_without_an_open_step_is_refused() -> None:
    group = Task("beams", PARALLEL, subtasks=[leaf("a"), leaf("b")])
    with live(tree(group), {"a": HANGS, "b": HANGS}, hold=True) as run:
        run.fake.wait_for_call("b")
        answer = run.handle.retry("observe/beams")
        assert why_not(answer) == ("refused", ["not_held"])
        assert answer.objections[0].path == "observe/beams"
        assert answer.objections[0].status is TaskStatus.IN_PROGRESS


def test_a_decision_on_what_has_ended_is_too_late_and_names_who_decided() -> None:
    with live(tree(leaf("scan"), leaf("end")), {"scan": NO_LOCK, "end": HANGS}, hold=True) as run:
        run.note("held", "observe/scan")
        assert run.handle.accept("observe/scan", who="ann").fate == "done"
        run.fake.wait_for_call("end")
        answer = run.handle.fail("observe/scan", who="bob")
        assert why_not(answer) == ("too_late", ["node_ended"])
        assert answer.objections[0].who == "ann"


# -- pauses ----------------------------------------------------------------------------------------


def waits_for_a_thread(
    count: int, free: threading.Event, begun: threading.Event, ran: list[str]
) -> Task:
    """Return a tree whose first leaf keeps the only thread of its pool."""

    def first() -> None:
        begun.set()
        assert free.wait(GUARD_S)

    leaves = [
        LeafTask.from_callable(lambda number=number: ran.append(f"b{number}"), name=f"b{number}")
        for number in range(count)
    ]
    return tree(LeafTask.from_callable(first, name="first"), *leaves, task_type=PARALLEL)


def test_a_pause_takes_back_what_waits_for_a_thread() -> None:
    free, begun, ran = threading.Event(), threading.Event(), list[str]()
    with live(waits_for_a_thread(3, free, begun, ran), max_workers=1) as run:
        assert begun.wait(GUARD_S)
        assert run.handle.pause().fate == "done"
        for number in range(3):
            run.note("parked", f"observe/b{number}")
        assert run.handle.skip("observe/b1", who="ann").fate == "done"
        free.set()
        run.end_of("observe/first")
        assert ran == []
        assert run.handle.continue_run().fate == "done"
        assert run.ends() == DEGRADED
        assert ran == ["b0", "b2"]


def test_a_step_that_waits_for_a_thread_is_left_out_at_once() -> None:
    free, begun, ran = threading.Event(), threading.Event(), list[str]()
    with live(waits_for_a_thread(2, free, begun, ran), max_workers=1) as run:
        assert begun.wait(GUARD_S)
        assert run.handle.skip("observe/b0", who="ann").fate == "done"
        _, end = run.end_of("observe/b0")
        assert end.request is not None
        free.set()
        assert run.ends() == DEGRADED
        assert ran == ["b1"]


def test_a_retry_during_a_pause_is_done_and_its_attempt_comes_after_the_pause() -> None:
    with live(tree(leaf("scan")), {"scan": [NO_LOCK, GOOD]}, hold=True) as run:
        run.note("held", "observe/scan")
        assert run.handle.pause().fate == "done"
        answer = run.handle.retry("observe/scan", who="ann")
        assert (answer.fate, answer.is_kept_by_pause) == ("done", True)
        parked = run.note("parked", "observe/scan")
        assert parked.request is not None
        assert why_not(run.handle.retry("observe/scan")) == ("refused", ["already"])
        run.fake.assert_calls(["scan"])
        assert run.handle.continue_run().fate == "done"
        assert run.ends() == OK
        run.fake.assert_calls(["scan", "scan"])


def test_a_retry_that_a_pause_keeps_may_be_given_up() -> None:
    with live(tree(leaf("scan")), {"scan": [NO_LOCK, GOOD]}, hold=True) as run:
        run.note("held", "observe/scan")
        run.handle.pause()
        run.handle.retry("observe/scan")
        assert run.handle.fail("observe/scan", who="ann").fate == "done"
        run.ends()
        run.fake.assert_calls(["scan"])


def test_an_automatic_attempt_waits_for_the_end_of_the_pause() -> None:
    script = [Script(hangs=True, status=TaskStatus.FAILED, result="busy", may_retry=True), GOOD]
    with live(tree(leaf("scan", retries=1)), {"scan": script}) as run:
        run.fake.wait_for_call("scan")
        assert run.handle.pause().fate == "done"
        run.fake.release("scan")
        run.note("parked", "observe/scan")
        run.fake.assert_calls(["scan"])
        assert run.handle.continue_run().fate == "done"
        assert run.ends() == OK


def test_a_composite_is_parked_as_one() -> None:
    group = Task("beams", PARALLEL, subtasks=[leaf("a"), leaf("b")])
    with live(tree(leaf("scan"), group), {"scan": HANGS}) as run:
        run.fake.wait_for_call("scan")
        run.handle.pause()
        run.fake.release("scan")
        run.note("parked", "observe/beams")
        assert run.log.select(topic="parked", path="observe/beams/a") == ()
        assert run.handle.skip("observe/beams", who="ann").fate == "done"
        assert run.ends() == DEGRADED  # nothing is left that the pause keeps
        run.fake.assert_calls(["scan"])


@pytest.mark.parametrize("paused", [True, False])
def test_an_abort_ends_what_is_parked_held_undecided_and_delayed(paused: bool) -> None:
    group = Task("group", PARALLEL, rule="any", subtasks=[leaf("bad"), leaf("slow")])
    late = leaf("late", retries=1, retry_delay=GUARD_S)
    task = tree(
        group, late, leaf("scan"), leaf("hangs"), Task("rest", subtasks=[leaf("never")]),
        task_type=PARALLEL,
    )  # fmt: skip
    scripts = {"bad": NO_LOCK, "slow": HANGS, "late": BUSY, "scan": NO_LOCK, "hangs": HANGS}
    with live(task, scripts, hold=True, pause_before=["observe/rest"]) as run:
        run.note("parked", "observe/rest")
        run.handle.continue_run()
        run.note("undecided", "observe/group/bad")
        run.note("delayed", "observe/late")
        run.note("held", "observe/scan")
        if paused:
            run.handle.pause()
        assert run.handle.abort("weather")
        assert run.ends()[0] is TaskStatus.ABORTED
        ends = {name: run.end_of(f"observe/{name}")[0] for name in ("group/bad", "late", "scan")}
        assert {event.status for event in ends.values()} == {TaskStatus.ABORTED}
        assert "while its group was undecided" in ends["group/bad"].message
        assert "before its next attempt" in ends["late"].message
        assert "while it was held" in ends["scan"].message
        assert run.handle.held == ()


def test_an_abort_ends_what_a_pause_keeps() -> None:
    with live(tree(leaf("scan"), leaf("end")), pause_before=["observe/scan"]) as run:
        run.note("parked", "observe/scan")
        assert why_not(run.handle.skip("observe/nothing")) == ("refused", ["no_such_node"])
        assert run.handle.abort("weather")
        assert run.ends()[0] is TaskStatus.ABORTED
        run.fake.assert_calls([])
        _, end = run.end_of("observe/scan")
        assert end.cause is not None
        assert end.cause.kind == "not_started"


def test_after_an_abort_every_other_request_is_refused_with_who_asked() -> None:
    deaf = Script(hangs=True, heeds_abort=False)
    with live(tree(leaf("scan"), leaf("end")), {"scan": deaf}, grace_s=GUARD_S) as run:
        run.fake.wait_for_call("scan")
        answers: SimpleQueue[SteeringAnswer] = SimpleQueue()
        run.handle.steer(asked("abort", why="weather"), answers.put)
        assert answers.get(timeout=GUARD_S).fate == "done"
        assert run.note("abort-asked", "observe").request is not None
        for answer in (
            run.handle.pause(), run.handle.continue_run(), run.handle.retry("observe/scan"),
            run.handle.skip("observe/end"),
        ):  # fmt: skip
            assert why_not(answer) == ("refused", ["aborting"])
            assert answer.objections[0].who == "ann"
        run.handle.steer(SteeringRequest(id="2", verb="abort"), answers.put)
        assert why_not(answers.get(timeout=GUARD_S)) == ("refused", ["already"])
        run.fake.release("scan")
        assert run.ends()[0] is TaskStatus.ABORTED
        run.handle.steer(SteeringRequest(id="3", verb="abort"), answers.put)
        assert why_not(answers.get(timeout=GUARD_S)) == ("too_late", ["run_ended"])


def test_a_node_before_which_to_pause_must_exist_and_not_have_begun() -> None:
    task = tree(leaf("scan"), leaf("end"))
    with (
        pytest.raises(UsageError, match="no node of the tree is 'observe/sca'") as caught,
        live(tree(leaf("scan")), pause_before=["observe/sca"]),
    ):
        pass
    assert caught.value.hint == "did you mean 'observe/scan'?"
    with live(tree(leaf("scan"), leaf("end")), pause_before=["observe/end"]) as run:
        assert run.note("pause-before", "observe/end").request is None
        run.note("parked", "observe/end")
        assert run.note("paused", "observe").data == {"before": "observe/end"}
        run.handle.continue_run()
        assert run.ends() == OK
    with live(task, {"scan": HANGS}) as run:
        run.fake.wait_for_call("scan")
        assert why_not(run.handle.pause(before="observe/scan")) == ("refused", ["has_begun"])
        assert run.handle.pause(before="*/end").fate == "done"
        assert run.note("pause-before", "observe/end").request is not None
        run.fake.release("scan")
        run.note("parked", "observe/end")
        assert run.note("paused", "observe").request is not None
        run.handle.continue_run()
        assert run.ends() == OK


# -- groups ----------------------------------------------------------------------------------------


def test_a_group_waits_for_the_tasks_in_it() -> None:
    part = Task("part", subtasks=[leaf("slow")])
    task = tree(leaf("bad"), part, task_type=PARALLEL, rule="any", skip_subtasks=True)
    with live(task, {"bad": NO_LOCK, "slow": HANGS}, hold=True) as run:
        run.note("undecided", "observe/bad")
        run.fake.release("slow")
        assert run.ends()[0] is TaskStatus.COMPLETED
        assert run.log.select(topic="held") == ()


@pytest.mark.parametrize("good", [0, 1])
def test_a_group_of_pst_beams_is_judged_as_a_whole(good: int) -> None:
    beams = [leaf(f"pst-beam-0{number}") for number in range(3)]
    scripts = {beam.name: NO_LOCK for beam in beams[good:]}
    with live(tree(Task("configure_pst", PARALLEL, subtasks=beams)), scripts, hold=True) as run:
        if good:
            assert run.ends()[0] is TaskStatus.COMPLETED
            assert run.log.select(topic="held") == ()
        else:
            for beam in beams:
                run.note("held", f"observe/configure_pst/{beam.name}")


def test_one_decision_may_meet_the_rule_and_the_other_failures_stand() -> None:
    task = tree(leaf("a"), leaf("b"), leaf("c"), task_type=PARALLEL, rule="quorum: 2")
    with live(task, {"a": NO_LOCK, "b": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/a")
        run.note("held", "observe/b")
        assert run.handle.accept("observe/a", who="ann").fate == "done"
        assert run.ends()[0] is TaskStatus.COMPLETED
        _, end = run.end_of("observe/b")
        assert (end.accepted, end.request) == (False, None)


# -- marks that are made while a step starts -------------------------------------------------------


@pytest.mark.parametrize("at", ["observe/end", "observe/part"])
@pytest.mark.parametrize("verb", ["skip", "pause"])
def test_a_mark_that_is_made_while_the_step_starts_counts(
    verb: str, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = Schedule._launch
    answers: list[SteeringAnswer] = []
    known = threading.Event()
    handles: list[Any] = []

    def marked(schedule: Schedule, leaf_run: Any) -> None:
        if leaf_run.path.startswith(at) and not answers:
            assert known.wait(GUARD_S)
            request = asked("skip", at) if verb == "skip" else asked("pause", at)
            handles[0].steer(request, answers.append)
        launch(schedule, leaf_run)

    monkeypatch.setattr(Schedule, "_launch", marked)
    task = tree(leaf("scan"), Task("part", subtasks=[leaf("inner")]), leaf("end"))
    last = "observe/end" if at == "observe/end" else "observe/part/inner"
    with live(task) as run:
        handles.append(run.handle)
        known.set()
        if verb == "skip":
            assert run.ends() == DEGRADED
            assert run.end_of(last)[1].left_out[0].kind == "operator"
        else:
            run.note("parked", last)
            assert run.handle.continue_run().fate == "done"
            assert run.ends() == OK
        assert answers[0].fate == "done"


# -- at every moment -------------------------------------------------------------------------------


class At:
    """An observer that hands over a request with the event of a number."""

    def __init__(self, number: int, request: SteeringRequest) -> None:
        self._number, self._request = number, request
        self._handle: Any = None
        self._known = threading.Event()
        self.answers: SimpleQueue[SteeringAnswer] = SimpleQueue()

    def know(self, handle: Any) -> None:
        self._handle = handle
        self._known.set()

    def __call__(self, event: TaskEvent) -> None:
        if event.sequence == self._number:
            assert self._known.wait(GUARD_S)
            self._handle.steer(self._request, self.answers.put)


def sample() -> Task:
    group = Task("group", PARALLEL, rule="quorum: 2", subtasks=[leaf("a"), leaf("b"), leaf("c")])
    inner = Task("inner", SEQUENTIAL, skip_subtasks=True, subtasks=[leaf("scan"), leaf("stow")])
    return tree(leaf("first", retries=1), group, inner, leaf("end"), skip_subtasks=True)


SCRIPTS = {"first": [BUSY, GOOD], "b": NO_LOCK, "c": [NO_LOCK, GOOD], "scan": [NO_LOCK, GOOD]}
LAST_EVENT = 60


@pytest.mark.parametrize(
    "request_",
    [
        asked("pause"),
        asked("pause", "observe/inner"),
        asked("retry", "**"),
        asked("accept", "**"),
        asked("fail", "**"),
        asked("skip", "observe/**"),
        asked("skip", "observe/inner"),
        asked("skip", "observe/group/a"),
        asked("abort"),
        asked("abort", stop_finally=True),
    ],
    ids=lambda request: f"{request.verb} {request.path}",
)
def test_a_request_at_any_event_gets_one_answer_and_every_node_one_end(
    request_: SteeringRequest,
) -> None:
    for number in range(1, LAST_EVENT):
        observer = At(number, request_)
        with live(sample(), SCRIPTS, hold=True, observers=[observer]) as run:
            observer.know(run.handle)
            came = _drive_to_the_end(run, observer.answers, number)
            # The thread of a note may still be about to hand it over.
            last = max(event.sequence for event in run.log.events)
            run.log.wait_for(count=last, timeout_s=GUARD_S)
            run.log.assert_gapless()
            for path, _ in run.handle.task.walk():
                run.log.assert_one_end(path)
            if came is not None and came.fate == "done":
                assert any(
                    getattr(event.detail, "request", None) == request_ for event in run.log.events
                ), f"no event of {request_}"
        if number > len(run.log):
            break


def _drive_to_the_end(
    run: Any, answers: SimpleQueue[SteeringAnswer], number: int
) -> SteeringAnswer | None:
    """Continue a paused run, and decide on all that is held, until the run has ended."""
    while not run.handle.wait(0.005):
        run.handle.continue_run()
        for path in run.handle.held:
            run.handle.retry(path)
            run.handle.accept(path)
    return answers.get(timeout=GUARD_S) if len(run.log) >= number else None


# -- a recorder that brings requests -------------------------------------------------------------


class Brings:
    """A recorder that brings requests."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.steer: Steer | None = None

    def begin_run(self, _run_id: str, _about: RunAbout, *, resumed: bool = False) -> Observer:
        self.calls.append("begin_run")
        return lambda _event: None

    def take_requests(self, _run_id: str, steer: Steer) -> None:
        self.calls.append("take_requests")
        self.steer = steer
        self.early: SimpleQueue[SteeringAnswer] = SimpleQueue()
        steer(SteeringRequest(id="early", verb="pause"), self.early.put)

    def end_run(self, _run_id: str, _outcome: AggregationOutcome, kept: Callable[[], None]) -> None:
        kept()


def test_a_recorder_that_brings_requests_is_asked_for_them_before_the_run_begins() -> None:
    recorder = Brings()
    with live(tree(leaf("scan")), recorder=recorder) as run:
        assert recorder.calls == ["begin_run", "take_requests"]
        assert recorder.early.get(timeout=GUARD_S).fate == "done"
        run.note("parked", "observe/scan")
        paused = run.log.select(topic="paused")[0]
        composed = run.log.select(kind="composed")[-1]
        assert paused.sequence > composed.sequence
        answers: SimpleQueue[SteeringAnswer] = SimpleQueue()
        assert recorder.steer is not None
        recorder.steer(SteeringRequest(id="2", verb="continue"), answers.put)
        assert answers.get(timeout=GUARD_S).fate == "done"
        assert run.ends() == OK


def test_an_observer_may_not_wait_for_an_answer() -> None:
    raised: SimpleQueue[BaseException] = SimpleQueue()
    known = threading.Event()
    handles: list[Any] = []

    def observer(event: TaskEvent) -> None:
        if isinstance(event.detail, NoteDetail) and event.detail.topic == "held":
            assert known.wait(GUARD_S)
            try:
                handles[0].retry(event.path)
            except SelfWaitError as exc:
                raised.put(exc)

    log = EventLog()
    with live(tree(leaf("scan")), {"scan": NO_LOCK}, hold=True, observers=[observer, log]) as run:
        handles.append(run.handle)
        known.set()
        assert "steer()" in str(raised.get(timeout=GUARD_S))


def test_a_step_may_pause_its_own_run() -> None:
    handles: list[Any] = []
    known = threading.Event()

    def first() -> None:
        assert known.wait(GUARD_S)
        assert handles[0].pause("look at the data").fate == "done"

    with live(tree(LeafTask.from_callable(first, name="first"), leaf("end"))) as run:
        handles.append(run.handle)
        known.set()
        run.note("parked", "observe/end")
        run.handle.continue_run()
        assert run.ends() == OK
