"""The tracker: what one accepted update costs, through the public ``update_task``."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator

from benchmarks.measure import Row, paired
from taskgrove import ResultCode, SubtaskResult, TaskAggregationPolicy, TaskStatus, TaskTracker

UPDATES = 60_000
STEPS = 3


class Floor:
    """The leanest correct counter update under a lock: integer indexes, no call inside."""

    def __init__(self, total: int) -> None:
        self.lock = threading.Lock()
        self.status = [2] * total
        self.progress = [0] * total
        self.progress_sum = 0
        self.done = 0

    def update(self, index: int, status: int, progress: int) -> None:
        with self.lock:
            if self.status[index] > 2:
                return
            earlier = self.progress[index]
            if progress <= earlier:
                return
            self.progress[index] = progress
            self.progress_sum += progress - earlier
            if status > 2:
                self.status[index] = status
                self.done += 1


class Naive:
    """Recompute everything at each update, as a first version would."""

    def __init__(self, names: list[str]) -> None:
        self.lock = threading.Lock()
        self.records = {name: SubtaskResult(name) for name in names}
        self.progress = dict.fromkeys(names, 0)
        self.policy = TaskAggregationPolicy("task")

    def update(self, name: str, status: TaskStatus, progress: int) -> None:
        with self.lock:
            self.records[name].update(status=status)
            self.progress[name] = progress
            self.done = sum(1 for r in self.records.values() if r.status and r.status.is_final)
            self.mean = sum(self.progress.values()) / len(self.progress)
            self.outcome = self.policy.aggregate(list(self.records.values()))


def _in_threads(count: int, work: Callable[[int], None]) -> float:
    """Run ``work(k)`` in ``count`` threads at once; return the wall time in seconds."""
    barrier = threading.Barrier(count + 1)

    def body(number: int) -> None:
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def _names(total: int) -> tuple[list[str], list[str]]:
    return (
        [f"pst-beam-{index}" for index in range(total)],
        [f"mid-pst/beam/{index}" for index in range(total)],
    )


def _floor(total: int, threads: int) -> Callable[[], float]:
    steps = max(1, min(90, UPDATES // total))

    def once() -> float:
        floor = Floor(total)

        def work(number: int) -> None:
            update = floor.update
            for step in range(1, steps + 1):
                for index in range(number, total, threads):
                    update(index, 2, step)

        return _in_threads(threads, work) / (steps * total)

    return once


def _progress(total: int, threads: int) -> Callable[[], float]:
    names, devices = _names(total)
    steps = max(1, min(90, UPDATES // total))

    def once() -> float:
        tracker = TaskTracker("configure_pst", total, lambda **_: None)
        for name, device in zip(names, devices, strict=True):
            tracker.update_task(task_name=name, status=TaskStatus.IN_PROGRESS, device_name=device)

        def work(number: int) -> None:
            update = tracker.update_task
            mine = list(zip(names, devices, strict=True))[number::threads]
            for step in range(1, steps + 1):
                for name, device in mine:
                    update(
                        task_name=name,
                        status=TaskStatus.IN_PROGRESS,
                        progress=step,
                        device_name=device,
                    )

        return _in_threads(threads, work) / (steps * total)

    return once


def _ends(total: int, threads: int) -> Callable[[], float]:
    """All ends but the last one: the completion is counted apart."""
    names, devices = _names(total)
    repeats = max(1, 20_000 // total)

    def once() -> float:
        trackers = [TaskTracker("configure_pst", total, lambda **_: None) for _ in range(repeats)]
        for tracker in trackers:
            for name, device in zip(names, devices, strict=True):
                tracker.update_task(
                    task_name=name, status=TaskStatus.IN_PROGRESS, device_name=device
                )

        def work(number: int) -> None:
            mine = list(zip(names[1:], devices[1:], strict=True))[number::threads]
            for tracker in trackers:
                update = tracker.update_task
                for name, device in mine:
                    update(
                        task_name=name,
                        status=TaskStatus.COMPLETED,
                        result=(ResultCode.OK, "Configure completed OK"),
                        device_name=device,
                    )

        return _in_threads(threads, work) / (repeats * max(1, total - 1))

    return once


def _naive(total: int) -> float:
    names, _ = _names(total)
    naive = Naive(names)
    updates = max(4, min(2_000, 400_000 // total))
    began = time.perf_counter()
    for index in range(updates):
        naive.update(names[index % total], TaskStatus.IN_PROGRESS, 1 + index // total)
    return (time.perf_counter() - began) / updates


def _completion(total: int) -> float:
    names, devices = _names(total)
    tracker = TaskTracker("configure_pst", total, lambda **_: None)
    ends = list(zip(names, devices, strict=True))
    for name, device in ends[:-1]:
        tracker.update_task(
            task_name=name,
            status=TaskStatus.COMPLETED,
            result=(ResultCode.OK, "done"),
            device_name=device,
        )
    name, device = ends[-1]
    began = time.perf_counter()
    tracker.update_task(task_name=name, status=TaskStatus.COMPLETED, device_name=device)
    return time.perf_counter() - began


def _bytes_per_subtask(total: int = 50_000) -> float:
    names, devices = _names(total)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracker = TaskTracker("configure_pst", total, lambda **_: None)
    for index, (name, device) in enumerate(zip(names, devices, strict=True)):
        tracker.update_task(
            task_name=name, status=TaskStatus.IN_PROGRESS, progress=50, device_name=device
        )
        tracker.update_task(
            task_name=name,
            status=TaskStatus.COMPLETED,
            result=(ResultCode.OK, f"configured beam {index}"),
            device_name=device,
        )
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / total


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    for threads in (1, 8):
        for total in (10, 1_000, 100_000):
            suffix = f"of {total:,}, {threads} thread{'s' if threads > 1 else ''}"
            floor = _floor(total, threads)
            raw, own, ratio = paired(floor, _progress(total, threads), STEPS)
            yield Row(f"progress update {suffix}", own * 1e6, "µs", ratio, "the floor", 3)
            _, own, ratio = paired(floor, _ends(total, threads), STEPS)
            yield Row(
                f"end with result and device {suffix}", own * 1e6, "µs", ratio, "the floor", 8
            )
            if threads == 1:
                naive = _naive(total)
                yield Row(
                    f"recomputing everything {suffix}", naive * 1e6, "µs", naive / raw, "the floor"
                )
    for total in (1_000, 100_000):
        yield Row(f"completion of {total:,} (once a task)", _completion(total) * 1e3, "ms")
    yield Row("memory of a subtask, all told", _bytes_per_subtask(), "bytes", aim=700)
