"""Any tree ends in the outcome that the policy gives for its leaves; its events replay to it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.replay import rebuild
from taskgrove.commands.task import LeafTask, TaskExecutionType
from taskgrove.control_model import TaskStatus
from taskgrove.events import decode_event, encode_event
from taskgrove.testing import EventLog, FakeDeviceRunner, Script
from tests.property.tree_strategies import build, roots
from tests.untold_causes import untold_causes

HANG_GUARD_S = 200.0
ENDS_OF_WORK = (TaskStatus.COMPLETED, TaskStatus.FAILED)
DEVICE = TaskExecutionType.DEVICE


def fails(record):
    if record.status is TaskStatus.ABORTED:
        return True
    policy = TaskAggregationPolicy("x")
    degraded = record.status is TaskStatus.COMPLETED and record.health_state == "DEGRADED"
    return policy.is_problem(record) and not degraded


def expected(node, scripts):
    """What the policy says of a node, computed from its leaves alone."""
    records = []
    broken = False
    for child in node.subtasks:
        if broken:
            record = SubtaskResult(child.name, TaskStatus.REJECTED, (5, "skipped"), skipped=True)
        elif isinstance(child, LeafTask):
            script = scripts[child.name]
            record = SubtaskResult(child.name, script.status, script.result, child.device_name)
        else:
            record = expected(child, scripts)
        records.append(record)
        if node.task_type is TaskExecutionType.SEQUENTIAL and node.skip_subtasks:
            broken = broken or fails(record)
    outcome = TaskAggregationPolicy(node.name, is_root=node.is_root, rule=node.rule).aggregate(
        records
    )
    policy = TaskAggregationPolicy("x")
    failed = set()
    for record in records:
        if policy.is_problem(record):
            own = [record.device_name] if record.device_name else []
            failed.update(record.failed_devices or record.devices or own)
    devices = set()
    for record in records:
        devices.update(record.devices or ([record.device_name] if record.device_name else []))
    return SubtaskResult(
        node.name,
        outcome.status,
        (outcome.result, outcome.message),
        devices=sorted(devices),
        failed_devices=sorted(failed),
        health_state=outcome.health_state,
        severe=outcome.decision is not None and outcome.decision.severe,
        begun=any(record.begun or record.status in ENDS_OF_WORK for record in records),
    )


@given(roots, st.sampled_from([1, 4]))
def test_any_tree_ends_as_the_policy_says_and_its_events_replay_to_it(spec, workers):
    scripts: dict[str, Script] = {}
    tree = build(spec, scripts)
    log = EventLog()
    runner = FakeDeviceRunner(scripts)
    with MainTaskExecutor(workers, runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        assert handle.wait(HANG_GUARD_S)
    assert untold_causes(log.events) == []
    outcome = handle.outcome
    want = expected(tree, scripts)
    assert (outcome.status, outcome.result, outcome.health_state) == (
        want.status,
        want.result_code,
        want.health_state,
    )
    log.assert_gapless()
    for path, _ in tree.walk():
        log.assert_one_end(path)
    again = rebuild(decode_event(encode_event(event)) for event in log.events)
    assert again.outcome == outcome
