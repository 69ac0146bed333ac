"""Failures on record: a runner that was killed after one, and a resumed run that fails again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_line import environment, taskgrove
from tests.why.staging import killed_runner

pytest.importorskip("sqlalchemy")

MANAGER = """
import os


class Manager:
    components = {}

    def well(self):
        return 0, "fine"

    def badly(self):
        raise RuntimeError(os.environ.get("WHY", "oscillator 3 is not locked"))

    def until_aborted(self, task_callback=None, task_abort_event=None):
        task_callback(progress=10)
        task_abort_event.wait()
        return 7, "stopped"
"""
MAP = """
observe:
  type: sequential
  tasks:
    first: {handler: internal, command_name: badly}
    second: {handler: internal, command_name: until_aborted}
again:
  type: sequential
  skip_subtasks: true
  tasks:
    first: {handler: internal, command_name: well}
    second: {handler: internal, command_name: badly}
    third: {handler: internal, command_name: well, timeout: 60}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "other_manager.py").write_text(MANAGER)
    (tmp_path / "map.yaml").write_text(MAP)
    return tmp_path


def test_a_runner_that_is_killed_after_a_failure(place: Path) -> None:
    ended = killed_runner(
        place,
        "run", "map.yaml", "observe", "--manager", "other_manager:Manager", "--json",
        until=lambda event: event.progress == 10,
    )  # fmt: skip
    for words in (
        "observe lost its runner",
        "while step second was running",
        "1 of 2 leaves had ended",
        "before that step first raised RuntimeError: oscillator 3 is not locked",
        "taskgrove resume",
    ):
        assert words in ended.sentence, ended.sentence
    # Nothing in the tree claims that it still runs without saying what is known of it.
    (line,) = [line for line in ended.explanation.tree if line.name == "second"]
    assert line.words == "its end is not known"


def test_a_resumed_run_that_fails_again_names_its_own_cause(place: Path) -> None:
    def run(*words: str, **changes: str) -> Any:
        return taskgrove(*words, cwd=place, env=environment(TASKGROVE_DB="runs.db", **changes))

    manager = ("--manager", "other_manager:Manager")
    assert run("run", "map.yaml", "again", *manager).returncode == 1
    done = run("resume", "last", "--yes", *manager, WHY="filter wheel 2 is stuck")
    assert done.returncode == 1, done.stderr
    told = json.loads(run("why", "--json").stdout)
    assert told["first"]["cause"] == "RuntimeError: filter wheel 2 is stuck"
    assert "1 leaf taken from an earlier run" in told["sentence"]
    assert "oscillator" not in told["sentence"]
    assert "it blocked third" in told["sentence"]
