"""What a resume reuses, redoes and leaves out; and the new run in the record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import PROBLEM_CODES, ResultCode, TaskStatus
from taskgrove.errors import UsageError
from taskgrove.events import Cause, ComposedDetail, FinishedDetail
from taskgrove.events.cause import CauseKind
from taskgrove.recovery.doubts import doubt_about, doubt_of_lost
from taskgrove.recovery.finding_lost import find_lost
from taskgrove.recovery.resume_plan import change_of, plan_resume_of
from taskgrove.recovery.resuming import plan_resume, resume
from taskgrove.store import Store
from taskgrove.store.database.advice import command_line
from taskgrove.store.history import History
from taskgrove.store.verdicts import give_verdict
from taskgrove.story.node_note import NodeNote
from taskgrove.story.run_node import RunNode
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.property.tree_strategies import build as build_any
from tests.property.tree_strategies import roots, without_rules
from tests.recovery.cut_runs import DEVICE, cut, record
from tests.store.by_sqlalchemy import tables_of

PARALLEL = TaskExecutionType.PARALLEL
HANG_GUARD_S = 200.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


def tree(*extra: LeafTask, command: str = "Configure") -> Task:
    beams = [LeafTask(f"pst-0{n}", f"low-pst/beam/0{n}", command) for n in (1, 2, 3)]
    return Task(
        "configure",
        skip_subtasks=True,
        subtasks=[
            LeafTask("check", "low-cbf/x/1", "On"),
            Task("configure_pst", PARALLEL, subtasks=[*beams, *extra], rule="all"),
            LeafTask("scan", "low-cbf/x/1", "Scan"),
        ],
    )


def failed_run(store: Store, **about: Any) -> None:
    record(store, "r1", tree(), {"pst-02": Script.fails("no lock")}, RunAbout(**about))


def test_what_completed_is_reused_and_the_rest_is_done_again(store: Store) -> None:
    failed_run(store, labels={"proposal": "p1"}, source={"kind": "own"})
    fake, log = FakeDeviceRunner(), EventLog()
    outcome = resume("r1", tree(), store=store, runners={DEVICE: fake}, observers=[log])
    assert (outcome.status, outcome.result) == (TaskStatus.COMPLETED, ResultCode.OK)
    fake.assert_calls(["pst-02", "scan"])
    row = History(store).find("last")
    assert (row.parent_run_id, row.command, row.state) == ("r1", "configure", "final")
    assert (dict(row.labels), row.source) == ({"proposal": "p1"}, {"kind": "own"})
    nodes = {node.name: node for node in History(store).nodes(row)}
    [note] = nodes["check"].notes
    assert note.topic == "reused"
    assert note.text.startswith("reused from run r1, where it completed at 20")
    assert note.data == {"run": "r1"}
    assert nodes["pst-01"].devices == ("low-pst/beam/01",)
    assert nodes["pst-01"].message == "low-pst/beam/01: done"  # once
    assert nodes["scan"].notes == []
    log.assert_gapless()
    # The record of the earlier run is as it was.
    assert History(store).find("r1").status is TaskStatus.FAILED


def test_redo_does_what_completed_again(store: Store) -> None:
    failed_run(store)
    fake = FakeDeviceRunner()
    resume("r1", tree(), store=store, runners={DEVICE: fake}, redo=["configure/configure_pst/**"])
    fake.assert_calls(["pst-01", "pst-02", "pst-03", "scan"])
    with pytest.raises(UsageError, match="matches no leaf"):
        resume("r1", tree(), store=store, redo=["configure/configure_psd/**"])


def test_the_plan_says_what_and_why(store: Store) -> None:
    failed_run(store)
    fresh = tree(LeafTask("pst-04", "low-pst/beam/04", "Configure"))
    ready = plan_resume(store, "r1", fresh, redo=["**/pst-03"])
    told = {leaf.path.rpartition("/")[2]: (leaf.action, leaf.why) for leaf in ready.plan.leaves}
    assert told["check"][0] == "reuse"
    assert told["pst-02"] == ("redo", "failed: low-pst/beam/02: no lock")
    assert told["pst-03"] == ("redo", "requested by --redo **/pst-03")
    assert told["pst-04"] == ("redo", "it was not part of the earlier run")
    assert told["scan"] == ("redo", "skipped: configure_pst failed")
    assert ready.plan.line == "reuse 2, redo 4, skip 0"
    assert not ready.is_done
    smaller = Task("configure", subtasks=[LeafTask("check", "low-cbf/x/1", "On")])
    skipped = plan_resume(store, "r1", smaller).plan.of("skip")
    assert [leaf.path.rpartition("/")[2] for leaf in skipped] == ["pst-01", "pst-02", "pst-03",
                                                                  "scan"]  # fmt: skip


@pytest.mark.parametrize(
    ("leaf", "why"),
    [
        (LeafTask("check", "low-cbf/x/2", "On"), "its device is low-cbf/x/2 now, and was low-cbf"),
        (LeafTask("check", "low-cbf/x/1", "Off"), "its command is Off now, and was On"),
        (LeafTask.from_callable(lambda: 0, name="check"), "it is INTERNAL now, and was DEVICE"),
    ],
)
def test_a_leaf_that_is_another_one_now_is_done_again(
    store: Store, leaf: LeafTask, why: str
) -> None:
    failed_run(store)
    plan = plan_resume(store, "r1", Task("configure", subtasks=[leaf])).plan
    assert plan.leaves[0].action == "redo"
    assert plan.leaves[0].why.startswith(why)


def test_a_verdict_is_honoured_and_does_not_rewrite_the_outcome(store: Store) -> None:
    failed_run(store)
    before = History(store).find("r1")
    give_verdict(store, "r1", "configure/configure_pst", "ok", why="seen it lock", who="ann")
    fake = FakeDeviceRunner()
    outcome = resume("r1", tree(), store=store, runners={DEVICE: fake})
    fake.assert_calls(["scan"])
    assert outcome.result is ResultCode.OK
    nodes = {node.name: node for node in History(store).nodes("last")}
    assert nodes["pst-02"].notes[0].text == (
        "taken as OK in place of failed: low-pst/beam/02: no lock in run r1: ann said to treat it"
        " as OK: seen it lock"
    )
    assert History(store).find("r1") == before


def test_a_verdict_stays_a_verdict_through_every_resume(store: Store) -> None:
    failed_run(store)
    give_verdict(store, "r1", "configure/configure_pst/pst-02", "ok", why="seen it lock", who="ann")
    verdict = {"verdict": "ok", "who": "ann", "why": "seen it lock", "run": "r1"}
    for _ in range(2):  # scan fails in each, so that there is something to resume
        fake = FakeDeviceRunner({"scan": Script.fails("no beam")})
        resume("last", tree(), store=store, runners={DEVICE: fake})
        fake.assert_calls(["scan"])
    nodes = {node.name: node for node in History(store).nodes("last")}
    [note] = nodes["pst-02"].notes
    assert (note.topic, note.data) == ("reused", {**verdict, "state": "failed"})
    [first] = [node for node in History(store).nodes("r1") if node.name == "pst-02"]
    assert first.finished is not None
    assert note.cause == first.finished.cause
    assert [note.data.keys() for note in nodes["pst-01"].notes] == [{"run"}]
    [planned] = [it for it in plan_resume(store, "last", tree()).plan.leaves if "02" in it.path]
    assert (planned.action, planned.why) == ("reuse", "ann said to treat it as OK: seen it lock")
    told = [event for event in History(store).events("last") if event.kind == "note"]
    assert [it.detail.data for it in told if it.path.endswith("02")] == [note.data]
    # What ran again is a fact of the machine once more.
    resume("last", tree(), store=store, runners={DEVICE: FakeDeviceRunner()}, redo=["**/pst-02"])
    nodes = {node.name: node for node in History(store).nodes("last")}
    assert nodes["pst-02"].notes == []


def test_a_table_of_nodes_tells_who_accepted_one(store: Store, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    failed_run(store)
    give_verdict(store, "r1", "configure/configure_pst", "ok", why="seen it lock", who="ann")
    resume("last", tree(), store=store, runners={DEVICE: FakeDeviceRunner()})
    History(store).export_parquet(tmp_path / "out")
    rows = parquet.read_table(tmp_path / "out" / "nodes.parquet").to_pylist()
    accepted = [row for row in rows if row["accepted_by"] is not None]
    assert [(row["path"], row["accepted_by"], row["accepted_why"]) for row in accepted] == [
        ("configure/configure_pst/pst-02", "ann", "seen it lock")
    ]
    assert accepted[0]["run_id"] != "r1"


def test_the_last_verdict_counts_and_a_note_decides_nothing(store: Store) -> None:
    failed_run(store)
    path = "configure/configure_pst/pst-02"
    for verdict in ("ok", "acknowledged"):
        give_verdict(store, "r1", path, verdict, why="x")
    assert plan_resume(store, "r1", tree()).plan.line == "reuse 3, redo 2, skip 0"
    for verdict in ("ok", "note"):
        give_verdict(store, "r1", path, verdict, why="x")
    assert plan_resume(store, "r1", tree()).plan.line == "reuse 4, redo 1, skip 0"


def test_a_run_that_was_ok_leaves_nothing_to_do(store: Store) -> None:
    record(store, "r1", tree())
    ready = plan_resume(store, "r1", tree())
    assert ready.is_done
    fake = FakeDeviceRunner()
    assert resume("r1", tree(), store=store, runners={DEVICE: fake}).result is ResultCode.OK
    fake.assert_calls([])


def test_nothing_runs_twice(store: Store) -> None:
    import os

    import psutil

    failed_run(store)
    started = psutil.Process().create_time()
    key = cut(store, "r1", 20, pid=os.getpid(), pid_started=started)
    with pytest.raises(UsageError, match=f"still runs .process {os.getpid()} on"):
        plan_resume(store, "r1", tree())
    from sqlalchemy import delete

    from taskgrove.store.tables import leases

    with tables_of(store) as connection:
        connection.execute(delete(leases).where(leases.c.run_key == key))
    find_lost(store)
    with pytest.raises(UsageError, match="was lost, and its work may still run") as caught:
        resume("r1", tree(), store=store)
    line = command_line(store.location, "recover", "r1")
    assert caught.value.hint == f"recover it first: {line}"


def test_a_tree_of_another_command_is_refused(store: Store) -> None:
    failed_run(store)
    with pytest.raises(UsageError, match="the tree is 'scan', the run was 'configure'"):
        plan_resume(store, "r1", Task("scan", subtasks=[LeafTask("a", "x/y/z", "On")]))


def test_only_a_clean_end_is_reused() -> None:
    detail = ComposedDetail("DEVICE", target="x/y/z", command_name="On")
    root = Task("configure", subtasks=[LeafTask("a", "x/y/z", "On")])

    def action(**fields: Any) -> str:
        node = RunNode("configure/a", composed=detail, **fields)
        return plan_resume_of(root, [node], run_id="r1").leaves[0].action

    ok = {"status": TaskStatus.COMPLETED, "result_code": ResultCode.OK}
    assert action(**ok) == "reuse"
    assert action(**ok, health_state="DEGRADED") == "redo"
    assert action(**ok, finished=FinishedDetail(skipped=True)) == "redo"
    for code in ResultCode:  # as every outcome is judged
        wanted = "redo" if code in PROBLEM_CODES else "reuse"
        assert action(status=TaskStatus.COMPLETED, result_code=code) == wanted
    for status in set(TaskStatus) - {TaskStatus.COMPLETED}:
        assert action(status=status, result_code=ResultCode.OK) == "redo"
    assert action() == "redo"


@given(roots)
def test_a_resume_runs_exactly_what_did_not_go_well(spec: Any) -> None:
    """After enough resumes with devices that are well, any tree ends OK."""
    spec = without_rules(spec)
    from taskgrove.story.run_node import RunNodes

    scripts: dict[str, Script] = {}
    log = EventLog()
    with MainTaskExecutor(1, {DEVICE: FakeDeviceRunner(build_scripts(spec, scripts))}) as executor:
        executor.submit_main_task(build_any(spec, {}), observers=[log]).wait(HANG_GUARD_S)
    first = RunNodes(log.events)
    again = build_any(spec, {})
    plan = plan_resume_of(again, list(first.nodes.values()), run_id="r1")
    fake, log = FakeDeviceRunner(), EventLog()
    with MainTaskExecutor(2, {DEVICE: fake}) as executor:
        handle = executor.submit_main_task(again, observers=[log], prior=plan.prior)
        assert handle.wait(HANG_GUARD_S)
    log.assert_gapless()
    assert {call.path for call in fake.calls} == {leaf.path for leaf in plan.of("redo")}
    for path, _ in again.walk():
        log.assert_one_end(path)
    leaves = [leaf.path for leaf in plan.leaves]
    second = RunNodes(log.events)
    assert all(second.nodes[path].status is TaskStatus.COMPLETED for path in leaves)


def build_scripts(spec: Any, scripts: dict[str, Script]) -> dict[str, Script]:
    build_any(spec, scripts)
    return scripts


def redone(kind: CauseKind, *notes: NodeNote) -> str:
    """Return the doubt that a plan tells of a leaf that failed like this."""
    facts = RunNode(
        "configure/check",
        status=TaskStatus.FAILED,
        message="its end is not known, and it may go on",  # a device may say anything
        started_ns=1,
        finished=FinishedDetail(cause=Cause(kind=kind)),
        notes=list(notes),
    )
    task = Task("configure", subtasks=[LeafTask("check", "low-cbf/x/1", "On")])
    [leaf] = plan_resume_of(task, [facts], run_id="r1").leaves
    assert leaf.action == "redo"
    return leaf.doubt


def test_a_plan_says_what_may_be_done_twice() -> None:
    timeout = NodeNote("timeout", "", 2)
    goes_on = "low-cbf/x/1 was not stopped when its timeout expired, and may still run"
    assert redone("reported") == redone("died") == redone("unreachable") == ""
    assert redone("timed_out", timeout) == goes_on

    def late(cause: Cause | None = None) -> NodeNote:
        return NodeNote("late", "it may go on", 3, {"status": "FAILED"}, cause)

    for let_go in ("fate_unknown", "timed_out"):
        assert redone("timed_out", timeout, late(Cause(kind=let_go))) == goes_on
    assert redone("timed_out", timeout, late(Cause(kind="reported"))) == ""
    assert redone("timed_out", timeout, late()) == ""
    assert redone("timed_out", timeout, NodeNote("late", "an update", 3)) == goes_on
    # Of before notes of late ends had data.
    former = NodeNote("late", "ended COMPLETED after its end was decided: done", 3)
    assert redone("timed_out", timeout, former) == ""
    former = NodeNote("late", "ended FAILED after its end was decided: a; it may go on", 3)
    assert redone("timed_out", timeout, former) == goes_on
    for kind in ("fate_unknown", "silent", "forgotten", "lost"):
        assert redone(kind) == "its end is not known"
    assert redone("abandoned") == "low-cbf/x/1 was not followed to its end, and may still run"
    asked = redone("abandoned", NodeNote("abandoned", "", 2))
    assert asked == "low-cbf/x/1 did not stop when it was asked to, and may still run"
    assert redone("never_begun", NodeNote("lost", "it was next", 2)) == "it was next"
    # The end that is told is that of the first attempt; the last one may go on.
    for topic in ("attempt", "held", "undecided"):
        last = NodeNote(topic, "attempt 1 of 1 ended FAILED", 2, {}, Cause(kind="silent"))
        assert redone("reported", last) == "its end is not known"
        other = NodeNote(topic, "", 2, {}, Cause(kind="silent", attempt=2))
        assert redone("reported", other) == ""


def test_a_step_that_only_reads_leaves_no_doubt() -> None:
    node = RunNode("go/x")
    node.notes = [NodeNote("lost", "it began when the runner was lost", 2)]
    said = {}
    for step in ("command", "write", "wait", "expect"):
        leaf = LeafTask("x", "a/b/1", "velocity", step=step)
        said[step] = (doubt_of_lost(leaf, "it began"), doubt_about(leaf, node))
    reads = "it began when the runner was lost: it only reads, and changed nothing"
    assert said["wait"] == said["expect"] == (reads, "")
    assert said["write"] == (
        "it began when the runner was lost: whether velocity of a/b/1 was written is not known",
        "it began when the runner was lost",
    )
    assert said["command"][1] == "it began when the runner was lost"


def test_a_leaf_that_is_another_step_now_is_done_again() -> None:
    node = RunNode("go/x")
    node.composed = ComposedDetail("DEVICE", target="a/b/1", command_name="velocity", step="write")
    same = LeafTask("x", "a/b/1", "velocity", step="write")
    assert change_of(same, node) == ""
    assert change_of(LeafTask("x", "a/b/1", "velocity", step="wait"), node) == (
        "it is a wait now, and was a write"
    )
    assert change_of(LeafTask("x", "a/b/1", "speed", step="write"), node) == (
        "its attribute is speed now, and was velocity"
    )
