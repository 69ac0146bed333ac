"""What the tests of the recorder share: trees to run, troubles to wait for, rows to read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskgrove import (
    AggregationOutcome,
    LeafTask,
    MainTaskExecutor,
    Task,
    TaskExecutionType,
    TaskStatus,
)
from taskgrove.commands.run_recorder import RunAbout
from taskgrove.control_model import ResultCode
from taskgrove.events import ComposedDetail, TaskEvent, decode_event
from taskgrove.store import Recorder, Store
from taskgrove.store.database.plain_bytes import clean_text
from taskgrove.store.queries.node_reading import read_analysis, read_run_nodes
from taskgrove.store.queries.reading import Reader
from taskgrove.store.recording.node_rows import kept_path
from taskgrove.store.recording.run_writer import RunWriter
from taskgrove.story.run_node import RunNode, RunNodes
from tests.store.by_sqlalchemy import tables_of

if TYPE_CHECKING:
    import pytest

#: A guard against hangs, in seconds.
PATIENCE_S = 200
OK = AggregationOutcome(TaskStatus.COMPLETED, ResultCode.OK, "")


class Troubles:
    """What a recorder had to say; can be waited for."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, text: str) -> None:
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()

    def wait_for(self, words: str) -> str:
        """Return the first text that holds ``words``, once it has come."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(words in text for text in self.texts), PATIENCE_S
            ), f"{words!r} was not told, but {self.texts}"
            return next(text for text in self.texts if words in text)


def new_recorder(store: Store | str | Path, folder: Path, **options: Any) -> Recorder:
    """Return a recorder whose spill is in a folder of the test.

    It gives a record that is slow to answer as much time as a test has: whether a busy machine
    takes longer than an operator would wait is no question of these tests.
    """
    options.setdefault("patience_s", PATIENCE_S)
    return Recorder(store, spill_folder=folder / "spill", **options)


def tree(leaves: int = 3, *, fails: bool = False) -> Task:
    """Return a tree of internal leaves, side by side, then perhaps one that fails."""

    def well(task_callback: Any = None) -> tuple[int, str]:
        task_callback(progress=30)
        task_callback(progress=60)
        return 0, "fine"

    def badly() -> None:
        raise ValueError("no lock")

    group = Task(
        "group",
        TaskExecutionType.PARALLEL,
        subtasks=[LeafTask.from_callable(well, name=f"leaf-{n}") for n in range(leaves)],
    )
    last = [LeafTask.from_callable(badly, name="last")] if fails else []
    return Task("root", subtasks=[group, *last])


def run_recorded(
    recorder: Recorder, run_id: str, task: Task | None = None, about: RunAbout | None = None
) -> AggregationOutcome:
    """Run a tree with a recorder and return its outcome."""
    with MainTaskExecutor(max_workers=4) as executor:
        handle = executor.submit_main_task(
            task or tree(), run_id=run_id, recorder=recorder, about=about
        )
        assert handle.wait(PATIENCE_S)
        assert handle.outcome is not None
        return handle.outcome


def event(run_id: str, sequence: int, **fields: Any) -> TaskEvent:
    """Return an event of a leaf; progress of a running one unless told otherwise."""
    fields = {
        "path": "root/leaf",
        "kind": "progress",
        "status": TaskStatus.IN_PROGRESS,
        "progress": sequence % 101,
        "monotonic_s": float(sequence),
        "wall_ns": 1_700_000_000_000_000_000 + sequence,
        **fields,
    }
    return TaskEvent(run_id=run_id, sequence=sequence, **fields)


def life(run_id: str, *, progress: int = 3, path: str = "root") -> list[TaskEvent]:
    """Return the events of a run that is one node: composed, started, progress, finished."""
    composed = {"kind": "composed", "status": None, "progress": None}
    events = [
        event(run_id, 1, path=path, detail=ComposedDetail("PARALLEL", root=True), **composed),
        event(run_id, 2, path=path, kind="started", progress=0),
        *(event(run_id, 3 + n, path=path, message=f"step {n}") for n in range(progress)),
    ]
    end = event(
        run_id,
        progress + 3,
        path=path,
        kind="finished",
        status=TaskStatus.COMPLETED,
        result_code=ResultCode.OK,
        progress=100,
    )
    return [*events, end]


def end_and_wait(recorder: Recorder, run_id: str, outcome: AggregationOutcome = OK) -> None:
    """End a run and wait until the recorder says that it is kept."""
    kept = threading.Event()
    recorder.end_run(run_id, outcome, kept.set)
    assert kept.wait(PATIENCE_S)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that nothing announces."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def busy_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Have a recorder's writer stay in its next batch; the event says that it has come so far."""
    is_busy, go_on = threading.Event(), threading.Event()
    real = RunWriter._write_nodes

    def slowly(self: RunWriter, *arguments: Any, **more: Any) -> Any:
        is_busy.set()
        assert go_on.wait(PATIENCE_S)
        return real(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "_write_nodes", slowly)
        try:
            yield is_busy
        finally:
            go_on.set()


