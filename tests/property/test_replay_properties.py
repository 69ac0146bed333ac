"""The log is the truth: replayed, it gives the run; cut off, what it says by then and no more.

A run whose log was cut off after any event goes on to a whole log with one end a node.
"""

from __future__ import annotations

import random

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.prior import PriorWork
from taskgrove.commands.replay import rebuild, recorded_prior
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import Cause, TaskEvent, decode_event, encode_event
from taskgrove.story.run_node import RunNodes
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.examples import share_of_examples
from tests.property.tree_strategies import build, roots

HANG_GUARD_S = 200.0
DEVICE = TaskExecutionType.DEVICE
#: Where a log is cut, of its length: the threads make it a little longer or shorter each time.
SHARES = st.floats(0.0, 1.0)
WHY = "the runner of this run was lost"
#: A step that was aborted, and one after it that has no leaf, which is skipped later, too.
ABORTED_BEFORE_AN_EMPTY_STEP = (
    TaskExecutionType.SEQUENTIAL,
    True,
    None,
    "root",
    [
        ("mid-pst/beam", (TaskStatus.ABORTED, (ResultCode.ABORTED, "aborted by hand"))),
        (
            TaskExecutionType.SEQUENTIAL,
            False,
            {"quorum": 2},
            "part_pst",
            [(TaskExecutionType.PARALLEL, True, "all", "part_pst", [])],
        ),
    ],
)


def ran(spec, workers=1):
    """Run a tree; return its script, its handle's outcome and its log."""
    scripts: dict[str, Script] = {}
    tree = build(spec, scripts)
    for script in scripts.values():
        object.__setattr__(script, "progress", (20, 60))
    log = EventLog()
    with MainTaskExecutor(workers, runners={DEVICE: FakeDeviceRunner(scripts)}) as executor:
        handle = executor.submit_main_task(tree, observers=[log], run_id="r1")
        assert handle.wait(HANG_GUARD_S)
    return scripts, handle.outcome, [decode_event(encode_event(event)) for event in log.events]


def coalesced(events):
    """The same log with every progress event that another follows folded into that one."""
    kept: list[TaskEvent] = []
    for event in events:
        last = kept[-1] if kept else None
        if (
            last is not None
            and last.kind == event.kind == "progress"
            and last.path == event.path
            and last.status is event.status
        ):
            first = last.sequence if last.sequence_from is None else last.sequence_from
            kept[-1] = TaskEvent(
                **{f: getattr(event, f) for f in event.__struct_fields__ if f != "sequence_from"},
                sequence_from=first,
            )
        else:
            kept.append(event)
    return kept


@given(roots, st.integers(0, 2**32))
def test_a_log_in_any_order_and_coalesced_replays_to_the_run(spec, seed):
    _, outcome, events = ran(spec, workers=4)
    whole = rebuild(events)
    assert whole.run_id == "r1"
    assert whole.outcome == outcome
    assert (whole.uncomposed, whole.unplaced) == ((), ())
    shuffled = coalesced(events)
    # By a seed: how many there are depends on the threads, and Hypothesis must not notice.
    random.Random(seed).shuffle(shuffled)
    again = rebuild(shuffled)
    assert again.outcome == outcome
    assert again.statuses == whole.statuses
    assert rebuild(whole.facts).statuses == whole.statuses
    told = {e.path: e.status for e in events if e.kind == "finished"}
    assert whole.statuses == told


def said(events, path):
    """The last status that the log tells of a node, and whether it says that it ended."""
    own = [event for event in events if event.path == path and event.kind != "note"]
    ended = [event for event in own if event.kind == "finished"]
    return (ended[0] if ended else None), own


@given(roots, SHARES)
def test_any_prefix_replays_and_claims_no_more_than_it_says(spec, share):
    _, _, events = ran(spec)
    cut = round(share * len(events))
    prefix = events[:cut]
    again = rebuild(prefix)
    if again.root is None:
        assert cut == 0
        return
    ends = {event.path for event in prefix if event.kind == "finished"}
    for path, node in reversed(list(again.root.walk())):
        status = again.statuses[path]
        if status is None or not status.is_final or path in ends:
            continue
        # Only what follows from the ends that were told is claimed.
        assert isinstance(node, Task)
        assert all(f"{path}/{child.name}" in ends for child in node.subtasks)
        ends.add(path)
    for path, facts in again.facts.nodes.items():
        told = [e.progress for e in prefix if e.path == path and e.progress is not None]
        assert facts.progress <= max(told, default=0) or facts.is_final


