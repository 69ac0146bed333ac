"""Steering: from a request in one process to its effect in another, through the record.

A runner holds a failed step for each request. Another process asks for a retry of one after the
other, at odd moments; the effect is the begin of the further attempt. Both read the same monotonic
clock of the machine. Then the runner only waits, and its processor time is counted. At last the
processor time of a recorded event is compared between a run that takes requests and one that takes
none.

``python -m benchmarks.steering RECORD FOLDER STEPS`` is the runner.
"""

from __future__ import annotations

import contextlib
import functools
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.measure import Row, paired
from benchmarks.store import life_of_leaves, recorded
from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType, steering
from taskgrove.events import TaskEvent
from taskgrove.store import RecordDesk, Recorder, Store
from tests.store.postgres_server import PostgresServer, why_no_postgres

#: How many requests are made.
REQUESTS = 200
#: Between two requests, at most, in seconds: they come at any moment of a look at the record.
PAUSE_S = 0.15
#: How long the runner is watched while it waits, in seconds: its clock ticks every 10 ms.
IDLE_S = 20.0
EVENTS = 100_000
RUN = "bench-steering"


def run_held(record: str, folder: str, steps: int) -> None:
    """Run a tree whose steps fail once, and wait for decisions; say when each begins again."""
    tries = [0] * steps

    def scan(number: int) -> None:
        began_s = time.monotonic()
        tries[number] += 1
        if tries[number] == 1:
            raise RuntimeError("no lock")
        print(f"{number} {began_s}", flush=True)

    leaves = [
        LeafTask.from_callable(functools.partial(scan, number), name=f"scan-{number}")
        for number in range(steps)
    ]
    last = LeafTask.from_callable(functools.partial(scan, steps), name="last")
    tries.append(0)
    group = Task("group", TaskExecutionType.PARALLEL, subtasks=[*leaves, last])
    with (
        Recorder(record, spill_folder=Path(folder)) as recorder,
        MainTaskExecutor() as executor,
    ):
        handle = executor.submit_main_task(
            Task("root", subtasks=[group]), run_id=RUN, recorder=recorder, hold=True
        )
        while len(handle.held) <= steps:
            time.sleep(0.01)
        print("held", flush=True)
        handle.wait()


@contextlib.contextmanager
def runner(record: str, folder: Path, steps: int) -> Iterator[subprocess.Popen[str]]:
    """Start a runner, and end its run at the end of the block."""
    words = [sys.executable, "-m", "benchmarks.steering", record, str(folder), str(steps)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def measured(record: str, folder: Path, requests: int, idle_s: float) -> tuple[list[float], float]:
    """Return the seconds to the effect of each request, and the share of a core of waiting."""
    chance, took = random.Random(1), []
    with runner(record, folder, requests) as process, Store.open(record) as store:
        assert process.stdout is not None
        desk = RecordDesk(store)
        for number in range(requests):
            time.sleep(chance.uniform(0.0, PAUSE_S))
            asked_s = time.monotonic()
            steering.retry(desk, RUN, f"root/group/scan-{number}", wait_s=60.0)
            said, began_s = process.stdout.readline().split()
            assert int(said) == number
            took.append(float(began_s) - asked_s)
        watched = psutil.Process(process.pid)
        before = watched.cpu_times()
        time.sleep(idle_s)
        after = watched.cpu_times()
    used_s = (after.user - before.user) + (after.system - before.system)
    return took, used_s / idle_s


def processor_time(folder: Path, events: list[TaskEvent], *, steered: bool) -> float:
    """Record the events of a run; return the seconds of the processor per event."""
    before = time.process_time()
    recorded(folder, events, steered=steered)
    return (time.process_time() - before) / len(events)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    with contextlib.ExitStack() as kept:
        folder = Path(kept.enter_context(tempfile.TemporaryDirectory()))
        records = {"SQLite": (str(folder / "runs.db"), 300.0)}
        why = why_no_postgres()
        if why is None:
            server = kept.enter_context(PostgresServer())
            records["PostgreSQL"] = (server.new_database(), 100.0)
        else:
            print(f"  (PostgreSQL: {why})")
        for name, (record, aim) in records.items():
            took, share = measured(record, folder / name, REQUESTS, IDLE_S)
            yield Row(f"{name}: request to effect, p50", percentile(took, 50) * 1e3, "ms")
            yield Row(f"{name}: request to effect, p99", percentile(took, 99) * 1e3, "ms", aim=aim)
            yield Row(f"{name}: a runner that waits", share * 100, "% core", aim=0.5)
        events = life_of_leaves("bench", EVENTS)
        _, own, ratio = paired(
            lambda: processor_time(folder, events, steered=False),
            lambda: processor_time(folder, events, steered=True),
        )
        what = "a run that takes none"
        yield Row(
            "an event while requests are taken, processor time", own * 1e6, "µs", ratio, what, 1.05
        )


if __name__ == "__main__":
    run_held(sys.argv[1], sys.argv[2], int(sys.argv[3]))
