"""Where a user wrote what a node is made of: file and line, from the map to the events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.command_map import load_command_map, parse_command_map
from taskgrove.commands.execution.composed_events import composed_detail
from taskgrove.commands.execution.placing import placed
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.main_task_executor import MainTaskExecutor
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.events import Cause, ComposedDetail, FinishedDetail, Place
from taskgrove.testing import EventLog, FakeDeviceRunner

MAP = """\
components:
  cbf: low-cbf/subarray/01
  pst:
    - low-pst/beam/01
    - low-pst/beam/02
configure:
  type: sequential
  timeout: 60
  tasks:
    own: {handler: internal, command_name: check}
    subsystems:
      type: parallel
      tasks:
        cbf:
          command_name: Configure
          argin: {id: 1}
          timeout: 5
        pst:
          command_name: Configure
          timeout: 7
    frames:
      handler: analysis
      command_name: FitNow
      each: {parameter: frame, count: 2}
"""


class Manager:
    def check(self) -> None: ...


def composed(tmp_path: Path, resources: Any = None, file: str | None = None) -> Task:
    (tmp_path / "map.yaml").write_text(MAP)
    return MainTaskComposer(
        "configure", str(tmp_path / "map.yaml"), Manager(), None, resources, resources_file=file
    ).compose()


def details(root: Task) -> dict[str, ComposedDetail]:
    return {path: composed_detail(node) for path, node in root.walk()}


def test_every_node_knows_where_the_map_defines_it(tmp_path: Path) -> None:
    found = details(composed(tmp_path, {"pst": {"1": {"gain": 1}, "2": {"gain": 2}}}, "a.yaml"))
    file = str(tmp_path / "map.yaml")
    lines = {path: detail.place and detail.place.line for path, detail in found.items()}
    assert lines == {
        "configure": 6,
        "configure/own": 10,
        "configure/subsystems": 11,
        "configure/subsystems/cbf-subarray-01": 14,
        "configure/subsystems/configure_pst": 18,
        "configure/subsystems/configure_pst/pst-beam-01": 18,
        "configure/subsystems/configure_pst/pst-beam-02": 18,
        "configure/frames": 21,
        "configure/frames/frames-000": 21,
        "configure/frames/frames-001": 21,
    }
    cbf = found["configure/subsystems/cbf-subarray-01"]
    assert cbf.place == Place(file, 14, "cbf")
    assert cbf.timeout_place == Place(file, 17, "timeout")
    assert cbf.argin_place == Place(file, 16, "argin")
    beam = found["configure/subsystems/configure_pst/pst-beam-01"]
    assert beam.timeout_place == Place(file, 20, "timeout")
    assert beam.argin_place == Place("a.yaml", None, "pst")
    assert found["configure"].timeout_place == Place(file, 8, "timeout")
    assert found["configure/subsystems/configure_pst"].timeout_place is None
    assert found["configure/own"].argin_place is None


@pytest.mark.parametrize(
    ("kind", "path", "line", "key"),
    [
        ("no_command", "configure/subsystems/cbf-subarray-01", 15, "command_name"),
        ("wrong_argument", "configure/subsystems/cbf-subarray-01", 16, "argin"),
        ("no_device", "configure/subsystems/configure_pst/pst-beam-02", 5, "pst"),
        ("no_device", "configure/subsystems/cbf-subarray-01", 2, "cbf"),
    ],
)
def test_a_cause_says_where_the_map_is_to_be_mended(
    tmp_path: Path, kind: Any, path: str, line: int, key: str
) -> None:
    root = composed(tmp_path)
    cause = placed(Cause(kind=kind), root.find(path))
    assert cause.place == Place(str(tmp_path / "map.yaml"), line, key)
    assert placed(Cause(kind="reported"), root.find(path)).place is None


def test_the_event_of_an_end_carries_the_place(tmp_path: Path) -> None:
    root = composed(tmp_path)
    leaf = root.find("configure/subsystems/cbf-subarray-01")
    assert isinstance(leaf, LeafTask)

    class Runner(FakeDeviceRunner):
        def start(self, context: Any) -> None:
            context.finish(6, (5, "no"), cause=Cause(kind="no_command"))

    log = EventLog()
    tree = Task("t", is_root=True, subtasks=[copy_of(leaf)])
    with MainTaskExecutor(runners={TaskExecutionType.DEVICE: Runner()}) as executor:
        assert executor.submit_main_task(tree, observers=[log]).wait(60)
    (end,) = log.select(kind="finished", path=f"t/{leaf.name}")
    assert isinstance(end.detail, FinishedDetail)
    assert end.detail.cause is not None
    assert end.detail.cause.place == Place(str(tmp_path / "map.yaml"), 15, "command_name")


def copy_of(leaf: LeafTask) -> LeafTask:
    made = LeafTask(leaf.name, leaf.device_name, leaf.command_name)
    made.places = leaf.places
    return made


def test_json_and_the_form_with_sections_have_places_too(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text(
        '{"commands": {"go": {\n "type": "sequential",\n "tasks": {\n'
        '  "cbf": {"command_name": "On",\n   "timeout": 3}}}}}'
    )
    places = load_command_map(file).entry_places
    assert places[("go", "cbf")].own == Place(str(file), 4, "cbf")
    assert places[("go", "cbf")].timeout == Place(str(file), 5, "timeout")


def test_what_is_no_file_has_no_places() -> None:
    data = {"go": {"type": "sequential", "tasks": {"cbf": {"command_name": "On"}}}}
    assert load_command_map(data).entry_places == {}
    assert parse_command_map(MAP).entry_places == {}
    made = composed_detail(LeafTask("a", "a/b/c", "On", timeout=3))
    assert (made.place, made.timeout_place, made.argin_place) == (None, None, None)


def test_a_map_on_record_stands_in_its_file() -> None:
    recorded = parse_command_map(MAP, file="map.yaml (as recorded)").of_file("map.yaml")
    assert recorded.file == "map.yaml"
    assert recorded.entry_places[("configure",)].timeout == Place("map.yaml", 8, "timeout")
    assert recorded.device_places["low-pst/beam/02"] == Place("map.yaml", 5, "pst")
