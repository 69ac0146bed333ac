"""What ``import taskgrove`` costs, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.measure import Row, paired

CODE = "import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"


def _import(name: str) -> Callable[[], float]:
    def once() -> float:
        command = [sys.executable, "-c", CODE.format(name=name)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return float(done.stdout)

    return once


def rows() -> Iterator[Row]:
    """Measure and yield the report's rows."""
    _import("taskgrove")()  # the byte code is written once
    _, own, ratio = paired(_import("pydantic"), _import("taskgrove"), 9)
    yield Row("import taskgrove", own * 1e3, "ms", ratio, "import pydantic", 3)
