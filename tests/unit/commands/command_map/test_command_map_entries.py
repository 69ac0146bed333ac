"""Clean-ups, holds, pauses between attempts and descriptions in a map."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.commands.command_map import (
    CompositeEntry,
    DeviceEntry,
    command_map_json_schema,
    load_command_map,
    parse_command_map,
    parse_plain_data,
)
from taskgrove.errors import MapError
from taskgrove.events import Place
from tests.schema_check import accepts

MAP = """\
observe:
  type: sequential
  description: |
    One scan
    of all beams
  hold: on_failure
  hold_timeout: 600
  tasks:
    cbf: {command_name: Scan, retries: 2, retry_delay: 5, retry_backoff: 2}
  finally:
    part:
      type: sequential
      tasks: {cbf: {command_name: End, description: always}}
      finally: {pst: {command_name: Park}}
  finally_timeout: 30
components: {cbf: low-cbf/subarray/01}
"""


def refused(text: str) -> MapError:
    assert not accepts(command_map_json_schema(), parse_plain_data(text))
    with pytest.raises(MapError) as caught:
        parse_command_map(text, file="m.yaml")
    return caught.value


def test_the_keys_are_read() -> None:
    loaded = parse_command_map(MAP, file="m.yaml")
    observe = loaded.commands["observe"]
    assert observe.description == "One scan of all beams"
    assert (observe.hold, observe.hold_timeout, observe.finally_timeout) == ("on_failure", 600, 30)
    scan = observe.tasks["cbf"]
    assert isinstance(scan, DeviceEntry)
    assert (scan.retries, scan.retry_delay, scan.retry_backoff) == (2, 5, 2)
    part = observe.finally_tasks["part"]
    assert isinstance(part, CompositeEntry)
    assert part.tasks["cbf"].description == "always"
    assert list(part.finally_tasks) == ["pst"]
    assert load_command_map(loaded.to_dict()) == load_command_map(parse_plain_data(MAP))
    assert [entry.command_name for entry in loaded.leaf_entries("observe")] == [
        "Scan", "End", "Park",
    ]  # fmt: skip
    places = loaded.entry_places
    assert places["observe", "finally"].own == Place("m.yaml", 10, "finally")
    assert places["observe", "finally"].timeout == Place("m.yaml", 15, "finally_timeout")
    own = places["observe", "finally", "part", "finally", "pst"].own
    assert own == Place("m.yaml", 14, "pst")


def test_without_the_keys_nothing_is_held_and_nothing_cleans_up() -> None:
    loaded = parse_command_map("go: {type: sequential, tasks: {cbf: {command_name: Scan}}}")
    entry: Any = loaded.commands["go"]
    for item in (entry, entry.tasks["cbf"]):
        assert (item.description, item.hold, item.hold_timeout) == ("", None, None)
    assert (entry.finally_tasks, entry.finally_timeout) == ({}, None)
    assert (entry.tasks["cbf"].retry_delay, entry.tasks["cbf"].retry_backoff) == (0, 1)
    assert "finally" not in loaded.to_dict()["commands"]["go"]


@pytest.mark.parametrize(
    ("given", "wrong", "path", "said"),
    [
        ("hold: on_failure", "hold: on_failur", ".hold", "on_failure"),
        ("hold_timeout: 600", "hold_timeout: 0", ".hold_timeout", "seconds greater than 0"),
        ("finally_timeout: 30", "finally_timeout: 1 min", ".finally_timeout", "seconds greater"),
        ("retry_delay: 5", "retry_delay: -1", ".tasks.cbf.retry_delay", "seconds from 0"),
        ("retry_backoff: 2", "retry_backoff: 0.5", ".tasks.cbf.retry_backoff", "from 1"),
        ("description: always", "description: [a]", ".finally.part.tasks.cbf.description", "text"),
        ("hold: on_failure", "holds: on_failure", ".holds", "hold"),
        ("  finally:", "  finaly:", ".finaly", "finally"),
        ("  finally:", "  finally: 3\n  x:", ".finally", "a mapping"),
    ],
)
def test_a_wrong_value_is_told_with_its_place(given: str, wrong: str, path: str, said: str) -> None:
    error = refused(MAP.replace(given, wrong, 1))
    assert error.map_path == f"observe{path}"
    assert error.line == MAP[: MAP.index(given)].count("\n") + 1
    assert said in " ".join([*error.allowed, error.hint or ""])


def test_tasks_that_run_at_once_have_no_clean_up() -> None:
    error = refused(MAP.replace("type: sequential", "type: parallel", 1))
    assert (error.line, error.map_path) == (10, "observe.finally")
    assert "at once" in error.problem
    assert "sequence" in (error.hint or "")


def test_a_limit_needs_a_clean_up() -> None:
    text = "go: {type: sequential, finally_timeout: 3, tasks: {cbf: {command_name: Scan}}}"
    error = refused(text)
    assert error.map_path == "go.finally_timeout"
    assert "no 'finally'" in error.problem


@pytest.mark.parametrize("key", ["tasks", "finally"])
def test_finally_is_no_task(key: str) -> None:
    entry = "{type: sequential, tasks: {cbf: {command_name: Scan}}}"
    text = f"go:\n  type: sequential\n  tasks: {{}}\n  {key}:\n    finally: {entry}\n"
    error = refused(text.replace("  tasks: {}\n", "") if key == "tasks" else text)
    assert error.map_path == f"go.{key}.finally"
    assert "one level up" in (error.hint or "")


def test_a_pause_between_attempts_needs_further_attempts() -> None:
    for keys in ("retry_delay: 5", "retries: 1, retry_backoff: 2"):
        text = f"go: {{type: sequential, tasks: {{cbf: {{command_name: Scan, {keys}}}}}}}"
        with pytest.raises(MapError, match="has no effect without"):
            parse_command_map(text)


def test_a_step_of_a_clean_up_is_never_held() -> None:
    text = MAP.replace("description: always", "hold: on_failure")
    with pytest.raises(MapError) as caught:
        parse_command_map(text, file="m.yaml")
    assert caught.value.map_path == "observe.finally.part.tasks.cbf.hold"
    parse_command_map(text.replace("End, hold: on_failure", "End, hold: never"))


def test_a_command_may_be_named_as_the_key() -> None:
    assert list(load_command_map({"finally": {"type": "parallel", "tasks": {}}}).commands)
