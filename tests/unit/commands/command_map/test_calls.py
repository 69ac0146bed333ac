"""Calls of other commands in a map: what is accepted, and what is refused at load."""

from __future__ import annotations

import json

import pytest

from taskgrove.commands.command_map import (
    CallEntry,
    command_map_json_schema,
    load_command_map,
    parse_command_map,
    parse_plain_data,
)
from taskgrove.commands.command_map.calls import MAX_CALL_LEVELS
from taskgrove.errors import MapError
from tests.schema_check import accepts

OBSERVE = """\
observe:
  type: sequential
  tasks:
    configure: {call: setup, description: first of all, hold: never}
    again: {call: setup, allowed_states: null}
setup:
  type: parallel
  tasks: {cbf: {command_name: Configure}}
"""


def refused(text: str) -> MapError:
    with pytest.raises(MapError) as caught:
        parse_command_map(text, file="m.yaml")
    return caught.value


def command(*calls: str) -> str:
    tasks = ", ".join(f"{name}-{at}: {{call: {name}}}" for at, name in enumerate(calls))
    return f"{{type: sequential, tasks: {{{tasks}}}}}"


def test_an_entry_calls_another_command() -> None:
    loaded = parse_command_map(OBSERVE)
    first, again = loaded.commands["observe"].tasks.values()
    assert isinstance(first, CallEntry)
    assert (first.call, first.description, first.hold) == ("setup", "first of all", "never")
    assert "allowed_states" in again.model_fields_set
    assert load_command_map(loaded.to_dict()) == loaded
    assert accepts(command_map_json_schema(), parse_plain_data(OBSERVE))
    json.dumps(loaded.to_dict())
    assert [entry.command_name for entry in loaded.leaf_entries("observe")] == ["Configure"] * 2


def test_an_unknown_command_is_told_with_the_nearest() -> None:
    error = refused(OBSERVE.replace("{call: setup, desc", "{call: stup, desc"))
    assert (error.line, error.map_path) == (4, "observe.tasks.configure.call")
    assert error.nearest == "setup"
    assert error.allowed == ("observe", "setup")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{cal: setup}", "unknown key 'cal'"),
        ("{call: setup, timeout: 3}", "unknown key 'timeout'"),
        ("{call: setup, tasks: {}}", "unknown key 'tasks'"),
        ("{call: 3}", "found a number 3"),
        ("{call: }", "found nothing"),
    ],
)
def test_a_wrong_call_is_refused(entry: str, said: str) -> None:
    error = refused(OBSERVE.replace("{call: setup, allowed_states: null}", entry))
    assert error.line == 5
    assert said in error.problem
    assert any(word in " ".join(error.allowed) for word in ("call", "a command of this map"))


def test_a_keyword_is_no_name_of_a_call() -> None:
    assert "keyword" in refused(OBSERVE.replace("again:", "pst:")).problem


def test_a_cycle_is_refused_with_the_chain_of_its_lines() -> None:
    error = refused(f"a: {command('b')}\nb: {command('c')}\nc: {command('x', 'b')}\nx: {command()}")
    assert error.line == 3
    assert error.map_path == "c.tasks.b-1.call"
    assert "'b' calls 'c' in line 2, 'c' calls 'b' in line 3" in error.problem
    assert len(error.problems) == 1
    itself = refused(f"a: {command('a')}")
    assert "'a' calls 'a' in line 1" in itself.problem
    with pytest.raises(MapError, match="'a' calls 'a'"):
        load_command_map(parse_plain_data(f"a: {command('a')}"))


def test_each_cycle_is_told_and_none_twice() -> None:
    text = "\n".join(
        [
            f"a: {command('b', 'b')}",
            f"b: {command('a')}",
            f"c: {command('d')}",
            f"d: {command('c')}",
        ]
    )
    assert [line.partition("here it does: ")[2] for line in refused(text).problems] == [
        "'a' calls 'b' in line 1, 'b' calls 'a' in line 2",
        "'c' calls 'd' in line 3, 'd' calls 'c' in line 4",
    ]


def test_a_long_cycle_is_told_by_its_ends() -> None:
    count = 3_000
    text = "\n".join(f"c{i}: {command(f'c{(i + 1) % count}')}" for i in range(count))
    said = refused(text).problem
    assert "'c0' calls 'c1' in line 1," in said
    assert f"'c{count - 1}' calls 'c0' in line {count}" in said
    assert len(said) < 600


def test_calls_that_multiply_are_refused() -> None:
    commands = [f"c{i}: {command(*[f'c{i + 1}'] * 10)}" for i in range(6)]
    error = refused("\n".join([*commands, f"c6: {command()}"]))
    assert "tasks with those of the commands that it calls" in error.problem
    assert error.line == 2  # c1 has 111,110 tasks
    assert len(error.problems) == 1


@pytest.mark.parametrize("levels", [MAX_CALL_LEVELS, MAX_CALL_LEVELS + 1])
def test_calls_have_a_number_of_levels(levels: int) -> None:
    commands = [f"c{i}: {command(f'c{i + 1}')}" for i in range(levels)]
    text = "\n".join([*commands, f"c{levels}: {command()}"])
    if levels > MAX_CALL_LEVELS:
        assert f"{levels} levels deep" in refused(text).problem
    else:
        parse_command_map(text)
