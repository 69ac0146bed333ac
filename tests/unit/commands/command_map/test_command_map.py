"""Command maps: what is accepted, and what is said of what is not (SPEC S6.1)."""

from __future__ import annotations

import functools
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskgrove.commands.command_map import (
    AnalysisEntry,
    CommandMap,
    CompositeEntry,
    DeviceEntry,
    GroupEntry,
    InternalEntry,
    MapLimits,
    command_map_json_schema,
    load_command_map,
    parse_command_map,
    parse_plain_data,
    yaml_text,
)
from taskgrove.commands.command_map.map_models import KEYWORDS, SIMULATOR_KEYS, HandlerEntry
from taskgrove.commands.task import TaskExecutionType
from taskgrove.control_model import ObsState
from taskgrove.errors import CommandError, MapError
from tests.schema_check import accepts

DEMO = Path(__file__).parents[4] / "src/taskgrove_demo/maps/demo.yaml"

GOOD = """\
configure:
  type: sequential
  allowed_states: {attr_name: obsState, attr_value: [IDLE, ON, 2]}
  skip_subtasks: true
  timeout: 60
  tasks:
    internal: {command_name: check_lock, timeout: 5}
    subsystems:
      type: parallel
      rule: any
      tasks:
        cbf: {command_name: ConfigureScan, reject_missing: true, argin: {id: [1, null, x]}}
        pst: {command_name: ConfigureScan, timeout: 30, retries: 1, rule: {quorum: 0.8}}
        second: {handler: pst, command_name: Scan, abort_on_timeout: true}
    reduce: {handler: analysis, command_name: SmallData, config: run7.yaml}
components:
  cbf: low-cbf/subarray/01
  pst: [low-pst/beam/01, "tango://127.0.0.1:10000/low-pst/beam/02#dbase=no"]
simulator:
  faults: {low-pst/beam/01: {ConfigureScan: fail}}
  duration_s: 0.5
"""


def problem(text: str | dict[str, Any], **kwargs: Any) -> MapError:
    load: Any = load_command_map
    if isinstance(text, str):
        load = functools.partial(parse_command_map, file="m.yaml")
    with pytest.raises(MapError) as caught:
        load(text, **kwargs)
    return caught.value


def one(entry: str) -> str:
    """Return a map whose only task is on line 4."""
    return f"go:\n  type: parallel\n  tasks:\n    {entry}\n"


# --------------------------------------------------------------------------- accepted


def test_a_map_becomes_typed_entries_in_order() -> None:
    loaded = parse_command_map(GOOD)
    configure = loaded.commands["configure"]
    assert configure.type == "sequential"
    assert configure.skip_subtasks
    assert configure.timeout == 60.0
    assert configure.allowed_states is not None
    assert configure.allowed_states.attr_value == ("IDLE", "ON", 2)
    assert list(configure.tasks) == ["internal", "subsystems", "reduce"]
    internal, subsystems, reduce = configure.tasks.values()
    assert isinstance(internal, InternalEntry)
    assert isinstance(subsystems, CompositeEntry)
    assert isinstance(reduce, AnalysisEntry)
    assert reduce.config == "run7.yaml"
    cbf, pst, second = subsystems.tasks.values()
    assert isinstance(cbf, DeviceEntry)
    assert cbf.argin == {"id": [1, None, "x"]}
    assert isinstance(pst, GroupEntry)
    assert (pst.handler, pst.rule, pst.retries) == ("pst", {"quorum": 0.8}, 1)
    assert isinstance(second, GroupEntry)
    assert (second.handler, second.abort_on_timeout) == ("pst", True)
    assert loaded.components["cbf"] == ("low-cbf/subarray/01",)
    assert loaded.simulator["duration_s"] == 0.5


def test_yaml_json_a_dict_and_a_loaded_map_are_one(tmp_path: Path) -> None:
    plain = parse_plain_data(GOOD)
    (tmp_path / "map.json").write_text(json.dumps(plain, indent=2))
    (tmp_path / "map.yaml").write_text(GOOD)
    from_yaml = load_command_map(tmp_path / "map.yaml")
    from_json = load_command_map(str(tmp_path / "map.json"))
    from_dict = load_command_map(plain)
    assert from_yaml.commands == from_json.commands == from_dict.commands
    assert from_yaml.components == from_json.components == from_dict.components
    assert from_dict.file is None
    assert from_yaml.file == str(tmp_path / "map.yaml")
    assert load_command_map(from_dict) is from_dict
    assert load_command_map(from_dict.to_dict()) == from_dict
    json.dumps(from_dict.to_dict())


def test_both_forms_of_a_map_hold_the_same() -> None:
    bare = parse_plain_data(GOOD)
    sectioned = {
        "x-anchors": {"anything": [1]},
        "commands": {"configure": bare["configure"]},
        "components": bare["components"],
        "simulator": bare["simulator"],
    }
    assert load_command_map(sectioned) == load_command_map(bare)


