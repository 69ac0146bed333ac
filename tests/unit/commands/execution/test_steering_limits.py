"""Steering and time: limits while something is held, and work that may still go on."""

from __future__ import annotations

from queue import SimpleQueue

import pytest

from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events.cause import Cause, CauseKind
from taskgrove.events.steering_request import SteeringAnswer, SteeringRequest
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.unit.commands.execution.live_steering import (
    DEVICE,
    GOOD,
    GUARD_S,
    HANGS,
    NO_LOCK,
    OK,
    PARALLEL,
    leaf,
    live,
    tree,
    why_not,
)

DEAF = Script(hangs=True, heeds_abort=False)
ENFORCED = LeafLimits("kill", "enforced")


# -- limits from above ---------------------------------------------------------------------------


def test_a_limit_from_above_does_not_count_the_time_of_a_hold() -> None:
    task = tree(leaf("scan"), leaf("end"), timeout=GUARD_S)
    with live(task, {"scan": [NO_LOCK, GOOD]}, hold=True) as run:
        run.note("held", "observe/scan")
        clock = run.handle._run.schedule.waiting.all()[0].composite.clock
        assert clock is not None
        assert clock.still_since is not None
        clock.still_since -= 2 * GUARD_S  # as if the hold had begun so long ago
        clock.limit = clock.limit._replace(at=clock.limit.at - 2 * GUARD_S)
        assert run.handle.retry("observe/scan").fate == "done"
        assert run.ends() == OK


def test_after_a_limit_from_above_no_attempt_is_made_and_other_decisions_are_open() -> None:
    task = tree(leaf("scan"), leaf("end"), timeout=GUARD_S, skip_subtasks=True)
    with live(task, {"scan": NO_LOCK}, hold=True) as run:
        run.note("held", "observe/scan")
        clock = run.handle._run.schedule.waiting.all()[0].composite.clock
        assert clock is not None
        clock.limit = clock.limit._replace(at=clock.limit.at - 2 * GUARD_S)
        answer = run.handle.retry("observe/scan")
        assert why_not(answer) == ("refused", ["limit_expired"])
        assert answer.objections[0].because_of == "observe"
        assert run.handle.fail("observe/scan").fate == "done"
        assert run.ends()[0] is TaskStatus.FAILED or run.ends()[1] is ResultCode.FAILED


def test_a_failure_by_a_limit_from_above_is_not_held() -> None:
    with live(tree(leaf("scan"), timeout=0.01), {"scan": HANGS}, hold=True, grace_s=0.0) as run:
        assert run.ends()[0] is TaskStatus.FAILED
        assert run.log.select(topic="held") == ()


def test_a_limit_that_is_no_node_of_the_tree_is_none_from_above() -> None:
    cause = Cause(kind="unresponsive", limit_owner="analysis.yaml")
    mute = Script(
        status=TaskStatus.FAILED, result=(ResultCode.FAILED, "x"), fields={"cause": cause}
    )
    with live(tree(leaf("scan")), {"scan": mute}, hold=True) as run:
        assert run.note("held", "observe/scan").cause is not None


def test_a_failure_by_its_own_limit_is_held() -> None:
    step = leaf("scan", timeout=0.01)
    with live(tree(step), {"scan": [HANGS, GOOD]}, hold=True, grace_s=0.0) as run:
        held = run.note("held", "observe/scan")
        assert held.cause is not None
        assert held.cause.kind == "timed_out"


def test_a_delay_ends_early_at_a_limit_from_above_and_the_failure_stands() -> None:
    busy = Script.fails("busy", may_retry=True)
    task = tree(leaf("scan", retries=3, retry_delay=GUARD_S), timeout=0.05)
    with live(task, {"scan": busy}, hold=True) as run:
        run.note("delayed", "observe/scan")
        run.ends()
        event, end = run.end_of("observe/scan")
        assert event.message.endswith("busy")
        assert end.cause is not None
        assert end.cause.kind == "reported"


# -- work that may still go on ---------------------------------------------------------------------


def test_no_attempt_is_made_while_the_earlier_one_may_be_at_work() -> None:
    step = leaf("scan", timeout=0.01)
    with live(tree(step), {"scan": [HANGS, GOOD]}, hold=True, grace_s=0.0) as run:
        run.note("held", "observe/scan")
        answer = run.handle.retry("observe/scan")
        assert why_not(answer) == ("refused", ["may_be_at_work"])
        assert answer.objections[0].outside_id == f"fake-{run.handle.id}-observe/scan-1"
        run.fake.assert_calls(["scan"])
        run.fake.release("scan")  # the late end proves that it is over
        assert run.handle.retry("observe/scan").fate == "done"
        assert run.ends() == OK


def test_the_earlier_attempt_is_stopped_first() -> None:
    step = leaf("scan", timeout=0.01)
    with live(tree(step), {"scan": [HANGS, GOOD]}, hold=True, grace_s=0.01) as run:
        run.note("held", "observe/scan")
        answer = run.handle.retry("observe/scan", "free the beam", abort_first=True)
        assert answer.fate == "done"
        assert run.ends() == OK
        assert [call.action for call in run.fake.calls] == ["start", "abort", "start"]
        asked = run.note("abort-asked", "observe/scan")
        assert asked.request is not None


