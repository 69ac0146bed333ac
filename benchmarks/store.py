"""The record: what recording costs, against raw inserts of the same rows and the bare tracker."""

from __future__ import annotations

import functools
import gc
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Row, paired
from taskgrove import AggregationOutcome, ResultCode, TaskStatus, TaskTracker
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.events import ComposedDetail, EventBus, FinishedDetail, TaskEvent, encode_event
from taskgrove.store import Recorder, Store

EVENTS = 100_000
BURST = 10_000
ROUNDS = 5
LEAVES = 1_000
_OUTCOME = AggregationOutcome(TaskStatus.COMPLETED, ResultCode.OK, "")


def life_of_leaves(run_id: str, count: int) -> list[TaskEvent]:
    """Return about ``count`` events: leaves that are composed, queued, started, go on and end."""
    events: list[TaskEvent] = []

    def add(path: str, kind: str, **fields: object) -> None:
        number = len(events) + 1
        events.append(
            TaskEvent(
                run_id=run_id,
                sequence=number,
                path=path,
                kind=kind,  # type: ignore[arg-type]
                monotonic_s=12345.678901,
                wall_ns=1_795_000_000_000_000_000 + number * 1_000,
                **fields,  # type: ignore[arg-type]
            )
        )

    leaves = count // 8
    device = ("low-pst/beam/01",)
    add("scan", "composed", detail=ComposedDetail("PARALLEL"))
    for number in range(leaves):
        add(
            f"scan/beam-{number}",
            "composed",
            devices=device,
            detail=ComposedDetail("DEVICE", target=device[0], command_name="Configure"),
        )
    for number in range(leaves):
        path = f"scan/beam-{number}"
        add(path, "queued", status=TaskStatus.QUEUED, progress=0, devices=device)
        add(path, "started", status=TaskStatus.IN_PROGRESS, progress=0, devices=device)
        for percent in (20, 40, 60, 80):
            # A message of its own: nothing of these may be left out.
            add(
                path,
                "progress",
                status=TaskStatus.IN_PROGRESS,
                progress=percent,
                message=f"step {percent // 20} of 5",
                devices=device,
            )
        add(
            path,
            "finished",
            status=TaskStatus.COMPLETED,
            result_code=ResultCode.OK,
            progress=100,
            message="low-pst/beam/01: Configure completed OK",
            devices=device,
            detail=FinishedDetail(),
        )
    return events


def kept_rows(folder: Path, events: list[TaskEvent]) -> dict[str, list[tuple[object, ...]]]:
    """Record the events and return the rows that a record then holds of them, by table."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        file = Path(name) / "runs.db"
        recorded(folder, events, file)
        with sqlite3.connect(file) as connection:
            found = {
                table: connection.execute(f"SELECT * FROM {table}").fetchall()
                for table in ("runs", "paths", "nodes", "events")
            }
        connection.close()
    return found


def raw_inserts(
    folder: Path, rows: dict[str, list[tuple[object, ...]]], synchronous: str, count: int
) -> float:
    """Insert rows with sqlite3 alone into the same tables, 100 a batch; seconds per event."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        file = Path(name) / "raw.db"
        Store.open(file).close()
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        took = 0.0
        for table, of_table in rows.items():
            insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(of_table[0]))})"
            began = time.perf_counter()
            for start in range(0, len(of_table), 100):
                connection.execute("BEGIN")
                connection.executemany(insert, of_table[start : start + 100])
                connection.execute("COMMIT")
            took += time.perf_counter() - began
        connection.close()
    return took / count


def recorded(
    folder: Path, events: list[TaskEvent], file: Path | None = None, *, steered: bool = False
) -> float:
    """Record the events from first to last, and wait until all is kept; seconds per event.

    Args:
        folder: A folder for the record.
        events: The events of one run.
        file: The record; None makes one for this time.
        steered: Whether the run takes requests of operators.
    """
    with tempfile.TemporaryDirectory(dir=folder) as name:
        store = Store.open(file or Path(name) / "runs.db")
        with Recorder(store, spill_folder=Path(name)) as recorder:
            observe = recorder.begin_run(events[0].run_id, RunAbout(command="scan"))
            if steered:
                recorder.take_requests(events[0].run_id, lambda request, take: None)
            kept = threading.Event()
            began = time.perf_counter()
            for event in events:
                observe(event)
            recorder.end_run(events[0].run_id, _OUTCOME, kept.set)
            kept.wait()
            took = time.perf_counter() - began
        store.close()
    return took / len(events)