def test_python_values_are_taken_as_meant() -> None:
    class Named(StrEnum):
        PST = "pst"

    loaded = load_command_map(
        {
            "go": {
                "type": TaskExecutionType.PARALLEL,
                "allowed_states": {"attr_name": "obs_state", "attr_value": (ObsState.IDLE,)},
                "tasks": {Named.PST: {"command_name": "Scan"}},
            }
        }
    )
    entry = loaded.commands["go"]
    assert entry.type == "parallel"
    assert list(entry.tasks) == ["pst"]
    assert entry.allowed_states is not None
    assert entry.allowed_states.attr_value[0] is ObsState.IDLE


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_states_of_devices_stay_words(loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not hasattr(yaml, loader):
        pytest.skip(f"PyYAML has no {loader} here")
    monkeypatch.setattr(yaml_text, "_LOADER", getattr(yaml, loader))
    text = "a: [ON, OFF, yes, no, true, ~, 10, 0x1F, 0o17, 1e3, .5, '1', 2024-01-01, 1:30, =, .inf]"
    assert parse_plain_data(text)["a"] == [
        "ON", "OFF", "yes", "no", True, None, 10, 31, 15, 1000.0, 0.5, "1", "2024-01-01", "1:30",
        "=", float("inf"),
    ]  # fmt: skip


def test_anchors_and_merge_keys_are_followed() -> None:
    loaded = parse_command_map(
        "x-defaults: &d {timeout: 5, retries: 2}\n"
        "go:\n  type: parallel\n  tasks:\n"
        "    cbf: {<<: *d, command_name: A}\n"
        "    pss: {<<: [{retries: 7}, *d], command_name: B, timeout: 9}\n"
        "    '<<': {handler: pst, command_name: C}\n"
    )
    cbf, pss, quoted = loaded.commands["go"].tasks.values()
    assert (cbf.timeout, cbf.retries) == (5.0, 2)
    assert (pss.timeout, pss.retries) == (9.0, 7)
    assert quoted.command_name == "C"


def test_ninety_levels_of_tasks_load() -> None:
    data: dict[str, Any] = {"cbf": {"command_name": "On"}}
    for level in range(90):
        data = {f"level{level}": {"type": "sequential", "tasks": data}}
    for loaded in (load_command_map(data), parse_command_map(json.dumps(data), syntax="json")):
        depth, entry = 0, next(iter(loaded.commands.values()))
        while isinstance(entry, CompositeEntry):
            depth, entry = depth + 1, next(iter(entry.tasks.values()))
        assert depth == 90
        assert load_command_map(loaded.to_dict()).commands.keys() == loaded.commands.keys()


def test_an_unknown_command_names_the_nearest() -> None:
    loaded = parse_command_map(GOOD)
    with pytest.raises(CommandError, match=r"'confgure'.*did you mean 'configure'"):
        loaded.command("confgure")
    assert loaded.command("configure") is loaded.commands["configure"]
    assert "configure" in repr(loaded)


def test_an_empty_composite_is_no_mistake_of_the_map() -> None:
    # Empty branches are removed when a command is composed (S6.6).
    loaded = parse_command_map("go: {type: parallel, tasks: {a: {type: parallel, tasks: {}}}}")
    assert loaded.commands["go"].tasks["a"].tasks == {}


# --------------------------------------------------------------------------- refused

#: task on line 4 → path below it, what is said
WRONG_ENTRIES = [
    ("cbf: {command_nam: A}", ".command_nam", "unknown key 'command_nam'; allowed: handler, c"),
    ("cbf: {command_nam: A}", ".command_nam", "did you mean 'command_name'?"),
    ("cbf: {timeout: 3}", "", "the key 'command_name' is missing"),
    ("cbf: {command_name: A, timeout: ten}", ".timeout", "found a text 'ten'; allowed: seconds"),
    ("cbf: {command_name: A, timeout: 0}", ".timeout", "found a number 0; allowed: seconds"),
    ("cbf: {command_name: A, timeout: .inf}", ".timeout", "found a number inf"),
    ("cbf: {command_name: A, timeout: true}", ".timeout", "found a boolean True"),
    ("cbf: {command_name: A, retries: 1.5}", ".retries", "a whole number from 0 to 1000"),
    ("cbf: {command_name: A, retries: -1}", ".retries", "a whole number from 0 to 1000"),
    ("cbf: {command_name: A, reject_missing: yes}", ".reject_missing", "allowed: true, false"),
    ("cbf: {command_name: A, rule: all}", ".rule", "unknown key 'rule'"),
    ("cbf: {command_name: A, config: x}", ".config", "unknown key 'config'"),
    ("cbf: {command_name: 3}", ".command_name", "found a number 3"),
    ("cbf: {command_name: a-b}", ".command_name", "letters, digits and '_'"),
    ("internal: {command_name: __init__}", ".command_name", "begins with a letter"),
    ("internal: {command_name: os.system}", ".command_name", "letters, digits and '_'"),
    ("internal: {command_name: a, abort_on_timeout: true}", ".abort_on_timeout", "unknown key"),
    ("cbf: {command_name: A, argin: [.nan]}", ".argin[0]", "found nan, which JSON does not know"),
    ("cbf: 7", "", "found a number 7; allowed: a mapping"),
    ("cbf:", "", "found nothing; allowed: a mapping"),
    ("cbf: [1]", "", "found a list; allowed: a mapping"),
    ("pst: {command_name: A, rule: quorom 3}", ".rule", "did you mean 'quorum'?"),
    ("pst: {command_name: A, rule: {quorum: 1.5}}", ".rule", "a quorum cannot be"),
    ("cbf: {command_name: A, allowed_states: IDLE}", ".allowed_states", "attr_name with attr_v"),
    (
        "cbf: {command_name: A, allowed_states: {attr_name: a}}",
        ".allowed_states",
        "the key 'attr_value' is missing",
    ),
    (
        "cbf: {command_name: A, allowed_states: {attr_name: a, attr_value: [1], x: 2}}",
        ".allowed_states.x",
        "unknown key 'x'; allowed: attr_name, attr_value",
    ),
    (
        "cbf: {command_name: A, allowed_states: {attr_name: a, attr_value: IDLE}}",
        ".allowed_states.attr_value",
        "a list of at least one name or number",
    ),
    (
        "cbf: {command_name: A, allowed_states: {attr_name: a, attr_value: []}}",
        ".allowed_states.attr_value",
        "a list of at least one name or number",
    ),
    (
        "cbf: {command_name: A, allowed_states: {attr_name: a, attr_value: [IDLE, [1]]}}",
        ".allowed_states.attr_value[1]",
        "a name or a number",
    ),
    ("bcf: {command_name: A}", "", "unknown handler keyword 'bcf'"),
    ("pts: {command_name: A}", "", "did you mean 'pst'?"),
    ("something: {command_name: A}", "", "a step has 'device: <component or TANGO name>'"),
    ("b: {handler: pts, command_name: A}", ".handler", "did you mean 'pst'?"),
    ("b: {handler: [pst], command_name: A}", ".handler", "unknown handler keyword"),
    ("cbf: {handler: pss, command_name: A}", ".handler", "its handler is 'pss'"),
    ("cbf: {type: parallel, tasks: {}}", "", "'cbf' is a handler keyword"),
    ("b: {handler: cbf, type: parallel, tasks: {}}", "", "'handler' is given"),
    ("b: {type: paralel, tasks: {}}", ".type", "did you mean 'parallel'?"),
    ("b: {type: PARALLEL, tasks: {}}", ".type", "allowed: sequential, parallel"),
    ("b: {tasks: {}}", "", "the key 'type' is missing; allowed: type: sequential | parallel"),
    ("b: {type: parallel}", "", "the key 'tasks' is missing"),
    ("b: {type: parallel, tasks: [cbf]}", ".tasks", "found a list; allowed: a mapping"),
    ("b: {type: parallel, tasks: {}, command_name: A}", ".command_name", "unknown key"),
    ("b: {type: parallel, tasks: {}, skip_subtask: true}", ".skip_subtask", "'skip_subtasks'?"),
    ("'b/c': {type: parallel, tasks: {}}", "", "'b/c' cannot be a name"),
    ("'': {type: parallel, tasks: {}}", "", "'' cannot be a name"),
    ('"a\\nb": {type: parallel, tasks: {}}', "", "cannot be a name"),
    ("3: {type: parallel, tasks: {}}", "", "a key is a text, not a number 3"),
]


@pytest.mark.parametrize(("entry", "below", "said"), WRONG_ENTRIES)
def test_what_is_wrong_in_an_entry_is_said_with_its_place(
    entry: str, below: str, said: str
) -> None:
    error = problem(one(entry))
    name = entry.split(":", maxsplit=1)[0].strip("'\"")
    listed = [line for line in error.problems if said in line]
    assert listed, error.problems
    assert listed[0].startswith("m.yaml:4:")
    assert error.line == 4
    if name.isalpha():
        assert f": go.tasks.{name}{below}: " in listed[0]


def test_the_error_has_fields() -> None:
    error = problem(one("cbf: {command_name: A, retries: x}"))
    assert error.file == "m.yaml"
    assert error.map_path == error.path == "go.tasks.cbf.retries"
    assert error.line == 4
    assert error.found == "x"
    assert error.allowed == ("a whole number from 0 to 1000",)
    assert str(error).startswith("m.yaml:4:37: go.tasks.cbf.retries: found a text 'x'")


def test_a_dict_has_no_lines_but_paths() -> None:
    error = problem({"go": {"type": "parallel", "tasks": {"cbf": {"command_name": "A", "x": 1}}}})
    assert error.file is None
    assert error.line is None
    assert str(error).startswith("go.tasks.cbf.x: unknown key 'x'; allowed: ")


def test_a_wrong_type_deep_inside_is_found() -> None:
    text = "cbf: {command_name: A, retries: no}"
    for level in range(90):
        indented = "".join(f"    {line}\n" for line in text.splitlines())
        text = f"l{level}:\n  type: sequential\n  tasks:\n{indented}"
    error = problem(text)
    assert error.line == 271
    assert error.found == "no"
    assert error.map_path is not None
    assert error.map_path.endswith(".l0.tasks.cbf.retries")
    assert error.map_path.count(".tasks.") == 90


def test_all_problems_are_told_in_the_order_of_their_lines() -> None:
    error = problem(
        "go:\n  type: paralel\n  tasks:\n    pts: {command_name: A}\n"
        "    cbf: {command_name: A, timeot: 3}\n    cbf: {command_name: B, retries: x}\n"
        "components: {cfb: a/b/c}\n"
    )
    places = [line.split(": ")[0] for line in error.problems]
    assert places == ["m.yaml:2:9", "m.yaml:4:5", "m.yaml:6:5", "m.yaml:6:37", "m.yaml:7:14"]
    assert "go.type" in str(error)


def test_no_more_than_a_hundred_problems_are_listed() -> None:
    error = problem({"go": {"type": "parallel", "tasks": {f"t{i}": 1 for i in range(500)}}})
    assert len(error.problems) == 101
    assert error.problems[-1] == "… and 400 more problems"


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("go:\n  typ: parallel\n  tasks: {}\n", "go.typ", "did you mean 'type'?"),
        ("go:\n  type: parallel\n  task: {}\n", "go.task", "did you mean 'tasks'?"),
        (one("b: {typ: parallel, tasks: {}}"), "go.tasks.b.typ", "did you mean 'type'?"),
        (one("b: {type: parallel, task: {}}"), "go.tasks.b.task", "did you mean 'tasks'?"),
        (one("b: {typ: parallel}"), "go.tasks.b.typ", "did you mean 'type'?"),
        (one("b: {handlr: cbf, command_name: A}"), "go.tasks.b.handlr", "did you mean 'handler'?"),
        (one("cbf: {comand_name: A}"), "go.tasks.cbf.comand_name", "did you mean 'command_name'?"),
        (
            one("cbf: {command_name: A, allowed_states: {attr_nam: a, attr_value: [1]}}"),
            "go.tasks.cbf.allowed_states.attr_nam",
            "did you mean 'attr_name'?",
        ),
        (
            "go: {type: parallel, tasks: {}}\ncomponent: {cbf: a/b/c}",
            "component",
            "did you mean 'components'?",
        ),
        ("comands: {go: {type: parallel, tasks: {}}}", "comands", "did you mean 'commands'?"),
    ],
)
def test_a_misspelt_key_is_told_alone_and_with_its_nearest(text: str, path: str, said: str) -> None:
    for error in (problem(text), problem(parse_plain_data(text))):
        assert len(error.problems) == 1, error.problems
        assert error.map_path == path
        assert error.found == path.rpartition(".")[2]
        assert error.allowed
        assert error.hint == said


