"""What tests of analyses share: running one, and seeing that nothing of it is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.running.analysis_events import AnalysisEvent
from taskgrove.analysis.running.handle import AnalysisHandle
from taskgrove.analysis.running.supervisor import AnalysisSupervisor
from tests.analysis.sample_tasks import SampleParameters, Script

#: No analysis of a test takes that long, in seconds.
GUARD_S = 200.0


class Heard:
    """A callback that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[AnalysisEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: AnalysisEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def texts(self, kind: str) -> list[str]:
        return [event.text for event in self.events if event.kind == kind]

    def wait_for(self, kind: str, text: str = "") -> AnalysisEvent:
        """Wait until an event of a kind whose text holds ``text`` has been heard."""

        def found() -> AnalysisEvent | None:
            matching = (e for e in self.events if e.kind == kind and text in e.text)
            return next(matching, None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, GUARD_S), self.events
            event = found()
        assert event is not None
        return event


class Runs:
    """Starts analyses under one supervisor."""

    def __init__(self, supervisor: AnalysisSupervisor) -> None:
        self.supervisor = supervisor

    def executor(self, task: type, parameters: Any = None, **settings: Any) -> AnalysisExecutor:
        parameters = SampleParameters() if parameters is None else parameters
        entry = AnalysisEntry(task.__name__, type(parameters), task=task)
        return AnalysisExecutor(entry, parameters, supervisor=self.supervisor, **settings)

    def start(self, task: type, parameters: Any = None, **settings: Any) -> AnalysisHandle:
        return self.executor(task, parameters, **settings).start()

    def run(self, task: type, parameters: Any = None, **settings: Any) -> AnalysisHandle:
        handle = self.start(task, parameters, **settings)
        assert handle.wait(GUARD_S)
        return handle

    def start_program(self, program: str, **settings: Any) -> AnalysisHandle:
        entry = AnalysisEntry("program", SampleParameters, executable=program)
        return AnalysisExecutor(entry, None, supervisor=self.supervisor, **settings).start()

    def start_script(self, script: str, **settings: Any) -> AnalysisHandle:
        entry = AnalysisEntry("script", Script)
        parameters = Script(c=script)
        return AnalysisExecutor(entry, parameters, supervisor=self.supervisor, **settings).start()

    def script(self, script: str, **settings: Any) -> AnalysisHandle:
        handle = self.start_script(script, **settings)
        assert handle.wait(GUARD_S)
        return handle

    def ready(self, task: type, parameters: Any = None, **settings: Any) -> AnalysisHandle:
        """Start an analysis that says ``ready``, and wait until it has."""
        handle = self.start(task, parameters, **settings)
        heard = Heard()
        handle.on_event(heard)
        heard.wait_for("progress", "ready")
        return handle


def until(condition: Callable[[], bool], limit_s: float = GUARD_S) -> None:
    """Wait until a condition holds that nothing tells of, such as the end of a stranger."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def descriptors() -> set[str]:
    """Return what this process holds open."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {os.readlink(entry)}")
        except OSError:
            continue
    return found


@contextmanager
def nothing_left(folder: Path) -> Iterator[AnalysisSupervisor]:
    """A supervisor for a test; afterwards no descriptor, thread or ledger of it may be there."""
    before = descriptors()
    threads = set(threading.enumerate())
    supervisor = AnalysisSupervisor(linger_s=30.0, ledger_folder=folder)
    try:
        yield supervisor
    finally:
        assert supervisor.close(20.0)
    until(lambda: set(threading.enumerate()) <= threads)
    until(lambda: descriptors() <= before)  # other threads open and close theirs meanwhile
    assert list(folder.iterdir()) == []