def observer_call(folder: Path) -> float:
    """Return what the recorder's observer costs whoever makes an event, in seconds."""
    events = life_of_leaves("calls", 40_000)
    with (
        Store.open(folder / "calls.db") as store,
        Recorder(store, spill_folder=folder) as recorder,
    ):
        observe = recorder.begin_run("calls", RunAbout())
        best = float("inf")
        for start in range(0, len(events) - 4_000, 4_000):
            some = events[start : start + 4_000]
            began = time.perf_counter()
            for event in some:
                observe(event)
            best = min(best, (time.perf_counter() - began) / len(some))
    return best


def tracker_bursts(attach: Callable[[EventBus], None] | None) -> float:
    """Send bursts of progress through a tracker; return the seconds of one update."""
    names = [f"pst-beam-{index}" for index in range(LEAVES)]
    bursts = 4
    steps = BURST // LEAVES
    tracker = TaskTracker("configure_pst", LEAVES, lambda **_: None)
    bus = EventBus("burst")
    if attach is not None:
        attach(bus)
        tracker.bind(bus, "configure_pst")
    for name in names:
        tracker.update_task(task_name=name, status=TaskStatus.IN_PROGRESS, progress=0)
    took = 0.0
    update = tracker.update_task
    for burst in range(bursts):
        began = time.perf_counter()
        for step in range(burst * steps + 1, (burst + 1) * steps + 1):
            for name in names:
                update(task_name=name, status=TaskStatus.IN_PROGRESS, progress=step)
        took += time.perf_counter() - began
        time.sleep(0.05)  # bursts, not one flood: the writer gets its turn between them
    return took / (bursts * BURST)


def tracker_recorded(folder: Path) -> float:
    """The same with a recorder attached to the tracker's bus."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        store = Store.open(Path(name) / "runs.db")
        with Recorder(store, spill_folder=Path(name)) as recorder:
            found = tracker_bursts(
                lambda bus: _subscribe(bus, recorder.begin_run("burst", RunAbout()))
            )
        store.close()
    return found


def _subscribe(bus: EventBus, observer: Callable[[TaskEvent], object]) -> None:
    bus.subscribe(observer)


def bytes_per_event(folder: Path, events: list[TaskEvent]) -> float:
    """Return the size of the file after a run was recorded, all tables told, per event."""
    file = folder / "size.db"
    with Store.open(file) as store, Recorder(store, spill_folder=folder) as recorder:
        observe = recorder.begin_run(events[0].run_id, RunAbout())
        kept = threading.Event()
        for start in range(0, len(events), 100):
            for event in events[start : start + 100]:
                observe(event)
            time.sleep(0.0005)
        recorder.end_run(events[0].run_id, _OUTCOME, kept.set)
        kept.wait()
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (logged,) = connection.execute("SELECT count(*) FROM events").fetchone()
    connection.close()
    return file.stat().st_size / logged


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    events = life_of_leaves("bench", EVENTS)
    bodies = [encode_event(event) for event in events]
    mean = sum(map(len, bodies)) / len(bodies)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows_kept = kept_rows(folder, events)
        only_events = {"events": rows_kept["events"]}
        for what, which, how, aim in (
            ("the same rows", rows_kept, "FULL", 2.0),
            ("the same rows", rows_kept, "NORMAL", None),
            ("its events alone", only_events, "FULL", None),
        ):
            raw, own, ratio = paired(
                functools.partial(raw_inserts, folder, which, how, len(events)),
                functools.partial(recorded, folder, events),
                ROUNDS,
            )
            yield Row(f"raw inserts of {what}, 100 a batch, {how}", raw * 1e6, "µs")
            yield Row("recording an event", own * 1e6, "µs", ratio, "the raw inserts", aim)
        gc.collect()
        yield Row("the observer's call", observer_call(folder) * 1e6, "µs", aim=1.0)
        alone, own, ratio = paired(
            lambda: tracker_bursts(None), lambda: tracker_recorded(folder), ROUNDS
        )
        yield Row("tracker alone, update in bursts of 10,000", alone * 1e6, "µs")
        yield Row("tracker with a recorder", own * 1e6, "µs", ratio, "the tracker alone", 2.5)
        _, own, ratio = paired(
            lambda: tracker_bursts(None),
            lambda: tracker_bursts(lambda bus: _subscribe(bus, lambda event: None)),
            ROUNDS,
        )
        yield Row("tracker with an observer that does nothing", own * 1e6, "µs", ratio, "alone")
        yield Row("an encoded event", mean, "bytes")
        yield Row("the file, per event in the log", bytes_per_event(folder, events), "bytes")