def test_a_command_may_be_named_almost_like_a_section() -> None:
    entry = {"type": "parallel", "tasks": {}}
    assert list(load_command_map({"simulate": entry, "command": entry}).commands) == [
        "simulate",
        "command",
    ]
    error = problem("command:\n  typ: parallel\n  task: {}\n")
    assert [line.split(": ")[1] for line in error.problems] == ["command.typ", "command.task"]


def test_unknown_keys_are_told_before_the_missing_ones_beside_them() -> None:
    text = "go:\n  type: parallel\n  tasks:\n    cbf: {a: 1}\n    pss: {timeout: 3}\n  b: 2\n"
    said = [line.partition("tasks")[2] for line in problem(text).problems]
    assert [words.partition(";")[0] for words in said] == [
        ".cbf.a: unknown key 'a'",
        ".cbf: the key 'command_name' is missing",
        ".pss: the key 'command_name' is missing",
        ", skip_subtasks, rule, timeout, allowed_states, finally, finally_timeout, description,"
        " hold, hold_timeout",
    ]
    first = problem(parse_plain_data("go: {type: parallel, tasks: {cbf: {a: 1}}}")).problems[0]
    assert "unknown key 'a'" in first


def test_a_map_knows_where_the_values_for_the_simulator_stand() -> None:
    places = parse_command_map(GOOD).places
    line = GOOD.splitlines().index("  duration_s: 0.5") + 1
    assert places["simulator.duration_s"] == (line, 3)
    assert places["simulator.faults.low-pst/beam/01.ConfigureScan"].line == line - 1


