"""kill -9 at any event of a steered run: recovered and resumed, the record tells the truth."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgrove.commands.replay import rebuild
from taskgrove.commands.task import LeafTask, Task
from taskgrove.errors import UsageError
from taskgrove.recovery.finding_lost import find_lost
from taskgrove.recovery.lost_run_recovery import recover
from taskgrove.recovery.resuming import Resumption, plan_resume
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog
from tests.steering.killed_runs import Nursery
from tests.steering.random_runs import RandomRun, random_run
from tests.steering.scripted_target import Invocation, InvocationLog, ScriptedTarget
from tests.steering.steered_run import DEVICE, SteeredRun, carry_out
from tests.steering.steering_oracle import (
    Decided,
    attempts,
    beginnings,
    ends,
    outcome,
    request_ids,
    worked,
)

#: Seeds of one test.
PART = 12
UNKNOWN = Decided(None, aborted=True)


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as process:
        yield process


@pytest.mark.parametrize(
    "first", [0, *(pytest.param(n * PART, marks=pytest.mark.thorough) for n in range(1, 20))]
)
def test_any_run_that_is_killed_is_recovered_and_resumed(
    nursery: Nursery, tmp_path: Path, first: int
) -> None:
    database = tmp_path / "runs.db"
    for seed in range(first, first + PART):
        code = nursery.run(database, tmp_path, seed)
        assert code in (0, -signal.SIGKILL), f"seed {seed}"
        if code:
            with Store.open(database) as store:
                faults = faults_after(store, random_run(seed), tmp_path)
            assert faults == [], f"seed {seed}"


#: Runs with all that is steered: holds, pauses, parked and undecided steps, steps that were
#: accepted or left out, delays, clean-ups; and so many events as each has.
RICH = {43: 30, 204: 61, 228: 63, 365: 55}


@pytest.mark.parametrize(
    ("seed", "part"),
    [
        (43, 0),
        *(
            pytest.param(seed, part, marks=pytest.mark.thorough)
            for seed in RICH
            for part in range(5)
            if (seed, part) != (43, 0)
        ),
    ],
)
def test_a_run_that_is_killed_at_every_event(
    nursery: Nursery, tmp_path: Path, seed: int, part: int
) -> None:
    for kill_at in range(1 + part, RICH[seed] + 1, 5):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        code = nursery.run(folder / "runs.db", folder, seed, kill_at)
        assert code in (0, -signal.SIGKILL), f"event {kill_at}"
        if code:
            with Store.open(folder / "runs.db") as store:
                faults = faults_after(store, random_run(seed), folder)
            assert faults == [], f"event {kill_at}"


def faults_after(store: Store, spec: RandomRun, folder: Path) -> list[str]:
    """Recover and resume a run that was killed; return what is wrong then, in words."""
    run_id, history = f"seed-{spec.seed}", History(store)
    find_lost(store)
    before = history.facts(run_id)
    log = InvocationLog(folder / f"invocations-{spec.seed}")
    try:
        if history.find(run_id).state == "lost":
            recover(store, run_id, runners={DEVICE: ScriptedTarget(spec.plays, log)})
        invocations = log.read()
    except UsageError as exc:
        return [] if before.root is None or "nothing but its beginning" in str(exc) else [str(exc)]
    finally:
        log.close()
    found = [*of_record(history, run_id, before, invocations)]
    ready = plan_resume(store, run_id, spec.tree())
    spec.asked, spec.pause_before = {}, ()
    with Recorder(store) as recorder:
        run = carry_out(
            spec,
            folder,
            recorder,
            run_id=f"{run_id}-again",
            about=ready.about,
            prior=ready.plan.prior,
        )
    return [*found, *of_resumed(run, ready, history.facts(run_id))]


def of_record(
    history: History, run_id: str, before: RunNodes, invocations: list[Invocation]
) -> Iterator[str]:
    """The recovered run has one end for each node, and those on record are kept."""
    log = EventLog()
    for event in history.events(run_id):
        log(event)
    log.assert_gapless()
    facts, again = RunNodes(log.events), rebuild(log.events)
    row = history.find(run_id)
    assert again.outcome is not None
    if (row.status, row.message) != (again.outcome.status, again.outcome.message):
        yield f"{run_id} is {row.status} {row.message}, and replays to {again.outcome}"
    for path, node in facts.nodes.items():
        log.assert_one_end(path)
        known = before.nodes.get(path)
        if known is not None and known.is_final and known.finished != node.finished:
            yield f"{path} had ended {known.finished}, and now {node.finished}"
    yield from of_requests(history, run_id, log)
    assert again.root is not None
    yield from (f"recovered: {fault}" for fault in ends(facts, again.root, invocations, UNKNOWN))


def of_requests(history: History, run_id: str, log: EventLog) -> Iterator[str]:
    """Every request on record is answered: done where an event has it, else too late."""
    told = {request_id for event in log.events for request_id in request_ids(event)}
    for row in history.requests(run_id):
        what, answer = f"{row.request.id} ({row.request.verb} {row.request.path})", row.answer
        if answer is None:
            yield f"{what} has no answer"
        elif (answer.fate == "done") is not (row.request.id in told):
            yield f"{what} was {answer.fate}, and has an event: {row.request.id in told}"


def of_resumed(run: SteeredRun, ready: Resumption, earlier: RunNodes) -> Iterator[str]:
    """What was taken over is as it was, and nothing ran twice that was not in doubt."""
    doubts = {leaf.path for leaf in ready.plan.of("redo") if leaf.doubt}
    yield from attempts([item for item in run.invocations if item.path not in doubts])
    yield from beginnings(run)
    facts = RunNodes(run.events)
    reused = {leaf.path for leaf in ready.plan.of("reuse")}
    counted = [
        item for item in run.invocations if item.run_id == run.handle.id or item.path in reused
    ]
    yield from ends(facts, run.tree, counted, Decided(None, Decided.of(run.asked).aborted))
    yield from outcome(run)
    for leaf in ready.plan.of("reuse"):
        before, now = earlier.nodes[leaf.path].finished, facts.nodes[leaf.path].finished
        if any(item.path == leaf.path and item.run_id == run.handle.id for item in run.invocations):
            yield f"{leaf.path} was taken over, and ran again"
        if before is None or now is None:
            yield f"{leaf.path} was taken over without an end"
        elif (before.accepted, before.accepted_by) != (now.accepted, now.accepted_by):
            yield f"{leaf.path} was accepted by {before.accepted_by}, and now {now.accepted_by}"
    yield from clean_up_came_last(run.tree, run.invocations)


def clean_up_came_last(tree: Task, invocations: list[Invocation]) -> Iterator[str]:
    """Over both runs: a sequence of which a step has begun was cleaned up after its last step."""
    for path, node in tree.walk():
        if not isinstance(node, Task) or node.finally_task is None:
            continue
        own = f"{path}/finally/"
        below = [item for item in invocations if item.path.startswith(f"{path}/")]
        steps = [item for item in below if not item.path.startswith(own) and worked(item)]
        for leaf in node.finally_task.subtasks:
            assert isinstance(leaf, LeafTask)
            last = max(
                (item.began_ns for item in below if item.path == f"{own}{leaf.name}"), default=0
            )
            if steps and last < max(item.began_ns for item in steps):
                yield f"{own}{leaf.name} did not run after the last step"