def recovered(prefix, scripts, workers=1):
    """Let a cut run go on: what is in flight is followed, nothing is started."""
    again = rebuild(prefix)
    prior = {}
    for path, facts in again.facts.nodes.items():
        known = recorded_prior(facts)
        if known is not None and not (isinstance(known, PriorWork) and not known.outside_id):
            prior[path] = known
    log = EventLog()
    fake = FakeDeviceRunner(scripts)
    runners = {DEVICE: fake, TaskExecutionType.INTERNAL: fake}
    with MainTaskExecutor(workers, runners=runners) as executor:
        handle = executor.submit_main_task(
            again.root,
            observers=[log],
            run_id="r1",
            prior=prior,
            first_sequence=len(prefix) + 1,
            start_nothing=WHY,
        )
        assert handle.wait(HANG_GUARD_S)
    assert not [call for call in fake.calls if call.action == "start"]
    return handle, log


def check_merged(prefix, handle, log, uncut):
    merged = EventLog()
    for event in (*prefix, *log.events):
        merged(event)
    merged.assert_gapless()
    paths = {event.path for event in uncut}
    for path, _ in handle.task.walk():
        merged.assert_one_end(path)
        assert path in paths
    replayed = rebuild(merged.events)
    assert replayed.outcome == handle.outcome
    # Every sum is the policy's for what is below it, unless it was never begun.
    for path, node in replayed.root.walk():
        facts = replayed.facts.nodes[path]
        if isinstance(node, Task) and node.subtasks and not facts.skipped:
            policy = TaskAggregationPolicy(
                node.name, is_root=node.is_root, rule=node.rule, pst_group=node.pst_group
            )
            outcome = policy.aggregate(list(node.tracker.subtasks.values()))
            assert (facts.status, facts.result_code, facts.message) == (
                outcome.status,
                outcome.result,
                outcome.message,
            )
    return replayed


@settings(max_examples=share_of_examples(3), phases=[Phase.explicit, Phase.generate, Phase.target])
@example(ABORTED_BEFORE_AN_EMPTY_STEP)
@given(roots)
def test_a_log_cut_after_any_event_goes_on_to_one_end_a_node(spec):
    scripts, outcome, events = ran(spec)
    for cut in range(1, len(events)):
        prefix = events[:cut]
        handle, log = recovered(prefix, scripts)
        replayed = check_merged(prefix, handle, log, events)
        before = RunNodes(prefix)
        for path, facts in replayed.facts.nodes.items():
            if not facts.is_leaf:
                continue
            earlier = before.nodes.get(path)
            if earlier is not None and earlier.is_final:
                assert (facts.status, facts.message) == (earlier.status, earlier.message)
            elif earlier is not None and earlier.outside_id is not None:
                end = next(e for e in events if e.path == path and e.kind == "finished")
                assert facts.status is end.status
            elif not facts.skipped:
                assert facts.status is TaskStatus.ABORTED
                assert facts.message.endswith(f"not started: {WHY}")
                assert facts.finished.cause == Cause(kind="never_begun")
            else:
                cause = facts.finished.cause
                assert cause.kind == "skipped"
                assert cause.because_of in replayed.facts.nodes
        if all(node.is_final for node in before.nodes.values() if node.is_leaf) and len(
            before.nodes
        ) == len(replayed.facts.nodes):
            assert handle.outcome == outcome


@given(roots, SHARES, SHARES)
def test_a_log_of_several_workers_goes_on_too_and_is_cut_twice(spec, first, second):
    scripts, _, events = ran(spec, workers=4)
    cut = max(1, round(first * len(events)))
    prefix = events[:cut]
    handle, log = recovered(prefix, scripts, workers=4)
    check_merged(prefix, handle, log, events)
    whole = [*prefix, *log.events]
    again = cut + round(second * (len(whole) - cut))
    handle, log = recovered(whole[:again], scripts, workers=4)
    check_merged(whole[:again], handle, log, events)


def test_leaves_of_the_tree_are_as_they_were_recorded():
    leaf = LeafTask("a", "mid-pst/beam/01", "Configure", timeout=3.0, retries=2)
    root = Task("root", subtasks=[leaf], rule={"quorum": 0.5}, timeout=9.0, obs_mode="IMAGING")
    log = EventLog()
    fake = FakeDeviceRunner()
    with MainTaskExecutor(runners={DEVICE: fake}) as executor:
        executor.submit_main_task(root, observers=[log]).wait(HANG_GUARD_S)
    again = rebuild(log.events).root
    assert (again.rule.label, again.timeout, again.obs_mode) == ("quorum 0.5", 9.0, "IMAGING")
    [same] = again.subtasks
    assert (same.device_name, same.command_name) == ("mid-pst/beam/01", "Configure")
    assert (same.timeout, same.retries, same.task_type) == (3.0, 2, DEVICE)
