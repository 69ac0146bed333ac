"""A thousand devices at once: what each costs, against a bare loop of asynchronous calls.

The devices are those of :mod:`benchmarks.device`, in 16 server processes; one set of them belongs
to the bare client, the other to ours. The bare loop sends all calls with ``command_inout_asynch``
from one thread, takes their replies, and waits for the events of all ends. The time per device is
that until the last end is known, divided by the number of devices; most of it is the servers' own.
"""

from __future__ import annotations

import gc
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.device import ARGIN, BASELINE, COMMAND, IDLE_S, STEPS, THREADS, through_tree
from benchmarks.measure import Row
from taskgrove import MainTaskExecutor, TaskExecutionType

#: How many devices are called at once, and how many server processes serve them.
DEVICES = 1000
PROCESSES = 16
#: How long a simulated command takes, in seconds.
DURATION_S = 0.2
ROUNDS = 5
#: The most that a device may cost, against the bare loop.
TIME_AIM = 1.5
CPU_AIM = 1.3

Run = Callable[[], object]


def compare(bare: Run, ours: Run, count: int, rounds: int) -> Iterator[Row]:
    """Run both in turn and yield the rows; the order is turned round each time."""
    seen: dict[Run, list[tuple[float, float]]] = {bare: [], ours: []}
    for run in seen:
        run()  # warm
    for number in range(rounds):
        for run in (bare, ours) if number % 2 else (ours, bare):
            gc.collect()
            time.sleep(IDLE_S)
            busy, began = time.process_time(), time.monotonic()
            run()
            took = time.monotonic() - began
            seen[run].append((took / count, (time.process_time() - busy) / count))
    names = (
        (f"{count:,} leaves of a tree, time per device", TIME_AIM),
        ("  processor time of the client's process, per device", CPU_AIM),
    )
    for field, (name, aim) in enumerate(names):
        own, base = ([figures[field] for figures in seen[run]] for run in (ours, bare))
        ratio = statistics.median(mine / raw for mine, raw in zip(own, base, strict=True))
        yield Row(name, statistics.median(own) * 1e3, "ms", ratio, BASELINE, aim)


def measured(count: int, processes: int, rounds: int) -> Iterator[Row]:
    """Yield the rows of so many devices."""
    from benchmarks.bare_tango import BareClient
    from taskgrove.tango import DeviceRunner
    from taskgrove.tango.simulator import SimulatedFleet

    numbers = range(count)
    served = [number for first in range(processes) for number in numbers[first::processes]]
    names = [f"bench/{whose}/{number:04}" for number in served for whose in ("bare", "ours")]
    sharing = -(-len(names) // processes)
    settings = {"duration_s": DURATION_S, "steps": STEPS}
    with SimulatedFleet(names, settings=settings, devices_per_process=sharing) as fleet:
        theirs, ours = (
            [fleet.trl(f"bench/{whose}/{number:04}") for number in numbers]
            for whose in ("bare", "ours")
        )
        with BareClient(theirs, THREADS) as bare, DeviceRunner() as runner:
            runners = {TaskExecutionType.DEVICE: runner}
            with MainTaskExecutor(THREADS, runners) as executor:
                yield from compare(
                    lambda: bare.run_asynchronously(theirs, COMMAND, ARGIN),
                    through_tree(executor, ours),
                    count,
                    rounds,
                )


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows; without PyTango there is one line and no row."""
    if importlib.util.find_spec("tango") is None:
        print("  skipped: PyTango is not installed (pip install 'taskgrove[tango]')")
        return
    yield from measured(DEVICES, PROCESSES, ROUNDS)
