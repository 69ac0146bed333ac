"""Task trees of devices that follow a script, for properties of whole runs."""

from __future__ import annotations

from hypothesis import strategies as st

from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.testing import Script

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
        # Several leaves act on one device, so that what they say alike is one cause.
        return LeafTask(name, f"{kind}/{len(scripts) % 3:02}", "Configure")
    task_type, skip, rule, name, children = spec
    is_root = name == "root"
    built = [build(child, scripts, f"{prefix}-{index}") for index, child in enumerate(children)]
    name = name if is_root else f"n{prefix}_{name}"
    return Task(name, task_type, skip, is_root=is_root, subtasks=built, rule=rule)


def without_rules(spec):
    """Return a tree that ends well when its leaves do: a quorum may be out of reach."""
    if len(spec) == 2:
        return spec
    task_type, skip, _, name, children = spec
    return task_type, skip, None, name, [without_rules(child) for child in children]
