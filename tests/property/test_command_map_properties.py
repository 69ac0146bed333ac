"""Command maps under arbitrary input: a map or a MapError, and nothing else (SPEC S6)."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from taskgrove.commands.command_map import (
    CommandMap,
    command_map_json_schema,
    load_command_map,
    parse_command_map,
    parse_plain_data,
)
from taskgrove.commands.command_map.map_models import ENTRY_CLASSES, GROUP_KEYWORDS, KEYWORDS
from taskgrove.commands.command_map.problems import join_path
from taskgrove.errors import MapError
from tests.property.map_strategies import maps, plain_data
from tests.schema_check import accepts

SCHEMA = command_map_json_schema()
WORDS = [
    *KEYWORDS, "type", "tasks", "sequential", "parallel", "handler", "command_name", "device",
    "write", "wait", "expect", "skip_if", "attribute", "value", "any_of", "min", "within",
    "timeout", "retries", "rule", "quorum", "argin", "allowed_states", "attr_name", "attr_value",
    "commands",
    "components", "simulator", "call", "finally", "finally_timeout", "hold", "never", "description",
    "retry_delay", "faults", "<<", "x-a", "low-pst/beam/01",
    "exclusive", "wait", "device", "$merge", "{{ argin.x }}", "{{ argin.x[id]? }}",
    "{{ results.a.b }}", "{{", "{{{{", "}}",
]  # fmt: skip

vocabulary = st.one_of(st.sampled_from(WORDS), st.text(max_size=5))
near_maps = st.recursive(
    st.one_of(vocabulary, st.integers(), st.floats(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(vocabulary, inner, max_size=4),
        st.fixed_dictionaries({"type": st.just("parallel"), "tasks": inner}),
    ),
    max_leaves=25,
)


def load(text: str | bytes, syntax: Any) -> CommandMap | MapError:
    """Return what a text gives, once what must hold of that is checked."""
    try:
        loaded = parse_command_map(text, syntax=syntax, file="m")
    except MapError as caught:
        error = caught
    else:
        # What is taken is what the published schema allows, and says the same when written again.
        assert accepts(SCHEMA, parse_plain_data(text, syntax=syntax))
        assert load_command_map(loaded.to_dict()) == CommandMap(
            loaded.commands, loaded.components, loaded.simulator
        )
        return loaded
    assert error.problems
    assert error.file == "m"
    assert str(error).startswith("m:")
    assert all(isinstance(line, str) and len(line) < 5_000 for line in error.problems)
    return error


@given(st.one_of(st.text(), st.binary()), st.sampled_from(["yaml", "json"]))
def test_any_text_gives_a_map_or_a_map_error(text: str | bytes, syntax: str) -> None:
    load(text, syntax)


@given(st.text(alphabet="{}[]:,-&*<! \n\t'\"#|>%@`?~a1.", max_size=60))
def test_any_yaml_gives_a_map_or_a_map_error(text: str) -> None:
    load(text, "yaml")


@given(near_maps)
def test_whatever_is_like_a_map_gives_a_map_or_a_map_error(data: Any) -> None:
    load(yaml.safe_dump(data, allow_unicode=True), "yaml")


@given(maps(), st.data())
def test_a_map_with_one_thing_changed_gives_a_map_or_a_map_error(
    data: dict[str, Any], draw: st.DataObject
) -> None:
    lines = yaml.safe_dump(data, sort_keys=False).splitlines()
    at = draw.draw(st.integers(0, len(lines) - 1))
    change = draw.draw(st.sampled_from(["drop", "double", "indent", "replace"]))
    if change == "drop":
        del lines[at]
    elif change == "double":
        lines.insert(at, lines[at])
    elif change == "indent":
        lines[at] = f"  {lines[at]}"
    else:
        lines[at] = f"{lines[at]}{draw.draw(vocabulary)}"
    load("\n".join(lines), "yaml")


@given(maps())
def test_a_valid_map_is_the_same_in_every_form(data: dict[str, Any]) -> None:
    loaded = load_command_map(data)
    assert parse_command_map(yaml.safe_dump(data, sort_keys=False)) == loaded
    assert parse_command_map(json.dumps(data), syntax="json") == loaded
    assert load_command_map(loaded.to_dict()) == loaded
    assert list(loaded.commands) == list(data.get("commands", loaded.commands))
    assert accepts(SCHEMA, data)
    assert accepts(SCHEMA, loaded.to_dict())


@given(maps(), st.data())
def test_a_wrong_key_is_found_wherever_it_stands(data: dict[str, Any], draw: st.DataObject) -> None:
    places: list[tuple[str, dict[str, Any]]] = []
    todo = [(join_path("commands", name), entry) for name, entry in data["commands"].items()]
    for path, entry in todo:
        places.append((path, entry))
        todo.extend(
            (join_path(f"{path}.{key}", name), child)
            for key in ("tasks", "finally")
            for name, child in entry.get(key, {}).items()
        )
    path, entry = draw.draw(st.sampled_from(places))
    entry["no_such_key"] = 1
    text = yaml.safe_dump(data, sort_keys=False)
    result = load(text, "yaml")
    assert isinstance(result, MapError)
    assert result.map_path == f"{path}.no_such_key"
    assert result.line is not None
    assert text.splitlines()[result.line - 1].strip() == "no_such_key: 1"
    assert not accepts(SCHEMA, data)


@given(plain_data)
def test_json_is_read_as_the_standard_library_reads_it(data: Any) -> None:
    for indent in (None, 2):
        text = json.dumps(data, indent=indent)
        assert parse_plain_data(text, syntax="json") == json.loads(text)


@given(plain_data)
def test_yaml_gives_back_what_was_written(data: Any) -> None:
    assert parse_plain_data(yaml.safe_dump(data, allow_unicode=True)) == data


def test_the_strategies_know_every_keyword() -> None:
    assert set(ENTRY_CLASSES) == set(KEYWORDS)
    assert set(GROUP_KEYWORDS) <= set(KEYWORDS)
