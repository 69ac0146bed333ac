"""A device leaf: what a command costs beyond its own time, against bare PyTango.

Real servers on loopback serve two sets of devices, which share the processes: one is called
by bare PyTango (:mod:`benchmarks.bare_tango`), the other by ours, so that neither client
hears the other's events. All devices of a round are called at once. A command's overhead is
counted from the moment at which the first was asked for to the moment at which the client's
process knew of the end, less the time that the command takes by itself; of all commands of a
round it is the median (p50). Connections and subscriptions are warm and live as long as the
benchmark, for both; between two runs the devices are left alone for a moment. Most of that
time is the servers' own; what the client adds of its own shows sharper in the processor time
of its process, counted for each command.
"""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measure import Row
from taskgrove import LeafTask, MainTaskExecutor, Task, TaskExecutionType, TaskStatus
from taskgrove.events import TaskEvent

if TYPE_CHECKING:
    from benchmarks.bare_tango import BareClient
    from taskgrove.tango import LrcClient, LrcUpdate

#: How long a simulated command takes, in seconds, and the progress that it reports.
DURATION_S = 0.2
STEPS = 4
COMMAND = "Configure"
ARGIN = "{}"
#: Threads that call, the same for everybody.
THREADS = 16
#: Server processes; neighbours in a round are served by different ones.
PROCESSES = 4
#: Devices in parallel → rounds.
ROUNDS = {1: 11, 16: 9, 64: 9}
#: How long devices are left alone before each run, in seconds: longer than our client trusts a
#: connection that it has not used, so that trying it first is counted.
IDLE_S = 0.6
#: What the ratios are against.
BASELINE = "bare PyTango"
GUARD_S = 30.0

Took = Callable[[], list[float]]


def through_client(client: LrcClient, pool: ThreadPoolExecutor, trls: Sequence[str]) -> Took:
    """Return what calls all devices at once through an ``LrcClient``."""

    def run() -> list[float]:
        ends: dict[str, float] = {}

        def follow(trl: str) -> Callable[[LrcUpdate], None]:
            def on_update(update: LrcUpdate) -> None:
                if update.final:
                    assert update.status is TaskStatus.COMPLETED, update
                    ends[trl] = time.monotonic()

            return on_update

        began = time.monotonic()
        calls = [
            pool.submit(client.invoke, trl, COMMAND, ARGIN, on_update=follow(trl)) for trl in trls
        ]
        assert all(call.result(GUARD_S).wait(GUARD_S) for call in calls)
        assert len(ends) == len(trls)
        return [end - began for end in ends.values()]

    return run


def through_tree(executor: MainTaskExecutor, trls: Sequence[str]) -> Took:
    """Return what runs a parallel Task with one device leaf each, observed by its events."""

    def run() -> list[float]:
        leaves = [
            LeafTask(f"leaf-{number}", trl, COMMAND, ARGIN) for number, trl in enumerate(trls)
        ]
        task = Task("root", TaskExecutionType.PARALLEL, is_root=True, subtasks=leaves)
        ends: list[float] = []

        def observe(event: TaskEvent) -> None:
            if event.kind == "finished" and event.path != "root":
                assert event.status is TaskStatus.COMPLETED, event
                ends.append(event.monotonic_s)

        began = time.monotonic()
        handle = executor.submit_main_task(task, observers=[observe])
        assert handle.wait(GUARD_S)
        assert len(ends) == len(trls)
        return [end - began for end in ends]

    return run


@dataclass(frozen=True)
class Figures:
    """What was measured of one client; medians of the rounds, in seconds.

    Attributes:
        middle: Overhead of a command, p50.
        longest: Overhead of the last command of a run.
        cpu: Processor time of this process for each command.
        ratio: ``middle`` over the first client's, of the same round.
        cpu_ratio: The same of ``cpu``.
    """

    middle: float
    longest: float
    cpu: float
    ratio: float
    cpu_ratio: float


