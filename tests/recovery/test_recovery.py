"""What recovery does with each leaf, who may recover, and what it refuses."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from sqlalchemy import select, update

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.errors import UnknownRunError, UsageError
from taskgrove.events import (
    Cause,
    ComposedDetail,
    StartedDetail,
    TaskEvent,
    decode_event,
    encode_event,
)
from taskgrove.recovery.finding_lost import find_lost, lost_runs
from taskgrove.recovery.lost_run_recovery import (
    look_at_lost,
    recover,
    runners_for_recovery,
    start_recovery,
)
from taskgrove.recovery.recovery_plan import plan_recovery
from taskgrove.recovery.resuming import plan_resume
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.store.tables import events, runs
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.recovery.cut_runs import DEVICE, cut, record
from tests.store.by_sqlalchemy import tables_of
from tests.store.recording import eventually

HANG_GUARD_S = 200.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


def tree() -> Task:
    leaves = [LeafTask(name, f"low-pst/beam/{name}", "Configure") for name in ("a", "b", "c")]
    return Task("configure", subtasks=[*leaves, LeafTask("d", "low-cbf/x/1", "Scan")])


def lost(store: Store, leaf: str, kind: str = "started") -> RunNodes:
    """A run that breaks off after the first event of a leaf of that kind."""
    record(store, "r1", tree())
    history = History(store)
    events = list(history.events("r1"))
    last = next(e for e in events if e.path == f"configure/{leaf}" and e.kind == kind)
    cut(store, "r1", last.sequence)
    return RunNodes(e for e in events if e.sequence <= last.sequence)


def nodes(store: Store) -> dict[str, Any]:
    return {node.name: node for node in History(store).nodes("r1")}


def test_each_leaf_gets_what_can_be_known_of_it(store: Store) -> None:
    lost(store, "b")
    fake = FakeDeviceRunner({"b": Script.fails("no lock")})
    outcome = recover(store, "r1", runners={DEVICE: fake})
    fake.assert_calls(["b"], "attach")
    fake.assert_calls([], "start")
    [call] = fake.calls
    assert call.reason == "fake-r1-configure/b-1"
    found = nodes(store)
    assert found["a"].status is TaskStatus.COMPLETED
    assert (found["b"].result_code, found["b"].message) == (
        ResultCode.FAILED,
        "low-pst/beam/b: no lock",
    )
    assert found["c"].status is found["d"].status is TaskStatus.ABORTED
    assert found["d"].message.startswith("low-cbf/x/1: not started: the runner of this run was lo")
    assert found["c"].finished.cause == found["d"].finished.cause == Cause(kind="never_begun")
    assert outcome.status is TaskStatus.ABORTED
    row = History(store).find("r1")
    assert (row.state, row.status, row.lease) == ("final", TaskStatus.ABORTED, None)
    assert row.state_note.startswith(f"recovered by process {os.getpid()} on ")
    assert [note.topic for note in found["b"].notes] == ["reconciled"]


def test_a_leaf_in_flight_without_an_id_is_not_known(store: Store) -> None:
    facts = lost(store, "b")
    facts.nodes["configure/b"].outside_id = None
    plan = plan_recovery(facts, run_id="r1", lost_at="noon")
    assert plan.of("unknown") == ("configure/b",)
    end = plan.prior["configure/b"]
    assert end.status is TaskStatus.FAILED
    assert (
        "the id of the command is not on record: the device may still execute it" in (end.result[1])
    )
    assert end.fields["cause"] == Cause(
        kind="lost",
        device="low-pst/beam/b",
        last_answer_ns=facts.nodes["configure/b"].last_ns,
    )
    assert plan.line == "1 ended on record, 1 in flight, their fate not known, 2 not started"


def test_what_may_have_been_started_in_the_last_moment_says_so(store: Store) -> None:
    facts = lost(store, "a", "finished")
    plan = plan_recovery(facts, run_id="r1", lost_at="noon")
    assert plan.of("not_started") == ("configure/b", "configure/c", "configure/d")
    text = plan.prior["configure/b"].result[1]
    assert plan.prior["configure/b"].fields["cause"] == Cause(kind="never_begun")
    assert text.startswith("not started according to the record: the runner of this run was")
    assert "configure/c" not in plan.prior  # it waited for b


def test_a_run_that_was_lost_while_it_was_composed(store: Store) -> None:
    record(store, "r1", tree())
    cut(store, "r1", 2)
    recover(store, "r1", runners={})
    history, log = History(store), EventLog()
    for event in history.events("r1"):
        log(event)
    log.assert_gapless()
    for path in ("configure", "configure/a", "configure/b", "configure/d"):
        assert log.assert_one_end(path).status is TaskStatus.ABORTED


def test_nothing_on_record_says_that_nothing_can_be_said(store: Store) -> None:
    record(store, "r1", tree())
    cut(store, "r1", 0)
    with pytest.raises(UsageError, match="nothing but its beginning is on record"):
        recover(store, "r1")
    assert [run.run_id for run in lost_runs(store)] == ["r1"]


def test_a_run_that_lives_or_has_ended_is_never_recovered(store: Store) -> None:
    record(store, "r1", tree())
    with pytest.raises(UsageError, match="has ended: there is nothing to recover"):
        recover(store, "r1")
    started = psutil.Process().create_time()
    cut(store, "r1", 8, pid=os.getpid(), pid_started=started)
    with pytest.raises(UsageError, match=f"its runner still runs: process {os.getpid()} on"):
        recover(store, "r1")
    assert History(store).find("r1").state == "running"
    with pytest.raises(UnknownRunError):
        recover(store, "nope")


def test_of_two_recoveries_only_one_goes_on(store: Store) -> None:
    lost(store, "b")
    find_lost(store)
    fake = FakeDeviceRunner({"b": Script(hangs=True)})
    ready = threading.Barrier(4)
    told: list[Any] = []

    def attempt() -> None:
        ready.wait()
        try:
            told.append(recover(store, "r1", runners={DEVICE: fake}).status)
        except UsageError as exc:
            told.append(str(exc))

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    fake.wait_for_call("b", "attach")
    eventually(lambda: len(told) >= 3)
    fake.release("b")
    for thread in threads:
        thread.join(HANG_GUARD_S)
    fake.assert_calls(["b"], "attach")
    assert sum(item is TaskStatus.ABORTED for item in told) == 1
    refused = [item for item in told if isinstance(item, str)]
    assert len(refused) == 3
    for text in refused:
        assert (
            "by another process" in text or "its runner still runs" in text or "has ended" in text
        )


def test_a_recovery_that_is_lost_in_turn_can_be_recovered_again(store: Store) -> None:
    lost(store, "b")
    fake = FakeDeviceRunner({"b": Script(hangs=True)})
    with (
        Recorder(store) as recorder,
        MainTaskExecutor(runners=runners_for_recovery({DEVICE: fake})) as executor,
    ):
        recovery = start_recovery(
            store, "r1", executor=executor, runners={DEVICE: fake}, recorder=recorder
        )
        fake.wait_for_call("b", "attach")
        fake.release("b")
        assert recovery.handle.wait(HANG_GUARD_S)
    history = History(store)
    whole = history.find("r1")
    note = next(e for e in history.events("r1") if getattr(e.detail, "topic", "") == "recovered")
    with tables_of(store) as connection:
        connection.execute(update(runs).values(state_note="x"))
    cut(store, "r1", note.sequence)
    recover(store, "r1", runners={DEVICE: FakeDeviceRunner()})
    log = EventLog()
    for event in history.events("r1"):
        log(event)
    log.assert_gapless()
    assert len(log.select(topic="recovered")) == 2
    assert history.find("r1").status is whole.status


def test_work_that_nobody_here_can_follow_is_not_given_up_unasked(store: Store) -> None:
    lost(store, "b")
    with pytest.raises(UsageError, match="nothing here follows command fake-r1") as caught:
        recover(store, "r1", runners={})
    assert "--give-up" in (caught.value.hint or "")
    assert [run.run_id for run in lost_runs(store)] == ["r1"]
    recover(store, "r1", runners={}, give_up=True)
    found = nodes(store)["b"]
    assert found.status is TaskStatus.FAILED
    assert "how command fake-r1-configure/b-1 ended is not known" in found.message
    cause = found.finished.cause
    assert (cause.kind, cause.outside_id) == ("lost", "fake-r1-configure/b-1")


def started_process(store: Store, identity: str, host: str | None = None) -> None:
    """A lost run whose only leaf is an analysis in a process."""
    from taskgrove.commands.run_recorder import RunAbout

    def event(number: int, path: str, kind: str, **fields: Any) -> TaskEvent:
        return TaskEvent(
            run_id="r1", sequence=number, path=path, kind=kind, monotonic_s=1.0, wall_ns=1, **fields
        )

    root = ComposedDetail("SEQUENTIAL", children=("a",), root=True)
    leaf = ComposedDetail("ANALYSIS", target="f.yaml", command_name="Peaks")
    outside = StartedDetail("process", identity)
    with Recorder(store) as recorder:
        observer = recorder.begin_run("r1", RunAbout("look"))
        observer(event(1, "look", "composed", detail=root))
        observer(event(2, "look/a", "composed", detail=leaf))
        observer(event(3, "look/a", "started", detail=outside))
    if host:
        with tables_of(store) as connection:
            connection.execute(update(runs).values(host=host))
    from sqlalchemy import delete

    from taskgrove.store.tables import leases

    with tables_of(store) as connection:
        connection.execute(delete(leases))
    cut(store, "r1")


def test_a_process_of_another_machine_is_not_seen_from_here(store: Store) -> None:
    started_process(store, "123:456", host="elsewhere")
    with pytest.raises(UsageError, match="which cannot be seen from") as caught:
        recover(store, "r1", runners={TaskExecutionType.ANALYSIS: FakeDeviceRunner()})
    assert "recover the run on elsewhere" in (caught.value.hint or "")


def test_a_process_that_is_gone_needs_no_runner(store: Store) -> None:
    started_process(store, "4194304:456")
    recover(store, "r1", runners={})
    found = nodes(store)["a"]
    assert found.status is TaskStatus.FAILED
    assert found.message.startswith("its process is gone; how process 4194304:456 ended is not")
    assert (found.finished.cause.kind, found.finished.cause.outside_id) == ("lost", "4194304:456")


def test_a_plan_changes_nothing(store: Store) -> None:
    lost(store, "b")
    row, plan = look_at_lost(store, "r1")
    assert (row.state, plan.of("followed"), plan.of("kept")) == (
        "lost",
        ("configure/b",),
        ("configure/a",),
    )
    assert plan.kinds == {DEVICE: "configure/b"}
    assert History(store).find("r1").state == "lost"


def test_a_look_at_one_run_leaves_other_lost_runs_to_a_search_that_tells_of_them(
    store: Store,
) -> None:
    record(store, "r2")
    cut(store, "r2", 30)
    lost(store, "b")
    look_at_lost(store, "r1")
    assert [found.run_id for found in find_lost(store)] == ["r2"]


def test_a_leaf_is_not_tried_again_by_a_recovery(store: Store) -> None:
    root = Task("configure", subtasks=[LeafTask("a", "x/y/z", "On", retries=3)])
    record(store, "r1", root)
    history = History(store)
    last = next(e for e in history.events("r1") if e.path == "configure/a" and e.kind == "started")
    cut(store, "r1", last.sequence)
    fake = FakeDeviceRunner({"a": Script.fails("busy", may_retry=True)})
    recover(store, "r1", runners={DEVICE: fake})
    assert [call.action for call in fake.calls] == ["attach"]
    assert nodes(store)["a"].message == "x/y/z: busy"


# -- limits ---------------------------------------------------------------------------------


def limited(**limits: float | None) -> Task:
    leaf = LeafTask("b", "low-pst/beam/b", "Configure", timeout=limits.get("leaf"))
    inner = Task("inner", TaskExecutionType.PARALLEL, subtasks=[leaf], timeout=limits.get("inner"))
    return Task("configure", subtasks=[inner], timeout=limits.get("root"))


def long_ago(store: Store, age_s: float) -> None:
    """Have every event of a run told that long ago."""
    with tables_of(store) as connection:
        rows = connection.execute(select(events.c.run_key, events.c.sequence, events.c.body)).all()
        for key, sequence, body in rows:
            event = decode_event(bytes(body))
            moved = msgspec.structs.replace(event, wall_ns=event.wall_ns - int(age_s * 1e9))
            connection.execute(
                update(events)
                .where(events.c.run_key == key, events.c.sequence == sequence)
                .values(body=encode_event(moved))
            )


def lost_in_flight(store: Store, **limits: float | None) -> None:
    record(store, "r1", limited(**limits), {"b": Script(progress=(10, 20))})
    told = History(store).events("r1")
    last = next(event for event in told if event.path.endswith("/b") and event.progress == 10)
    cut(store, "r1", last.sequence)


@pytest.mark.parametrize("owner", ["leaf", "inner", "root"])
def test_a_limit_holds_what_is_left_of_it(
    store: Store, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskgrove.commands.execution.limit.LEAST_LEFT_S", 0.0)
    lost_in_flight(store, **{owner: 3600.0})
    long_ago(store, 3601)
    outcome = recover(store, "r1", runners={DEVICE: FakeDeviceRunner({"b": Script(hangs=True)})})
    path = {"leaf": "configure/inner/b", "inner": "configure/inner", "root": "configure"}[owner]
    found = nodes(store)["b"]
    assert found.status is TaskStatus.FAILED
    assert found.message == f"low-pst/beam/b: timed out after 3600 s (limit set by {path})"
    assert outcome.status is TaskStatus.FAILED


def test_an_end_that_came_meanwhile_is_read_though_the_limit_is_over(store: Store) -> None:
    lost_in_flight(store, leaf=3600.0, root=3600.0)
    long_ago(store, 7200)
    outcome = recover(store, "r1", runners={DEVICE: FakeDeviceRunner()})
    assert (nodes(store)["b"].status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)


def test_what_is_not_known_of_a_leaf_stands_on_it_for_those_who_do_it_again(store: Store) -> None:
    lost(store, "a", "finished")
    recover(store, "r1", runners={})
    found = nodes(store)
    [doubt] = [note.text for note in found["b"].notes if note.topic == "lost"]
    assert doubt == (
        "it was next in line when the runner was lost: whether Configure reached low-pst/beam/b"
        " is not known"
    )
    assert not found["c"].notes  # it waited for b, and was certainly not called
    plan = plan_resume(store, "r1", tree()).plan
    assert [leaf.doubt for leaf in plan.leaves] == ["", doubt, "", ""]
