"""Random runs whose process is killed: a nursery that forks one for each, and what comes after.

The nursery has imported everything, so that a hundred processes cost seconds. Each child carries
out a run with a real recorder on SQLite, and kills itself with SIGKILL at an event.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from taskgrove.events import TaskEvent
from tests.steering.random_runs import random_run
from tests.steering.steered_run import carry_out

#: So many events before it dies, a run begins to wait for the record.
_WAITING: Final = 8


def doom(database: str, folder: str, seed: int, kill_at: int = 0) -> None:
    """Carry out the run of a seed, and die at an event; 0: at that of the seed."""
    from taskgrove.store import RecordDesk, Recorder, Store

    spec = random_run(seed, kills=True)
    spec.kill_at = kill_at or spec.kill_at
    moment = Moment(spec.kill_at, when="committed" if spec.kill_at % 2 else "enqueued")
    with Store.open(database) as store, Recorder(store) as recorder:
        recorder.forward(f"seed-{seed}", moment.kept)
        desk = RecordDesk(store) if seed % 4 > 1 else None
        carry_out(spec, Path(folder), recorder, observers=[moment], desk=desk)


class Moment:
    """Kills this process at an event: when the event is on its way, or when it was committed.

    The run waits there for the record, so that this breaks off where it should. Else many steps
    could begin within the few milliseconds that the record is behind.
    """

    def __init__(self, kill_at: int, when: str) -> None:
        self._kill_at, self._when = kill_at, when
        self._changed = threading.Condition()
        self._kept = 0

    def kept(self, event: TaskEvent) -> None:
        """Take note of an event that was committed; the recorder calls it."""
        if self._when == "committed" and event.sequence >= self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        with self._changed:
            self._kept = max(self._kept, event.sequence)
            self._changed.notify_all()

    def __call__(self, event: TaskEvent) -> None:
        """Wait for the record, or kill; this is an observer."""
        if self._when == "enqueued" and event.sequence >= self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if event.sequence >= self._kill_at - _WAITING:
            with self._changed:
                self._changed.wait_for(lambda: self._kept >= event.sequence, 60)


class Nursery:
    """A process that forks doomed ones; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.steering.killed_runs"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, database: Path, folder: Path, seed: int, kill_at: int = 0) -> int:
        """Run one; return how its process ended, negative: by a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(database), str(folder), seed, kill_at]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
        return int(json.loads(line))

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _serve() -> None:
    import taskgrove.store.recorder
    import taskgrove.store.recording.writer
    import taskgrove.store.tables  # noqa: F401

    for line in sys.stdin:
        order: list[Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                doom(*order)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(json.dumps(os.waitstatus_to_exitcode(status)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