def troubles_of(told: str) -> list[str]:
    """Return the troubles that a recording process told, but for waits on others that write.

    On a slow disk each may wait for the others longer than is kept to oneself.
    """
    harmless = ("locked", "does not answer", "answers again", "is written again")
    return [
        line
        for line in told.splitlines()
        if line.startswith("trouble")
        and ("could not be kept" in line or not any(words in line for words in harmless))
    ]


class Kept:
    """What a record holds of one run."""

    def __init__(self, store: Store, run_id: str) -> None:
        with tables_of(store) as connection:
            found = connection.exec_driver_sql(
                f"SELECT * FROM runs WHERE run_id = '{run_id}'"
            ).mappings()
            self.run: dict[str, Any] = dict(found.one())
            key = self.run["run_key"]
            bodies = connection.exec_driver_sql(
                f"SELECT sequence, body FROM events WHERE run_key = {key} ORDER BY sequence"
            ).all()
            self.events: list[TaskEvent] = [decode_event(bytes(body)) for _, body in bodies]
            assert [e.sequence for e in self.events] == [sequence for sequence, _ in bodies]
            self.leases = connection.exec_driver_sql(
                f"SELECT * FROM leases WHERE run_key = {key}"
            ).all()
        with Reader(store).cursor() as cursor:
            self.nodes: list[RunNode] = read_run_nodes(cursor, key)
            told = cursor.rows(
                "SELECT p.path, a.detail FROM analyses a JOIN paths p ON p.path_key = a.path_key"
                " WHERE a.run_key = ? ORDER BY a.sequence",
                (key,),
            )
        details = dict(told)
        for node in self.nodes:  # these tests describe analyses of any kind of node
            detail = details.get(kept_path(node.path))
            node.analysis = None if detail is None else read_analysis(detail)

    @property
    def folded(self) -> list[RunNode]:
        """The nodes as the log tells them; messages as a column takes them."""
        nodes = list(RunNodes(self.events).nodes.values())
        for node in nodes:
            node.message = clean_text(node.message)
        return nodes

    def assert_whole(self) -> None:
        """Check that the log has no gap, and that the rows say what the log says."""
        expected = 1
        for item in self.events:
            assert (item.sequence_from or item.sequence) == expected
            expected = item.sequence + 1
        assert self.run["last_sequence"] == expected - 1
        assert self.run["lost_event_count"] == 0
        assert self.nodes == self.folded

    def assert_final(self) -> None:
        """Check that the run is whole and has ended."""
        self.assert_whole()
        assert self.run["state"] == "final"
        assert not self.leases


def kept(location: str | Path, run_id: str) -> Kept:
    """Read one run of a record."""
    with Store.open(location, read_only=True) as store:
        return Kept(store, run_id)


def feed(observe: Callable[[TaskEvent], object], events: Sequence[TaskEvent]) -> None:
    """Hand events to an observer."""
    for item in events:
        observe(item)