@pytest.mark.parametrize("syntax", ["yaml", "json"])
def test_a_key_that_stands_twice_names_both_lines(syntax: Any) -> None:
    text = '{"go": {"type": "parallel", "tasks": {}},\n\n "go": {"type": "parallel", "tasks": {}}}'
    error = problem(text, syntax=syntax)
    assert error.line == 3
    assert "go: the key 'go' stands here twice (first in line 1)" in str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the map is empty"),
        ("# only a comment\n", "the map is empty"),
        ("---\n", "the map is empty"),
        ("~", "the map is empty"),
        ("{}", "the map holds no command"),
        ("commands: {}", "the map holds no command"),
        ("components: {cbf: a/b/c}", "the map holds no command"),
        ("- a\n- b\n", "found a list; allowed: a mapping of commands by name"),
        ("configure", "found a text; allowed: a mapping of commands by name"),
        ("commands: 3", "commands: found a number 3"),
        ("a: 1\n---\nb: 2", "a second document begins"),
        ("a: !!python/object/apply:os.system [x]", "a tag is not allowed"),
        ("a: !!binary aGk=", "a tag is not allowed"),
        ("a: !!set {b, c}", "a tag is not allowed"),
        ("a: [", "this is not YAML"),
        ("a:\n\tb: 1", "this is not YAML"),
        ("a: \x01", "this is not YAML"),
        ("a: *b", "there is no anchor &b"),
        ("? {a: 1}\n: b", "a key is a text, not a collection"),
        ("<<: 3\na: {}", "'<<' takes a mapping or a list of them"),
        ("a: " + "9" * 5000, "a number has too many digits"),
    ],
)
def test_what_is_no_map_is_said(text: str, said: str) -> None:
    assert said in "\n".join(problem(text).problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the map is empty"),
        (" \n", "the map is empty"),
        ('{"a": {"type": "parallel",}}', "this is not JSON"),
        ('{"a" 1}', "Expecting ':' delimiter; found '1}'"),
        ('{"a": 1 "b": 2}', "Expecting ',' delimiter"),
        ("[1 2]", "Expecting ',' delimiter"),
        ("{} x", "Extra data; found 'x'"),
        ("{'a': 1}", "Expecting property name enclosed in double quotes"),
        ('{"a": NaN}', "m.yaml:1:7: this is not JSON: Expecting value; found 'NaN}'"),
        ('{"a": 01}', "Expecting ',' delimiter"),
        ('{"a": "x\ny"}', "Invalid control character"),
        ('{"a": "x', "Unterminated string"),
        ('{"a": ', "found the end of the file"),
        ("9" * 5000, "too many digits"),
    ],
)
def test_what_is_no_json_is_said(text: str, said: str) -> None:
    assert said in str(problem(text, syntax="json"))


