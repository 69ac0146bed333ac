"""One leaf for each value of a parameter: the key ``each`` of analyses in a map (SPEC S6.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskgrove.commands.command_map import command_map_json_schema, load_command_map
from taskgrove.commands.command_map.map_models import MAX_EACH
from taskgrove.commands.composition.names import analysis_leaf_name
from taskgrove.commands.main_task_composer import MainTaskComposer
from taskgrove.commands.task import LeafTask, Task, TaskExecutionType
from taskgrove.errors import CommandError, MapError
from tests.schema_check import accepts


def a_map(**keys: Any) -> dict[str, Any]:
    entry = {"handler": "analysis", "command_name": "PyfaiIntegrate", **keys}
    return {"scan": {"type": "sequential", "tasks": {"integrate": entry}}}


def group(**keys: Any) -> Task:
    root = MainTaskComposer("scan", a_map(**keys), None, None).compose()
    [child] = root.subtasks
    assert isinstance(child, Task)
    return child


def arguments(task: Task) -> dict[str, Any]:
    return {leaf.name: leaf.argin for leaf in task.subtasks if isinstance(leaf, LeafTask)}


@pytest.mark.parametrize(
    ("name", "leaf"),
    [
        ("PyfaiIntegrate", "pyfai-integrate"),
        ("FitRings", "fit-rings"),
        ("HDF5Merge", "hdf5-merge"),
        ("SmallData", "small-data"),
        ("fit_rings", "fit_rings"),
        ("count", "count"),
    ],
)
def test_the_leaf_of_an_analysis_is_named_after_it(name: str, leaf: str) -> None:
    assert analysis_leaf_name(name) == leaf


def test_a_count_makes_a_parallel_group_of_numbered_leaves() -> None:
    made = group(
        each={"parameter": "frame", "count": 100}, rule={"quorum": 0.9}, argin={"bins": 5},
        timeout=20, retries=1, config="powder.yaml",
    )  # fmt: skip
    assert (made.name, made.task_type) == ("integrate", TaskExecutionType.PARALLEL)
    assert made.rule is not None
    assert made.rule.label == "quorum 0.9"
    assert len(made.subtasks) == 100
    assert arguments(made)["integrate-012"] == {"bins": 5, "frame": 12}
    last = made.subtasks[-1]
    assert isinstance(last, LeafTask)
    assert last.name == "integrate-099"
    assert (last.timeout, last.retries, last.target) == (20, 1, "powder.yaml")
    assert last.task_type is TaskExecutionType.ANALYSIS
    assert last.command_name == "PyfaiIntegrate"


def test_a_range_has_its_last_and_values_are_named_where_they_can_be() -> None:
    assert arguments(group(each={"parameter": "frame", "range": [-1, 1]})) == {
        "integrate--001": {"frame": -1},
        "integrate-000": {"frame": 0},
        "integrate-001": {"frame": 1},
    }
    values = ["agbh", "la b6", 3.5, "agbh", {"a": 1}, True]
    assert list(arguments(group(each={"parameter": "sample", "values": values}))) == [
        "integrate-agbh",
        "integrate-002",
        "integrate-003",
        "integrate-agbh-2",
        "integrate-005",
        "integrate-006",
    ]


def test_numbers_of_many_digits_stay_in_order() -> None:
    made = group(each={"parameter": "run", "range": [9998, 10001]})
    names = [leaf.name for leaf in made.subtasks]
    assert names == sorted(names)
    assert names[0] == "integrate-09998"


def test_several_parameters_get_the_values_of_a_row() -> None:
    each = {"parameters": ["frame", "gain"], "values": [[1, 0.5], [7, 2]]}
    assert arguments(group(each=each, argin={"gain": 9, "bins": 3})) == {
        "integrate-001": {"frame": 1, "gain": 0.5, "bins": 3},
        "integrate-002": {"frame": 7, "gain": 2, "bins": 3},
    }
    assert accepts(command_map_json_schema(), a_map(each=each))
    for wrong in ({"count": 2}, {"parameter": "bins", "values": [[1, 2]]}):
        assert not accepts(
            command_map_json_schema(), a_map(each={"parameters": ["frame", "gain"], **wrong})
        )


def test_the_value_of_each_wins_over_the_argument() -> None:
    made = group(each={"parameter": "frame", "count": 2}, argin={"frame": 9, "bins": 3})
    assert arguments(made)["integrate-001"] == {"frame": 1, "bins": 3}


@pytest.mark.parametrize(
    ("keys", "place", "words"),
    [
        ({"each": {"paramter": "f", "count": 1}}, "each.paramter", "did you mean 'parameter'?"),
        ({"each": {"parameter": "f", "conut": 1}}, "each.conut", "did you mean 'count'?"),
        ({"each": {"parameter": "f"}}, "each", "not none of them"),
        ({"each": {"parameter": "f", "count": 1, "values": [1]}}, "each", "not count and values"),
        ({"each": {"count": 1}}, "each", "'parameter' is missing"),
        ({"each": {"parameters": ["f", "f"], "values": [[1, 2]]}}, "each", "named twice"),
        ({"each": {"parameters": ["f", "g"], "count": 2}}, "each", "from 'values'"),
        ({"each": {"parameters": ["f", "g"], "values": [[1, 2], [3]]}}, "each", "number 2 of the"),
        ({"each": {"parameters": ["f"], "parameter": "g", "values": [[1]]}}, "each", "not both"),
        ({"each": {"parameter": "f", "count": 0}}, "each.count", "whole number from 1"),
        ({"each": {"parameter": "f", "count": MAX_EACH + 1}}, "each.count", "whole number from 1"),
        ({"each": {"parameter": "f", "range": [3, 1]}}, "each.range", "not below the first"),
        ({"each": {"parameter": "f", "range": [1]}}, "each.range", "it has 1 values"),
        ({"each": {"parameter": "f", "range": ["a", 1]}}, "each.range[0]", "a whole number"),
        ({"each": {"parameter": "f", "values": []}}, "each.values", "at least one value"),
        ({"each": {"parameter": "f", "values": [float("nan")]}}, "each.values[0]", "found nan"),
        ({"each": 5}, "each", "parameter with count, range or values"),
        ({"rule": "all"}, "rule", "a rule judges a group"),
        ({"argin": 5}, "argin", "a mapping of its parameters"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_each_is_said_with_its_place(
    keys: dict[str, Any], place: str, words: str
) -> None:
    with pytest.raises(MapError) as raised:
        load_command_map(a_map(**keys))
    assert any(
        f"scan.tasks.integrate.{place}:" in problem and words in problem
        for problem in raised.value.problems
    ), raised.value.problems


def test_only_an_analysis_takes_each() -> None:
    wrong = a_map(handler="internal", each={"parameter": "frame", "count": 2})
    with pytest.raises(MapError, match="unknown key 'each'"):
        load_command_map(wrong)


def test_an_argument_from_the_resources_is_a_mapping_too() -> None:
    composer = MainTaskComposer("scan", a_map(), None, None, {"PyfaiIntegrate": [1]})
    with pytest.raises(CommandError, match="a mapping of its parameters"):
        composer.compose()


def test_a_configuration_stands_beside_its_map(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "map.yaml"
    file.parent.mkdir()
    text = (
        "scan: {type: sequential, tasks: {fit: {handler: analysis, command_name: Fit, config: %s}}}"
    )
    for config, expected in (
        ("fit.yaml", str(file.parent / "fit.yaml")),
        ("/etc/fit.yaml", "/etc/fit.yaml"),
    ):
        file.write_text(text % config)
        [leaf] = MainTaskComposer("scan", file, None, None).compose().subtasks
        assert isinstance(leaf, LeafTask)
        assert leaf.target == expected


def test_a_map_with_each_loads_again_from_its_plain_form() -> None:
    loaded = load_command_map(
        a_map(each={"parameter": "f", "values": ["a", 2]}, rule={"quorum": 1})
    )
    assert load_command_map(loaded.to_dict()).commands == loaded.commands


def test_the_schema_knows_each() -> None:
    schema = command_map_json_schema()
    assert accepts(schema, a_map(each={"parameter": "f", "count": 2}, rule="all"))
    for wrong in ({"parameter": "f"}, {"parameter": "f", "count": 2, "values": [1]}):
        assert not accepts(schema, a_map(each=wrong))
    definitions = schema["$defs"]
    assert set(definitions["EachValue"]["properties"]) == {
        "parameter", "parameters", "count", "range", "values",
    }  # fmt: skip
    assert "each" in definitions["AnalysisEntry"]["properties"]


def test_a_tilde_in_the_files_of_a_map_is_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/u")
    [leaf] = (
        MainTaskComposer("scan", a_map(config="~/c.yaml", source="~/setup.sh"), None, None)
        .compose()
        .subtasks
    )
    assert isinstance(leaf, LeafTask)
    assert (leaf.target, leaf.settings["source"]) == ("/home/u/c.yaml", "/home/u/setup.sh")
