"""``taskgrove runs show RUN --node PATH``: all that is known of one node."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskgrove.cli.runs_show_node import _facts
from taskgrove.story.run_node import RunNode
from tests.cli.command_line import environment, taskgrove

pytest.importorskip("sqlalchemy")

MANAGER = """
class Manager:
    components = {}

    def measure(self):
        try:
            {}["distance"]
        except KeyError as error:
            raise RuntimeError("frame 12 \\x1b[31m\\nis not usable") from error
"""
MAP = """
go:
  type: sequential
  tasks:
    measure: {handler: internal, command_name: measure, retries: 1, timeout: 60}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("node")
    (made / "site_manager.py").write_text(MANAGER)
    (made / "map.yaml").write_text(MAP)
    command = ("run", "map.yaml", "go", "--manager", "site_manager:Manager", "--no-live")
    done = taskgrove(*command, cwd=made, env=environment(TASKGROVE_DB=str(made / "runs.db")))
    assert done.returncode == 1, done
    return made


def show(place: Path, *words: str) -> str:
    env = environment(TASKGROVE_DB=str(place / "runs.db"))
    done = taskgrove("runs", "show", "last", *words, cwd=place, env=env)
    assert done.returncode == 0, done
    return done.stdout


def test_each_attempt_is_told_with_its_cause_and_its_exceptions(place: Path) -> None:
    told = show(place, "--node", "go/measure")
    assert told.startswith("go/measure: failed\n")
    assert "\n  timeout  60 s\n" in told
    first, _, last = told.partition("\nAttempt 1: raised\n")[2].partition("\nCause: raised\n")
    for part in (first, last):
        assert "exception: KeyError: 'distance'" in part
        assert "RuntimeError: frame 12 " in part
        assert "is not usable" in part
    assert "retry: attempt 1 of 2 failed" in told
    assert "\x1b" not in told


def test_a_composite_has_what_decided_it_and_no_cause_of_its_own(place: Path) -> None:
    told = show(place, "--node", "go")
    assert "\n  decided  0 of 1 succeeded" in told


def test_the_same_as_data(place: Path) -> None:
    found = json.loads(show(place, "--node", "go/measure", "--json"))
    assert found["path"] == "go/measure"
    assert found["finished"]["cause"]["kind"] == "raised"


def test_the_time_in_the_queue_of_a_device_is_told_apart() -> None:
    second = 1_000_000_000
    node = RunNode("go/a", queued_ns=100 * second, started_ns=103 * second, ended_ns=105 * second)
    facts = dict(_facts(node, 200 * second))
    assert facts["queued"].endswith(", 3.0 s")
    assert facts["began"].endswith(", 2.0 s")
    waiting = RunNode("go/a", queued_ns=100 * second)
    assert dict(_facts(waiting, 104 * second))["queued"].endswith(", 4.0 s")