def test_a_cycle_through_an_anchor_is_refused() -> None:
    error = problem("go: &x\n  type: parallel\n  tasks:\n    again: *x\n")
    assert error.line == 4
    assert "go.tasks.again" in str(error)
    assert "*x stands inside its own anchor: a cycle" in str(error)
    loop: dict[str, Any] = {"type": "parallel"}
    loop["tasks"] = {"again": loop}
    assert "go.tasks.again: the value contains itself: a cycle" in str(problem({"go": loop}))


def test_aliases_cannot_blow_a_map_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
    assert "holds more than 250,000 values once its aliases are followed" in str(
        problem("\n".join(lines))
    )
    merged = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(500)) + "}"]
    merged += [f"a{i}: {{<<: *a0}}" for i in range(1, 900)]
    assert "holds more than 250,000 values" in str(problem("\n".join(merged)))
    many = "a: &a {}\nb: [" + ", ".join(["*a"] * 1001) + "]"
    assert "uses more than 1,000 aliases" in str(problem(many))
    shared: Any = "x"
    for _ in range(40):
        shared = [shared, shared]
    assert "holds more than 250,000 values" in str(problem({"go": shared}))


def nested(levels: int) -> dict[str, str]:
    block = "".join(f"{' ' * i}a:\n" for i in range(min(levels, 2000)))
    aliases = "x0: &x0 [1]\n" + "".join(
        f"x{i}: &x{i} [[[[[[[[[[*x{i - 1}]]]]]]]]]]\n" for i in range(1, levels // 10)
    )
    return {
        "flow": "[" * levels,
        "mappings": "{a: " * levels,
        "block": block,
        "json": '{"a": ' * levels,
        "aliases": aliases,
    }


@pytest.mark.parametrize("kind", list(nested(1)))
@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_ten_thousand_levels_are_refused(
    kind: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(yaml, loader):
        pytest.skip(f"PyYAML has no {loader} here")
    monkeypatch.setattr(yaml_text, "_LOADER", getattr(yaml, loader))
    text = nested(10_000)[kind]
    error = problem(text, syntax="json" if kind == "json" else "yaml")
    assert "nested deeper than 200 levels" in str(error) or "1,000 aliases" in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize("levels", [201, 1_000, 1_001, 1_100, 5_000])
@pytest.mark.parametrize("opening", ["[", "[ ", "{a: ", "{a: [", '{"]]": '])
@pytest.mark.parametrize("before", ["", "x: ", "x: [1, {b: 2}]\ny: "])
def test_the_limit_of_depth_speaks_before_those_of_the_parser(
    levels: int, opening: str, before: str
) -> None:
    error = problem(f"{before}{opening * levels}")
    assert "nested deeper than 200 levels" in str(error)
    assert error.line == before.count("\n") + 1


def test_an_error_of_a_text_with_many_brackets_is_told_as_it_is() -> None:
    error = problem("x: [" + "[1]," * 300 + "}\n")
    assert "nested" not in str(error)
    assert error.line == 1


@pytest.mark.parametrize(
    "number", [f"0x{'f' * 5_000}", f"0o{'7' * 6_000}", "9" * 5_000, f"-{'9' * 5_000}"]
)
@pytest.mark.parametrize("place", ["timeout: N", "retries: N", "argin: {x: [N]}", "nonsense: N"])
def test_a_number_of_too_many_digits_is_refused_where_it_stands(number: str, place: str) -> None:
    text = one("cbf: {command_name: A, " + place.replace("N", number) + "}")
    error = problem(text)
    assert any("a number has too many digits" in said for said in error.problems)
    assert error.line == text.count("\n", 0, text.index(number)) + 1
    assert len(str(error)) < 500


def test_a_number_of_too_many_digits_in_a_dict_is_refused() -> None:
    entry = {"command_name": "A", "timeout": 10**5_000}
    error = problem({"go": {"type": "sequential", "tasks": {"cbf": entry}}})
    assert error.map_path == "go.tasks.cbf.timeout"
    assert "a number has too many digits" in str(error)


def test_ten_thousand_levels_of_a_dict_are_refused() -> None:
    data: Any = {}
    for _ in range(10_000):
        data = {"a": data}
    assert "nested deeper than 200 levels" in str(problem(data))


def test_a_deep_argument_is_refused_where_it_stands() -> None:
    error = problem(one("cbf: {command_name: A, argin: " + "[" * 100 + "]" * 100 + "}"))
    assert error.map_path == "go.tasks.cbf.argin"
    assert "nested deeper than 64 levels" in str(error)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ("components: {cbf: nothing}", "components.cbf", "a TANGO name such as"),
        ("components: {cbf: 3}", "components.cbf", "found a number 3"),
        ("components: {cbf: [a/b/c, {}]}", "components.cbf[1]", "found a mapping"),
        ("components: {cbf: a/b}", "components.cbf", "found a text 'a/b'"),
        ('components: {cbf: "a/b/c\\n"}', "components.cbf", "found a text"),
        ("components: {pst: [a/b/c, x/y/z, a/b/c]}", "components.pst[2]", "listed twice (first in"),
        (
            "components: {internal: a/b/c}",
            "components.internal",
            "'internal' is a handler keyword that has no devices",
        ),
        ("components: {ppst: a/b/c}", "components.ppst", "did you mean 'pst'?"),
        ("components: [a/b/c]", "components", "found a list"),
        ("simulator: {fault: {}}", "simulator.fault", "did you mean 'faults'?"),
        ("simulator: {faults: [x]}", "simulator.faults", "found a list"),
        ("simulator: {faults: {a/b/c: x}}", "simulator.faults.a/b/c", "found a text 'x'"),
    ],
)
def test_what_is_wrong_in_the_other_sections_is_said(text: str, path: str, said: str) -> None:
    error = problem(f"go: {{type: parallel, tasks: {{}}}}\n{text}\n")
    assert error.map_path == path
    assert error.line == 2
    assert said in str(error)


