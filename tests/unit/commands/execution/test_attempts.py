"""Of several attempts at one leaf the first one that did something is told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from taskgrove.commands.execution.attempts import Attempt, packed, told_of, unpacked
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, FinishedDetail, NoteDetail
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

GUARD_S = 200.0
FAILED, REJECTED, ABORTED = TaskStatus.FAILED, TaskStatus.REJECTED, TaskStatus.ABORTED
NOT_SENT = "cannot be reached, Scan was not sent"
DIED = "Scan did not end: its server is gone"


def attempt(number: int, words: str, begun: bool = True, status: TaskStatus = FAILED) -> Attempt:
    code = {FAILED: ResultCode.FAILED, REJECTED: ResultCode.REJECTED}.get(status, ResultCode.OK)
    kind = "reported" if begun else "not_started"
    cause = Cause(kind=kind, said=words)  # type: ignore[arg-type]
    return Attempt(number, status, (code, words), {"cause": cause})


def test_failures_are_the_same_in_little_room() -> None:
    failures = (attempt(1, DIED), attempt(2, NOT_SENT, begun=False, status=REJECTED))
    small = packed(failures)
    assert small is not None
    assert unpacked(small) == failures


ODD: Any = "odd"


@pytest.mark.parametrize(
    ("result", "fields"),
    [
        ((ResultCode.FAILED, "no lock"), {"error": RuntimeError("no lock")}),
        ((ResultCode.FAILED, "no lock"), {"devices": ("a/b/c",)}),
        ((ResultCode.FAILED, "no lock"), {"cause": Cause(kind=ODD)}),
        ((ResultCode.FAILED, "no lock"), {"cause": Cause(kind="reported", said="\ud800")}),
        ((ResultCode.FAILED, "no lock"), {"cause": Cause(kind="reported", return_code=2**70)}),
        ((ResultCode.FAILED, object()), {}),
        ((), {}),
        ("no lock", {}),
    ],
)
def test_foreign_values_stay_as_they_are(result: Any, fields: dict[str, Any]) -> None:
    assert packed((Attempt(1, FAILED, result, fields),)) is None


def test_what_was_not_sent_at_last_does_not_hide_what_ran_at_first() -> None:
    earlier = (attempt(1, DIED), attempt(2, NOT_SENT, begun=False))
    told = told_of(earlier, attempt(3, NOT_SENT, begun=False, status=REJECTED))
    text = f"{DIED} (attempt 1 of 3); attempts 2 to 3: {NOT_SENT}"
    assert (told.status, told.result) == (FAILED, (ResultCode.FAILED, text))
    assert told.fields["cause"] == Cause(kind="reported", said=DIED, attempt=1)


def test_the_first_that_began_is_told_although_others_came_before_it() -> None:
    earlier = (attempt(1, NOT_SENT, begun=False), attempt(2, DIED))
    told = told_of(earlier, attempt(3, NOT_SENT, begun=False))
    assert told.words == f"{DIED} (attempt 2 of 3); attempt 3: {NOT_SENT}"
    assert told.fields["cause"].attempt == 2


def test_where_none_began_the_last_one_is_told() -> None:
    last = attempt(2, NOT_SENT, begun=False)
    assert told_of((attempt(1, "busy", begun=False, status=REJECTED),), last) == last


def test_alike_failures_are_told_once() -> None:
    told = told_of((attempt(1, "no lock"), attempt(2, "no lock")), attempt(3, "no lock"))
    assert told.words == "no lock"
    assert told.fields["cause"].attempt == 1


def test_how_the_last_one_ended_counts_where_it_began() -> None:
    last = Attempt(2, TaskStatus.COMPLETED, (ResultCode.FAILED, "no lock"), {})
    told = told_of((attempt(1, DIED),), last)
    assert (told.status, told.words) == (
        TaskStatus.COMPLETED,
        f"{DIED} (attempt 1 of 2); attempt 2: no lock",
    )


def test_a_success_and_an_abort_are_told_as_they_are() -> None:
    good = Attempt(2, TaskStatus.COMPLETED, (ResultCode.OK, "done"), {})
    assert told_of((attempt(1, DIED),), good) == good
    told = told_of((attempt(1, DIED),), attempt(2, "not started: asked", False, ABORTED))
    assert (told.status, told.words) == (
        ABORTED,
        f"not started: asked (attempt 2); attempt 1: {DIED}",
    )


def ended(task: Task, runner: FakeDeviceRunner, log: EventLog, **options: Any) -> Any:
    runners = {TaskExecutionType.DEVICE: runner}
    with MainTaskExecutor(runners=runners, **options) as executor:
        handle = executor.submit_main_task(task, observers=[log])
        assert handle.wait(GUARD_S)
    return handle.outcome


def test_every_attempt_keeps_its_cause() -> None:
    """In the notes of the run, and the one that is told in the end of the leaf."""
    idle = {"cause": Cause(kind="not_started", said=NOT_SENT)}
    scripts = [
        Script(status=FAILED, result=(3, DIED), may_retry=True),
        Script(status=REJECTED, result=(5, NOT_SENT), may_retry=True, fields=idle),
    ]
    runner, log = FakeDeviceRunner({"beam": scripts}), EventLog()
    beam = LeafTask("beam", "x/pst/1", "Scan", retries=2)
    outcome = ended(Task("root", is_root=True, subtasks=[beam]), runner, log)
    assert outcome.status is FAILED
    text = f"x/pst/1: {DIED} (attempt 1 of 3); attempts 2 to 3: {NOT_SENT}"
    assert f"- {text}" in outcome.message.splitlines()
    detail = log.assert_one_end("root/beam", FAILED).detail
    assert isinstance(detail, FinishedDetail)
    assert detail.cause == Cause(kind="reported", said=DIED, attempt=1, device="x/pst/1")
    notes = log.select(kind="note", path="root/beam", topic="retry")
    causes = [note.detail.cause for note in notes if isinstance(note.detail, NoteDetail)]
    assert [note.attempt for note in notes] == [1, 2]
    assert causes[1] == Cause(kind="not_started", said=NOT_SENT, attempt=2, device="x/pst/1")
    [last] = log.select(kind="note", path="root/beam", topic="attempt")
    assert last.message == f"attempt 3 of 3 was rejected: {NOT_SENT}"
    assert isinstance(last.detail, NoteDetail)
    assert last.detail.cause == Cause(
        kind="not_started", said=NOT_SENT, attempt=3, device="x/pst/1"
    )


def test_a_limit_that_stops_the_next_attempt_does_not_hide_the_first() -> None:
    runner = FakeDeviceRunner(
        {"beam": [Script(status=FAILED, result=(3, DIED), may_retry=True), Script(hangs=True)]}
    )
    beam = LeafTask("beam", "x/pst/1", "Scan", retries=1, timeout=0.2)
    outcome = ended(Task("root", is_root=True, subtasks=[beam]), runner, EventLog())
    assert f"{DIED} (attempt 1 of 2); attempt 2: timed out after 0.2 s" in outcome.message
    runner.release_all()


@pytest.mark.parametrize("fails", [True, False])
def test_a_method_that_fails_at_last_tells_of_its_first_failure(fails: bool) -> None:
    calls, again = [], threading.Event()

    def method() -> tuple[ResultCode, str]:
        calls.append(1)
        code = ResultCode.FAILED if fails or not again.is_set() else ResultCode.OK
        again.set()
        return code, f"word {len(calls)}"

    step = LeafTask.from_callable(method, name="a", retries=1)
    outcome = ended(Task("root", is_root=True, subtasks=[step]), FakeDeviceRunner(), EventLog())
    assert ("word 1 (attempt 1 of 2); attempt 2: word 2" in outcome.message) is fails
