"""Any tree ends in the outcome that the policy gives for its leaves; its events replay to it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from taskgrove.commands.aggregation.base import SubtaskResult
from taskgrove.commands.aggregation.policy import TaskAggregationPolicy
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.commands.task_tracker import TaskTracker
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ComposedDetail, decode_event, encode_event
from taskgrove.testing import EventLog, FakeDeviceRunner, Script

HANG_GUARD_S = 60.0
DEVICE = TaskExecutionType.DEVICE

ENDS = st.sampled_from(
    [
        (TaskStatus.COMPLETED, (ResultCode.OK, "done")),
        (TaskStatus.COMPLETED, (ResultCode.OK, "done")),
        (TaskStatus.COMPLETED, (ResultCode.FAILED, "no lock")),
        (TaskStatus.FAILED, (ResultCode.FAILED, "boom")),
        (TaskStatus.REJECTED, (ResultCode.REJECTED, "queue is full")),
        (TaskStatus.ABORTED, (ResultCode.ABORTED, "aborted by hand")),
        (TaskStatus.COMPLETED, None),
    ]
)
KINDS = st.sampled_from(
    ["mid-pst/beam", "mid-pst/beam", "mid-pss/subarray", "mid-cbf/subarray", "x/y"]
)
TYPES = st.sampled_from([TaskExecutionType.SEQUENTIAL, TaskExecutionType.PARALLEL])
RULES = st.sampled_from([None, None, None, "all", "any", {"quorum": 2}, {"quorum": 0.5}])

leaves = st.tuples(KINDS, ENDS)
trees = st.recursive(
    leaves,
    lambda inner: st.tuples(
        TYPES,
        st.booleans(),
        RULES,
        st.sampled_from(["part", "part_pst"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)
roots = st.tuples(
    TYPES, st.booleans(), RULES, st.just("root"), st.lists(trees, min_size=1, max_size=4)
)


def build(spec, scripts, prefix=""):
    if len(spec) == 2:
        kind, (status, result) = spec
        name = f"leaf{prefix}"
        scripts[name] = Script(status=status, result=result)
        return LeafTask(name, f"{kind}/{len(scripts):02}", "Configure")
    task_type, skip, rule, name, children = spec
    is_root = name == "root"
    built = [build(child, scripts, f"{prefix}-{index}") for index, child in enumerate(children)]
    name = name if is_root else f"n{prefix}_{name}"
    return Task(name, task_type, skip, is_root=is_root, subtasks=built, rule=rule)


def fails(record):
    if record.status is TaskStatus.ABORTED:
        return True
    policy = TaskAggregationPolicy("x")
    return policy.is_problem(record) and record.health_state != "DEGRADED"


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
    )


def replay(events):
    """Feed the events of a run to fresh trackers, as a reader of the record would."""
    trackers: dict[str, TaskTracker] = {}
    leaves_of_devices: set[str] = set()
    for event in events:
        parent_path, _, name = event.path.rpartition("/")
        if event.kind == "composed":
            detail = event.detail
            assert isinstance(detail, ComposedDetail)
            if detail.execution in ("SEQUENTIAL", "PARALLEL"):
                trackers[event.path] = TaskTracker(
                    event.path.rpartition("/")[2],
                    len(detail.children),
                    is_root=detail.root,
                    rule=None if detail.rule is None else _rule(detail.rule),
                    pst_group=detail.pst_group,
                )
                trackers[event.path].expect(detail.children)
            elif event.devices:
                leaves_of_devices.add(event.path)
        elif event.kind == "finished" and parent_path in trackers:
            result = None if event.result_code is None else (event.result_code, event.message)
            trackers[parent_path].update_task(
                task_name=name,
                status=event.status,
                result=result,
                # A step that was skipped never reached its device.
                device_name=(
                    event.devices[0] if event.devices and event.path in leaves_of_devices else None
                ),
                devices=event.devices or None,
                failed_devices=event.failed_devices or None,
                health_state=event.health_state,
                severe=event.detail.severe,
                skipped=event.detail.skipped,
            )
    return trackers["root"]


def _rule(label):
    from taskgrove.commands.aggregation.rules import parse_rule

    return parse_rule(label)


@settings(max_examples=150)
@given(roots, st.sampled_from([1, 4]))
def test_any_tree_ends_as_the_policy_says_and_its_events_replay_to_it(spec, workers):
    scripts: dict[str, Script] = {}
    tree = build(spec, scripts)
    log = EventLog()
    runner = FakeDeviceRunner(scripts)
    with MainTaskExecutor(workers, runners={DEVICE: runner}) as executor:
        handle = executor.submit_main_task(tree, observers=[log])
        assert handle.wait(HANG_GUARD_S)
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
    events = [decode_event(encode_event(event)) for event in log.events]
    again = replay(events)
    assert (again.overall_status, again.overall_resultcode, again.overall_health) == (
        outcome.status,
        (outcome.result, outcome.message),
        outcome.health_state,
    )