def test_the_simulator_knows_the_keys_that_its_section_may_have() -> None:
    section = pytest.importorskip("taskgrove.tango.simulation.section", exc_type=ImportError)
    settings = pytest.importorskip(
        "taskgrove.tango.simulation.simulator_settings", exc_type=ImportError
    )
    fields = settings.SimulatorSettings.__struct_fields__
    assert set(SIMULATOR_KEYS) == {*section._SECTION_KEYS, *fields}


def test_a_map_with_a_section_of_commands_has_none_beside_it() -> None:
    error = problem(
        "commands: {go: {type: parallel, tasks: {}}}\nstop: {type: parallel, tasks: {}}"
    )
    assert error.map_path == "stop"
    assert "unknown section 'stop'; allowed: commands, components, simulator" in str(error)


def test_things_that_are_no_plain_data_are_refused() -> None:
    entry = {"command_name": "A", "argin": {"a": [{1, 2}], "b": b"x"}}
    error = problem({"go": {"type": "parallel", "tasks": {"cbf": entry}}})
    assert {line.split(":")[0] for line in error.problems} == {
        "go.tasks.cbf.argin.a[0]",
        "go.tasks.cbf.argin.b",
    }
    assert "a key is a text" in str(problem({("a", "b"): {}, None: {}}))  # type: ignore[dict-item]
    with pytest.raises(MapError, match="a command map is a file or a mapping, not int"):
        load_command_map(3)  # type: ignore[arg-type]


