"""A resume takes over the results that later steps refer to, or runs the steps that gave them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.command_map import load_command_map
from taskgrove.commands.composition.context import ComponentContext
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.task import Task
from taskgrove.control_model import ResultCode, TaskStatus
from taskgrove.recovery.resuming import plan_resume, resume
from taskgrove.store import Store
from taskgrove.store.history import History
from taskgrove.store.verdicts import give_verdict
from taskgrove.testing import FakeDeviceRunner, Script
from tests.recovery.cut_runs import DEVICE, record

COMPONENTS = {"cbf": ["low-cbf/a/1"], "pss": ["low-pss/a/1"]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "runs.db") as opened:
        yield opened


def tree() -> Task:
    tasks: dict[str, Any] = {
        name: {"handler": handler, "command_name": "Go", "argin": argin}
        for name, handler, argin in (
            ("other", "pss", None),
            ("first", "cbf", None),
            ("second", "cbf", "{{ results.first }}"),
            ("third", "cbf", ["{{ results.second }}"]),
        )
    }
    command = {"type": "sequential", "skip_subtasks": True, "tasks": tasks}
    loaded = load_command_map({"commands": {"go": command}, "components": COMPONENTS})
    context = ComponentContext.from_map(loaded)
    return MainTaskComposer("go", loaded, context, None).compose()


def gives(value: Any) -> Script:
    return Script(result=(ResultCode.OK, json.dumps(value)))


def resumed(store: Store, scripts: Any = None) -> list[tuple[str, Any]]:
    fake = FakeDeviceRunner(scripts)
    resume("r1", tree(), store=store, runners={DEVICE: fake})
    return [(call.name, call.argin) for call in fake.calls if call.action == "start"]


def test_a_result_is_taken_over_with_its_type(store: Store) -> None:
    scripts = {"first": gives({"n": 1}), "second": gives([2]), "third": Script.fails("no lock")}
    record(store, "r1", tree(), scripts)
    assert resumed(store) == [("third", [[2]])]


def test_the_argument_is_on_record_with_its_values(store: Store) -> None:
    record(store, "r1", tree(), {"first": gives({"n": 1}), "second": gives([2])})
    nodes = {node.name: node for node in History(store).nodes("r1")}
    assert nodes["second"].argin == {"n": 1}
    assert nodes["second"].composed is not None
    assert nodes["second"].composed.argin == "{{ results.first }}"
    assert nodes["third"].argin == [[2]]


def test_a_secret_is_redacted_on_record_and_never_used(store: Store) -> None:
    scripts = {
        "first": gives({"token": "s3cret-9"}),
        "second": gives([2]),
        "third": Script.fails("no lock"),
    }
    record(store, "r1", tree(), scripts)
    assert "s3cret-9" not in repr(History(store).nodes("r1"))
    # Only `third` runs again, and nothing that it needs is a secret.
    assert resumed(store) == [("third", [[2]])]


def test_the_step_that_gave_a_secret_runs_again_with_all_after_it(store: Store) -> None:
    record(store, "r1", tree(), {"first": gives({"token": "x-1"}), "second": Script.fails("no")})
    plan = plan_resume(store, "r1", tree()).plan
    told = {leaf.path.rpartition("/")[2]: (leaf.action, leaf.why) for leaf in plan.leaves}
    assert told["other"] == ("reuse", "completed")
    assert told["first"] == (
        "redo",
        "a later step refers to its result, which is redacted on record",
    )
    again = {"first": gives({"token": "x-2"}), "second": gives([3])}
    assert resumed(store, again) == [
        ("first", None),
        ("second", {"token": "x-2"}),
        ("third", [[3]]),
    ]


def test_a_verdict_gives_no_result(store: Store) -> None:
    record(store, "r1", tree(), {"first": Script.fails("no lock")})
    give_verdict(store, "r1", "go/first", "ok", who="ann", why="seen by eye")
    told = [(leaf.path, leaf.why) for leaf in plan_resume(store, "r1", tree()).plan.of("redo")]
    assert told[0] == ("go/first", "a later step refers to its result, which is not on record")


def test_only_the_resumed_run_gives_ends_that_are_good(store: Store) -> None:
    record(store, "r1", tree(), {"first": gives(1), "second": gives(2)})
    assert resumed(store) == []
    assert History(store).find("r1").status is TaskStatus.COMPLETED
