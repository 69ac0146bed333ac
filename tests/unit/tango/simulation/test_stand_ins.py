"""What simulated devices need beside their own commands and attributes, told by a map."""

from __future__ import annotations

from typing import Any

import pytest

from taskgrove.commands.command_map import parse_command_map
from taskgrove.errors import UsageError
from taskgrove.tango.simulation.section import section_problems
from taskgrove.tango.simulation.simulator_settings import parse_settings
from taskgrove.tango.simulation.stand_ins import argument_type, stand_ins_of, value_type

MAP = """
components: {motor: x01/motor/01, pair: [x01/a/1, x01/a/2]}
go:
  type: sequential
  tasks:
    up: {device: motor, command_name: "On"}
    speed: {device: motor, write: {attribute: velocity, value: 2}}
    faster: {device: X01/Motor/01, write: {attribute: velocity, value: 2.5}}
    move: {device: motor, command_name: MoveTo, argin: 3.2}
    state: {device: motor, wait: {attribute: State, value: "ON"}}
    there: {device: motor, wait: {attribute: position, min: 3, max: 4}}
    list: {device: pair, expect: {attribute: readings, value: [1, 2.5]}}
    arm: {device: pair, command_name: Arm, skip_if: {attribute: armed, value: true}}
    later: {device: x01/b/1, write: {attribute: note, value: "{{ results.move.x }}"}}
"""


def test_a_map_tells_what_its_devices_need() -> None:
    found = stand_ins_of(parse_command_map(MAP))
    assert found == {
        "x01/motor/01": {
            "attributes": {"velocity": 2.0, "position": 3.0},
            "commands": {"MoveTo": {"takes": "DevDouble"}},
        },
        **{
            f"x01/a/{n}": {
                "attributes": {"readings": [1, 2.5], "armed": True},
                "commands": {"Arm": {"takes": "DevVoid"}},
            }
            for n in (1, 2)
        },
        "x01/b/1": {"attributes": {"note": 0.0}, "commands": {}},
    }
    assert isinstance(found["x01/motor/01"]["attributes"]["velocity"], float)


@pytest.mark.parametrize(
    ("value", "kind", "argument"),
    [
        (None, "DevString", "DevVoid"),
        (True, "DevBoolean", "DevBoolean"),
        (3, "DevLong64", "DevDouble"),
        (3.5, "DevDouble", "DevDouble"),
        ("x", "DevString", "DevString"),
        ({"a": 1}, "DevString", "DevString"),
        ([1, 2], "DevLong64", "DevVarLong64Array"),
        ([1, 2.5], "DevDouble", "DevVarDoubleArray"),
        (["a"], "DevString", "DevVarStringArray"),
        ([], "DevString", "DevString"),
        ([[1, 2], [3.5]], "DevDouble", "DevString"),
        ([1, "a"], "DevString", "DevVarStringArray"),
    ],
)
def test_a_value_tells_its_type(value: Any, kind: str, argument: str) -> None:
    assert (value_type(value), argument_type(value)) == (kind, argument)


def test_commands_of_a_device_may_have_durations_and_faults() -> None:
    section = {
        "durations_s": {"MoveTo": 1.0},
        "faults": {"x01/motor/01": {"MoveTo": "fail", "Arm": "slow"}},
        "devices": {"x01/motor/01": {"commands": {"MoveTo": {"takes": "DevDouble"}}}},
    }
    devices = ["x01/motor/01"]
    assert list(section_problems(section, devices, ["Arm"])) == []
    (problem,) = section_problems(section, devices)
    assert (problem.path, "no command of" in problem.message) == (
        "simulator.faults.x01/motor/01.Arm",
        True,
    )
    own = parse_settings({"commands": {"MoveTo": {}}, "durations_s": {"MoveTo": 1.0}})
    assert own.commands["MoveTo"].takes == "DevVoid"
    with pytest.raises(UsageError, match="durations_s has no command 'MoveTo'"):
        parse_settings({"durations_s": {"MoveTo": 1.0}})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"commands": {"MoveTo": {"take": "DevDouble"}}}, "unknown field"),
        ({"commands": ["MoveTo"]}, "found a list"),
        ({"attributes": 3}, "found a number 3"),
    ],
)
def test_what_is_wrong_in_them_is_told(settings: Any, said: str) -> None:
    (problem,) = section_problems(settings, [])
    assert said in problem.message
