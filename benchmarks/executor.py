"""The executor: overhead of a leaf that does nothing, against ``ThreadPoolExecutor.submit``."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.measure import Row, paired
from taskgrove import LeafTask, MainTaskExecutor, ResultCode, Task, TaskExecutionType

PARALLEL = TaskExecutionType.PARALLEL


def nothing() -> None:
    """Do nothing."""


def _leaves(count: int) -> list[LeafTask]:
    return [LeafTask.from_callable(nothing, name=f"leaf-{index}") for index in range(count)]


def flat(count: int) -> Task:
    """Return a root with ``count`` parallel leaves."""
    return Task("root", PARALLEL, is_root=True, subtasks=_leaves(count))


def sequence(count: int) -> Task:
    """Return a root with ``count`` steps."""
    return Task("root", is_root=True, subtasks=_leaves(count))


def tree(width: int, depth: int, *, is_root: bool = True, name: str = "root") -> Task:
    """Return a tree with ``width ** depth`` leaves."""
    if depth == 1:
        children: list[LeafTask] | list[Task] = _leaves(width)
    else:
        children = [
            tree(width, depth - 1, is_root=False, name=f"node-{index}") for index in range(width)
        ]
    return Task(name, PARALLEL, is_root=is_root, subtasks=children)


def nested(depth: int) -> Task:
    """Return one leaf, ``depth`` Tasks deep."""
    node: LeafTask | Task = LeafTask.from_callable(nothing)
    for level in range(depth):
        node = Task(f"level-{level}", subtasks=[node], is_root=level == depth - 1)
    assert isinstance(node, Task)
    return node


def _pool(count: int) -> Callable[[], float]:
    def once() -> float:
        with ThreadPoolExecutor(16) as pool:
            began = time.perf_counter()
            for future in [pool.submit(nothing) for _ in range(count)]:
                future.result()
            return (time.perf_counter() - began) / count

    return once


def _run(make: Callable[[], Task], count: int) -> Callable[[], float]:
    return lambda: run_once(make) / count


def _bytes_of_a_leaf(count: int) -> float:
    """Return the peak memory of building and running ``count`` leaves, in bytes a leaf."""
    # VmHWM, not ru_maxrss: a new process inherits that from the one that started it.
    code = (
        "import re\n"
        "from pathlib import Path\n"
        "from benchmarks.executor import flat, run_once\n"
        "def peak():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+) kB', status)[1]) * 1024\n"
        "run_once(lambda: flat(1000))\n"
        "before = peak()\n"
        f"run_once(lambda: flat({count}))\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=300
    )
    return float(done.stdout) / count


def run_once(make: Callable[[], Task]) -> float:
    """Run a tree and return the wall time, in seconds."""
    task = make()
    with MainTaskExecutor(16) as executor:
        began = time.perf_counter()
        handle = executor.submit_main_task(task)
        assert handle.wait(600)
        spent = time.perf_counter() - began
    assert handle.outcome is not None
    assert handle.outcome.result is ResultCode.OK
    return spent


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    shapes: list[tuple[str, Callable[[], Task], int, float | None]] = [
        ("leaf of a flat fan-out of 10,000", lambda: flat(10_000), 10_000, 3),
        ("leaf of a 10×10×10 tree", lambda: tree(10, 3), 1_000, 3),
        ("step of a sequence of 10,000", lambda: sequence(10_000), 10_000, None),
        ("level of a tree nested 200 deep", lambda: nested(200), 200, None),
    ]
    for name, make, count, aim in shapes:
        base = max(count, 1_000)
        _, own, ratio = paired(_pool(base), _run(make, count))
        yield Row(name, own * 1e6, "µs", ratio, "ThreadPoolExecutor.submit", aim)
    for count in (25_000, 100_000):
        spent = run_once(lambda count=count: flat(count))  # type: ignore[misc]
        yield Row(f"leaf of a flat fan-out of {count:,}", spent / count * 1e6, "µs")
    for count in (25_000, 100_000):
        yield Row(
            f"memory of a leaf, tree and run together, of {count:,}",
            _bytes_of_a_leaf(count),
            "bytes",
        )
