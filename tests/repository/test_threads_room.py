"""Threads are created in one room of the code."""

from __future__ import annotations

import re
from pathlib import Path

import taskgrove

SOURCE = Path(taskgrove.__file__).parent
CREATES = re.compile(
    r"\bThread\(|start_new_thread|PoolExecutor\b|threading\.Timer\(|to_thread\(|run_in_executor\("
)


def test_only_loops_creates_threads():
    creating = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if CREATES.search(path.read_text(encoding="utf-8"))
    }
    assert creating == {"loops/threads.py"}
