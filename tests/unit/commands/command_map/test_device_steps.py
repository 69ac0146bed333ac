"""Steps of any TANGO device in a map: what is read, what is refused and where, and the tree."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from taskgrove.commands.command_map import DeviceStepEntry, load_command_map, parse_command_map
from taskgrove.commands.composition.context import ComponentContext
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.task import LeafTask, Task
from taskgrove.errors import CommandError, MapError

MAP = """
components:
  motor: x01/motor/01
  detectors: [x01/detector/01, x01/detector/02]
  pst: low-pst/beam/01
go:
  type: sequential
  tasks:
"""


def of(steps: str, components: str = "") -> str:
    text = MAP.replace("  pst:", f"{components}  pst:")
    return text + "\n".join(f"    {line}" for line in steps.splitlines())


def problem(text: str) -> MapError:
    with pytest.raises(MapError) as caught:
        parse_command_map(text, file="m.yaml")
    return caught.value


def entry(step: str) -> DeviceStepEntry:
    found = parse_command_map(of(f"step: {step}")).commands["go"].tasks["step"]
    assert isinstance(found, DeviceStepEntry)
    return found


def composed(steps: str, context: Any = None, resources: Any = None) -> Task:
    command_map = parse_command_map(of(steps))
    given = ComponentContext.from_map(command_map) if context is None else context
    return MainTaskComposer("go", command_map, given, None, resources).compose()


def leaves(task: Task) -> dict[str, LeafTask]:
    return {path: node for path, node in task.walk() if isinstance(node, LeafTask)}


def test_each_kind_is_read() -> None:
    move = entry("{device: motor, command_name: MoveTo, argin: 3.2, call_timeout: 5}")
    assert (move.kind, move.operand, move.value) == ("command", "MoveTo", 3.2)
    assert move.reject_missing
    write = entry("{device: motor, write: {attribute: velocity, value: [1, 2]}}")
    assert (write.kind, write.operand, write.value) == ("write", "velocity", [1, 2])
    wait = entry("{device: motor, wait: {attribute: State, value: ON, fail_on: [FAULT]}}")
    assert (wait.kind, wait.operand) == ("wait", "State")
    assert wait.value == {"attribute": "State", "value": "ON", "fail_on": ("FAULT",)}
    expect = entry("{device: a/b/c, expect: {attribute: _x, min: 1, max: 2}}")
    assert (expect.kind, expect.operand) == ("expect", "_x")


@pytest.mark.parametrize(
    ("step", "where", "said"),
    [
        ("{device: motor}", "", "one of command_name, write, wait, expect is given, not none"),
        (
            "{device: motor, command_name: A, wait: {attribute: x, value: 1}}",
            "",
            "not command_name and wait",
        ),
        ("{device: moter, command_name: A}", ".device", "did you mean 'motor'?"),
        ("{device: [motor, ptt], command_name: A}", ".device[1]", "did you mean 'pst'?"),
        ("{device: a/b, command_name: A}", ".device", "is no TANGO name"),
        ("{device: [], command_name: A}", ".device", "the list is empty"),
        ("{device: 3, command_name: A}", ".device", "a component, a TANGO name"),
        ("{wait: {attribute: x, value: 1}}", "", "the key 'device' is missing"),
        ("{devise: motor, command_name: A}", ".devise", "did you mean 'device'?"),
        ("{device: motor, wait: {attribute: x}}", ".wait", "at least one of value, any_of"),
        ("{device: motor, wait: {value: 1}}", ".wait", "the key 'attribute' is missing"),
        ("{device: motor, wait: {attribute: x, vale: 1}}", ".wait.vale", "did you mean 'value'?"),
        ("{device: motor, wait: {attribute: x, min: 2, max: 1}}", ".wait", "not above 'max'"),
        ("{device: motor, wait: {attribute: x, min: a}}", ".wait.min", "a number"),
        ("{device: motor, wait: {attribute: x, any_of: []}}", ".wait.any_of", "at least one value"),
        ("{device: motor, expect: {attribute: x, fail_on: [1], value: 2}}", ".expect.fail_on", ""),
        ("{device: motor, expect: {attribute: x, min: 1, within: 2}}", ".expect", "no effect"),
        (
            "{device: motor, wait: {attribute: x, value: 1, timeout: 3}}",
            ".wait.timeout",
            "'timeout' stands beside 'wait', not in it",
        ),
        ("{device: motor, write: {attribute: x}}", ".write", "the key 'value' is missing"),
        ("{device: motor, write: {attribute: x, value: null}}", ".write", "null cannot be written"),
        ("{device: motor, write: {attribute: x, value: .nan}}", ".write.value", "JSON does not"),
        ("{device: motor, write: {attribute: 'a b', value: 1}}", ".write.attribute", "name"),
        ("{device: motor, write: {attribute: x, value: 1}, argin: 2}", "", "belongs to a command"),
        ("{device: motor, handler: pst, command_name: A}", ".handler", "unknown key 'handler'"),
        ("{device: motor, command_name: A, skip_if: {attribute: x}}", ".skip_if", "at least one"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(step: str, where: str, said: str) -> None:
    error = problem(of(f"step: {step}"))
    assert error.map_path == f"go.tasks.step{where}"
    assert error.line == 9
    assert said in "\n".join([str(error), *error.problems])
    assert "Value error" not in "\n".join(error.problems)


def test_a_keyword_is_no_name_of_a_device_step() -> None:
    error = problem(of("pst: {device: pst, command_name: A}"))
    assert "takes no 'device'" in str(error)


def test_a_misspelt_component_that_nothing_uses_is_told() -> None:
    error = problem(of("x: {device: motor, command_name: A}", "  pts: a/b/c\n"))
    assert (error.map_path, error.nearest) == ("components.pts", "pst")
    # A name of its own is free.
    parse_command_map(of("x: {device: motor, command_name: A}", "  unused: a/b/c\n"))


def test_the_name_of_a_component_is_no_tango_name() -> None:
    error = problem(of("x: {device: motor, command_name: A}", "  a/b: a/b/c\n"))
    assert "cannot be a name" in str(error)


def test_one_device_makes_a_leaf_of_the_name_of_the_entry() -> None:
    root = composed(
        "move: {device: motor, command_name: MoveTo, argin: 3.2, call_timeout: 5}\n"
        "cold: {device: x01/cryo/01, expect: {attribute: temperature, max: 80}}"
    )
    move, cold = leaves(root).values()
    assert (move.path, move.device_name, move.command_name) == (
        "go/move",
        "x01/motor/01",
        "MoveTo",
    )
    assert (move.step, move.argin, move.settings) == ("command", 3.2, {"call_timeout_s": 5})
    assert (cold.path, cold.device_name, cold.step) == ("go/cold", "x01/cryo/01", "expect")
    assert cold.argin == {"attribute": "temperature", "max": 80}


def test_several_devices_make_a_group_of_the_name_of_the_entry() -> None:
    root = composed(
        "arm: {device: detectors, command_name: Arm, rule: any, description: all}\n"
        "one: {device: [motor], command_name: Arm, hold: never}\n"
        "beams: {device: pst, command_name: Scan}"
    )
    assert list(leaves(root)) == [
        "go/arm/x01-detector-01",
        "go/arm/x01-detector-02",
        "go/one/x01-motor-01",
        "go/beams",
    ]
    arm = root.subtasks[0]
    assert isinstance(arm, Task)
    assert (arm.rule.label if arm.rule else "", arm.description, arm.pst_group) == (
        "any",
        "all",
        False,
    )
    assert root.subtasks[1].hold == "never"


def test_a_device_of_the_context_is_found_by_its_tango_name() -> None:
    motor = SimpleNamespace(name="x01/Motor/01", obsState="IDLE")
    context = {"components": {"motor": motor, "detectors": []}}
    root = composed("move: {device: X01/motor/01, command_name: MoveTo}", context)
    assert leaves(root)["go/move"].target is motor


def test_an_unknown_component_of_a_context_is_refused_with_the_nearest() -> None:
    text = "go: {type: sequential, tasks: {move: {device: moter, command_name: A}}}"
    with pytest.raises(CommandError, match="no component 'moter'") as caught:
        MainTaskComposer(
            "go", parse_command_map(text), {"components": {"motor": "a/b/c"}}, None
        ).compose()
    assert "did you mean 'motor'?" in (caught.value.hint or "")


def test_a_named_device_is_never_left_out_in_silence() -> None:
    command_map = parse_command_map(
        of(
            "move: {device: motor, command_name: A}\n"
            "cold: {device: a/b/c, expect: {attribute: x, min: 1}}"
        )
    )
    for absent in ("x01/motor/01", "a/b/c"):
        context = ComponentContext.from_map(command_map, absences={absent: "no answer"})
        with pytest.raises(CommandError, match=f"{absent}: no answer"):
            MainTaskComposer("go", command_map, context, None).compose()


def test_what_is_allowed_to_be_missing_is_left_out() -> None:
    steps = (
        "move: {device: motor, command_name: A, reject_missing: false}\n"
        "arm: {device: detectors, command_name: Arm}"
    )
    command_map = parse_command_map(of(steps))
    context = ComponentContext.from_map(command_map, absences={"x01/motor/01": "no answer"})
    root = MainTaskComposer("go", command_map, context, None).compose()
    assert [item.device for item in root.left_out] == ["x01/motor/01"]


def test_one_device_may_be_read_at_once_but_not_changed_at_once() -> None:
    text = "a: {type: parallel, tasks: {r: {%s}, s: {%s}}}"
    reading = "device: motor, wait: {attribute: State, value: ON}"
    moving = "device: X01/MOTOR/01, command_name: MoveTo"
    writing = "device: motor, write: {attribute: x, value: 1}"
    assert len(leaves(composed(text % (reading, reading)))) == 2
    assert len(leaves(composed(text % (reading, moving)))) == 2
    with pytest.raises(CommandError, match="stands twice"):
        composed(text % (writing, moving))


def test_a_device_is_named_once_in_a_list() -> None:
    with pytest.raises(CommandError, match="named twice"):
        composed("arm: {device: [detectors, X01/Detector/02], command_name: Arm}")


def test_arguments_of_commands_are_found_by_component_and_device() -> None:
    steps = (
        "move: {device: motor, command_name: MoveTo}\n"
        "arm: {device: detectors, command_name: Arm}\n"
        "there: {device: motor, wait: {attribute: State, value: ON}}"
    )
    root = composed(steps, resources={"motor": 3.2, "x01/detector/02": {"b": 1}, "detectors": 5})
    found = {path: leaf.argin for path, leaf in leaves(root).items() if leaf.step == "command"}
    assert found == {
        "go/move": 3.2,
        "go/arm/x01-detector-01": 5,
        "go/arm/x01-detector-02": {"b": 1},
    }
    with pytest.raises(CommandError, match="did you mean 'motor'"):
        composed(steps, resources={"moter": 3.2})


def test_a_pattern_is_resolved_when_the_command_is_composed() -> None:
    steps = (
        "arm: {device: x01/detector/*, command_name: Arm}\nall: {device: racks, command_name: A}"
    )
    command_map = parse_command_map(of(steps, "  racks: [x01/rack/*, x01/other/01]\n"))
    asked: list[str] = []

    def find(pattern: str) -> list[str]:
        asked.append(pattern)
        return [pattern.replace("*", number) for number in ("01", "02")]

    context = ComponentContext.from_map(command_map, find_devices=find)
    root = MainTaskComposer("go", command_map, context, None).compose()
    assert [leaf.device_name for leaf in leaves(root).values()] == [
        "x01/detector/01",
        "x01/detector/02",
        "x01/rack/01",
        "x01/rack/02",
        "x01/other/01",
    ]
    assert sorted(set(asked)) == ["x01/detector/*", "x01/rack/*"]


def test_a_pattern_needs_a_database_and_a_device() -> None:
    command_map = parse_command_map(of("arm: {device: x01/det/*, command_name: Arm}"))
    context = ComponentContext.from_map(command_map)
    with pytest.raises(CommandError, match="is a pattern of device names") as caught:
        MainTaskComposer("go", command_map, context, None).compose()
    assert "TANGO_HOST" in (caught.value.hint or "")
    context = ComponentContext.from_map(command_map, find_devices=lambda _pattern: [])
    with pytest.raises(CommandError, match="no device that fits x01/det/"):
        MainTaskComposer("go", command_map, context, None).compose()


def test_a_map_is_written_with_addresses() -> None:
    command_map = parse_command_map(
        of(
            "arm: {device: [motor, x01/Other/01], command_name: Arm}\n"
            "one: {device: x01/motor/01, command_name: A}"
        )
    )
    assert command_map.devices == (
        "x01/motor/01",
        "x01/detector/01",
        "x01/detector/02",
        "low-pst/beam/01",
        "x01/Other/01",
    )
    addresses = {name: f"tango://h:1/{name}#dbase=no" for name in command_map.devices}
    written = command_map.to_dict(addresses)
    tasks = written["commands"]["go"]["tasks"]
    assert tasks["arm"]["device"] == ["motor", "tango://h:1/x01/Other/01#dbase=no"]
    assert tasks["one"]["device"] == "tango://h:1/x01/motor/01#dbase=no"
    assert written["components"]["motor"] == ["tango://h:1/x01/motor/01#dbase=no"]
    assert load_command_map(written).commands.keys() == command_map.commands.keys()


def test_places_of_a_step_are_those_of_its_keys() -> None:
    text = of("there:\n  device: x01/cryo/01\n  wait: {attribute: State, value: ON}\n  timeout: 3")
    command_map = parse_command_map(text, file="m.yaml")
    context = ComponentContext.from_map(command_map)
    (leaf,) = leaves(MainTaskComposer("go", command_map, context, None).compose()).values()
    places = leaf.places
    lines = [place and place.line for place in (places.own, places.target, places.argin)]
    assert lines == [9, 10, 11]
    assert places.timeout is not None
    assert places.timeout.line == 12
