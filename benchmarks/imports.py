"""What ``import taskgrove`` and quick verbs of the command line cost, in fresh processes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Row, paired

CODE = "import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"


def _import(name: str) -> Callable[[], float]:
    def once() -> float:
        command = [sys.executable, "-c", CODE.format(name=name)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return float(done.stdout)

    return once


#: Quick verbs, and the most that each should cost, in starts of an empty interpreter.
VERBS = {"--help": 12, "version": 12, "runs list": 20, "runs show last": 20, "why": 20}
RECORD = """
import taskgrove

for number in range(5):
    steps = [taskgrove.LeafTask.from_callable(lambda: None, name=f"s{n}") for n in range(3)]
    taskgrove.run(taskgrove.Task("configure", subtasks=steps, is_root=True), record=True)
"""


def _processor(arguments: list[str], environment: dict[str, str]) -> Callable[[], float]:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(arguments, env=environment, check=True, capture_output=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    return once


def _verbs() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TASKGROVE_DB": str(Path(folder) / "runs.db")}
        subprocess.run([sys.executable, "-c", RECORD], env=environment, check=True, timeout=60)
        empty = _processor([sys.executable, "-c", "pass"], environment)
        for words, most in VERBS.items():
            verb = _processor([sys.executable, "-m", "taskgrove", *words.split()], environment)
            verb()  # the byte code is written once
            _, own, ratio = paired(empty, verb, 7)
            name = f"taskgrove {words}: processor time"
            yield Row(name, own * 1e3, "ms", ratio, "python -c pass", most)


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    _import("taskgrove")()  # the byte code is written once
    _, own, ratio = paired(_import("pydantic"), _import("taskgrove"), 9)
    yield Row("import taskgrove", own * 1e3, "ms", ratio, "import pydantic", 3)
    yield from _verbs()
