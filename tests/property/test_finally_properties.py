"""Clean-ups of any tree, with failures, and aborts at any moment.

A clean-up whose sequence has begun runs once, after all steps of the sequence have ended, the inner
ones before the outer ones. No other clean-up runs.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.leaf_runner import LeafContext, LeafLimits
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.replay import rebuild
from taskgrove.commands.task import BaseTask, LeafTask, Task, TaskExecutionType
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import TaskEvent, decode_event, encode_event
from taskgrove.testing import EventLog
from tests.untold_causes import untold_causes

HANG_GUARD_S = 200.0
DEVICE, PARALLEL = TaskExecutionType.DEVICE, TaskExecutionType.PARALLEL
ABORTED, REJECTED = TaskStatus.ABORTED, TaskStatus.REJECTED
OK, FAILED = (ResultCode.OK, "done"), (ResultCode.FAILED, "boom")

#: What a leaf does: it ends so, or hangs until it is released or, if it is not deaf, aborted.
ENDS: dict[str, tuple[TaskStatus, Any]] = {
    "succeeds": (TaskStatus.COMPLETED, OK),
    "fails": (TaskStatus.COMPLETED, FAILED),
    "breaks": (TaskStatus.FAILED, FAILED),
    "is refused": (REJECTED, (ResultCode.REJECTED, "queue is full")),
    "fails first": (TaskStatus.COMPLETED, OK),
    "hangs": (TaskStatus.COMPLETED, OK),
    "is deaf": (TaskStatus.COMPLETED, OK),
}

leaves = st.sampled_from([*ENDS, "succeeds", "hangs"])


def composites(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts, steps = st.lists(inner, max_size=3), st.lists(inner, min_size=1, max_size=3)
    clean_up = st.one_of(st.just([]), st.lists(inner, min_size=1, max_size=2))
    return st.one_of(
        st.tuples(st.just("parallel"), st.just(False), parts, st.just([])),
        st.tuples(st.just("sequence"), st.booleans(), steps, clean_up),
        st.tuples(st.just("sequence"), st.booleans(), steps, clean_up),
    )


trees = composites(st.recursive(leaves, composites, max_leaves=8))


class Devices:
    """A runner whose leaves do what their command says; it keeps what it was asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clock = itertools.count()
        self.starts: dict[str, list[int]] = {}
        self.begun: set[str] = set()
        self.hanging: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def limits(self, leaf: LeafTask) -> LeafLimits:
        return LeafLimits(abort="ask", timeout="reported")

    def start(self, context: LeafContext) -> None:
        does = context.leaf.command_name
        with self._lock:
            self.starts.setdefault(context.path, []).append(next(self._clock))
            if does != "is refused":
                self.begun.add(context.path)
        if does != "is refused":
            context.update(status=TaskStatus.IN_PROGRESS)
        if does in ("hangs", "is deaf"):
            self.hanging.put(context)
        elif does == "fails first" and context.attempt == 1:
            context.finish(TaskStatus.FAILED, FAILED, may_retry=True)
        else:
            context.finish(*ENDS[does])

    def abort(self, context: LeafContext, reason: str) -> None:
        if context.leaf.command_name != "is deaf":
            context.finish(ABORTED, (ResultCode.ABORTED, reason))

    def attach(self, context: LeafContext, outside_id: str) -> None:
        raise NotImplementedError


def build(spec: Any, name: str = "root") -> BaseTask:
    if isinstance(spec, str):
        return LeafTask(name, f"x/y/{name}", spec, retries=1)
    kind, skips, parts, clean_up = spec
    return Task(
        name,
        PARALLEL if kind == "parallel" else TaskExecutionType.SEQUENTIAL,
        skips,
        subtasks=[build(part, f"s{at}") for at, part in enumerate(parts)],
        finally_tasks=[build(part, f"f{at}") for at, part in enumerate(clean_up)],
    )


def run(tree: Task, abort_at: list[int], workers: int) -> tuple[Any, Devices, EventLog, list[bool]]:
    """Run a tree, with an abort after so many events; what hangs is released after a while."""
    devices, log, count = Devices(), EventLog(), itertools.count(1)

    def observe(event: TaskEvent) -> None:
        if next(count) in abort_at:
            devices.hanging.put("abort")
        if event.path == tree.path and event.kind == "finished":
            devices.hanging.put("end")

    aborts: list[bool] = []
    with MainTaskExecutor(workers, runners={DEVICE: devices}) as executor:
        handle = executor.submit_main_task(tree, observers=[log, observe])
        while (item := devices.hanging.get(timeout=HANG_GUARD_S)) != "end":
            if item == "abort":
                aborts.append(handle.abort(f"abort {len(aborts) + 1}"))
            else:
                item.finish(*ENDS[item.leaf.command_name])
        assert handle.wait(HANG_GUARD_S)
    return handle, devices, log, aborts


def leaves_of(node: BaseTask) -> list[str]:
    below = node.walk() if isinstance(node, Task) else [(node.path, node)]
    return [path for path, item in below if isinstance(item, LeafTask)]


@given(trees, st.lists(st.integers(1, 40), max_size=2), st.sampled_from([1, 4]))
def test_each_clean_up_of_a_sequence_that_began_runs_once_after_it(
    spec: Any, abort_at: list[int], workers: int
) -> None:
    tree = build(spec)
    assert isinstance(tree, Task)
    handle, devices, log, aborts = run(tree, abort_at, workers)
    ends = {event.path: event for event in log.events if event.kind == "finished"}
    first = {
        event.path: event.sequence for event in reversed(log.events)
        if event.kind == "started" or (event.kind == "finished" and event.path not in devices.begun)
    }  # fmt: skip
    is_stopped = sum(aborts) > 1
    for _, node in tree.walk():
        last = node.finally_task if isinstance(node, Task) else None
        if last is None:
            continue
        assert isinstance(node, Task)
        steps = [path for step in node.steps for path in leaves_of(step)]
        has_begun = any(path in devices.begun for path in steps)
        if not has_begun:
            for path in leaves_of(last):
                assert path not in devices.starts
                assert ends[path].status in (REJECTED, ABORTED)
            continue
        for child in last.subtasks:  # those of composites may be casualties of each other
            if isinstance(child, LeafTask):
                attempts = 2 if child.command_name == "fails first" else 1
                starts = len(devices.starts.get(child.path, ()))
                assert starts == attempts or (is_stopped and starts < attempts)
                if not starts:
                    assert "not run: " in ends[child.path].message
        over = max(ends[path].sequence for path in steps)
        assert all(first[path] > over for path in leaves_of(last) if path in devices.begun)
    check_whole(tree, handle, log)
    if not any(aborts):
        assert ABORTED not in {event.status for event in ends.values()}


def check_whole(tree: Task, handle: Any, log: EventLog) -> None:
    """Check the sums, the record and the causes of a run that has ended."""
    log.assert_gapless()
    assert untold_causes(log.events) == []
    assert handle.progress == 100
    told = Counter(event.path for event in log.events if event.kind == "finished")
    for path, node in tree.walk():
        assert told[path] == 1, path
        if isinstance(node, Task):
            assert node.tracker.is_complete
            assert node.tracker.total_subtasks == len(node.subtasks)
    again = rebuild(decode_event(encode_event(event)) for event in log.events)
    assert again.outcome == handle.outcome
    assert {path: status for path, status in again.statuses.items() if status is not None} == {
        event.path: event.status for event in log.events if event.kind == "finished"
    }
