"""A run whose events a test makes, one by one."""

from __future__ import annotations

from typing import Any

from taskgrove.commands.run_recorder import RunAbout
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.events import ComposedDetail, TaskEvent
from taskgrove.events.details import ExecutionKind
from taskgrove.store import Recorder, Store
from taskgrove.store.history import History
from tests.store.recording import event, eventually

COMPOSED = {"kind": "composed", "status": None, "progress": None}


class LiveRun:
    """A run whose events a test makes.

    Args:
        recorder: Keeps them.
        run_id: Its id.
        leaves: How many leaves it has, side by side.
        now_ns: The time of its events, UTC, nanoseconds since the epoch; None: long ago.
        kind: How its leaves are executed.
    """

    def __init__(
        self,
        recorder: Recorder,
        run_id: str = "live",
        leaves: int = 2,
        now_ns: int | None = None,
        kind: ExecutionKind = "INTERNAL",
    ) -> None:
        self.run_id, self.recorder = run_id, recorder
        self.sequence = 0
        self._time = {} if now_ns is None else {"wall_ns": now_ns}
        self._observe = recorder.begin_run(run_id, RunAbout(command="root"))
        names = tuple(f"leaf-{number}" for number in range(leaves))
        detail = ComposedDetail("PARALLEL", root=True, children=names)
        self.tell(path="root", detail=detail, **COMPOSED)
        for name in names:
            leaf = ComposedDetail(kind, command_name="work")
            self.tell(path=f"root/{name}", detail=leaf, **COMPOSED)
        self.tell(path="root", kind="started", progress=0)

    def tell(self, **fields: Any) -> TaskEvent:
        self.sequence += 1
        made = event(self.run_id, self.sequence, **{**self._time, **fields})
        self._observe(made)
        return made

    def end_leaf(self, name: str) -> None:
        self.tell(
            path=f"root/{name}", kind="finished", status=TaskStatus.COMPLETED,
            result_code=ResultCode.OK, progress=100,
        )  # fmt: skip


def kept_up_to(store: Store, run: LiveRun) -> None:
    """Wait until the record has all that a run told."""
    history = History(store)
    eventually(lambda: last_sequence(history, run.run_id) == run.sequence)


def last_sequence(history: History, run_id: str) -> int:
    """Return the number of the last event of a run on record; -1: there is no such run."""
    found = [row for row in history.runs() if row.run_id == run_id]
    return found[0].last_sequence if found else -1
