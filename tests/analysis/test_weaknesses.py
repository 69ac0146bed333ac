"""Weaknesses of the field's executors that ours must not have, where no other file shows it.

Numbers are those of the project's list. The others: W1 to W3 in test_plain_form, test_frames,
test_channel and test_ending; W4 in test_logbook; W5 and W6 in test_pages; W7 in test_orphans and
test_faults; W8 in tests/store; W10 in test_hooks and test_many.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from taskgrove.analysis.results import TaskStatus
from tests.analysis import sample_tasks as tasks
from tests.analysis.analysis_runs import GUARD_S, Heard, Runs

ROOT = Path(__file__).parents[2]


def test_w9_installing_needs_no_compiler_and_clashes_with_nobody() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = " ".join(project["project"]["dependencies"]).lower()
    for heavy in ("kerberos", "zmq", "mpi4py", "requests", "numpy"):
        assert heavy not in needed
    assert "pydantic>=2" in needed.replace(" ", "")
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert packages == ["src/taskgrove", "src/taskgrove_demo"]


def test_w11_a_running_analysis_can_be_stopped_resumed_and_cancelled(analyses: Runs) -> None:
    handle = analyses.ready(tasks.Waits)
    heard = Heard()
    handle.on_event(heard)
    handle.stop()
    heard.wait_for("stopped")
    assert handle.status is TaskStatus.STOPPED
    handle.resume()
    heard.wait_for("resumed")
    assert handle.status is TaskStatus.RUNNING
    handle.cancel("the beam is gone")
    assert handle.wait(GUARD_S)
    assert handle.status is TaskStatus.CANCELLED
    assert handle.outcome is not None
    assert "the beam is gone" in handle.outcome.cause


def test_w12_no_analysis_stops_itself_to_be_continued(analyses: Runs) -> None:
    handle = analyses.start(tasks.Count)
    heard = Heard()
    handle.on_event(heard)
    assert handle.wait(GUARD_S)
    heard.wait_for("done")
    assert handle.status is TaskStatus.COMPLETED
    assert not {"stopped", "resumed"} & set(heard.kinds)