# --------------------------------------------------------------------------- files


def test_a_big_file_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(MapError, match="50,000,000 bytes; at most 4,194,304 are read"):
        load_command_map(path)


def test_limits_can_be_set() -> None:
    assert "has 27 bytes; at most 20 are read" in str(
        problem("go: {type: parallel, x: 12}", limits=MapLimits(max_bytes=20))
    )
    assert "deeper than 3 levels" in str(problem("{a: [[[1]]]}", limits=MapLimits(max_depth=3)))


@pytest.mark.parametrize("name", ["missing.yaml", ".", "x" * 5000, "a\0b"])
def test_a_file_that_cannot_be_read_is_a_map_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(MapError) as caught:
        load_command_map(f"{tmp_path}/{name}")
    assert caught.value.file == f"{tmp_path}/{name}"


def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(MapError, match="not a regular file"):
        load_command_map(tmp_path / "pipe.yaml")


def test_other_encodings_are_refused_with_their_line() -> None:
    with pytest.raises(MapError, match="m:2: this is not UTF-8: byte 0xff") as caught:
        parse_command_map(b"a: b\nc: \xff", file="m")
    assert caught.value.line == 2
    assert parse_command_map(b"\xef\xbb\xbfgo: {type: parallel, tasks: {}}").commands


def test_plain_data_is_read_as_strictly_as_a_map() -> None:
    assert parse_plain_data('{"a": [1, 2.5, -3e2, true, null, "\\u00e9"]}', syntax="json") == {
        "a": [1, 2.5, -300.0, True, None, "é"]
    }
    assert parse_plain_data("") is None
    with pytest.raises(MapError, match="twice"):
        parse_plain_data("a: 1\na: 2")


# --------------------------------------------------------------------------- schema, demo


def test_the_schema_is_json_and_accepts_what_the_loader_accepts() -> None:
    schema = json.loads(json.dumps(command_map_json_schema()))
    assert accepts(schema, parse_plain_data(GOOD))
    assert accepts(schema, parse_command_map(GOOD).to_dict())
    assert accepts(schema, parse_plain_data(DEMO.read_text()))
    assert set(schema["$defs"]["Tasks"]["properties"]) == set(KEYWORDS)


@pytest.mark.parametrize(
    "entry",
    # JSON knows neither nan nor keys that are no text.
    [entry for entry, _, said in WRONG_ENTRIES if not said.startswith(("found nan", "a key is"))],
)
def test_the_schema_refuses_what_the_loader_refuses(entry: str) -> None:
    assert not accepts(command_map_json_schema(), parse_plain_data(one(entry)))


def test_the_map_of_the_demonstration_is_valid() -> None:
    loaded = load_command_map(DEMO)
    assert isinstance(loaded, CommandMap)
    assert "configure" in loaded.commands
    assert len(loaded.components["pst"]) == 16
    first = next(iter(loaded.commands["configure"].tasks.values()))
    assert isinstance(first, InternalEntry)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0001", "0001"),
        ("-007", "-007"),
        ("+01", "+01"),
        ("00.50", "00.50"),
        ("01e3", "01e3"),
        ("0777", "0777"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("2026-11-30", "2026-11-30"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("Off", "Off"),
        ("y", "y"),
        ("1e999", "1e999"),
        ("0", 0),
        ("-5", -5),
        ("0.5", 0.5),
        ("1e3", 1000.0),
        ("0x1f", 31),
        ("0o17", 15),
        ("true", True),
        ("~", None),
        ("'0001'", "0001"),
    ],
)
def test_an_unquoted_scalar_is_what_was_written_or_the_number_that_it_looks_like(
    written: str, value: Any
) -> None:
    found = parse_plain_data(f"a: {written}")["a"]
    assert found == value
    assert type(found) is type(value)
    loaded = parse_command_map(one(f"cbf: {{command_name: A, argin: {{a: {written}}}}}"))
    entry = loaded.command("go").tasks["cbf"]
    assert isinstance(entry, HandlerEntry)
    assert entry.argin == {"a": value}


@pytest.mark.parametrize("key", ["01", "yes", "on", "12:30:00", "1_000", "2026-11-30"])
def test_a_key_that_is_no_plain_number_is_the_text_that_was_written(key: str) -> None:
    assert parse_plain_data(f"{key}: 1") == {key: 1}