class Found(FakeDeviceRunner):
    """Devices that are found again: work that is followed anew ends when it is asked to stop."""

    def attach(self, context: LeafContext, outside_id: str) -> None:
        self._record("attach", context, outside_id)


def test_work_that_was_given_up_is_followed_again_and_stopped_first() -> None:
    silent = Script(
        status=TaskStatus.FAILED,
        result=(ResultCode.FAILED, "no answer"),
        fields={"cause": Cause(kind="silent")},
    )
    fake, log = Found({"scan": [silent, GOOD]}), EventLog()
    with MainTaskExecutor(4, {DEVICE: fake}) as executor:
        handle = executor.submit_main_task(tree(leaf("scan")), observers=[log], hold=True)
        log.wait_for(topic="held", path="observe/scan", timeout_s=GUARD_S)
        assert handle.retry("observe/scan", abort_first=True).fate == "done"
        assert handle.wait(GUARD_S)
        assert handle.ok
    assert [call.action for call in fake.calls] == ["start", "attach", "abort", "start"]
    assert fake.calls[1].reason == f"fake-{handle.id}-observe/scan-1"


def test_an_attempt_that_does_not_stop_in_time_keeps_the_next_one_from_starting() -> None:
    step = leaf("scan", timeout=0.01)
    with live(tree(step), {"scan": DEAF}, hold=True, grace_s=0.02) as run:
        run.note("held", "observe/scan")
        answer = run.handle.retry("observe/scan", abort_first=True)
        assert why_not(answer) == ("refused", ["still_at_work"])
        assert run.handle.held == ("observe/scan",)
        run.fake.assert_calls(["scan"])


def test_another_decision_may_come_while_the_earlier_attempt_is_asked_to_stop() -> None:
    step = leaf("scan", timeout=0.01)
    with live(tree(step), {"scan": DEAF}, hold=True, grace_s=0.5) as run:
        run.note("held", "observe/scan")
        answers: SimpleQueue[SteeringAnswer] = SimpleQueue()
        retry = SteeringRequest(id="r", verb="retry", path="observe/scan", abort_first=True)
        run.handle.steer(retry, answers.put)
        assert run.handle.accept("observe/scan", who="ann").fate == "done"
        assert run.ends()[0] is TaskStatus.COMPLETED
        run.fake.release("scan")
        assert answers.get(timeout=GUARD_S).fate in ("refused", "too_late")


def test_a_request_that_waits_for_the_end_of_an_attempt_is_answered_when_the_run_ends() -> None:
    step = leaf("scan", timeout=0.01)
    with live(tree(step), {"scan": DEAF}, hold=True, grace_s=GUARD_S) as run:
        run.note("held", "observe/scan")
        answers: SimpleQueue[SteeringAnswer] = SimpleQueue()
        retry = SteeringRequest(id="r", verb="retry", path="observe/scan", abort_first=True)
        run.handle.steer(retry, answers.put)
        assert run.handle.fail("observe/scan", who="ann").fate == "done"
        run.ends()
        assert why_not(answers.get_nowait()) == ("too_late", ["node_ended"])
        run.fake.release("scan")


@pytest.mark.parametrize(
    "kind", ["timed_out", "silent", "fate_unknown", "forgotten", "abandoned", "lost", "promised"]
)
def test_causes_that_prove_no_end(kind: CauseKind) -> None:
    lost = Script(
        status=TaskStatus.FAILED,
        result=(ResultCode.FAILED, "x"),
        fields={"cause": Cause(kind=kind)},
    )
    with live(tree(leaf("scan")), {"scan": lost}, hold=True) as run:
        run.note("held", "observe/scan")
        assert why_not(run.handle.retry("observe/scan")) == ("refused", ["may_be_at_work"])


@pytest.mark.parametrize("kind", ["reported", "raised", "refused", "died", "restarted", "exited"])
def test_causes_that_prove_the_end(kind: CauseKind) -> None:
    ended = Script(
        status=TaskStatus.FAILED,
        result=(ResultCode.FAILED, "x"),
        fields={"cause": Cause(kind=kind)},
    )
    with live(tree(leaf("scan")), {"scan": [ended, GOOD]}, hold=True) as run:
        run.note("held", "observe/scan")
        assert run.handle.retry("observe/scan").fate == "done"
        assert run.ends() == OK


def test_an_enforced_limit_that_ended_the_work_leaves_nothing_at_work() -> None:
    step = leaf("scan", timeout=0.01)
    with live(tree(step), {"scan": [HANGS, GOOD]}, hold=True, limits=ENFORCED) as run:
        run.note("held", "observe/scan")
        assert run.handle.retry("observe/scan").fate == "done"
        assert run.ends() == OK


def test_an_operator_gives_all_automatic_attempts_anew() -> None:
    busy = Script.fails("busy", may_retry=True)
    task = tree(leaf("scan", retries=1), leaf("b"), task_type=PARALLEL)
    with live(task, {"scan": [busy, busy, busy, GOOD]}, hold=True) as run:
        run.note("held", "observe/scan", attempt=2)
        assert run.handle.retry("observe/scan").fate == "done"
        assert run.ends() == OK
        starts = [call.attempt for call in run.fake.calls if call.name == "scan"]
        assert starts == [1, 2, 3, 4]
