"""The clean-up of a sequence: when it runs, and what does not reach it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taskgrove.commands.execution.limit import Limit, LimitClock
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorEnd, PriorWork
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import TaskAbortedError
from taskgrove.events import Cause, CauseKind, TaskEvent
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

DEVICE, PARALLEL = TaskExecutionType.DEVICE, TaskExecutionType.PARALLEL
COMPLETED, FAILED = TaskStatus.COMPLETED, TaskStatus.FAILED
ABORTED, REJECTED = TaskStatus.ABORTED, TaskStatus.REJECTED
GUARD_S = 120.0

HANGS = Script(hangs=True)
BAD = Script.fails("no lock")


def leaf(name: str, **options: Any) -> LeafTask:
    return LeafTask(name, f"x/y/{name}", "Do", **options)


def sequence(*names: str, last: tuple[str, ...] = ("end",), **options: Any) -> Task:
    name = options.pop("name", "root")
    return Task(
        name,
        subtasks=[leaf(item) if isinstance(item, str) else item for item in names],
        finally_tasks=[leaf(item) if isinstance(item, str) else item for item in last],
        **options,
    )


class Stage:
    """A run whose devices follow a script."""

    def __init__(self, task: Task, grace_s: float = 5.0, **options: Any) -> None:
        scripts = options.pop("scripts", {})
        self.fake = FakeDeviceRunner(scripts, limits=options.pop("limits", None))
        self.log = EventLog()
        self.executor = MainTaskExecutor(4, runners={DEVICE: self.fake}, grace_s=grace_s)
        self.handle = self.executor.submit_main_task(task, observers=[self.log], **options)

    def end(self) -> Any:
        assert self.handle.wait(GUARD_S)
        self.executor.shutdown()
        self.log.assert_gapless()
        for path, node in self.handle.task.walk():
            self.log.assert_one_end(path)
            if isinstance(node, Task):
                assert node.tracker.is_complete
        assert self.handle.progress == 100
        return self.handle.outcome

    @property
    def started(self) -> list[str]:
        return [call.name for call in self.fake.calls if call.action == "start"]

    def end_of(self, path: str) -> TaskEvent:
        return next(
            event for event in self.log.events if event.path == path and event.kind == "finished"
        )


def ran(task: Task, **options: Any) -> Stage:
    stage = Stage(task, **options)
    stage.end()
    return stage


# -- when it runs ------------------------------------------------------------------------------


def test_it_runs_after_the_steps_have_succeeded() -> None:
    stage = ran(sequence("a", "b", last=("end", "park")))
    assert stage.started == ["a", "b", "end", "park"]
    assert stage.handle.ok


@pytest.mark.parametrize("skips", [True, False])
def test_it_runs_after_a_step_has_failed(skips: bool) -> None:
    stage = ran(sequence("a", "b", "c", skip_subtasks=skips), scripts={"a": BAD})
    assert stage.started == (["a", "end"] if skips else ["a", "b", "c", "end"])
    assert stage.handle.outcome.result is ResultCode.FAILED
    assert stage.end_of("root/finally").status is COMPLETED
    if skips:
        assert stage.end_of("root/b").detail.skipped


def test_each_of_its_steps_runs_whatever_becomes_of_the_one_before() -> None:
    stage = ran(sequence("a", last=("end", "park")), scripts={"end": BAD})
    assert stage.started == ["a", "end", "park"]
    assert stage.handle.outcome.result is ResultCode.FAILED


def test_a_failure_of_it_breaks_the_sequence_above() -> None:
    inner = sequence("a", name="inner")
    stage = ran(sequence(inner, "b", last=("close",), skip_subtasks=True), scripts={"end": BAD})
    assert stage.started == ["a", "end", "close"]


@pytest.mark.parametrize("skips", [True, False])
def test_it_does_not_run_where_no_step_has_begun(skips: bool) -> None:
    refused = Script.rejects("queue is full")
    task = sequence("a", "b", skip_subtasks=skips, last=("end", Task("more", subtasks=[leaf("c")])))
    stage = ran(task, scripts={"a": refused, "b": refused})
    assert stage.started == (["a"] if skips else ["a", "b"])
    assert stage.handle.outcome.status is REJECTED
    for path in ("root/finally", "root/finally/end", "root/finally/more/c"):
        end = stage.end_of(path)
        assert (end.status, end.detail.skipped) == (REJECTED, True)
        assert end.detail.cause.kind == "not_started"


def test_it_runs_where_an_earlier_attempt_has_begun() -> None:
    task = sequence(leaf("a", retries=1))
    again = Script(status=FAILED, result=(ResultCode.FAILED, "boom"), may_retry=True)
    stage = ran(task, scripts={"a": [again, Script.rejects("queue is full")]})
    assert stage.started == ["a", "a", "end"]


@pytest.mark.parametrize(
    "script",
    [
        Script(raises=RuntimeError("in the middle of it")),
        Script(progress=[10], status=REJECTED, result=(ResultCode.REJECTED, "no more")),
    ],
)
def test_it_runs_where_a_step_may_have_done_something(script: Script) -> None:
    assert ran(sequence("a"), scripts={"a": script}).started == ["a", "end"]


def test_it_runs_where_a_reused_step_has_begun() -> None:
    prior = {
        "root/a": PriorEnd(COMPLETED, note="reused"),
        "root/b": PriorEnd(REJECTED, fields={"skipped": True}),
    }
    assert ran(sequence("a", "b"), prior=prior).started == ["end"]
    del prior["root/a"]
    stage = ran(sequence("a", "b"), prior=prior, scripts={"a": Script.rejects("full")})
    assert stage.started == ["a"]


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_run_that_starts_nothing_else_runs_it_only_where_a_step_had_begun(
    has_begun: bool,
) -> None:
    inner = sequence("b", name="inner", last=("inner-end",))
    work = {"root/inner/b": PriorWork("")} if has_begun else {}
    stage = ran(
        sequence("a", inner), prior={"root/a": PriorEnd(COMPLETED), **work},
        start_nothing="the runner was lost", start_clean_up=True,
    )  # fmt: skip
    assert stage.started == (["inner-end", "end"] if has_begun else ["end"])
    if not has_begun:
        assert (
            "not run: the runner was lost" in stage.end_of("root/inner/finally/inner-end").message
        )


@pytest.mark.parametrize(("kind", "runs"), [("not_started", False), ("timed_out", True)])
def test_what_the_record_tells_of_a_whole_step_decides_whether_one_had_begun(
    kind: CauseKind, runs: bool
) -> None:
    inner = sequence(Task("part", subtasks=[leaf("b")]), name="inner", last=("inner-end",))
    fields = {"cause": Cause(kind=kind)}
    end = PriorEnd(FAILED, (ResultCode.FAILED, "late"), fields=fields, recorded=True)
    stage = Stage(
        Task("root", subtasks=[inner]), prior={"root/inner/part/b": end},
        start_nothing="the runner was lost", start_clean_up=True,
    )  # fmt: skip
    assert stage.handle.wait(GUARD_S)
    stage.executor.shutdown()
    assert stage.started == (["inner-end"] if runs else [])


def test_the_inner_one_runs_before_the_outer_one() -> None:
    inner = sequence("a", name="inner", last=("inner-end",))
    beside = Task("beside", PARALLEL, subtasks=[inner, leaf("b")])
    stage = ran(sequence(beside, "c", skip_subtasks=True), scripts={"a": BAD, "b": BAD})
    assert sorted(stage.started[:2]) == ["a", "b"] or stage.started[0] == "a"
    assert stage.started.index("inner-end") < stage.started.index("end")
    assert stage.started[-1] == "end"


def test_a_sequence_that_never_began_is_not_cleaned_up() -> None:
    inner = sequence("b", name="inner", last=("inner-end",))
    stage = ran(sequence("a", inner, skip_subtasks=True), scripts={"a": BAD})
    assert stage.started == ["a", "end"]
    assert stage.end_of("root/inner/finally/inner-end").detail.skipped


def test_a_clean_up_may_have_a_clean_up() -> None:
    part = sequence("park", name="part", last=("close",))
    assert ran(sequence("a", last=(part,)), scripts={"park": BAD}).started == ["a", "park", "close"]


def test_a_rule_judges_the_steps_without_it() -> None:
    stage = ran(sequence("a", "b", rule="any"), scripts={"a": BAD, "b": BAD})
    assert stage.handle.outcome.result is ResultCode.FAILED


# -- aborts ------------------------------------------------------------------------------------


def test_it_runs_after_an_abort_and_the_run_ends_aborted() -> None:
    stage = Stage(sequence("a", "b", last=("end", "park")), scripts={"a": HANGS})
    stage.fake.wait_for_call("a")
    assert stage.handle.abort("enough")
    outcome = stage.end()
    assert stage.started == ["a", "end", "park"]
    assert outcome.status is ABORTED
    assert stage.end_of("root/b").message.endswith("not started: enough")
    assert stage.end_of("root/finally").status is COMPLETED
    asked = next(
        e for e in stage.log.events if e.kind == "note" and e.detail.topic == "abort-asked"
    )
    began = next(
        e for e in stage.log.events if e.path == "root/finally/end" and e.kind == "started"
    )
    assert asked.sequence < began.sequence
    with pytest.raises(TaskAbortedError):
        stage.handle.result()


def test_nothing_of_it_runs_after_an_abort_before_any_step_began() -> None:
    gate = threading.Event()
    first = LeafTask.from_callable(lambda: gate.wait(GUARD_S), name="block")
    inner = sequence("b", name="inner", last=("inner-end",))
    stage = Stage(Task("root", subtasks=[first, inner]), grace_s=0.0)
    stage.log.wait_for(path="root/block", kind="started")
    stage.handle.abort("enough")
    gate.set()
    assert stage.end().status is ABORTED
    assert stage.started == []
    for path in ("root/inner/finally", "root/inner/finally/inner-end"):
        end = stage.end_of(path)
        assert end.status is ABORTED
        assert end.message.endswith("x/y/inner-end: not run: enough")


def test_an_abort_during_it_leaves_it_running() -> None:
    stage = Stage(sequence("a", last=("end", "park")), scripts={"end": HANGS})
    stage.fake.wait_for_call("end")
    assert stage.handle.abort("enough")
    stage.fake.release("end")
    outcome = stage.end()
    assert stage.started == ["a", "end", "park"]
    assert [call.action for call in stage.fake.calls if call.name == "end"] == ["start"]
    assert outcome.status is COMPLETED


def test_a_second_abort_stops_it_and_tells_which_steps_did_not_run() -> None:
    stage = Stage(sequence("a", last=("end", "park")), scripts={"a": HANGS, "end": HANGS})
    stage.fake.wait_for_call("a")
    assert stage.handle.abort("first")
    stage.fake.wait_for_call("end")
    assert stage.handle.abort("second")
    assert not stage.handle.abort("third")
    outcome = stage.end()
    assert outcome.status is ABORTED
    assert stage.started == ["a", "end"]
    assert stage.end_of("root/finally/end").status is ABORTED
    assert stage.end_of("root/finally/park").message.endswith("not run: second")


def test_a_second_abort_changes_nothing_while_no_clean_up_is_at_work() -> None:
    script = Script(hangs=True, heeds_abort=False)
    stage = Stage(sequence("a"), scripts={"a": script})
    stage.fake.wait_for_call("a")
    assert stage.handle.abort("first")
    stage.fake.wait_for_call("a", "abort")
    assert not stage.handle.abort("second")
    stage.fake.release("a")
    stage.end()
    assert stage.started == ["a", "end"]


def test_an_abort_may_stop_it_before_it_begins() -> None:
    stage = Stage(sequence("a", last=("end", "park")), scripts={"a": HANGS})
    stage.fake.wait_for_call("a")
    assert stage.handle.abort("now", stop_finally=True)
    stage.end()
    assert stage.started == ["a"]
    assert stage.end_of("root/finally/end").message.endswith("not run: now")
    assert stage.end_of("root/finally/end").detail.cause.kind == "not_started"


def test_attempts_of_it_go_on_after_an_abort() -> None:
    again = Script(status=FAILED, result=(ResultCode.FAILED, "busy"), may_retry=True)
    for delay_s in (0.0, 0.01):
        task = sequence("a", last=(leaf("end", retries=1, retry_delay=delay_s),))
        stage = Stage(task, scripts={"a": HANGS, "end": [again, Script()]})
        stage.fake.wait_for_call("a")
        stage.handle.abort("enough")
        stage.end()
        assert stage.started == ["a", "end", "end"]
        assert stage.end_of("root/finally").status is COMPLETED


def test_a_second_abort_ends_an_attempt_of_it_that_is_to_come() -> None:
    again = Script(status=FAILED, result=(ResultCode.FAILED, "busy"), may_retry=True)
    task = sequence("a", last=(leaf("end", retries=1, retry_delay=1000),))
    stage = Stage(task, scripts={"a": HANGS, "end": again})
    stage.fake.wait_for_call("a")
    stage.handle.abort("first")
    stage.log.wait_for(topic="delayed")
    assert stage.handle.abort("second")
    assert stage.end().status is ABORTED
    assert stage.started == ["a", "end"]


def test_it_runs_after_a_step_was_abandoned() -> None:
    script = Script(hangs=True, heeds_abort=False)
    stage = Stage(sequence("a"), grace_s=0.05, scripts={"a": script})
    stage.fake.wait_for_call("a")
    stage.handle.abort("enough")
    stage.fake.wait_for_call("end")
    assert stage.handle.abandoned == ("root/a",)
    stage.fake.release_all()
    stage.end()


def test_a_second_interrupt_in_the_block_of_the_executor_stops_it() -> None:
    fake = FakeDeviceRunner({"a": HANGS, "end": HANGS})

    class Interrupted(MainTaskExecutor):
        def shutdown(self, wait: bool = True) -> None:
            interrupts.append(None)
            if len(interrupts) == 1:
                fake.wait_for_call("end")
                raise KeyboardInterrupt
            super().shutdown(wait)

    def block() -> None:
        with Interrupted(2, runners={DEVICE: fake}) as executor:
            handles.append(executor.submit_main_task(sequence("a", last=("end", "park"))))
            fake.wait_for_call("a")
            raise KeyboardInterrupt

    handles: list[Any] = []
    interrupts: list[None] = []
    with pytest.raises(KeyboardInterrupt):
        block()
    assert handles[0].outcome.status is ABORTED
    fake.assert_calls(["a", "end"])
    fake.assert_calls(["a", "end"], "abort")


def test_leaving_the_block_of_the_executor_runs_it_and_does_not_stop_it() -> None:
    fake = FakeDeviceRunner({"a": HANGS, "end": HANGS})
    executor = MainTaskExecutor(2, runners={DEVICE: fake})
    handle = executor.submit_main_task(sequence("a"))
    fake.wait_for_call("a")
    executor.abort_all()
    fake.wait_for_call("end")
    executor.abort_all()
    fake.release("end")
    executor.shutdown()
    assert handle.outcome.status is ABORTED
    fake.assert_calls(["a", "end"])
    fake.assert_calls(["a"], "abort")


# -- what does not reach it ----------------------------------------------------------------------


def test_limits_from_above_do_not_reach_it() -> None:
    inner = sequence("a", "b", name="inner")
    stage = Stage(Task("root", subtasks=[inner], timeout=0.05), scripts={"a": HANGS, "end": HANGS})
    stage.fake.wait_for_call("end")
    stage.fake.release("end")
    stage.end()
    assert stage.end_of("root/inner/finally/end").status is COMPLETED
    assert stage.end_of("root/inner/b").status is FAILED


def test_limits_from_above_go_on_while_it_is_at_work() -> None:
    now = Limit(1000.0, 1000.0, "root")
    above = LimitClock(now, None)
    own = LimitClock(Limit(2000.0, 60.0, "root/finally"), above, alone=True)
    assert own.first().owner == "root/finally"
    assert LimitClock(Limit(3000.0, 60.0, "root/finally/x"), own).first().owner == "root/finally"
    above.count(0, 1)
    assert above.still_since is not None
    own.count(1, 0)
    assert above.still_since is None


def test_it_has_a_limit_of_its_own() -> None:
    stage = Stage(
        sequence("a", last=("end", "park"), finally_timeout=0.05),
        grace_s=0.01,
        scripts={"end": Script(hangs=True, heeds_abort=False)},
    )
    outcome = stage.end()
    end = stage.end_of("root/finally/end")
    assert (end.status, end.detail.cause.limit_owner) == (FAILED, "root/finally")
    assert stage.end_of("root/finally/park").status is FAILED
    assert outcome.status is FAILED
    assert stage.started == ["a", "end"]


def test_a_pause_does_not_reach_it() -> None:
    again = Script(status=FAILED, result=(ResultCode.FAILED, "busy"), may_retry=True)
    task = sequence("a", last=("end", leaf("park", retries=2, retry_delay=0.01)))
    stage = Stage(task, scripts={"a": HANGS, "park": [again, Script()]})
    stage.fake.wait_for_call("a")
    stage.handle.pause()
    stage.fake.release("a")
    stage.end()
    assert stage.started == ["a", "end", "park", "park"]


def test_its_steps_are_never_held() -> None:
    stage = Stage(sequence("a", hold="on_failure"), scripts={"end": BAD}, hold=True)
    stage.end()
    assert stage.started == ["a", "end"]


def test_a_hold_of_a_step_comes_before_it_and_an_abort_of_the_held_step_too() -> None:
    stage = Stage(sequence("a", hold="on_failure"), scripts={"a": BAD})
    stage.log.wait_for(topic="held")
    assert stage.started == ["a"]
    stage.handle.abort("enough")
    assert stage.end().status is ABORTED
    assert stage.started == ["a", "end"]


def test_skipping_all_steps_leaves_nothing_to_clean_up() -> None:
    inner = sequence("b", name="inner", last=("inner-end",))
    stage = Stage(Task("root", subtasks=[leaf("a"), inner, leaf("c")]), scripts={"a": HANGS})
    stage.fake.wait_for_call("a")
    assert stage.handle.skip("root/inner/b").fate == "done"
    stage.fake.release("a")
    outcome = stage.end()
    assert stage.started == ["a", "c"]
    assert (outcome.status, outcome.result) == (COMPLETED, ResultCode.OK)
    assert outcome.health_state == "DEGRADED"