@pytest.mark.parametrize("key", ["1", "true", "null", "1e3"])
def test_a_key_that_is_no_text_is_refused_with_the_hint_to_quote_it(key: str) -> None:
    with pytest.raises(MapError, match="put it in quotes"):
        parse_plain_data(f"{key}: 1")


@pytest.mark.parametrize(
    ("argin", "path"),
    [
        ('{id: "{{ earler.Fit.payload.x }}"}', "go.tasks.cbf.argin.id"),
        ('"a {{ argin.x"', "go.tasks.cbf.argin"),
        ('"{{ argin.x + 1 }}"', "go.tasks.cbf.argin"),
        ('"{{ results }}"', "go.tasks.cbf.argin"),
        ('"{{ results.a? }}"', "go.tasks.cbf.argin"),
        ('"{{ earlier.Fit }}"', "go.tasks.cbf.argin"),
        ("{$merge: [{a: 1}, 3]}", "go.tasks.cbf.argin.$merge"),
        ('["a", ["{{ run }}"]]', "go.tasks.cbf.argin[1][0]"),
        ('"{{x}}"', "go.tasks.cbf.argin"),
        ('{"{{ argin.key }}": 1}', "go.tasks.cbf.argin"),
    ],
)
@pytest.mark.parametrize("handler", ["cbf", "internal"])
def test_text_in_braces_that_is_no_reference_is_refused_with_its_line(
    argin: str, path: str, handler: str
) -> None:
    error = problem(one(f"cbf: {{command_name: a, argin: {argin}}}".replace("cbf", handler)))
    assert error.map_path == path.replace("cbf", handler)
    assert error.line is not None


@pytest.mark.parametrize(
    "argin",
    [
        '"{{ argin }}"',
        '["{{ argin.a.b[0] }}", {x: "beam {{ argin.n }} of {{argin.m}}"}]',
        '"{{ argin.pst.beam[beam_id]? }}"',
        """ "{{ results['pst-beam-01'].x }}" """,
        '"{{ earlier.Fit.payload.x }}"',
        '{$merge: ["{{ argin.a }}", {b: 1}], c: 2}',
        '"{{{{ braces }}"',
    ],
)
def test_the_references_of_an_argument_stay_as_they_are_written(argin: str) -> None:
    loaded = parse_command_map(one(f"cbf: {{command_name: a, argin: {argin}}}"))
    assert load_command_map(loaded.to_dict()) == loaded


def test_a_condition_to_skip_a_step_takes_no_reference() -> None:
    skip = 'skip_if: {attribute: a, value: "{{ argin.x }}"}'
    error = problem(one(f"m: {{device: a/b/c, command_name: Go, {skip}}}"))
    assert error.map_path == "go.tasks.m.skip_if.value"
    assert "no reference is replaced here" in str(error)


@pytest.mark.parametrize(
    ("component", "path"),
    [
        ("{device: a/b/c, exclusive: yes}", "components.m.exclusive"),
        ("{device: a/b/c, exclusive: true, wait: -1}", "components.m.wait"),
        ("{device: a/b/c, exclusive: true, wait: true}", "components.m.wait"),
        ("{device: a/b/c, wait: 3}", "components.m.wait"),
        ("{device: a/b/c, exclusiv: true}", "components.m.exclusiv"),
        ("{exclusive: true}", "components.m"),
        ("{device: nonsense, exclusive: true}", "components.m.device"),
        ("{device: [a/b/c, A/B/C], exclusive: true}", "components.m.device[1]"),
        ("{device: {device: a/b/c}}", "components.m.device"),
    ],
)
def test_a_wrong_component_is_refused_with_its_place(component: str, path: str) -> None:
    step = "m: {device: m, command_name: Go}"
    error = problem(f"{one(step)}\ncomponents: {{m: {component}}}")
    assert error.map_path == path
    assert error.line is not None


def test_an_exclusive_component_is_the_same_in_every_form() -> None:
    text = one("m: {device: m, command_name: Go}")
    terms = "{m: {device: [a/b/c, d/e/f], exclusive: true, wait: 3}, n: {device: g/h/i}}"
    loaded = parse_command_map(f"{text}\ncomponents: {terms}")
    assert loaded.components == {"m": ("a/b/c", "d/e/f"), "n": ("g/h/i",)}
    assert loaded.exclusive == {"m": 3}
    assert load_command_map(loaded.to_dict()) == loaded


def test_the_near_word_of_a_reference_is_named() -> None:
    error = problem(one('cbf: {command_name: a, argin: "{{ result.a }}"}'))
    assert "did you mean 'results'?" in str(error)


def test_a_reference_in_an_argument_of_an_analysis_stays() -> None:
    text = one('fit: {handler: analysis, command_name: F, config: c.yaml, argin: {x: "{{ run }}"}}')
    entry = parse_command_map(text).command("go").tasks["fit"]
    assert isinstance(entry, HandlerEntry)
    assert entry.argin == {"x": "{{ run }}"}
