"""Analyses: what supervision costs, and how fast messages and arrays come.

A trivial first-party analysis is compared with a bare interpreter that imports the same modules
(all that its process holds at its end), a trivial program with ``Popen`` of the same; both to
the instant at which the outcome, or the exit status, is known. The supervisor is warm: its
thread and its guardian serve all analyses of a process.

Messages and arrays are compared with ``multiprocessing.Pipe``, whose receiver does nothing else.
*Channel* is the like: the two ends alone. *Analysis* is the whole way, from ``report_progress`` to
a callback. A burst is counted from its first message to its last; of an array, one number of
each page is read.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.analysis_senders import (
    ARRAY_BYTES,
    Burst,
    BurstParameters,
    NoParameters,
    Trivial,
    send_arrays_by_pipe,
    send_burst_by_pipe,
)
from benchmarks.measure import Row, paired
from taskgrove.analysis.channel.channel_messages import Acknowledged, Result
from taskgrove.analysis.channel.connection import CHANNEL_VARIABLE, Connection, open_channel
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.parameters.base import ThirdPartyParameters
from taskgrove.analysis.plain.form import from_plain
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.running.analysis_events import AnalysisEvent
from taskgrove.analysis.running.supervisor import AnalysisSupervisor

ROUNDS = 15
MESSAGES = 20_000
ARRAYS = 7
PARALLEL = 100
#: The peer's overhead of a trivial task, in seconds (measured with the same baseline).
PEER_OVERHEAD_S = 1.9
GUARD_S = 60.0
ROOT = Path(__file__).parents[1]
_IMPORTS = "import sys\nfor name in sys.argv[1].split(','): __import__(name)"


def run(supervisor: AnalysisSupervisor, entry: AnalysisEntry, parameters: Any) -> Any:
    """Run an analysis and return its payload."""
    handle = AnalysisExecutor(entry, parameters, supervisor=supervisor).start()
    described = handle.result(GUARD_S)
    assert handle.status is TaskStatus.COMPLETED, handle.outcome
    return described.task_result.payload


def timed(function: Callable[[], object]) -> Callable[[], float]:
    """Return what runs a function and returns how long that took, in seconds."""

    def once() -> float:
        began = time.perf_counter()
        function()
        return time.perf_counter() - began

    return once


def _bare_interpreter(names: list[str]) -> Callable[[], float]:
    command = [sys.executable, "-P", "-c", _IMPORTS, ",".join(names)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return timed(lambda: subprocess.run(command, check=True, env=environment))


def _importable(names: list[str]) -> list[str]:
    program = "import sys, json\n"
    program += "for name in sys.argv[1].split(','):\n"
    program += "    try: __import__(name)\n"
    program += "    except Exception: continue\n"
    program += "    print(name)"
    command = [sys.executable, "-P", "-c", program, ",".join(names)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.split()


def _trivial(supervisor: AnalysisSupervisor) -> Iterator[Row]:
    entry = AnalysisEntry("trivial", NoParameters, task=Trivial)
    ours = timed(lambda: run(supervisor, entry, NoParameters()))
    names = [name for name in run(supervisor, entry, NoParameters()) if name != "__main__"]
    bare, own, ratio = paired(_bare_interpreter(_importable(names)), ours, ROUNDS)
    yield Row("trivial first-party analysis", own * 1e3, "ms", ratio, "bare python", 1.3)
    overhead = max(own - bare, 1e-4)
    yield Row("  its overhead", overhead * 1e3, "ms", overhead / PEER_OVERHEAD_S, "1.9 s", 0.05)
    plain = timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
    _, _, ratio = paired(plain, ours, 5)
    yield Row("  the same", own * 1e3, "ms", ratio, "python -c pass")

    program = AnalysisEntry("true", ThirdPartyParameters)
    parameters = ThirdPartyParameters(executable="/bin/true")
    ours = timed(lambda: run(supervisor, program, parameters))
    bare, own, ratio = paired(timed(lambda: subprocess.Popen(["/bin/true"]).wait()), ours, 41)
    yield Row("trivial program", own * 1e3, "ms", ratio, "Popen")
    aim_ms = (1.5 * bare + 0.010) * 1e3
    yield Row("  1.5 × Popen plus 10 ms is its aim", own * 1e3, "ms", None, "", aim_ms)


@contextmanager
def _other_end(what: str, count: int) -> Iterator[Connection]:
    ours, theirs = open_channel()
    environment = {**os.environ, CHANNEL_VARIABLE: f"fd:{theirs.fileno()}"}
    command = [sys.executable, "-m", "benchmarks.analysis_senders", what, str(count)]
    with subprocess.Popen(command, env=environment, cwd=ROOT, pass_fds=[theirs.fileno()]) as other:
        theirs.close()
        try:
            yield ours
            ours.send(Acknowledged())
            assert other.wait(GUARD_S) == 0
        finally:
            ours.close()
            other.kill()


def _messages(connection: Connection) -> Iterator[list[Any]]:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while True:
            assert selector.select(GUARD_S)
            yield connection.receive()


def _burst_by_channel() -> float:
    with _other_end("burst", MESSAGES) as connection:
        began, found = 0.0, 0
        for messages in _messages(connection):
            began = began or time.perf_counter()
            found += len(messages)
            if found == MESSAGES:
                break
        return (time.perf_counter() - began) / MESSAGES


@contextmanager
def _pipe_to(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments))
    process.start()
    theirs.close()
    try:
        yield ours
        ours.send(None)
        process.join(GUARD_S)
    finally:
        ours.close()
        process.kill()
        process.join()


def _burst_by_pipe() -> float:
    with _pipe_to(send_burst_by_pipe, MESSAGES) as end:
        end.recv()
        began = time.perf_counter()
        for _ in range(MESSAGES - 1):
            end.recv()
        return (time.perf_counter() - began) / MESSAGES


def _burst_by_analysis(supervisor: AnalysisSupervisor) -> Callable[[], float]:
    entry = AnalysisEntry("burst", BurstParameters, task=Burst)

    def once() -> float:
        times: list[float] = []
        texts: list[str] = []

        def hear(event: AnalysisEvent) -> None:
            times.append(time.perf_counter())
            texts.append(event.text)

        executor = AnalysisExecutor(
            entry,
            BurstParameters(count=MESSAGES),
            supervisor=supervisor,
            hooks={"progress": hear},
        )
        handle = executor.start()
        assert handle.wait(GUARD_S)
        while len(texts) < MESSAGES:
            assert handle.delivery.wait_heard(GUARD_S)
        assert texts == [str(number) for number in range(MESSAGES)], "none is lost"
        return (times[-1] - times[0]) / MESSAGES

    return once


def _arrays_by_pipe(end: Any) -> float:
    began = time.perf_counter()
    end.send(True)
    array = end.recv()
    float(array[::512].sum())
    return time.perf_counter() - began


def _arrays_by_channel(connection: Connection, messages: Iterator[list[Any]]) -> float:
    began = time.perf_counter()
    connection.send(Acknowledged())
    for found in messages:
        for received in found:
            assert isinstance(received.message, Result)
            array = from_plain(received.message.payload, buffers=received.buffers)
            assert isinstance(array, np.ndarray)
            float(array[::512].sum())
            return time.perf_counter() - began
    raise AssertionError("it never came")


def _speed(supervisor: AnalysisSupervisor) -> Iterator[Row]:
    at_most = 1 / 0.7
    base, own, ratio = paired(_burst_by_pipe, _burst_by_channel, 5)
    yield Row("multiprocessing.Pipe, small messages", 1e-3 / base, "k/s")
    yield Row("channel, small messages, none lost", 1e-3 / own, "k/s")
    yield Row("  time for each", own * 1e6, "µs", ratio, "Pipe", at_most)
    base, own, ratio = paired(_burst_by_pipe, _burst_by_analysis(supervisor), 5)
    yield Row("analysis to callback, small messages, none lost", 1e-3 / own, "k/s")
    yield Row("  time for each", own * 1e6, "µs", ratio, "Pipe", at_most)
    with _pipe_to(send_arrays_by_pipe) as end, _other_end("array", ARRAYS + 1) as connection:
        messages = _messages(connection)
        _arrays_by_pipe(end)
        _arrays_by_channel(connection, messages)  # warm
        base, own, ratio = paired(
            lambda: _arrays_by_pipe(end), lambda: _arrays_by_channel(connection, messages), ARRAYS
        )
    size = ARRAY_BYTES / 1e6
    yield Row("multiprocessing.Pipe, array of 64 MB", size / base, "MB/s")
    yield Row("channel, array of 64 MB", size / own, "MB/s")
    yield Row("  time for each", own * 1e3, "ms", ratio, "Pipe", at_most)


def _many(supervisor: AnalysisSupervisor) -> Iterator[Row]:
    entry = AnalysisEntry("true", ThirdPartyParameters)
    parameters = ThirdPartyParameters(executable="/bin/true")
    threads = threading.active_count()
    began = time.perf_counter()
    executor = AnalysisExecutor(entry, parameters, supervisor=supervisor)
    handles = [executor.start() for _ in range(PARALLEL)]
    assert all(handle.wait(GUARD_S) for handle in handles)
    took = time.perf_counter() - began
    yield Row(f"{PARALLEL} trivial programs in parallel", took * 1e3, "ms")
    yield Row("  threads more than before", threading.active_count() - threads, "", None, "", 8)


def _processor_time(command: list[str], environment: dict[str, str]) -> Callable[[], float]:
    """Return what runs a program and returns the processor time of it and its children."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return once


