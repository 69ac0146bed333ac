"""Clean-ups, called commands, holds and descriptions of a map, as they become a tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.task import LeafTask, Task
from taskgrove.errors import CommandError
from taskgrove.events import Place

MAP = """\
observe:
  type: sequential
  hold: on_failure
  description: all of it
  tasks:
    set up: {call: configure, description: before the scan}
    scan: {handler: cbf, command_name: Scan, retries: 1, retry_delay: 3, retry_backoff: 2}
    beams: {handler: pst, command_name: Scan, hold: never, hold_timeout: 5, description: all}
  finally:
    end: {handler: cbf, command_name: End}
    lock: {handler: internal, command_name: unlock}
  finally_timeout: 30
configure:
  type: parallel
  description: sets all up
  timeout: 90
  hold: never
  tasks:
    cbf: {command_name: Configure}
    pst: {command_name: Configure}
components:
  cbf: low-cbf/subarray/01
  pst: [low-pst/beam/01, low-pst/beam/02]
"""


class Manager:
    obsState = "IDLE"  # noqa: N815 - as the field spells it

    def unlock(self) -> None: ...

    def lock(self) -> None: ...


def compose(data: Any, manager: Any = None, resources: Any = None) -> Task:
    return MainTaskComposer("observe", data, manager or Manager(), None, resources).compose()


def paths(root: Task) -> list[str]:
    return [path.removeprefix("observe/") for path, _ in root.walk()][1:]


def of_map(tmp_path: Path, text: str = MAP, resources: Any = None) -> Task:
    (tmp_path / "map.yaml").write_text(text)
    return compose(str(tmp_path / "map.yaml"), resources=resources)


def test_the_whole_tree(tmp_path: Path) -> None:
    root = of_map(tmp_path)
    assert paths(root) == [
        "set up", "set up/cbf-subarray-01", "set up/configure_pst",
        "set up/configure_pst/pst-beam-01", "set up/configure_pst/pst-beam-02",
        "scan", "beams", "beams/pst-beam-01", "beams/pst-beam-02",
        "finally", "finally/end", "finally/lock",
    ]  # fmt: skip


def test_a_clean_up_is_composed_with_its_limit_and_places(tmp_path: Path) -> None:
    root = of_map(tmp_path)
    last = root.finally_task
    assert last is not None
    assert (last.timeout, last.operation) == (30.0, "observe")
    file = str(tmp_path / "map.yaml")
    assert last.places.own == Place(file, 9, "finally")
    assert last.places.timeout == Place(file, 12, "finally_timeout")
    assert last.subtasks[0].places.own == Place(file, 10, "end")
    default = of_map(tmp_path, MAP.replace("  finally_timeout: 30\n", "")).finally_task
    assert default is not None
    assert default.timeout == 60.0


def test_a_called_command_is_a_subtree(tmp_path: Path) -> None:
    root = of_map(tmp_path, resources={"cbf": {"band": 1}})
    call = root.find("observe/set up")
    assert isinstance(call, Task)
    assert (call.call, call.operation, call.timeout) == ("configure", "configure", 90.0)
    assert (call.description, call.hold) == ("before the scan", "never")
    assert call.task_type.name == "PARALLEL"
    file = str(tmp_path / "map.yaml")
    assert call.places.own == Place(file, 6, "set up")
    assert call.places.timeout == Place(file, 16, "timeout")
    first = call.subtasks[0]
    assert isinstance(first, LeafTask)
    assert first.argin == {"band": 1}
    assert first.places.own == Place(file, 19, "cbf")
    plain = of_map(tmp_path, MAP.replace(", description: before the scan", ""))
    assert plain.find("observe/set up").description == "sets all up"


def test_settings_are_on_the_node_of_their_entry(tmp_path: Path) -> None:
    root = of_map(tmp_path)
    assert (root.hold, root.description) == ("on_failure", "all of it")
    scan, group = root.subtasks[1], root.subtasks[2]
    assert isinstance(scan, LeafTask)
    assert (scan.retry_delay, scan.retry_backoff, scan.hold) == (3.0, 2.0, None)
    assert isinstance(group, Task)
    assert (group.hold, group.hold_timeout, group.description) == ("never", 5.0, "all")
    beam = group.subtasks[0]
    assert (beam.hold, beam.hold_timeout, beam.description) == (None, None, "")


def guarded(value: str = "READY", **call: Any) -> dict[str, Any]:
    return {
        "observe": {"type": "sequential", "tasks": {"part": {"call": "scan", **call}}},
        "scan": {
            "type": "sequential",
            "allowed_states": {"attr_name": "obsState", "attr_value": [value]},
            "tasks": {"internal": {"command_name": "lock"}},
        },
    }


def test_the_guard_of_a_called_command_is_checked() -> None:
    compose(guarded("IDLE"))
    with pytest.raises(CommandError) as caught:
        compose(guarded())
    error = caught.value
    assert error.path == "observe/part"
    assert "observe/part is not allowed: obsState is IDLE" in str(error)
    assert "'allowed_states' beside 'call'" in (error.hint or "")


def test_a_call_may_have_a_guard_of_its_own_or_none() -> None:
    compose(guarded(allowed_states=None))
    compose(guarded(allowed_states={"attr_name": "obsState", "attr_value": ["IDLE"]}))
    with pytest.raises(CommandError, match="not allowed"):
        compose(guarded("IDLE", allowed_states={"attr_name": "obsState", "attr_value": ["ON"]}))


def devices(**states: str) -> dict[str, Any]:
    components = {name: [{"name": f"low-{name}/a/1", "obsState": states[name]}] for name in states}
    return {"components": components, "obsState": "IDLE", "lock": lambda: None}


def test_the_guard_of_a_called_command_is_asked_of_its_devices() -> None:
    data = guarded("IDLE")
    data["observe"]["allowed_states"] = {"attr_name": "obsState", "attr_value": ["IDLE", "ON"]}
    data["observe"]["tasks"]["pss"] = {"command_name": "Scan"}
    data["scan"]["tasks"]["pss"] = {"command_name": "Scan"}
    assert paths(compose(data, devices(pss="IDLE"))) == [
        "part",
        "part/lock",
        "part/pss-a-1",
        "pss-a-1",
    ]
    assert paths(compose(data, devices(pss="ON"))) == ["part", "part/lock", "pss-a-1"]
    data["observe"]["tasks"]["part"]["allowed_states"] = None
    assert "part/pss-a-1" in paths(compose(data, devices(pss="ON")))


CLEAN_UP: dict[str, Any] = {
    "observe": {
        "type": "sequential",
        "tasks": {
            "internal": {"command_name": "lock"},
            "inner": {
                "type": "sequential",
                "tasks": {"pss": {"command_name": "Scan"}},
                "finally": {"cbf": {"command_name": "End", "reject_missing": True}},
            },
        },
        "finally": {"pss": {"command_name": "End"}},
    }
}


def test_a_sequence_without_steps_has_nothing_to_clean_up() -> None:
    root = compose(CLEAN_UP, devices(cbf="IDLE"))
    assert paths(root) == ["lock"]  # nor has a clean-up without a leaf anything to do
    assert root.composition_notes == [
        "observe/inner/pss: left out: the context has no component for pss",
        "observe/finally/pss: left out: the context has no component for pss",
        "observe/finally: left out: nothing in it to run",
        "observe/inner: left out: nothing in it to run",
    ]
    compose(CLEAN_UP, devices())  # a clean-up that goes rejects nothing


def test_a_clean_up_of_a_clean_up() -> None:
    root = compose(CLEAN_UP, devices(cbf="IDLE", pss="IDLE"))
    assert paths(root) == [
        "lock", "inner", "inner/pss-a-1", "inner/finally", "inner/finally/cbf-a-1",
        "finally", "finally/pss-a-1",
    ]  # fmt: skip


def test_clean_task_drops_a_clean_up_without_steps() -> None:
    leaf = LeafTask("a", "x/y/z", "End")
    root = Task("r", subtasks=[Task("empty")], finally_tasks=[leaf])
    assert MainTaskComposer._clean_task(root) is None
    kept = Task("r", subtasks=[LeafTask("b", "x/y/z", "Scan")], finally_tasks=[Task("empty")])
    assert MainTaskComposer._clean_task(kept) is kept
    assert [child.name for child in kept.subtasks] == ["b"]


def test_limits_from_above_do_not_reach_a_clean_up() -> None:
    data = {
        "observe": {
            "type": "sequential",
            "timeout": 5,
            "tasks": {"internal": {"command_name": "lock"}},
            "finally": {"internal": {"command_name": "unlock"}},
        }
    }
    notes = compose(data).composition_notes
    assert notes[0].startswith("observe/lock: limit 5 s (set on observe)")
    assert notes[1].startswith("observe/finally/unlock: limit 60 s (set on observe/finally)")


def test_a_quorum_counts_the_steps_without_the_clean_up() -> None:
    data = {
        "observe": {
            "type": "sequential",
            "rule": {"quorum": 2},
            "tasks": {"internal": {"command_name": "lock"}},
            "finally": {"internal": {"command_name": "unlock"}},
        }
    }
    assert "quorum 2 can never be met: there is 1 subtask" in "\n".join(
        compose(data).composition_notes
    )


def test_no_step_takes_the_name_of_the_clean_up() -> None:
    data = {
        "observe": {
            "type": "sequential",
            "tasks": {"internal": {"command_name": "finally"}},
            "finally": {"internal": {"command_name": "lock"}},
        }
    }
    manager = {**devices(), "finally": lambda: None}
    assert paths(compose(data, manager)) == ["finally-2", "finally", "finally/lock"]
