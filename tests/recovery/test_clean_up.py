"""The clean-up of a lost run: recovery runs it where that is asked for, and resume as its part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task
from taskgrove.control_model import TaskStatus
from taskgrove.errors import MissingRunnerError
from taskgrove.events import Cause
from taskgrove.recovery.lost_run_recovery import recover
from taskgrove.recovery.resuming import plan_resume
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.story.run_node import RunNode
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.recovery.cut_runs import DEVICE, cut, record

END = "observe/finally/end"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


def observe() -> Task:
    steps = [LeafTask(name, f"low-cbf/x/{name}", name.title()) for name in ("configure", "scan")]
    return Task(
        "observe",
        skip_subtasks=True,
        subtasks=steps,
        finally_tasks=[LeafTask("end", "low-cbf/x/end", "End", {"scan": 1})],
    )


def lost(store: Store, path: str, kind: str = "finished") -> None:
    """A run that breaks off after an event of a node."""
    record(store, "r1", observe(), {"scan": Script.fails("no beam", abnormal=True)})
    events = History(store).events("r1")
    last = next(e for e in events if e.path == path and e.kind == kind)
    cut(store, "r1", last.sequence)


def nodes(store: Store, run_id: str = "r1") -> dict[str, RunNode]:
    return History(store).facts(run_id).nodes


def test_a_recovery_runs_the_clean_up_that_is_pending(store: Store) -> None:
    lost(store, "observe/scan")
    fake = FakeDeviceRunner()
    outcome = recover(store, "r1", runners={DEVICE: fake}, clean_up=observe())
    fake.assert_calls(["end"], "start")
    assert fake.calls[0].argin == {"scan": 1}  # which is not on record
    assert nodes(store)[END].status is TaskStatus.COMPLETED
    assert nodes(store)["observe/scan"].status is TaskStatus.FAILED
    assert outcome.status is TaskStatus.FAILED
    log = EventLog()
    for event in History(store).events("r1"):
        log(event)
    log.assert_gapless()
    for path in nodes(store):
        log.assert_one_end(path)


def test_a_recovery_starts_nothing_where_nobody_asks_for_it(store: Store) -> None:
    lost(store, "observe/scan")
    fake = FakeDeviceRunner()
    recover(store, "r1", runners={DEVICE: fake})
    fake.assert_calls([], "start")
    end = nodes(store)[END]
    assert end.status is TaskStatus.ABORTED
    assert end.finished is not None
    assert end.finished.cause == Cause(kind="never_begun")


def test_the_steps_before_a_clean_up_are_not_started(store: Store) -> None:
    lost(store, "observe/configure")
    fake = FakeDeviceRunner()
    recover(store, "r1", runners={DEVICE: fake}, clean_up=observe())
    fake.assert_calls(["end"], "start")
    assert nodes(store)["observe/scan"].status is TaskStatus.ABORTED


def test_work_that_is_followed_ends_before_the_clean_up(store: Store) -> None:
    lost(store, "observe/scan", "started")
    fake = FakeDeviceRunner()
    recover(store, "r1", runners={DEVICE: fake}, clean_up=observe())
    assert [(call.action, call.name) for call in fake.calls] == [
        ("attach", "scan"),
        ("start", "end"),
    ]


def test_no_clean_up_runs_of_a_run_in_which_nothing_began(store: Store) -> None:
    lost(store, END, "composed")
    fake = FakeDeviceRunner()
    recover(store, "r1", runners={DEVICE: fake}, clean_up=observe())
    fake.assert_calls([], "start")


def test_a_clean_up_that_nothing_here_runs_is_refused(store: Store) -> None:
    lost(store, "observe/scan")
    with pytest.raises(MissingRunnerError):
        recover(store, "r1", clean_up=observe())
    assert History(store).find("r1").state == "lost"


def test_a_resume_runs_the_clean_up_as_its_part(store: Store) -> None:
    lost(store, "observe/scan")
    recover(store, "r1", runners={DEVICE: FakeDeviceRunner()})
    tree, fake = observe(), FakeDeviceRunner()
    ready = plan_resume(store, "r1", tree)
    assert [leaf.path for leaf in ready.plan.of("redo")] == ["observe/scan", END]
    with Recorder(store) as recorder, MainTaskExecutor(1, {DEVICE: fake}) as executor:
        handle = executor.submit_main_task(
            tree, recorder=recorder, about=ready.about, prior=ready.plan.prior
        )
        assert handle.wait(60)
    fake.assert_calls(["scan", "end"], "start")
    assert handle.ok


def test_a_sequence_whose_clean_up_has_begun_is_resumed_from_its_first_step(store: Store) -> None:
    lost(store, END)
    recover(store, "r1", runners={DEVICE: FakeDeviceRunner()})
    plan = plan_resume(store, "r1", observe()).plan
    assert [(leaf.path, leaf.because) for leaf in plan.of("redo")] == [
        ("observe/configure", END),
        ("observe/scan", ""),
        (END, "observe/scan"),
    ]