def _command_line(folder: Path) -> Iterator[Row]:
    (folder / "trivial.py").write_text(
        "from benchmarks.analysis_senders import NoParameters, Trivial\n"
        "from taskgrove.analysis import AnalysisEntry, ThirdPartyParameters\n"
        "ENTRIES = [AnalysisEntry('trivial', NoParameters, task=Trivial),\n"
        "           AnalysisEntry('true', ThirdPartyParameters)]\n"
    )
    (folder / "c.yaml").write_text("header: {}\n'true': {executable: /bin/true}\ntrivial: {}\n")
    place = os.pathsep.join([str(ROOT), str(folder)])
    environment = {**os.environ, "PYTHONPATH": place, "TASKGROVE_DB": str(folder / "record.db")}
    plain = _processor_time([sys.executable, "-c", "pass"], environment)
    analyse = [sys.executable, "-m", "taskgrove", "analyse", str(folder / "c.yaml")]
    for name, words in (
        ("true", "a trivial program"),
        ("trivial", "a trivial first-party analysis"),
    ):
        command = [*analyse, name, "--analyses", "trivial", "--no-live"]
        _, own, ratio = paired(plain, _processor_time(command, environment), ROUNDS)
        title = f"taskgrove analyse, {words}: processor time"
        yield Row(title, own * 1e3, "ms", ratio, "python -c pass")


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _command_line(Path(folder))
        supervisor = AnalysisSupervisor(linger_s=GUARD_S, ledger_folder=Path(folder))
        try:
            yield from _trivial(supervisor)
            yield from _speed(supervisor)
            yield from _many(supervisor)
        finally:
            supervisor.close()