def compare(runs: Sequence[Took], rounds: int) -> list[Figures]:
    """Run all in turn and return the figures of each; the first is the baseline.

    Args:
        runs: What is compared.
        rounds: How often; the order is turned round each time.
    """
    seen: list[list[tuple[float, float, float]]] = [[] for _ in runs]
    for number in range(rounds):
        order = list(enumerate(runs))
        for which, run in order if number % 2 else reversed(order):
            gc.collect()
            time.sleep(IDLE_S)
            busy = time.process_time()
            took = run()
            busy = time.process_time() - busy
            middle, longest = statistics.median(took) - DURATION_S, max(took) - DURATION_S
            seen[which].append((middle, longest, busy / len(took)))
    return [_figures(own, seen[0]) for own in seen]


def _figures(
    own: list[tuple[float, float, float]], raw: list[tuple[float, float, float]]
) -> Figures:
    middle, longest, cpu = (statistics.median(values) for values in zip(*own, strict=True))
    ratio, _, cpu_ratio = (
        statistics.median(mine[field] / base[field] for mine, base in zip(own, raw, strict=True))
        for field in range(3)
    )
    return Figures(middle, longest, cpu, ratio, cpu_ratio)


def _rows_of(count: int, runs: dict[str, Took]) -> Iterator[Row]:
    for run in runs.values():
        run()  # warm
    measured = compare(list(runs.values()), ROUNDS[count])
    devices = f"{count} device{'s' if count > 1 else ''} in parallel"
    for name, found in zip(runs, measured, strict=True):
        if name == BASELINE:
            yield Row(f"{name}, {devices}", found.middle * 1e3, "ms")
        else:
            aim = 1.5 if name == "leaf of a tree" else None
            yield Row(f"{name}, {devices}", found.middle * 1e3, "ms", found.ratio, BASELINE, aim)
        if count > 1:
            yield Row("  the last of them", found.longest * 1e3, "ms")
        ratio = None if name == BASELINE else found.cpu_ratio
        yield Row(
            "  processor time of the client's process", found.cpu * 1e3, "ms", ratio, BASELINE
        )


def _measure(
    bare: BareClient, client: LrcClient, theirs: Sequence[str], ours: Sequence[str]
) -> Iterator[Row]:
    from taskgrove.tango import DeviceRunner

    runners = {TaskExecutionType.DEVICE: DeviceRunner(client)}
    with ThreadPoolExecutor(THREADS) as pool, MainTaskExecutor(THREADS, runners) as executor:
        for count in ROUNDS:
            yield from _rows_of(
                count,
                {
                    BASELINE: lambda: bare.run(theirs[:count], COMMAND, ARGIN),  # noqa: B023
                    "LrcClient": through_client(client, pool, ours[:count]),
                    "leaf of a tree": through_tree(executor, ours[:count]),
                },
            )


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows; without PyTango there is one line and no row."""
    if importlib.util.find_spec("tango") is None:
        print("  skipped: PyTango is not installed (pip install 'taskgrove[tango]')")
        return
    from benchmarks.bare_tango import BareClient
    from taskgrove.tango import LrcClient
    from taskgrove.tango.simulator import SimulatedFleet

    numbers = range(max(ROUNDS))
    served = [number for first in range(PROCESSES) for number in numbers[first::PROCESSES]]
    names = [f"bench/{whose}/{number:03}" for number in served for whose in ("bare", "ours")]
    settings = {"duration_s": DURATION_S, "steps": STEPS}
    sharing = len(names) // PROCESSES
    with SimulatedFleet(names, settings=settings, devices_per_process=sharing) as fleet:
        theirs, ours = (
            [fleet.trl(f"bench/{whose}/{number:03}") for number in numbers]
            for whose in ("bare", "ours")
        )
        with BareClient(theirs, THREADS) as bare, LrcClient() as client:
            yield from _measure(bare, client, theirs, ours)
