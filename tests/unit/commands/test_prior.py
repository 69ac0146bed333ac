"""What is known of leaves before a run begins: ends to take over, work to pick up again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.commands.execution.run_handle import RunHandle
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorEnd, PriorWork
from taskgrove.commands.replay import rebuild, recorded_prior
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

HANG_GUARD_S = 200.0
DEVICE = TaskExecutionType.DEVICE
PARALLEL = TaskExecutionType.PARALLEL
OK = (TaskStatus.COMPLETED, (ResultCode.OK, "done"))


def leaf(name: str, **fields: Any) -> LeafTask:
    return LeafTask(name, f"low-pst/beam/{name}", "Configure", **fields)


def ran(
    task: Task, prior: Any = None, scripts: Any = None, **options: Any
) -> tuple[RunHandle, EventLog, FakeDeviceRunner]:
    log, fake = EventLog(), FakeDeviceRunner(scripts)
    with MainTaskExecutor(1, {DEVICE: fake}) as executor:
        handle = executor.submit_main_task(task, observers=[log], prior=prior, **options)
        assert handle.wait(HANG_GUARD_S)
    return handle, log, fake


def test_an_end_is_taken_over_with_a_note_and_nothing_is_started() -> None:
    root = Task("root", subtasks=[leaf("a"), leaf("b")])
    prior = {"root/a": PriorEnd(*OK, note="reused from run r0")}
    handle, log, fake = ran(root, prior)
    fake.assert_calls(["b"])
    [note] = log.select(topic="reused")
    assert (note.path, note.message) == ("root/a", "reused from run r0")
    end = log.assert_one_end("root/a", TaskStatus.COMPLETED)
    assert note.sequence < end.sequence
    assert end.devices == ("low-pst/beam/a",)
    assert end.message == "low-pst/beam/a: done"
    assert handle.outcome.result is ResultCode.OK
    log.assert_gapless()


def test_an_end_that_failed_breaks_the_sequence() -> None:
    root = Task("root", skip_subtasks=True, subtasks=[leaf("a"), leaf("b"), leaf("c")])
    prior = {
        "root/a": PriorEnd(TaskStatus.FAILED, (ResultCode.FAILED, "no lock")),
        "root/c": PriorEnd(*OK),
    }
    _, log, fake = ran(root, prior)
    fake.assert_calls([])
    for name in ("b", "c"):  # an end that is not on record does not save its step
        assert log.assert_one_end(f"root/{name}").detail.skipped


def test_ends_of_a_parallel_task_complete_it() -> None:
    root = Task("root", PARALLEL, subtasks=[leaf("a"), leaf("b")])
    handle, log, fake = ran(root, {f"root/{name}": PriorEnd(*OK) for name in "ab"})
    fake.assert_calls([])
    assert handle.outcome.result is ResultCode.OK
    log.assert_one_end("root")


def test_fields_of_an_end_are_taken_over() -> None:
    fields = {"devices": ["x", "y"], "failed_devices": ["y"], "health_state": "DEGRADED"}
    end = PriorEnd(TaskStatus.COMPLETED, (ResultCode.FAILED, "half"), fields=fields)
    handle, log, _ = ran(Task("root", subtasks=[leaf("a")]), {"root/a": end})
    told = log.assert_one_end("root/a")
    assert (told.devices, told.failed_devices, told.health_state) == (
        ("x", "y"),
        ("y",),
        "DEGRADED",
    )
    assert handle.outcome.health_state == "DEGRADED"


def test_work_is_attached_to_under_its_attempt() -> None:
    root = Task("root", subtasks=[leaf("a", retries=1)])
    _, log, fake = ran(root, {"root/a": PriorWork("id-7", attempt=2)})
    [call] = fake.calls
    assert (call.action, call.reason, call.attempt) == ("attach", "id-7", 2)
    [note] = log.select(topic="reconciled")
    assert note.message == "picked up again: id-7"
    log.assert_one_end("root/a", TaskStatus.COMPLETED)


def test_work_that_ended_badly_may_be_tried_again_unless_nothing_is_started() -> None:
    scripts = {"a": Script.fails("busy", may_retry=True)}
    prior = {"root/a": PriorWork("id-7")}
    _, _, fake = ran(Task("root", subtasks=[leaf("a", retries=1)]), prior, scripts)
    assert [call.action for call in fake.calls] == ["attach", "start"]
    root = Task("root", subtasks=[leaf("a", retries=1)])
    _, _, fake = ran(root, prior, scripts, start_nothing="lost")
    assert [call.action for call in fake.calls] == ["attach"]


def test_start_nothing_aborts_what_is_not_known() -> None:
    inner = Task("inner", PARALLEL, subtasks=[leaf("b"), leaf("c")])
    root = Task("root", skip_subtasks=True, subtasks=[leaf("a"), inner, leaf("d")])
    handle, log, fake = ran(root, start_nothing="the runner was lost")
    fake.assert_calls([])
    for path in ("root/a", "root/inner/b", "root/inner/c", "root/d"):
        end = log.assert_one_end(path, TaskStatus.ABORTED)
        assert end.message.endswith("not started: the runner was lost")
    assert handle.outcome.status is TaskStatus.ABORTED


def test_a_failure_on_record_skips_the_rest_although_nothing_is_started() -> None:
    root = Task("root", skip_subtasks=True, subtasks=[leaf("a"), leaf("b")])
    failed = PriorEnd(TaskStatus.FAILED, (ResultCode.FAILED, "no lock"), recorded=True)
    handle, log, _ = ran(root, {"root/a": failed}, start_nothing="lost", first_sequence=8)
    assert log.of("root/a") == ()
    assert log.assert_one_end("root/b").detail.skipped
    assert handle.outcome.status is TaskStatus.FAILED
    log.assert_gapless(8)


def test_a_whole_that_ended_on_record_is_over_at_once_and_says_nothing_again() -> None:
    root = Task("root", subtasks=[leaf("a")])
    ends = {path: PriorEnd(*OK, recorded=True) for path in ("root", "root/a")}
    handle, log, _ = ran(root, ends, first_sequence=9)
    assert handle.outcome.result is ResultCode.OK
    assert log.events == ()


def test_an_end_that_follows_from_the_record_is_told_once() -> None:
    inner = Task("inner", PARALLEL, subtasks=[leaf("a"), leaf("b")])
    root = Task("root", subtasks=[inner])
    ends = {f"root/inner/{name}": PriorEnd(*OK, recorded=True) for name in "ab"}
    handle, log, _ = ran(root, ends, first_sequence=9, start_nothing="lost")
    assert [(e.path, e.kind) for e in log.events] == [
        ("root", "note"),
        ("root/inner", "finished"),
        ("root", "finished"),
    ]
    assert handle.outcome.result is ResultCode.OK


@pytest.mark.parametrize("skipped", [False, True])
def test_a_step_whose_end_was_lost_below_a_whole_that_ended_is_skipped_only_with_it(
    skipped: bool,
) -> None:
    inner = Task("inner", PARALLEL, subtasks=[leaf("a"), Task("deep", subtasks=[leaf("b")])])
    root = Task("root", subtasks=[inner, leaf("c")])
    end = PriorEnd(*OK, recorded=True)
    if skipped:
        words = (ResultCode.REJECTED, "skipped: x failed")
        cause = Cause(kind="skipped", because_of="root/x")
        fields = {"skipped": True, "cause": cause}
        end = PriorEnd(TaskStatus.REJECTED, words, fields=fields, recorded=True)
    ends = {"root/inner": end, "root/inner/a": PriorEnd(*OK, recorded=True)}
    _, log, _ = ran(root, ends, first_sequence=9, start_nothing="lost")
    assert log.assert_one_end("root/c").detail.cause == Cause(kind="never_begun")
    for path in ("root/inner/deep", "root/inner/deep/b"):
        told = log.assert_one_end(path, TaskStatus.REJECTED if skipped else TaskStatus.ABORTED)
        assert told.detail.skipped is skipped
        assert told.detail.cause == (cause if skipped else Cause(kind="never_begun"))
        assert told.message == (
            "skipped: x failed"
            if skipped
            else "its end is not on record; inner had ended COMPLETED"
        )


def test_work_below_a_whole_that_ended_is_lost_under_its_id() -> None:
    root = Task("root", subtasks=[Task("inner", PARALLEL, subtasks=[leaf("a")])])
    known = {"root/inner": PriorEnd(*OK, recorded=True), "root/inner/a": PriorWork("id-7")}
    _, log, _ = ran(root, known, first_sequence=9, start_nothing="lost")
    end = log.assert_one_end("root/inner/a", TaskStatus.ABORTED)
    assert end.detail.cause == Cause(kind="lost", outside_id="id-7")


def test_the_end_of_the_whole_is_the_last_of_a_cascade() -> None:
    """A recorder is told of the end of a run once nothing of the run is still to come."""
    deep = Task("deep", subtasks=[Task("deeper", PARALLEL, subtasks=[leaf("b"), leaf("c")])])
    root = Task("root", skip_subtasks=True, subtasks=[leaf("a"), deep, Task("empty")])
    _, log, _ = ran(root, scripts={"a": Script.fails("no lock")})
    assert (log.events[-1].path, log.events[-1].kind) == ("root", "finished")
    for path in ("root/deep", "root/deep/deeper", "root/deep/deeper/c", "root/empty"):
        assert log.assert_one_end(path).detail.skipped


def test_what_is_known_must_be_of_the_tree() -> None:
    root = Task("root", subtasks=[Task("inner", subtasks=[leaf("a")])])
    with MainTaskExecutor(1, {DEVICE: FakeDeviceRunner()}) as executor:
        for path, known, words in (
            ("root/inner/b", PriorEnd(*OK), "it is no leaf of this tree"),
            ("root/inner", PriorEnd(*OK), "it is no leaf of this tree"),
            ("root/inner", PriorWork("x"), "it is no leaf of this tree"),
            ("root/inner/a", PriorEnd(TaskStatus.QUEUED), "cannot have ended QUEUED"),
        ):
            with pytest.raises(UsageError, match=words):
                executor.submit_main_task(root, prior={path: known})
        assert not root.submitted


def test_the_id_of_an_earlier_attempt_is_not_followed() -> None:
    root = Task("root", subtasks=[leaf("a", retries=1)])
    _, log, _ = ran(root, scripts={"a": [Script.fails("busy", may_retry=True), Script()]})
    second = next(e for e in log.of("root/a") if e.attempt == 2 and e.kind != "note")
    facts = RunNodes(e for e in log.events if e.sequence <= second.sequence)
    known = recorded_prior(facts.nodes["root/a"])
    assert isinstance(known, PriorWork)
    assert (known.attempt, known.outside_id.endswith("-1")) == (2, False)


def test_a_rule_of_a_program_is_kept_by_its_words() -> None:
    from taskgrove.commands.aggregation.rules import AggregationRule, Verdict

    class Lenient(AggregationRule):
        @property
        def label(self) -> str:
            return "lenient 7"

        def decide(self, tally: Any, context: Any) -> Verdict:
            return Verdict(status=TaskStatus.COMPLETED, result=ResultCode.OK)

    root = Task("root", subtasks=[leaf("a")], rule=Lenient())
    handle, log, _ = ran(root, scripts={"a": Script.fails("no lock")})
    again = rebuild(log.events)
    assert again.root.rule.label == "lenient 7"
    assert again.outcome == handle.outcome  # as it was decided: it cannot be decided anew
    cut = rebuild(event for event in log.events if event.path != "root" or event.kind != "finished")
    assert cut.outcome.status is TaskStatus.FAILED
    assert "belongs to the program that made the run" in cut.outcome.message


@pytest.mark.parametrize("attribute", [None, "trl", "name"])
def test_how_a_device_is_reached_is_on_record(attribute: str | None) -> None:
    trl = "tango://127.0.0.1:10000/low-pst/beam/01#dbase=no"
    target = trl if attribute is None else SimpleNamespace(**{attribute: trl})
    _, log, _ = ran(Task("root", subtasks=[LeafTask("a", target, "Configure")]))
    assert log.of("root/a")[0].detail.target == "low-pst/beam/01"
    again = rebuild(log.events).root.subtasks[0]
    assert (again.target, again.device_name) == (trl, "low-pst/beam/01")
    plain = Task("root", subtasks=[LeafTask("a", "low-pst/beam/01", "Configure")])
    _, log, _ = ran(plain)
    assert log.of("root/a")[0].detail.address is None
