"""docs/analyses.md says what is true: its sample runs, its tables are complete."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from taskgrove.analysis import executor
from taskgrove.analysis.executor import AnalysisExecutor
from taskgrove.analysis.registry import AnalysisEntry
from taskgrove.analysis.results import TaskStatus
from taskgrove.analysis.task import AnalysisTask
from taskgrove.cli.analyse import analyse
from taskgrove.cli.analyses import GRACE_S
from taskgrove.commands.command_map import map_models

PAGE = (Path(__file__).parents[2] / "docs" / "analyses.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"^```python\n(.*?)^```\n\n^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CLASS = re.findall(r"^```\n(from taskgrove.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def table(head: str) -> dict[str, str]:
    """Return the rows of the table whose first column is called ``head``."""
    rows = PAGE.split(f"\n| {head} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    cells = [row.strip("| ").split(" | ") for row in rows]
    return {row[0]: row[1] if len(row) > 1 else "" for row in cells}


@pytest.mark.parametrize(("sample", "shown"), SAMPLES)
def test_a_sample_prints_what_is_shown(sample: str, shown: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", sample],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == shown
    assert list(tmp_path.iterdir()) == []


def test_the_class_of_the_page_runs(tmp_path: Path) -> None:
    (source,) = CLASS
    (tmp_path / "counting.py").write_text(source)
    program = (
        "from counting import Count, CountParameters\n"
        "from taskgrove.analysis.executor import AnalysisExecutor\n"
        "from taskgrove.analysis.registry import AnalysisEntry\n"
        "print(Count(CountParameters()).run())\n"
        "entry = AnalysisEntry('count', CountParameters, task=Count)\n"
        "executor = AnalysisExecutor(entry, CountParameters(frames=7))\n"
        "print(executor.start().result(60).task_result.payload)\n"
    )
    (tmp_path / "main.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "main.py"],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=200,
    )  # fmt: skip
    assert done.stdout == "{'frames': 100}\n{'frames': 7}\n"
    assert done.stderr == ""


def test_all_states_are_told() -> None:
    assert set(table("status")) == set(TaskStatus.__members__)


def test_all_of_a_task_is_told() -> None:
    told = set(re.findall(r"`(\w+)", " ".join(table("in the class"))))
    public = {name for name, _ in inspect.getmembers(AnalysisTask) if not name.startswith("_")}
    assert told == public


def test_the_limits_have_the_defaults_that_are_told() -> None:
    signature = inspect.signature(AnalysisExecutor).parameters
    told = {name.strip("`"): value for name, value in table("`AnalysisExecutor(…)`").items()}
    assert set(told) == {
        "timeout_s", "grace_s", "heartbeat_timeout_s", "poll_interval", "output_limit_bytes"
    }  # fmt: skip
    assert float(told["grace_s"]) == executor.GRACE_S
    assert signature["poll_interval"].default == float(told["poll_interval"])
    assert signature["heartbeat_timeout_s"].default is None
    assert signature["output_limit_bytes"].default == 1 << 30


def test_what_is_said_where_is_what_can_be_said_there() -> None:
    rows = PAGE.split("\n| | `taskgrove analyse` |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    columns = list(zip(*(row.strip("|").split("|") for row in rows), strict=True))
    options, keys, fields = (set(re.findall(r"`([\w-]+)`", " ".join(c))) for c in columns[1:4])
    assert {name.strip("-") for name in options} <= set(inspect.signature(analyse).parameters)
    assert keys <= set(map_models.AnalysisEntry.model_fields)
    assert keys >= {"launcher", "heartbeat", "grace", "source"}
    own = {"name", "parameters", "task", "executable", "impl_schemas", "description"}
    assert fields == {field.name for field in dataclasses.fields(AnalysisEntry)} - own
    assert f"{GRACE_S:g} s; in Python {executor.GRACE_S:g} s" in " ".join(columns[4])
